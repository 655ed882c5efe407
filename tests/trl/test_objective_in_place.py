"""`HPOTrainer(objective=...)` computes all of that objective; silence is that of the rewards that count."""

from dataclasses import dataclass

import pytest
import torch
from accelerate.utils import set_seed
from policy import low_first_byte, prompts, random_policy, settings
from transformers import TrainerCallback

import hysteretic as hy
from hysteretic.parts import UniformWeight
from hysteretic.trl import HPOConfig, HPOTrainer
from hysteretic.trl.rewards import GroupRewards, RewardError


def trainer_of(folder, rewards=low_first_byte, objective=None, **changes):
    model, tokenizer = random_policy()
    config = HPOConfig(**settings(folder, **changes))
    return HPOTrainer(model, rewards, config, train_dataset=prompts(), processing_class=tokenizer, objective=objective)


@pytest.mark.parametrize(
    ("objective", "asked", "computed"),
    [(hy.dr_grpo(10), None, "none"), (hy.a_hpo(), "none", "group"), (hy.a_hpo(), "batch", "batch")],
)
def test_the_objectives_scale_is_the_one_computed(tmp_path, objective, asked, computed):
    """Without this, dr_grpo() given as an objective would still be divided by the standard deviation."""
    trainer = trainer_of(tmp_path, objective=objective, scale_rewards=asked)
    assert trainer.scale_rewards == computed


def test_an_average_that_would_do_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="alpha_ema"):
        trainer_of(tmp_path, objective=hy.a_hpo().replace(weight=UniformWeight()), alpha_ema=0.5)


@dataclass
class HalfWeight:
    """A weight by a user: an ordinary dataclass, not frozen, so not hashable, and without alpha."""

    factor: float = 0.5

    def __call__(self, advantages, statistics):
        return advantages.where(advantages >= 0, self.factor * advantages)


class TokenMean:
    """A length by a user, without dataclass or hash."""

    __hash__ = None

    def __call__(self, lengths, statistics):
        return torch.ones_like(lengths) / statistics.tokens


def test_parts_of_a_users_own_train_as_their_equals_here(tmp_path):
    """Only a frozen dataclass can be a key of a dictionary; a part need not be one."""
    mine = hy.hpo().replace(weight=HalfWeight(), length=TokenMean())
    weights = []
    for objective in [mine, hy.hpo(alpha=0.5)]:
        set_seed(0)
        trainer = trainer_of(tmp_path, objective=objective, learning_rate=1e-3, max_steps=2)
        trainer.train()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.model.parameters()]))
        first = trainer.state.log_history[0]
        assert ("hpo/alpha" in first) == (objective is not mine)
        assert first["hpo/positive_mass"] > 0
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-4, atol=1e-6)
    assert not torch.equal(weights[0], torch.cat([p.flatten() for p in random_policy()[0].parameters()]))


def test_a_ratio_or_gate_that_trl_lacks_is_refused(tmp_path):
    """TRL computes the loss, so it must have it."""
    with pytest.raises(TypeError, match="TRL has no importance ratio <"):
        trainer_of(tmp_path, objective=hy.hpo().replace(ratio=TokenMean()))
    with pytest.raises(TypeError, match=r"TRL has no loss for the gate HalfWeight\(factor=0.5\)"):
        trainer_of(tmp_path, objective=hy.hpo().replace(gate=HalfWeight()))


def test_a_constant_length_is_that_of_the_run(tmp_path):
    """dr_grpo() without a length of its own takes max_completion_length."""
    assert trainer_of(tmp_path, objective=hy.dr_grpo()).objective == hy.dr_grpo(10)


def test_a_reward_of_weight_zero_or_a_none_breaks_no_silence(tmp_path):
    """Only what enters the advantages says whether a group is silent."""
    trainer = trainer_of(
        tmp_path, [low_first_byte, low_first_byte], multi_objective_aggregation="normalize_then_sum",
        reward_weights=[1.0, 0.0],
    )  # fmt: skip
    nan = float("nan")
    first = [0.1, 0.1, 0.1, 0.1, 1, nan, 1, 1, 0, nan, 1, 0]
    matrix = torch.tensor([first, list(range(12))]).T
    rewards = GroupRewards.of(matrix, trainer.num_generations, trainer.reward_weights, normalizes_first=True)
    assert rewards.is_silent.tolist() == [True] * 8 + [False] * 4


@pytest.mark.parametrize("scale", [hy.MeanScale(), hy.FocalScale(2.0), hy.StdScale(epsilon=0.5)])
def test_a_scale_that_trl_lacks_divides_its_centred_rewards(tmp_path, scale):
    """The advantages of the whole batch, before any weight."""
    trainer = trainer_of(tmp_path, objective=hy.grpo().replace(scale=scale))
    trainer.model.train()
    found = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))["advantages"]
    expected = hy.group_advantages(trainer.group_rewards.rewards[:, 0], trainer.num_generations, scale)
    assert trainer.scale_rewards == "none"
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert expected.abs().sum() > 0


def graded(completion_ids, **_):
    return [ids[0] / 300 for ids in completion_ids]


def test_a_scale_for_success_rates_refuses_graded_rewards(tmp_path):
    """As an error about rewards: finished updates are saved, and the run says what to do."""
    trainer = trainer_of(tmp_path, rewards=graded, objective=hy.maxrl())
    with pytest.raises(RewardError, match=r"MeanScale divides by the success rate.*use StdScale"):
        trainer.train()


def test_a_scale_and_rewards_normalised_one_by_one_contradict_each_other(tmp_path):
    """TRL then divides by each function's deviation itself."""
    with pytest.raises(ValueError, match=r"normalize_then_sum.*MeanScale"):
        trainer_of(tmp_path, objective=hy.maxrl(), multi_objective_aggregation="normalize_then_sum")


def test_alpha_follows_the_entropy_that_trl_logs(tmp_path):
    """Two updates per rollout: each alpha is that of the mean entropy of the rollout before, over the first one's."""
    weight = hy.EntropyWeight(below=1.0)
    several = {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 8, "learning_rate": 3e-2}
    trainer = trainer_of(tmp_path, objective=hy.grpo().replace(weight=weight), lr_scheduler_type="constant", **several)
    trainer.train()
    lines = [line for line in trainer.state.log_history if "hpo/alpha" in line]
    rollouts = [lines[i : i + 2] for i in range(0, len(lines), 2)]
    entropy = [sum(line["entropy"] for line in rollout) / 2 for rollout in rollouts]
    assert min(entropy) < 0.999 * entropy[0]
    for number, rollout in enumerate(rollouts):
        left = entropy[max(number - 1, 0)] / entropy[0]
        counts = [round(rollout[0][f"hpo/{sign}_share"] * 32) for sign in ("positive", "negative")]
        statistics = hy.BatchStatistics(responses=32, tokens=1, positives=counts[0], negatives=counts[1])
        expected = weight.with_entropy(left).alpha_for(statistics)
        assert rollout[0]["hpo/alpha"] == pytest.approx(expected, rel=1e-6)


def test_the_entropies_behind_alpha_are_in_checkpoints(tmp_path):
    """A resumed run continues with the same alpha."""
    objective = hy.grpo().replace(weight=hy.EntropyWeight(below=1.0))
    changes = {"save_strategy": "steps", "save_steps": 2, "learning_rate": 3e-2, "lr_scheduler_type": "constant"}
    whole = trainer_of(tmp_path / "a", objective=objective, max_steps=4, **changes)
    whole.train()
    resumed = trainer_of(tmp_path / "a", objective=objective, max_steps=4, **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-2"))
    alphas = [
        [line["hpo/alpha"] for line in each.state.log_history if "hpo/alpha" in line][2:] for each in (whole, resumed)
    ]
    assert len(alphas[0]) == 2
    assert alphas[0] == alphas[1]


def test_alpha_keeps_the_last_entropy_that_is_known(tmp_path):
    """Rollouts without a gradient, sampled by transformers, have no entropy: no failure, and none is made up."""
    rollout = []

    def sometimes_right(completion_ids, **_):
        rollout.append(1)
        return [float(ids[0] < 45 and len(rollout) in (2, 4)) for ids in completion_ids]

    objective = hy.grpo().replace(weight=hy.EntropyWeight(below=1.0))
    plain = {"share_prompts": False, "drop_finished": False, "steps_per_generation": 4}
    trainer = trainer_of(tmp_path, sometimes_right, objective, max_steps=5, **plain)
    seen = []
    trainer._with_entropy = lambda given: seen.append(type(trainer)._with_entropy(trainer, given)) or seen[-1]
    trainer.train()
    first = trainer.state.log_history[1]["entropy"]
    assert [each.weight.entropy for each in seen] == pytest.approx(
        [1, 1, 1, 1, trainer.state.log_history[3]["entropy"] / first]
    )


def test_the_state_of_an_update_does_not_change_afterwards(tmp_path):
    """A run that fails within the next update saves what `extra_state` returned at the end of the last one."""
    two = {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 2}
    trainer = trainer_of(tmp_path, objective=hy.grpo().replace(weight=hy.EntropyWeight()), **two)
    kept = []

    class Keep(TrainerCallback):
        def on_step_end(self, *_, **__):
            kept.append(trainer.extra_state())

    trainer.add_callback(Keep())
    trainer.train()
    assert [len(state["entropies"]) for state in kept] == [1, 2]
