"""HPOTrainer computes only what has a gradient, and the run does not change. Gradients: test_gradients.py."""

import pytest
import torch
from accelerate.utils import set_seed
from datasets import Dataset
from packed_runs import PLAIN, SEVERAL, Tokens, logs, trained
from policy import low_first_byte, prompts, random_policy, settings
from thorough import thorough
from transformers import AutoModelForCausalLM, Qwen2ForCausalLM

import hysteretic.tasks
from hysteretic.models import tiny_model
from hysteretic.rewards.reward_function import as_dataset, task_reward
from hysteretic.trl import HPOConfig, HPOTrainer
from hysteretic.trl.step import Step


def half_silent(prompts, completion_ids, **_):
    rewards = low_first_byte(prompts, completion_ids)
    return [reward if int(prompt[:3]) % 2 else 0.0 for prompt, reward in zip(prompts, rewards, strict=True)]


def stream_tokens(batch, rows):
    """P - 1 for each distinct prompt and L for each response of these rows."""
    prompts_seen = {tuple(batch["prompt_ids"][i][batch["prompt_mask"][i].bool()].tolist()) for i in rows}
    return sum(len(p) - 1 for p in prompts_seen) + sum(int(batch["completion_mask"][i].sum()) for i in rows)


def pushed(batch, rows):
    """Tokens that should go through the model: the stream's, or the padded rows' where that is hardly more."""
    lengths = [int(batch["prompt_mask"][i].sum()) for i in rows], [int(batch["completion_mask"][i].sum()) for i in rows]
    stream, rectangle = stream_tokens(batch, rows), len(rows) * sum(map(max, lengths))
    return stream if stream <= 0.85 * rectangle else rectangle


def test_the_update_pushes_each_prompt_once_and_no_silent_response(tmp_path):
    """A silent return to the plain way fails here without timing anything."""
    lean = trained(tmp_path / "lean", half_silent, per_device_train_batch_size=32, gradient_accumulation_steps=1)
    (batch,) = lean.batches
    kept = (batch["advantages"] != 0).nonzero().squeeze(1).tolist()
    assert 0 < len(kept) < 16
    assert lean.tokens.update == [stream_tokens(batch, kept)]
    assert pushed(batch, kept) == stream_tokens(batch, kept)
    plain = trained(
        tmp_path / "plain", half_silent, per_device_train_batch_size=32, gradient_accumulation_steps=1, **PLAIN
    )
    width = batch["prompt_ids"].shape[1] + batch["completion_ids"].shape[1]
    assert plain.tokens.update == [32 * width]
    log = lean.state.log_history[0]
    assert log["hpo/forwarded_tokens"] == lean.tokens.update[0]
    trained_tokens = int(batch["completion_mask"][kept].sum())
    assert log["hpo/gradient_token_share"] == pytest.approx(trained_tokens / lean.tokens.update[0])


def test_old_log_probs_and_generation_push_no_more_than_they_must(tmp_path):
    """Prompts once, one token per step for unfinished responses, and one stream of the responses with a gradient."""
    lean = trained(tmp_path, half_silent, per_device_train_batch_size=32, gradient_accumulation_steps=1,
                   steps_per_generation=1, num_iterations=2, max_steps=2)  # fmt: skip
    (batch,) = lean.batches
    kept = (batch["advantages"] != 0).nonzero().squeeze(1).tolist()
    prefill, *decoding, old_logps = lean.tokens.rest
    assert prefill == 8 * 4
    assert old_logps == pushed(batch, kept)
    lengths = batch["completion_mask"].sum(dim=1)
    needed = [int((lengths > t + 1).sum()) for t in range(len(decoding))]
    assert all(need <= count <= need / 0.9 + 1 for need, count in zip(needed, decoding, strict=True))


@pytest.mark.parametrize("tokens", [16, 60, 1000])
@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("leave_out", [True, False])
def test_no_micro_batch_exceeds_its_tokens(tmp_path, tokens, share, leave_out):
    """The bound that memory is reckoned by, in the update and in the old-log-prob pass, with prompts of all lengths; a
    response longer than it goes alone. All tokens go through once."""
    data = Dataset.from_dict({"prompt": [f"{i:03d}: " + "x" * (11 * i % 37) for i in range(32)]})
    changes = {"share_prompts": share, "drop_silent": leave_out, "num_iterations": 2, "max_steps": 1}
    lean = trained(tmp_path, data=data, tokens_per_micro_batch=tokens, **changes)
    steps = [step for step in lean.steps if isinstance(step, Step)]
    micro_batches = [micro for step in steps for micro in step.micro_batches]
    assert len(micro_batches) == len(lean.tokens.update)
    for micro, count in zip(micro_batches, lean.tokens.update, strict=True):
        assert count <= tokens or len(micro.inputs["advantages"]) == 1
    longest = 38 + 10
    if not leave_out:  # after generation, whose last passes are of one token per response
        old = lean.tokens.rest[-len(micro_batches) :]
        assert sum(old) >= sum(lean.tokens.update) * 0.9
        assert max(old) <= max(tokens, longest)
    assert sum(len(micro.inputs["advantages"]) for micro in micro_batches) == (
        int((lean.batches[0]["advantages"] != 0).sum()) if leave_out else 32
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"drop_silent": False, "drop_finished": False},
        {"share_prompts": False, "drop_finished": False},
        {"drop_silent": False, "share_prompts": False},
        {},
        {"num_iterations": 2, "max_steps": 8},
        {"gradient_accumulation_steps": 2, "max_steps": 2},
        {"algorithm": "gspo"},
        {"algorithm": "sapo"},
        {"algorithm": "cispo"},
        {"beta": 0.1},
        {"beta": 0.1, "drop_finished": False, "tokens_per_micro_batch": 40},
        {"tokens_per_micro_batch": 40},
        {"mask_truncated_completions": True, "max_completion_length": 60},
    ],
    ids=str,
)
def test_everything_logged_is_that_of_the_plain_way(tmp_path, changes):
    """Same seed: the same responses, rewards, means over the whole batch, gradient norms, and weights after updates.

    With a KL term nothing is left out; the means of TRL weigh micro-batches alike, so accumulation is compared on
    micro-batches of one length only.
    """
    # The model directory of the reference model: TRL reloads it by name.
    policy, tokenizer = random_policy()
    policy.save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    runs = []
    for ways in ({}, PLAIN):
        model = Qwen2ForCausalLM.from_pretrained(tmp_path / "policy")
        defaults = {**SEVERAL, "max_steps": 4, "learning_rate": 1e-3, "weight_decay": 0.1}
        ours = {**changes, **ways}
        if ways:
            ours.pop("tokens_per_micro_batch", None)
        runs.append(trained(tmp_path / str(len(runs)), model=model, **{**defaults, **ours}))
    lean, plain = runs
    torch.testing.assert_close(lean.batches[0]["completion_ids"], plain.batches[0]["completion_ids"])
    assert len(logs(lean)) == len(logs(plain)) == lean.args.max_steps
    for ours, theirs in zip(logs(lean), logs(plain), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if name == "entropy" and not lean._samples and lean._leaves_out:
                continue  # transformers sampled: known for responses with a gradient alone
            # Entropy of what is left out is measured at sampling, updates of the rollout ago.
            tolerance = 2e-2 if name == "entropy" else 1e-3
            assert ours[name] == pytest.approx(value, rel=tolerance, abs=1e-4), name
    assert lean.weights[0].ne(lean.weights[-1]).any()
    # By norm: AdamW's first updates are a gradient over its own size, which turns noise about 0 into whole steps.
    moved = plain.weights[-1] - plain.weights[0]
    assert (lean.weights[-1] - plain.weights[-1]).norm() <= 1e-3 * moved.norm()


def test_a_step_without_any_gradient_moves_what_momentum_moves(tmp_path):
    """An all-silent rollout after one with rewards: AdamW goes on as it does on gradients of 0, not as on none."""

    def first_rollout_only(prompts, completion_ids, trainer_state, **_):
        rewards = low_first_byte(prompts, completion_ids)
        return rewards if trainer_state.global_step == 0 else [0.0] * len(rewards)

    ways = {"learning_rate": 1e-2, "weight_decay": 0.1, "max_steps": 3, "steps_per_generation": 4}
    lean = trained(tmp_path / "lean", first_rollout_only, gradient_accumulation_steps=4, **ways)
    plain = trained(tmp_path / "plain", first_rollout_only, gradient_accumulation_steps=4, **ways, **PLAIN)
    assert lean.tokens.update[-2:] == [2, 2]  # two tokens, so that there are gradients, of 0
    moved = lean.weights[1] - lean.weights[0]
    assert float(moved.abs().max()) > 1e-3
    torch.testing.assert_close(lean.weights[2], plain.weights[2], rtol=1e-3, atol=1e-4)


def test_a_first_rollout_without_any_gradient_changes_nothing_but_counts(tmp_path):
    lean = trained(
        tmp_path, lambda prompts, **_: [0.0] * len(prompts), learning_rate=1e-2, weight_decay=0.0, max_steps=2
    )
    before = torch.cat([p.detach().flatten() for p in random_policy()[0].parameters()])
    assert lean.state.global_step == 2
    assert torch.equal(lean.weights[-1], before)
    assert [log["hpo/silent_share"] for log in logs(lean)] == [1.0, 1.0]


def test_one_response_with_a_gradient(tmp_path):
    """Positive-only with one right answer in the batch: a stream of one prompt and one response."""

    def first_is_right(prompts, **_):
        return [1.0] + [0.0] * (len(prompts) - 1)

    lean = trained(tmp_path, first_is_right, algorithm="positive-only")
    (batch,) = lean.batches
    assert (batch["advantages"] != 0).nonzero().tolist() == [[0]]
    assert lean.tokens.update == [pushed(batch, [0])]


def test_evaluation_goes_the_same_way(tmp_path):
    """The loss and the reward of held-out prompts, without rows left out; fewer tokens."""
    results, tokens = [], []
    for ways in ({}, PLAIN):
        set_seed(0)
        model, tokenizer = random_policy()
        args = HPOConfig(**settings(tmp_path, per_device_eval_batch_size=8, **ways))
        trainer = HPOTrainer(
            model, low_first_byte, args, train_dataset=prompts(), eval_dataset=prompts(8), processing_class=tokenizer
        )
        trainer._decide()  # compares both ways once; not counted
        counted = Tokens(model)
        results.append(trainer.evaluate())
        tokens.append(sum(counted.rest))
    for name in ("eval_loss", "eval_reward", "eval_entropy", "eval_completions/mean_length"):
        assert results[0][name] == pytest.approx(results[1][name], abs=1e-5)
    assert tokens[0] < tokens[1]


@thorough
def test_the_tiny_models_learning_curve_is_that_of_the_plain_way(tmp_path):
    """20 updates from the sparse start: the same rewards at every step, losses within float noise."""
    task = hysteretic.tasks.load("countdown-3", largest=9, largest_target=99, prompt="terse", guess_rate_below=0.06)
    problems = task.problems(count=80)
    curves = []
    for ways in ({}, PLAIN):
        setting = {**SEVERAL, "learning_rate": 3e-4, "max_steps": 20, "num_generations": 8, "generation_kwargs": None}
        setting |= {"per_device_train_batch_size": 32, "max_completion_length": 72, **ways}
        model = AutoModelForCausalLM.from_pretrained(tiny_model())
        reward, data = task_reward(task, problems), as_dataset(problems)
        lean = trained(tmp_path / str(len(curves)), reward, model, data, **setting)
        curves.append(logs(lean))
    assert len(curves[0]) == 20
    assert {log["reward"] for log in curves[0] if "reward" in log} != {0.0}
    for ours, theirs in zip(*curves, strict=True):
        assert ours.get("reward") == theirs.get("reward")
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=2e-4)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=2e-2, abs=1e-4)
