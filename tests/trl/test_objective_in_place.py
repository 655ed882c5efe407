"""`HPOTrainer(objective=...)` computes all of that objective; silence is that of the rewards that count."""

from dataclasses import dataclass

import pytest
import torch
from accelerate.utils import set_seed
from policy import low_first_byte, prompts, random_policy, settings

import hysteretic as hy
from hysteretic.parts import UniformWeight
from hysteretic.trl import HPOConfig, HPOTrainer
from hysteretic.trl.rewards import GroupRewards


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
