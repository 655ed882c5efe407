"""Does TRL still have what HPOTrainer and HPOConfig override and read? A release that moves a part fails here by name.

All of it is about TRL alone: stock GRPOTrainer and GRPOConfig, on signatures and on one short real run.
"""

import inspect
import json
from types import SimpleNamespace

import pytest
import torch
import transformers
import trl
from packaging import version
from policy import prompts, random_policy, settings
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

import hysteretic as hy

TRL = f"TRL {trl.__version__} with transformers {transformers.__version__}"

SIGNATURES = {
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_save_checkpoint": ["self", "model", "trial"],
    "_load_optimizer_and_scheduler": ["self", "checkpoint"],
    "_get_grad_norm": ["self", "model", "grad_norm"],
    "_get_output_dir": ["self", "trial"],
    "log": ["self", "logs", "start_time"],
}
"""The methods that hysteretic.trl.trainer overrides or calls."""

UPDATES, ROWS = 2, 32


def free_of_model(prompts, trainer):
    """A rollout with tool outputs: responses of 6 tokens, of which the third and fourth are the environment's."""
    bodies = [[30 + i % 7, 31, 32, 33, 34, trainer.processing_class.eos_token_id] for i in range(len(prompts))]
    return {
        "prompt_ids": trainer.processing_class(prompts)["input_ids"],
        "completion_ids": bodies,
        "logprobs": [[-1.0] * 6 for _ in bodies],
        "env_mask": [[1, 1, 0, 0, 1, 1] for _ in bodies],
    }


class Recorded(GRPOTrainer):
    """Stock GRPOTrainer that notes what it calls, in order, and what the calls hand over."""

    def _generate_and_score_completions(self, inputs):
        self.seen.calls.append("_generate_and_score_completions")
        batch = super()._generate_and_score_completions(inputs)
        self._metrics["train"]["contract/seven"].append(7.0)
        batch["row"] = torch.arange(len(batch["advantages"]))
        batch["number"] = torch.tensor(3.0)
        self.seen.batch, self.seen.is_training = batch, self.model.training
        self.seen.step_at_generation.append(self._step)
        return batch

    def _calculate_rewards(self, *arguments, **options):
        self.seen.calls.append("_calculate_rewards")
        self.seen.rewards = super()._calculate_rewards(*arguments, **options)
        return self.seen.rewards

    def _compute_loss(self, model, inputs):
        self.seen.micro_batches.append(inputs)
        return super()._compute_loss(model, inputs)

    def log(self, logs, *arguments, **options):
        self.seen.calls.append("log")
        super().log(logs, *arguments, **options)
        self.seen.left_after_log = dict(self._metrics["train"])

    def _save_checkpoint(self, model, trial):
        self.seen.calls.append("_save_checkpoint")
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint):
        self.seen.calls.append("_load_optimizer_and_scheduler")
        super()._load_optimizer_and_scheduler(checkpoint)
        self.seen.checkpoint = checkpoint


class KeepLogs(TrainerCallback):
    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs=None, **_):
        self.logs.append(dict(logs))


def stock_run(folder, steps, checkpoint=None, **options):
    """A finished run of two updates per rollout, saved after each."""
    seen = SimpleNamespace(calls=[], micro_batches=[], step_at_generation=[], reward_inputs=None)

    def last_byte(**inputs):
        seen.reward_inputs = inputs
        return [float(ids[0] % 3 == 0) for ids in inputs["completion_ids"]]

    changes = {"steps_per_generation": UPDATES, "gradient_accumulation_steps": 1, "per_device_train_batch_size": 16}
    args = GRPOConfig(
        **settings(folder, **changes, loss_type="dapo", max_steps=steps, save_strategy="steps", save_steps=1)
    )
    model, tokenizer = random_policy()
    keep = KeepLogs()
    trainer = Recorded(
        model,
        last_byte,
        args,
        train_dataset=prompts(),
        processing_class=tokenizer,
        callbacks=[keep],
        **options,
    )
    trainer.seen = seen
    seen.step_at_start = trainer._step
    trainer.train(resume_from_checkpoint=checkpoint)
    return SimpleNamespace(trainer=trainer, logs=keep.logs, folder=folder, **vars(seen))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return stock_run(tmp_path_factory.mktemp("stock"), UPDATES)


@pytest.fixture(scope="module")
def tool_run(tmp_path_factory):
    return stock_run(tmp_path_factory.mktemp("tools"), 1, rollout_func=free_of_model)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_method_has_the_parameters_that_the_trainer_gives(name):
    """An override with another signature would break at its first call, in the middle of a run."""
    method = getattr(GRPOTrainer, name, None)
    if name == "_get_grad_norm" and method is None and version.parse(transformers.__version__) < version.parse("5.3"):
        pytest.skip("came with transformers 5.3; without it the guard reads the gradients itself")
    assert method is not None, f"{TRL}: GRPOTrainer.{name} is gone; HPOTrainer overrides or calls it"
    found = list(inspect.signature(method).parameters)
    assert found == SIGNATURES[name], f"{TRL}: GRPOTrainer.{name} now takes {found}, expected {SIGNATURES[name]}"


def test_the_constructor_starts_with_model_rewards_and_arguments():
    """HPOTrainer names these three and passes the rest through; its callers name the others."""
    found = list(inspect.signature(GRPOTrainer.__init__).parameters)
    assert found[:4] == ["self", "model", "reward_funcs", "args"], f"{TRL}: GRPOTrainer() now begins with {found[:4]}"
    needed = {"train_dataset", "processing_class", "callbacks", "peft_config", "quantization_config"}
    assert needed <= set(found), f"{TRL}: GRPOTrainer() no longer takes {needed - set(found)}"


def test_the_names_on_the_model_card_are_class_attributes():
    """HPOTrainer replaces them so that a saved model cites HPO."""
    for name, kind in [("_tag_names", list), ("_name", str), ("_paper", dict)]:
        assert isinstance(vars(GRPOTrainer).get(name), kind), f"{TRL}: GRPOTrainer.{name} is no {kind.__name__} now"
    assert set(GRPOTrainer._paper) == {"title", "id", "citation"}, f"{TRL}: _paper has keys {set(GRPOTrainer._paper)}"


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("epsilon", 0.2),
        ("epsilon_high", None),
        ("sapo_temperature_pos", 1.0),
        ("sapo_temperature_neg", 1.05),
        ("importance_sampling_level", "token"),
        ("loss_type", "dapo"),
        ("scale_rewards", "group"),
        ("multi_objective_aggregation", "sum_then_normalize"),
        ("num_iterations", 1),
        ("beta", 0.0),
        ("delta", None),
        ("off_policy_mask_threshold", None),
        ("top_entropy_quantile", 1.0),
        ("mask_truncated_completions", False),
    ],
)
def test_a_setting_has_the_default_that_the_objectives_assume(name, default):
    """HPOConfig sets what an objective needs and leaves the rest: another default would change every objective."""
    fields = GRPOConfig.__dataclass_fields__
    assert name in fields, f"{TRL}: GRPOConfig.{name} is gone"
    assert fields[name].default == default, f"{TRL}: GRPOConfig.{name} is {fields[name].default!r} by default now"


def test_rewards_are_calculated_inside_every_generation(run):
    """HPOTrainer keeps the rewards in one method and uses them in the other."""
    order = [call for call in run.calls if call in ("_generate_and_score_completions", "_calculate_rewards")]
    assert order == ["_generate_and_score_completions", "_calculate_rewards"], f"{TRL}: called in the order {order}"
    assert run.is_training is True, f"{TRL}: self.model.training is False in a training rollout"


def test_rewards_are_of_all_ranks_a_row_a_response_and_a_column_a_function(run):
    """Silence is decided on them."""
    assert run.rewards.shape == (ROWS, 1), f"{TRL}: _calculate_rewards gives {tuple(run.rewards.shape)}"
    assert torch.is_floating_point(run.rewards)


def test_a_reward_function_gets_lists_with_a_value_for_each_response(run):
    """The watch over reward functions counts rows by `prompts` and looks for the row that fails."""
    for key in ("prompts", "completions", "completion_ids"):
        value = run.reward_inputs.get(key)
        assert isinstance(value, list), f"{TRL}: a reward function gets {key} as {type(value).__name__}"
        assert len(value) == ROWS, f"{TRL}: a reward function gets {len(value)} {key} for {ROWS} responses"


def test_the_batch_has_advantages_masks_and_a_token_count(run):
    """What HPOTrainer weights, and the lengths it counts."""
    batch = run.batch
    missing = {"advantages", "completion_mask", "completion_ids", "num_items_in_batch"} - set(batch)
    assert not missing, f"{TRL}: the generation batch lacks {missing}; it has {sorted(batch)}"
    assert batch["advantages"].shape == (ROWS,), f"{TRL}: advantages are {tuple(batch['advantages'].shape)}"
    assert batch["completion_mask"].shape == batch["completion_ids"].shape, f"{TRL}: completion_mask is not a token's"
    assert "tool_mask" not in batch, f"{TRL}: there is a tool_mask without tools"
    assert float(batch["num_items_in_batch"]) == float(batch["completion_mask"].sum()), (
        f"{TRL}: num_items_in_batch is no longer the trained tokens of the whole generation batch"
    )


def test_tool_tokens_are_left_out_by_tool_mask(tool_run):
    """L_i counts trained tokens only: completion_mask * tool_mask."""
    batch = tool_run.batch
    assert "tool_mask" in batch, f"{TRL}: the mask of the environment's tokens has left the batch: {sorted(batch)}"
    lengths = (batch["completion_mask"] * batch["tool_mask"]).sum(dim=1)
    assert lengths.tolist() == [4] * ROWS, f"{TRL}: tool_mask marks other tokens than the environment's"
    assert float(batch["num_items_in_batch"]) == 4 * ROWS, f"{TRL}: num_items_in_batch counts the environment's tokens"


def test_advantages_are_group_normalised_in_the_order_of_the_rewards(run):
    """The weights are of those advantages; hysteretic.group_advantages must be the same function."""
    expected = hy.group_advantages(run.rewards[:, 0], run.trainer.num_generations, hy.StdScale())
    torch.testing.assert_close(
        run.batch["advantages"], expected, msg=lambda text: f"{TRL}: advantages are scaled in another way now. {text}"
    )


def test_rows_and_numbers_added_to_the_batch_reach_the_micro_batches(run):
    """Weighted advantages stay with their responses when TRL shuffles and cuts the batch; 0-dim tensors pass."""
    assert len(run.micro_batches) == UPDATES, f"{TRL}: {len(run.micro_batches)} micro-batches for {UPDATES} updates"
    rows = torch.cat([micro_batch["row"] for micro_batch in run.micro_batches])
    assert sorted(rows.tolist()) == list(range(ROWS)), f"{TRL}: micro-batches do not hold every response once"
    trained = torch.cat([micro_batch["advantages"] for micro_batch in run.micro_batches])
    assert torch.equal(trained, run.batch["advantages"][rows]), f"{TRL}: advantages part from their responses"
    assert all(float(micro_batch["number"]) == 3.0 for micro_batch in run.micro_batches)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loss_type", "dapo"),
        ("multi_objective_aggregation", "sum_then_normalize"),
        ("reward_func_names", ["last_byte"]),
        ("num_generations", 4),
        ("max_completion_length", 10),
    ],
)
def test_the_trainer_keeps_the_setting_under_its_name(run, name, expected):
    """HPOTrainer reads it from the trainer."""
    found = getattr(run.trainer, name, "nothing")
    assert found == expected, f"{TRL}: GRPOTrainer.{name} is {found!r}, expected {expected!r}"


def test_reward_weights_are_a_tensor_with_one_for_each_function(run):
    """HPOTrainer sums rewards with them, as TRL does."""
    weights = getattr(run.trainer, "reward_weights", None)
    assert isinstance(weights, torch.Tensor), f"{TRL}: GRPOTrainer.reward_weights is {type(weights).__name__}"
    assert weights.tolist() == [1.0]


def test_the_accelerator_gathers_and_knows_its_process(run):
    """Counts are over all ranks, and a rank takes its own slice of the weighted advantages."""
    accelerator = getattr(run.trainer, "accelerator", None)
    assert accelerator is not None, f"{TRL}: GRPOTrainer.accelerator is gone"
    assert accelerator.process_index == 0
    assert torch.equal(accelerator.gather(torch.ones(3, 2)), torch.ones(3, 2))


def test_figures_in_metrics_reach_the_log_and_are_cleared(run):
    """hpo/alpha and its like are appended to _metrics["train"][name]."""
    steps = [logs for logs in run.logs if "loss" in logs]
    assert len(steps) == UPDATES, f"{TRL}: {len(steps)} logs with a loss for {UPDATES} updates"
    assert steps[0].get("contract/seven") == 7.0, f"{TRL}: _metrics['train'] no longer reaches the log"
    assert "contract/seven" not in steps[1], f"{TRL}: _metrics are not cleared by log"
    assert run.left_after_log == {}, f"{TRL}: _metrics are not cleared by log: {run.left_after_log}"


def test_step_counts_micro_batches_and_decides_when_to_generate(run):
    """HPOTrainer sets it on resuming, so that a rollout is not begun at a wrong place."""
    assert run.step_at_start == 0, f"{TRL}: _step starts at {run.step_at_start}"
    assert run.trainer._step == UPDATES, f"{TRL}: _step is {run.trainer._step} after {UPDATES} micro-batches"
    assert run.step_at_generation == [0], f"{TRL}: responses were generated at _step {run.step_at_generation}"


def test_checkpoints_are_saved_where_the_trainer_adds_its_state(run):
    """hpo_state.json goes into <_get_output_dir()>/checkpoint-<global step>."""
    assert run.calls.count("_save_checkpoint") == UPDATES, f"{TRL}: _save_checkpoint is not what saves checkpoints"
    assert run.trainer._get_output_dir(trial=None) == str(run.folder), f"{TRL}: _get_output_dir points elsewhere"
    assert (run.folder / f"checkpoint-{run.trainer.state.global_step}" / "trainer_state.json").exists()
    assert run.trainer.args.should_save is True


def test_resuming_loads_the_optimiser_before_the_first_micro_batch(run, tmp_path):
    """There HPOTrainer reads its state and sets _step; both must be before anything is generated."""
    checkpoint = str(run.folder / f"checkpoint-{UPDATES}")
    resumed = stock_run(tmp_path, 2 * UPDATES, checkpoint=checkpoint)
    assert resumed.calls.index("_load_optimizer_and_scheduler") < resumed.calls.index("_calculate_rewards"), (
        f"{TRL}: the optimiser is loaded after the first rollout"
    )
    assert resumed.checkpoint == checkpoint, f"{TRL}: _load_optimizer_and_scheduler gets {resumed.checkpoint!r}"
    saved = json.loads((run.folder / f"checkpoint-{UPDATES}" / "trainer_state.json").read_text())
    assert saved.get("global_step") == UPDATES, f"{TRL}: trainer_state.json says global_step {saved.get('global_step')}"
