"""What a group's advantages are divided by: success rates, refusals, and the pull of a prompt by its success rate."""

import math
from itertools import product

import pytest
import torch

import hysteretic as hy

PULLS = {
    hy.NoScale(): lambda p: p * (1 - p),
    hy.StdScale(epsilon=0.0): lambda p: math.sqrt(p * (1 - p)),
    hy.MeanScale(): lambda p: 1 - p,
    hy.RootScale(): lambda p: math.sqrt(p) * (1 - p),
    hy.FocalScale(gamma=2.0): lambda p: math.sqrt(p * (1 - p)) * (1 - p) ** 2,
}
BINARY = [hy.MeanScale(), hy.RootScale(), hy.FocalScale()]


@pytest.mark.parametrize(("scale", "pull"), PULLS.items(), ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("successes", [1, 3, 7])
def test_the_pull_of_a_prompt_follows_its_success_rate(scale, pull, successes):
    """c(p) of the module's table: the advantages of the successes, times their fraction; here G is 8."""
    rewards = torch.tensor([1.0] * successes + [0.0] * (8 - successes), dtype=torch.float64)
    advantages = hy.group_advantages(rewards, 8, scale)
    found = float(advantages[:successes].sum()) / 8
    unbiased = math.sqrt(7 / 8) if isinstance(scale, hy.StdScale | hy.FocalScale) else 1.0
    assert found == pytest.approx(unbiased * pull(successes / 8), rel=1e-3)


@pytest.mark.parametrize("scale", PULLS)
def test_advantages_of_a_group_add_up_to_zero(scale):
    """A divisor is one number per group."""
    for rewards in product([0.0, 1.0], repeat=5):
        advantages = hy.group_advantages(torch.tensor(rewards, dtype=torch.float64), 5, scale)
        assert advantages.sum().item() == pytest.approx(0.0, abs=1e-12)
        assert advantages.isfinite().all()


@pytest.mark.parametrize("scale", BINARY)
def test_silent_groups_stay_zero(scale):
    """Success rates of 0 and 1, where the divisor would be 0."""
    rewards = torch.tensor([0.0] * 4 + [1.0] * 4)
    assert hy.group_advantages(rewards, 4, scale).tolist() == [0.0] * 8


@pytest.mark.parametrize("scale", BINARY)
@pytest.mark.parametrize("reward", [0.1, 2.0, -1.0])
def test_graded_rewards_are_refused_with_their_place(scale, reward):
    """The mean of a graded reward is no success rate, and a negative one would turn every sign around."""
    rewards = torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0, reward])
    with pytest.raises(ValueError, match=rf"{type(scale).__name__}.*response 1 of group 2 is {reward:g}.*StdScale"):
        hy.group_advantages(rewards, 2, scale)


def test_parameters_out_of_range_are_errors():
    """Negative ones would turn the scale around without a word."""
    with pytest.raises(ValueError, match="epsilon is -1"):
        hy.StdScale(epsilon=-1.0)
    for gamma in (-0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="gamma is"):
            hy.FocalScale(gamma)


def test_a_scale_of_a_users_own():
    """Any function of the group's rewards; here the range."""

    def spread(rewards):
        return rewards.amax(dim=1, keepdim=True) - rewards.amin(dim=1, keepdim=True)

    advantages = hy.group_advantages(torch.tensor([0.0, 4.0, 1.0, 1.0]), 2, spread)
    assert advantages.tolist() == [-0.5, 0.5, 0.0, 0.0]
