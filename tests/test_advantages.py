"""Rewards to advantages, silence, sign counts and adaptive alpha."""

import math

import pytest
import torch
from oracle.objective_loops import advantages_of

import hysteretic as hy

REWARDS = [1.0, 0.0, 0.0, 1.0, 0.25, -3.0, 0.5, 2.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(("scale", "loops"), [(hy.StdScale(), "std"), (hy.NoScale(), "none")])
@pytest.mark.parametrize("group_size", [2, 3, 4, 6])
def test_advantages_are_those_of_the_loops(scale, loops, group_size):
    """The loops are a second reading of section 4.1 of the GRPO article, with the unbiased deviation."""
    ours = hy.group_advantages(torch.tensor(REWARDS, dtype=torch.float64), group_size, scale)
    assert ours.tolist() == pytest.approx(advantages_of(REWARDS, group_size, loops), rel=1e-12, abs=1e-15)


def test_epsilon_is_added_to_the_deviation():
    """One success of two: A = 0.5 / (sqrt(0.5) + epsilon), by hand."""
    ours = hy.group_advantages(torch.tensor([1.0, 0.0], dtype=torch.float64), 2, hy.StdScale(epsilon=0.25))
    assert ours[0].item() == pytest.approx(0.5 / (math.sqrt(0.5) + 0.25), rel=1e-15)


@pytest.mark.parametrize("value", [0.1, 10.1, -0.1, 1e-8, 1e6, 0.0])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_constant_groups_have_advantage_exactly_zero(value, dtype):
    """In float32 the plain formula gives -7e-5 for eight rewards of 0.1, and those false signs set alpha."""
    for group_size in [6, 8, 9]:  # in float64 six rewards of 0.1, and nine of 10.1, miss their mean
        rewards = torch.full((group_size,), min(value, 6e4), dtype=dtype)
        assert hy.silent_groups(rewards, group_size).tolist() == [True]
        assert hy.group_advantages(rewards, group_size).tolist() == [0.0] * group_size


def test_constant_groups_leave_the_counts_of_the_others_alone():
    """One success of eight in one group and many constant groups: 1 positive, 7 negatives, alpha 1/7, no more."""
    constant = [0.1] * 80 + [10.1] * 80
    rewards = torch.tensor([1.0] + [0.0] * 7 + constant)
    advantages = hy.group_advantages(rewards, 8)
    statistics = hy.BatchStatistics.of(advantages, torch.ones(len(rewards), 3))
    assert (statistics.positives, statistics.negatives, statistics.responses) == (1, 7, 168)
    assert hy.a_hpo().alpha(statistics) == pytest.approx(1 / 7)


def test_rounding_alone_does_not_end_silence():
    """Rewards that differ in the last digit of float32 are the same reward; a millionth more is a difference."""
    nearly = torch.tensor([0.1, 0.1 + 1e-8, 0.1, 0.1], dtype=torch.float64)
    apart = torch.tensor([0.1, 0.1 + 1e-6, 0.1, 0.1], dtype=torch.float64)
    assert hy.silent_groups(nearly, 4).tolist() == [True]
    assert hy.silent_groups(apart, 4).tolist() == [False]


def test_a_response_at_the_mean_is_neutral():
    """The middle of (0.1, 0.2, 0.3) is not at the float mean; a sign from that rounding would be noise."""
    for dtype in [torch.float32, torch.float64]:
        rewards = torch.tensor([0.1, 0.2, 0.3], dtype=dtype)
        assert hy.neutral_responses(rewards, 3).tolist() == [False, True, False]
        assert hy.group_advantages(rewards, 3).sign().tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize("group_size", [2, 3, 8, 64])
def test_a_group_that_speaks_has_both_signs(group_size):
    """n_pos / n_neg >= 1/(G-1) rests on it, also where the rewards differ by little more than the tolerance."""
    for gap in [1.01e-6, 1.5e-6, 3e-6, 1e-3]:
        for rewards in ([1.0 + gap] + [1.0] * (group_size - 1), [1.0 - gap] + [1.0] * (group_size - 1)):
            advantages = hy.group_advantages(torch.tensor(rewards, dtype=torch.float64), group_size)
            assert not hy.silent_groups(torch.tensor(rewards, dtype=torch.float64), group_size).any()
            assert (advantages > 0).any()
            assert (advantages < 0).any()


def test_several_reward_functions_are_silent_together():
    """Rewards [B, F]: a group speaks as soon as one function does."""
    both = torch.tensor([[0.1, 1.0], [0.1, 1.0], [0.1, 1.0], [0.1, 0.0]])
    assert hy.silent_groups(both, 2).tolist() == [True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_rewards_of_any_type_give_the_advantages_of_float64(dtype):
    """Reward functions return what they like; the arithmetic in between is float64."""
    rewards = torch.tensor([1, 0, 0, 1, 0, 0, 0, 1], dtype=dtype)
    ours = hy.group_advantages(rewards, 4)
    assert ours.dtype == (dtype if dtype.is_floating_point else torch.float32)
    exact = torch.tensor(advantages_of(rewards.double().tolist(), 4), dtype=torch.float64)
    torch.testing.assert_close(ours, exact.to(ours.dtype), rtol=0, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_reward_that_is_not_finite_is_an_error_naming_its_row(bad):
    """One NaN would spread over its group and, through the counts, over the batch."""
    rewards = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, bad])
    for function in [hy.group_advantages, hy.silent_groups, hy.neutral_responses]:
        with pytest.raises(ValueError, match="row 5"):
            function(rewards, 2)


@pytest.mark.parametrize(
    ("rewards", "group_size", "message"),
    [
        (torch.zeros(4), 1, "group_size is 1.*>= 2"),
        (torch.zeros(4), 0, "group_size is 0"),
        (torch.zeros(7), 2, r"multiple of group_size=2.*\[7\]"),
        (torch.tensor(1.0), 2, r"found shape \[\]"),
        (torch.zeros(4, 2, 2), 2, r"\[4, 2, 2\]"),
    ],
)
def test_rewards_that_form_no_groups_are_an_error(rewards, group_size, message):
    """With one response a group every advantage would be 0 / 0."""
    for function in [hy.group_advantages, hy.silent_groups, hy.neutral_responses]:
        with pytest.raises(ValueError, match=message):
            function(rewards, group_size)


def test_rewards_of_several_functions_are_not_taken_for_one():
    """Flattened, [B, F] would give B*F advantages that belong to no response."""
    for function in [hy.group_advantages, hy.neutral_responses]:
        with pytest.raises(ValueError, match=r"one per response; found shape \[4, 2\]"):
            function(torch.rand(4, 2), 2)


@pytest.mark.parametrize("scale", ["batch", hy.StdScale, None])
def test_a_scale_that_is_none_is_an_error(scale):
    """TRL's 'group' and 'batch' are other things; silence about it would be a wrong baseline."""
    with pytest.raises(TypeError, match=r"scale is .*; give a part, such as StdScale\(\)"):
        hy.group_advantages(torch.zeros(4), 2, scale)


def test_an_empty_batch_is_empty():
    """A rank without rows takes part like any other."""
    assert hy.group_advantages(torch.zeros(0), 4).shape == (0,)
    assert hy.silent_groups(torch.zeros(0), 4).shape == (0,)
    assert hy.silent_groups(torch.zeros(0, 3), 4).shape == (0,)
    statistics = hy.BatchStatistics.of(torch.zeros(0), torch.zeros(0, 5))
    assert statistics == hy.BatchStatistics()
    assert statistics.mean_length == 0.0
    assert hy.a_hpo().alpha(statistics) == 1.0


@pytest.mark.parametrize(
    ("positives", "negatives", "floor", "alpha"),
    [
        (1, 7, 0.1, 1 / 7),
        (4, 4, 0.1, 1.0),
        (7, 1, 0.1, 1.0),
        (1, 63, 0.1, 0.1),
        (1, 63, 0.0, 1 / 63),
        (0, 8, 0.1, 0.1),
        (0, 8, 0.0, 0.0),
        (0, 0, 0.1, 1.0),
        (5, 0, 0.1, 1.0),
        (0, 0, 0.0, 1.0),
        (1, 8, 1.0, 1.0),
    ],
)
def test_adaptive_alpha_is_the_clipped_ratio_of_signs(positives, negatives, floor, alpha):
    """alpha = clip(n_pos / n_neg, floor, 1); nothing negative gives 1, nothing positive the floor."""
    assert hy.adaptive_alpha(positives, negatives, floor) == alpha


def test_adaptive_alpha_refuses_what_is_no_count_and_no_floor():
    """A fraction in place of a count, or a floor above 1, would pass for a weight."""
    for positives, negatives in [(-1, 3), (3, -1)]:
        with pytest.raises(ValueError, match="cannot be negative"):
            hy.adaptive_alpha(positives, negatives)
    for floor in [-0.1, 1.1, math.nan]:
        with pytest.raises(ValueError, match="alpha_min is"):
            hy.adaptive_alpha(1, 1, floor)


def test_responses_without_a_trained_token_are_not_counted_in_signs():
    """A truncation mask empties a response: it stays in B, and neither its sign nor its length counts."""
    advantages = torch.tensor([1.0, -1.0, -1.0, 0.0, 2.0, -0.5])
    mask = torch.tensor([[1, 1], [0, 0], [0, 1], [1, 1], [0, 0], [1, 0]])
    expected = hy.BatchStatistics(responses=6, tokens=6, positives=1, negatives=2)
    assert hy.BatchStatistics.of(advantages, mask) == expected
    assert hy.BatchStatistics.of(advantages, mask.bool()) == expected
    assert hy.BatchStatistics.of_lengths(advantages, mask.sum(dim=1)) == expected
    assert hy.BatchStatistics.of_lengths(advantages, mask.sum(dim=1).float()) == expected
    assert expected.mean_length == 1.0


def test_tokens_are_counted_exactly():
    """float32 stops counting at 2^24: 2^24 + 3 tokens in lengths of float32 must stay that many."""
    lengths = torch.tensor([2.0**24, 1.0, 1.0, 1.0])
    assert hy.BatchStatistics.of_lengths(torch.zeros(4), lengths).tokens == 2**24 + 3


def test_statistics_add_up():
    """Sums travel: parts of a batch merge by + and by sum()."""
    parts = [hy.BatchStatistics(2, 10, 1, 1), hy.BatchStatistics(3, 0, 0, 2), hy.BatchStatistics(1, 5, 1, 0)]
    assert parts[0] + parts[1] == hy.BatchStatistics(5, 10, 1, 3)
    assert sum(parts) == hy.BatchStatistics(6, 15, 2, 3)
    with pytest.raises(TypeError):
        1 + parts[0]


def test_statistics_of_one_process_are_their_own_sum():
    """No torch.distributed, no communication."""
    statistics = hy.BatchStatistics(2, 10, 1, 1)
    assert statistics.across_ranks() is statistics


@pytest.mark.parametrize(
    ("advantages", "mask"),
    [(torch.zeros(4, 1), torch.ones(4, 3)), (torch.zeros(3), torch.ones(4, 3)), (torch.zeros(4), torch.ones(4))],
)
def test_statistics_of_other_shapes_are_an_error(advantages, mask):
    """Broadcasting [B] with [B, 1] would count B*B signs."""
    with pytest.raises(ValueError, match="must be"):
        hy.BatchStatistics.of(advantages, mask)
    with pytest.raises(ValueError, match="must be"):
        hy.BatchStatistics.of_lengths(torch.zeros(4), torch.ones(4, 1))


def test_a_list_of_rewards_is_answered_with_what_to_give():
    """An AttributeError about `dim` says nothing to a newcomer."""
    for function in (hy.group_advantages, hy.silent_groups, hy.neutral_responses):
        with pytest.raises(TypeError, match="rewards is a list; give a tensor"):
            function([0.0, 1.0], 2)
