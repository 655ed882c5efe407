"""The parts and presets: what they refuse, sums of shares, names."""

import math

import pytest
import torch

import hysteretic as hy
from hysteretic.presets import summaries


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_alpha_outside_zero_to_one_is_an_error(alpha):
    """A negative weight would reward failures; one above 1 is another method."""
    for make in [hy.FixedWeight, hy.AdaptiveWeight, hy.hpo, hy.a_hpo]:
        with pytest.raises(ValueError, match=r"set it within \[0, 1\]"):
            make(alpha)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hy.ShiftedBaseline(0.1), "shift <= 0"),
        (lambda: hy.asymre(shift=math.nan), "shift <= 0"),
        (lambda: hy.ClipGate(0.0, 0.2), r"clip is \(0.0, 0.2\)"),
        (lambda: hy.ClipGate(1.2, 0.2), "0 < low <= 1"),
        (lambda: hy.ClipGate(0.2, -0.1), "high > 0"),
        (lambda: hy.ClipGate(math.nan, 0.2), "clip is"),
        (lambda: hy.SoftGate(0.0, 1.0), "above 0"),
        (lambda: hy.SoftGate(1.0, -1.0), "above 0"),
        (lambda: hy.CapGate(0.28), "at least 1"),
        (lambda: hy.ConstantLength(0), "max_length is 0"),
        (lambda: hy.dr_grpo(-5), "max_length is -5"),
    ],
)
def test_a_part_out_of_its_range_is_an_error(make, message):
    """Wrong settings end the program before the run, not after it."""
    with pytest.raises(ValueError, match=message):
        make()


def test_a_shift_leaves_silent_responses_alone():
    """Else AsymRE would push up groups in which everything failed."""
    advantages = torch.tensor([1.0, 0.0, -0.05, -1.0])
    shifted = hy.ShiftedBaseline(-0.1)(advantages, hy.BatchStatistics())
    torch.testing.assert_close(shifted, torch.tensor([1.1, 0.0, 0.05, -0.9]))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("a-hop", "a-hpo"),
        ("ahpo", "a-hpo"),
        ("GRP0", "grpo"),
        ("drgrpo", "dr-grpo"),
        ("positive", "positive-only"),
        ("grpo-adaptive", "adaptive-grpo"),
        ("adaptivegrpo", "adaptive-grpo"),
        ("Adaptive_GPRO", "adaptive-grpo"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, nearest):
    """A typing error should cost one second."""
    with pytest.raises(ValueError, match=f"Did you mean '{nearest}'") as error:
        hy.make(name)
    assert all(known in str(error.value) for known in hy.ALGORITHMS)


def test_a_name_like_no_other_is_answered_with_all_names():
    """And without a guess."""
    with pytest.raises(ValueError, match=r"No algorithm is named 'xyzzy'. Known: grpo"):
        hy.make("xyzzy")


@pytest.mark.parametrize("name", ["a-hpo", "A-HPO", "a_hpo"])
def test_names_are_read_in_the_usual_spellings(name):
    """Papers write A-HPO, Python a_hpo, the command line a-hpo."""
    assert hy.make(name, alpha_min=0.2) == hy.a_hpo(alpha_min=0.2)


def test_every_preset_is_made_by_name_and_says_what_it_is_for():
    """`hysteretic list` and the documentation show these lines."""
    for name, preset in hy.ALGORITHMS.items():
        assert hy.make(name) == preset()
        assert 20 < len(summaries()[name]) < 120


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "a-hpo",
            {"alpha": 0.2},
            r"a-hpo has no argument 'alpha'. Did you mean 'alpha_min'\? Its arguments are alpha_min",
        ),
        ("grpo", {"clip": 0.1}, "grpo has no argument 'clip'. It takes no arguments"),
        ("hpo", {"alpha": 2.0}, "alpha is 2.0"),
        ("a-hpo", {"alpha_min": None}, "a-hpo cannot be made with alpha_min=None"),
        ("dr-grpo", {"max_length": "10"}, "dr-grpo cannot be made with max_length='10'"),
        (None, {}, "No algorithm is named None"),
    ],
)
def test_an_unknown_argument_is_answered_with_those_of_the_preset(name, arguments, message):
    """A misspelt parameter must not end in a TypeError about some function."""
    with pytest.raises(ValueError, match=message):
        hy.make(name, **arguments)


def test_a_scale_is_checked_when_the_objective_is_made():
    """Not rollouts later, when advantages are computed."""
    with pytest.raises(TypeError, match="scale is 'batch'; give a part"):
        hy.grpo().replace(scale="batch")


def test_advantages_have_the_objectives_own_scale():
    """Dr. GRPO does not divide by the standard deviation; a loop for every preset must not do so either."""
    rewards = torch.tensor([1.0, 0, 0, 0])
    assert hy.dr_grpo().advantages(rewards, 4).tolist() == [0.75, -0.25, -0.25, -0.25]
    assert torch.equal(hy.a_hpo().advantages(rewards, 4), hy.group_advantages(rewards, 4))


def test_a_constant_length_takes_what_the_engine_allows():
    """Where its own is not set; and a loss without either is an error that says so."""
    assert hy.dr_grpo().with_max_length(64) == hy.dr_grpo(64)
    assert hy.dr_grpo(32).with_max_length(64) == hy.dr_grpo(32)
    assert hy.grpo().with_max_length(64) == hy.grpo()
    with pytest.raises(ValueError, match="ConstantLength has no max_length"):
        hy.dr_grpo().length(torch.ones(2), hy.BatchStatistics(2, 2))


def test_each_gate_says_which_tokens_it_holds_back():
    """A clip by the sign of the advantage, a cap whatever the sign, a soft gate none."""
    ratio, advantages = torch.tensor([[0.5, 1.0, 6.0]] * 3), torch.tensor([[1.0], [-1.0], [0.0]])
    assert hy.ClipGate().clipped(ratio, advantages).tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert hy.CapGate().clipped(ratio, advantages).tolist() == [[0, 0, 1]] * 3
    assert not hy.SoftGate().clipped(ratio, advantages).any()


def test_a_weight_need_not_have_an_alpha():
    """A shift of the baseline scales nothing."""
    assert hy.asymre().alpha(hy.BatchStatistics(8, 80, 2, 6)) is None
    assert hy.grpo().alpha(hy.BatchStatistics(8, 80, 2, 6)) == 1.0


def test_replace_exchanges_parts_and_keeps_the_rest():
    """gspo().replace(weight=AdaptiveWeight()) is how one composes."""
    objective = hy.gspo().replace(weight=hy.AdaptiveWeight(0.2))
    assert objective == hy.Objective(
        hy.SequenceRatio(), hy.ClipGate(3e-4, 4e-4), hy.AdaptiveWeight(0.2), hy.PerResponseLength()
    )
    assert hy.gspo().weight == hy.UniformWeight()
    with pytest.raises(TypeError, match="wieght"):
        hy.gspo().replace(wieght=hy.AdaptiveWeight())


def test_metrics_are_divided_after_they_are_added():
    """The mean of 1/2 and 3/10 is 4/12, not 0.4; nothing counted is 0."""
    parts = [hy.Metrics(kl=hy.Tally(1.0, 2)), hy.Metrics(kl=hy.Tally(torch.tensor(3.0), torch.tensor(10)))]
    assert sum(parts).means()["kl"] == pytest.approx(4 / 12)
    assert sum(parts, hy.Metrics()) == sum(parts)
    assert hy.Tally(0.0, 0).mean == 0.0
    with pytest.raises(TypeError):
        1 + parts[0]


def test_metrics_measured_in_some_micro_batches_only_are_kept():
    """Gradient mass may be asked for in one micro-batch of many; its count is of that one."""
    one, both = hy.Metrics(kl=hy.Tally(1.0, 2)), hy.Metrics(kl=hy.Tally(3.0, 2), positive_mass=hy.Tally(1.0, 4))
    for parts in ([one, both], [both, one]):
        assert sum(parts).means() == {"kl": 1.0, "positive_mass": 0.25}


@pytest.mark.parametrize("part", [hy.AdaptiveWeight, "adaptive", None])
def test_a_part_that_is_no_object_is_named_when_the_objective_is_made(part):
    """A class or a name in place of AdaptiveWeight() must not fail rollouts later."""
    with pytest.raises(TypeError, match=r"weight is .*; give a part"):
        hy.grpo().replace(weight=part)
