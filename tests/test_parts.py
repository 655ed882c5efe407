"""The parts and presets: what they refuse, sums of shares, names."""

import math

import pytest
import torch

import hysteretic as hy


@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_alpha_outside_zero_to_one_is_an_error(alpha):
    """A negative weight would reward failures; one above 1 is another method."""
    for make in [hy.FixedWeight, hy.AdaptiveWeight, hy.hpo, hy.a_hpo]:
        with pytest.raises(ValueError, match=r"set it within \[0, 1\]"):
            make(alpha)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hy.ShiftedBaseline(0.1), "delta <= 0"),
        (lambda: hy.asymre(delta=math.nan), "delta <= 0"),
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
    [("a-hop", "a-hpo"), ("ahpo", "a-hpo"), ("GRP0", "grpo"), ("drgrpo", "dr-grpo"), ("positive", "positive-only")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, nearest):
    """A typing error should cost one second."""
    with pytest.raises(ValueError, match=f"Did you mean '{nearest}'") as error:
        hy.algorithm(name)
    assert all(known in str(error.value) for known in hy.ALGORITHMS)


def test_a_name_like_no_other_is_answered_with_all_names():
    """And without a guess."""
    with pytest.raises(ValueError, match=r"No algorithm is named 'xyzzy'. Known: grpo"):
        hy.algorithm("xyzzy")


@pytest.mark.parametrize("name", ["a-hpo", "A-HPO", "a_hpo"])
def test_names_are_read_in_the_usual_spellings(name):
    """Papers write A-HPO, Python a_hpo, the command line a-hpo."""
    assert hy.algorithm(name) is hy.a_hpo


def test_replace_exchanges_parts_and_keeps_the_rest():
    """gspo().replace(weight=AdaptiveWeight()) is how one composes."""
    objective = hy.gspo().replace(weight=hy.AdaptiveWeight(0.2))
    assert objective == hy.Objective(
        hy.SequenceRatio(), hy.ClipGate(3e-4, 4e-4), hy.AdaptiveWeight(0.2), hy.PerResponseLength()
    )
    assert hy.gspo().weight == hy.UniformWeight()
    with pytest.raises(TypeError, match="wieght"):
        hy.gspo().replace(wieght=hy.AdaptiveWeight())


def test_tallies_are_divided_after_they_are_added():
    """The mean of 1/2 and 3/10 is 4/12, not 0.4; nothing counted is 0."""
    total = sum([hy.Tally(1.0, 2), hy.Tally(torch.tensor(3.0), torch.tensor(10))])
    assert total.mean == pytest.approx(4 / 12)
    assert hy.Tally(0.0, 0).mean == 0.0
    with pytest.raises(TypeError):
        1 + hy.Tally(1.0, 2)


def test_shares_are_added_with_their_diagnostics():
    """sum(shares) is the batch: its loss, its gradient, its figures."""
    x = torch.tensor(3.0, requires_grad=True)
    shares = [hy.LossShare(x * k, {"kl": hy.Tally(float(k), 4)}) for k in [1, 2, 4]]
    batch = sum(shares)
    batch.backward()
    assert float(batch) == 21.0
    assert x.grad.item() == 7.0
    assert batch.diagnostics["kl"] == hy.Tally(7.0, 12)
    with pytest.raises(TypeError):
        1 + shares[0]
