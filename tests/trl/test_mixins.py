"""Each of HPOTrainer's mixins works alone on TRL's trainer, with TRL's own config."""

import json
import math

import pytest
import torch
from accelerate.utils import set_seed
from policy import low_first_byte, prompts, random_policy, settings
from transformers import Qwen2ForSequenceClassification, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

import hysteretic as hy
from hysteretic.trl import BadUpdateError, HPOConfig, HPOTrainer, RewardError
from hysteretic.trl.fault_tolerance import FaultTolerance
from hysteretic.trl.packing import PackedUpdates
from hysteretic.trl.weighting import WeightedAdvantages

SEVERAL = {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 4, "optim": "sgd"}
"""Two rollouts of two updates each."""


class Packed(PackedUpdates, GRPOTrainer):
    pass


class Weighted(WeightedAdvantages, GRPOTrainer):
    pass


class Tolerant(FaultTolerance, GRPOTrainer):
    pass


class KeepGradients(TrainerCallback):
    def __init__(self):
        self.gradients = []

    def on_pre_optimizer_step(self, args, state, control, model=None, **_):
        self.gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone())


def trainer_of(kind, args, reward=low_first_byte, **options):
    set_seed(0)
    model, tokenizer = random_policy()
    return kind(model, reward, args, train_dataset=prompts(), processing_class=tokenizer, **options)


def gradients_of(kind, args, **options):
    keep = KeepGradients()
    trainer = trainer_of(kind, args, callbacks=[keep], **options)
    trainer.train()
    return trainer, keep.gradients


def assert_same_gradients(ours, theirs):
    assert len(ours) == len(theirs) == 4
    for mine, other in zip(ours, theirs, strict=True):
        assert other.norm() > 1e-4
        assert (mine - other).norm() <= 1e-5 * other.norm()


@pytest.mark.parametrize("loss_type", ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"])
def test_packed_updates_alone_have_trls_gradients(loss_type, tmp_path):
    """Of each of TRL's losses, with TRL's advantages."""
    level = "sequence" if loss_type == "luspo" else "token"
    changes = {**SEVERAL, "learning_rate": 1e-2, "loss_type": loss_type, "importance_sampling_level": level}
    changes["epsilon_high"] = 5.0 if loss_type == "cispo" else None
    runs = [gradients_of(kind, GRPOConfig(**settings(tmp_path, **changes))) for kind in (Packed, GRPOTrainer)]
    assert_same_gradients(runs[0][1], runs[1][1])
    planned = ["hpo/forwarded_tokens" in log for log in runs[0][0].state.log_history if "loss" in log]
    assert planned == [loss_type != "bnpo"] * 4


@pytest.mark.parametrize("objective", [hy.a_hpo(), hy.gspo(), hy.dr_grpo(10)], ids=["a-hpo", "gspo", "dr-grpo"])
def test_the_weight_alone_has_the_gradients_of_the_whole(objective, tmp_path):
    """The maths needs neither packing nor checkpoints."""
    changes = settings(tmp_path, **SEVERAL, learning_rate=1e-2)
    alone, gradients = gradients_of(Weighted, GRPOConfig(**changes), objective=objective)
    whole, expected = gradients_of(HPOTrainer, HPOConfig(**changes), objective=objective)
    assert_same_gradients(gradients, expected)
    logged = [
        [{name: value for name, value in log.items() if name.startswith("hpo/")} for log in trainer.state.log_history]
        for trainer in (alone, whole)
    ]
    for ours, theirs in zip(*logged, strict=True):
        assert ours == {name: value for name, value in theirs.items() if name in ours}
    assert logged[0][0]["hpo/silent_share"] < 1


def test_the_weight_alone_keeps_its_average_in_checkpoints(tmp_path):
    changes = {"alpha_ema": 0.5, "save_strategy": "steps", "save_steps": 2, "learning_rate": 1e-2}
    whole = trainer_of(Weighted, HPOConfig(**settings(tmp_path, **SEVERAL, **changes)))
    whole.train()
    kept = json.loads((tmp_path / "checkpoint-4" / "hpo_state.json").read_text())
    assert kept == {"smoothed_alpha": whole.state.log_history[-2]["hpo/alpha"]}
    resumed = trainer_of(Weighted, HPOConfig(**settings(tmp_path / "more", **SEVERAL, **changes)))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert resumed.extra_state() == kept


def test_fault_tolerance_alone_stops_on_a_bad_reward_with_a_checkpoint(tmp_path):
    """Two updates are finished when the second rollout fails; the checkpoint continues from there."""
    calls = []

    def fails_in_the_second_rollout(prompts, completion_ids, **_):
        calls.append(len(calls))
        return [math.nan] * len(prompts) if len(calls) == 2 else low_first_byte(prompts, completion_ids)

    changes = {**SEVERAL, "loss_type": "grpo"}
    trainer = trainer_of(Tolerant, GRPOConfig(**settings(tmp_path, **changes)), fails_in_the_second_rollout)
    with pytest.raises(RewardError, match="nan for row 0"):
        trainer.train()
    checkpoint = tmp_path / "checkpoint-2"
    assert (checkpoint / "sealed.json").is_file()
    resumed = trainer_of(Tolerant, GRPOConfig(**settings(tmp_path / "more", **changes)))
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.state.global_step == 4


def test_fault_tolerance_alone_stops_on_a_loss_that_is_nan(tmp_path):
    trainer = trainer_of(Tolerant, GRPOConfig(**settings(tmp_path, **SEVERAL)))
    inner = trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: inner(model, inputs) * math.nan
    with pytest.raises(BadUpdateError, match="update 1 is NaN"):
        trainer.train()
    assert len(torch.load(tmp_path / "bad-updates" / "update-1-rank0.pt")["micro_batches"]) == 2


def test_a_tolerated_response_without_a_reward_is_trls_unscorable_one(tmp_path):
    """Fault tolerance alone hands TRL a NaN, which gives the response no advantage and moves no mean."""

    def without_the_first(prompts, completion_ids, **_):
        return [math.nan, *low_first_byte(prompts, completion_ids)[1:]]

    trainer = trainer_of(Tolerant, HPOConfig(**settings(tmp_path, max_unscored=1)), without_the_first)
    batches = []
    generate = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: batches.append(generate(inputs)) or batches[0]
    trainer.train()
    assert batches[0]["advantages"][0] == 0
    assert batches[0]["advantages"].isfinite().all()
    assert batches[0]["advantages"].ne(0).any()
    assert trainer.extra_state()["unscored"] == 1


@pytest.mark.parametrize(
    ("config", "objective", "message"),
    [
        (GRPOConfig, None, "args is a GRPOConfig, which does not name an objective; give an HPOConfig"),
        (lambda **_: None, hy.a_hpo(), "args is a NoneType"),
        (HPOConfig, "a-hpo", "objective is 'a-hpo'; give an Objective"),
    ],
)
def test_the_weight_alone_says_what_objective_it_lacks(config, objective, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        trainer_of(Weighted, config(**settings(tmp_path)), objective=objective)


class InfiniteRewardModel(Qwen2ForSequenceClassification):
    def forward(self, *arguments, **options):
        found = super().forward(*arguments, **options)
        found.logits = torch.full_like(found.logits, math.inf)
        return found


@pytest.mark.parametrize("others", [[], [low_first_byte]])
def test_an_infinite_reward_of_a_model_stops_the_run(others, tmp_path):
    """Models are not watched as functions are; their infinity must not pass for a reward that was withheld."""
    policy, tokenizer = random_policy()
    judge = InfiniteRewardModel(type(policy.config)(**{**policy.config.to_dict(), "num_labels": 1}))
    trainer = trainer_of(
        Tolerant,
        GRPOConfig(**settings(tmp_path)),
        [judge, *others],
        reward_processing_classes=[tokenizer, *[None for _ in others]],
    )
    with pytest.raises(RewardError, match="Reward model 1 gave inf for row 0"):
        trainer.train()
