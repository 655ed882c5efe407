"""Paired comparisons, intervals, Holm, pass@k and power: calibrated by simulation, set against other derivations."""

import dataclasses
import itertools
import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from hysteretic import statistics
from hysteretic.statistics import (
    equivalence_p,
    holm,
    mean_band,
    mean_interval,
    paired_comparison,
    pass_at_k,
    power,
    sequential_p,
)

TREATMENT = [0.30, 0.28, 0.40, 0.35, 0.22, 0.37, 0.30, 0.34]
BASELINE = [0.25, 0.29, 0.31, 0.30, 0.20, 0.29, 0.33, 0.23]


def arms(seed, seeds, effect=0.0, simulations=2000, spread=0.05):
    """Simulated arms [N, S]: a share common to both arms of a seed, and noise of each."""
    generator = np.random.default_rng(seed)
    common, noise, other = generator.normal(0, 1, (3, simulations, seeds))
    baseline = 0.3 + 0.08 * common + spread / math.sqrt(2) * other
    return 0.3 + effect + 0.08 * common + spread / math.sqrt(2) * noise, baseline


def comparisons(*arguments, **options):
    return [paired_comparison(*pair) for pair in zip(*arms(*arguments, **options), strict=True)]


# ----- calibration


@pytest.mark.parametrize("seeds", [4, 8, 16])
def test_without_a_difference_a_verdict_is_rare(seeds):
    """Bold claims are false in 5 % of cases, as promised; 6 % is two Monte-Carlo standard errors above."""
    told = [found.verdict in ("better", "worse") for found in comparisons(seeds, seeds)]
    assert 0.035 <= np.mean(told) <= 0.06


def first_told(looks, effect, p_value):
    """At which look each simulated comparison ends, if it is told by then: index into looks, or None."""
    pairs = list(zip(*arms(3, looks[-1], effect), strict=True))
    p_LN = [[paired_comparison(ours[:n], theirs[:n]).p_value for ours, theirs in pairs] for n in looks]
    told_LN = np.array([[p_value(p) <= 0.05 for p in row] for row in p_LN])
    return [int(column.argmax()) if column.any() else None for column in told_LN.T]


@pytest.mark.parametrize("looks", [(8, 16, 24, 32), (4, 5, 6, 7, 8)])
def test_seeds_may_be_added_until_a_verdict_is_clear(looks):
    """Wherever one stops, 5 % of comparisons without a difference are told; uncorrected, more than twice as many."""
    told = first_told(looks, 0.0, lambda p: sequential_p(p, looks))
    assert 0.035 <= np.mean([look is not None for look in told]) <= 0.06
    naive = first_told(looks, 0.0, lambda p: p)
    assert np.mean([look is not None for look in naive]) > 0.09


def test_a_large_difference_is_told_at_the_first_looks():
    """And a planned number of looks costs little of the power at the last."""
    looks = (8, 16, 24, 32)
    told = first_told(looks, 0.05, lambda p: sequential_p(p, looks))
    assert np.mean([look == 0 for look in told]) > 0.3
    assert np.mean([look is not None for look in told]) > 0.95


def test_one_look_needs_no_correction_and_more_looks_need_more():
    assert sequential_p(0.03, [8]) == 0.03
    assert 0.03 < sequential_p(0.03, [8, 16]) < sequential_p(0.03, [8, 16, 24]) < 0.09
    assert sequential_p(1e-12, [8, 16]) == pytest.approx(2e-12)  # below what is simulated: Bonferroni's bound
    assert sequential_p(1.0, [8, 16]) == 1.0


@pytest.mark.parametrize(
    ("p", "looks", "message"),
    [(1.5, [8], "p_value"), (0.1, [], "looks"), (0.1, [8, 8], "looks"), (0.1, [1, 8], "looks")],
)
def test_looks_are_checked(p, looks, message):
    with pytest.raises(ValueError, match=message):
        sequential_p(p, looks)


@pytest.mark.parametrize("effect", [0.0, 0.06])
def test_intervals_hold_the_truth_as_often_as_they_say(effect):
    """At 8 seeds, whether or not there is an effect."""
    held = [found.interval[0] <= effect <= found.interval[1] for found in comparisons(1, 8, effect)]
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize("confidence", [0.5, 0.8])
def test_other_levels_of_confidence_are_kept_too(confidence):
    """The level is an argument; a quantile taken at the wrong tail would pass at 95 % only by luck."""
    pairs = zip(*arms(2, 6, simulations=1000), strict=True)
    intervals = [paired_comparison(*pair, confidence=confidence).interval for pair in pairs]
    held = np.mean([low <= 0 <= high for low, high in intervals])
    assert held == pytest.approx(confidence, abs=0.05)


@pytest.mark.parametrize(("seeds", "effect"), [(4, 0.08), (8, 0.05), (8, -0.05), (16, 0.03)])
def test_a_known_effect_is_found_with_the_predicted_power(seeds, effect):
    """`power` is what decides how many seeds a study runs; 3.5 Monte-Carlo standard errors either way."""
    expected = power(effect, 0.05, seeds)
    right = "better" if effect > 0 else "worse"
    found = np.mean([found.verdict == right for found in comparisons(3, seeds, effect, simulations=1000)])
    assert found == pytest.approx(expected, abs=3.5 * math.sqrt(expected * (1 - expected) / 1000))


def test_the_interval_of_a_relative_gain_holds_the_truth():
    """Fieller's set is exact for normal arms with a baseline away from 0; treatment and baseline are correlated."""
    found = comparisons(4, 8, 0.06)
    held = [each.relative_interval[0] <= 0.2 <= each.relative_interval[1] for each in found]
    assert 0.93 <= np.mean(held) <= 0.97


@pytest.mark.parametrize(("seeds", "sign"), [(4, 1), (8, -1), (16, 1)])
def test_arms_a_margin_apart_are_rarely_called_the_same(seeds, sign):
    """At the edge of the margin, 0.05 of a baseline of 0.3, in 5 % of cases at most; 6 % is two standard errors."""
    pairs = zip(*arms(seeds, seeds, sign * 0.015, spread=0.005), strict=True)
    assert 0.035 <= np.mean([equivalence_p(*pair, 0.05) <= 0.05 for pair in pairs]) <= 0.06


def test_arms_without_a_difference_are_called_the_same_where_the_seeds_suffice():
    """And hardly ever where they do not: that nothing was found is no proof of sameness."""
    for spread, expected in [(0.01, 0.9), (0.05, 0.02)]:
        pairs = zip(*arms(5, 8, spread=spread, simulations=500), strict=True)
        told = np.mean([equivalence_p(*pair, 0.05) <= 0.05 for pair in pairs])
        assert told >= expected if expected > 0.5 else told <= expected


def test_the_same_is_what_a_90_percent_interval_within_the_margin_is():
    """Two one-sided tests at 5 %, or Fieller's interval at 90 %: one rule said twice."""
    seen = set()
    for pair in zip(*arms(6, 8, 0.01, spread=0.015, simulations=300), strict=True):
        interval = paired_comparison(*pair, confidence=0.9).relative_interval
        is_same = equivalence_p(*pair, 0.05) <= 0.05
        assert is_same == (interval is not None and interval[0] >= -0.05 and interval[1] <= 0.05)
        seen.add(is_same)
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("treatment", "baseline", "margin", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0, "margin is 0"),
        ([1.0, 2.0], [-1.0, -2.0], 0.05, "mean -1.5"),
        ([1.0], [1.0], 0.05, "at least 2 seeds"),
        ([1.0, 2.0], [1.0], 0.05, "baseline 1"),
    ],
)
def test_a_margin_needs_a_mean_and_seeds(treatment, baseline, margin, message):
    with pytest.raises(ValueError, match=message):
        equivalence_p(treatment, baseline, margin)


# ----- the numbers of one comparison


def test_the_interval_and_p_value_are_those_of_scipy():
    """Student's paired t-test, computed by SciPy's own."""
    for confidence in [0.5, 0.9, 0.95, 0.999]:
        ours, theirs = (
            paired_comparison(TREATMENT, BASELINE, confidence),
            stats.ttest_rel(TREATMENT, BASELINE),
        )
        assert ours.interval == pytest.approx(tuple(theirs.confidence_interval(confidence)), rel=1e-12)
        assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-12)
    assert ours.mean_difference == pytest.approx(np.mean(TREATMENT) - np.mean(BASELINE), rel=1e-12)
    assert ours.spread == pytest.approx(np.std(np.subtract(TREATMENT, BASELINE), ddof=1), rel=1e-12)


def gains_not_rejected(treatment, baseline, gains):
    """Fieller's set, from its meaning: gains g at which treatment - (1 + g) baseline passes a t-test of mean 0."""
    return [stats.ttest_1samp(np.subtract(treatment, (1 + g) * np.array(baseline)), 0).pvalue >= 0.05 for g in gains]


def test_the_relative_interval_is_the_set_of_gains_that_a_t_test_does_not_reject():
    """Just inside both ends accepted, just outside rejected: the definition, without the quadratic formula."""
    found = paired_comparison(TREATMENT, BASELINE)
    low, high = found.relative_interval
    ends = [low - 1e-9, low + 1e-9, found.relative_gain, high - 1e-9, high + 1e-9]
    assert gains_not_rejected(TREATMENT, BASELINE, ends) == [False, True, True, True, False]
    assert found.relative_gain == pytest.approx(np.mean(TREATMENT) / np.mean(BASELINE) - 1, rel=1e-12)


def test_a_baseline_that_may_be_zero_has_no_relative_interval():
    """Fieller's set is then unbounded: gains however large are not rejected."""
    baseline = [0.3, -0.2, 0.1, 0.0, 0.2]
    found = paired_comparison([1.0, 1.2, 0.9, 1.1, 1.3], baseline)
    assert mean_interval(baseline)[1] < 0 < mean_interval(baseline)[0]
    assert found.relative_interval is None
    assert all(gains_not_rejected([1.0, 1.2, 0.9, 1.1, 1.3], baseline, [1e3, -1e3, 1e6]))
    zero = paired_comparison([1.0, 2.0, 3.0, 1.0], [0.0] * 4)
    assert zero.relative_interval is None
    assert math.isnan(zero.relative_gain)


def test_a_negative_baseline_turns_the_sign_of_the_gain_and_is_left_out_of_the_sentence():
    """-1 against -2 is better by 1, a "gain" of -50 %: the number follows its formula, the sentence leaves it out."""
    found = paired_comparison([-1.0, -1.1, -0.9, -1.2], [-2.0, -2.1, -2.2, -2.0])
    assert found.verdict == "better"
    assert found.relative_gain == pytest.approx(np.mean([-1.0, -1.1, -0.9, -1.2]) / -2.075 - 1)
    assert found.relative_interval[0] < found.relative_gain < found.relative_interval[1] < 0
    assert "of the baseline" not in str(found)


def test_the_probability_of_improvement_counts_ties_half():
    """Two wins, one tie, one loss: 2.5 of 4; 0.1 + 0.2 ties with 0.3, although not in floating point."""
    found = paired_comparison([2.0, 3.0, 0.1 + 0.2, 0.0], [1.0, 1.0, 0.3, 1.0])
    assert found.probability_of_improvement == 2.5 / 4


@pytest.mark.parametrize("wins", range(9))
def test_the_probability_interval_is_wilsons(wins):
    """SciPy has it for whole counts."""
    found = paired_comparison([1.0] * wins + [-1.0] * (8 - wins), [0.0] * 8, confidence=0.9)
    expected = stats.binomtest(wins, 8).proportion_ci(0.9, method="wilson")
    assert found.probability_interval == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_equal_differences_leave_an_interval_of_width_zero():
    """Rounding alone gives +0.1 at every seed a spread of 1e-17, and would give a nought a verdict."""
    baseline = [0.1, 0.2, 0.7, 1.3, 10.4]
    shifted = paired_comparison([value + 0.1 for value in baseline], baseline)
    assert (shifted.verdict, shifted.p_value, shifted.spread) == ("better", 0.0, 0.0)
    assert shifted.interval == (shifted.mean_difference, shifted.mean_difference)
    assert shifted.mean_difference == pytest.approx(0.1)
    assert paired_comparison(baseline, [value + 0.1 for value in baseline]).verdict == "worse"
    for same in [baseline, [value * (1 + 2e-16) for value in baseline]]:
        found = paired_comparison(same, baseline)
        assert (found.verdict, found.p_value, found.interval) == ("cannot tell", 1.0, (0.0, 0.0))
        assert (found.mean_difference, found.probability_of_improvement) == (0.0, 0.5)
        assert found.seeds_to_tell is None
    assert paired_comparison(TREATMENT, TREATMENT).relative_interval == (0.0, 0.0)
    for seeds, step in itertools.product(range(2, 20), [0.1, 0.3, 10.1]):  # nine times 10.1 have another mean
        assert paired_comparison([step] * seeds, [0.0] * seeds).spread == 0.0


def test_a_small_difference_is_not_taken_for_rounding():
    """A millionth of the values, with its own spread, is a difference like any other."""
    found = paired_comparison([1 + 1e-6, 2 + 2e-6, 3 + 1e-6, 4 + 3e-6], [1.0, 2.0, 3.0, 4.0])
    assert found.probability_of_improvement == 1.0
    assert found.spread == pytest.approx(np.std([1e-6, 2e-6, 1e-6, 3e-6], ddof=1), rel=1e-6)


# ----- verdicts


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_fewer_than_four_seeds_get_no_verdict(seeds):
    """However clear they look; the numbers that exist are still given."""
    found = paired_comparison([1.0, 1.1, 1.2][:seeds], [0.1, 0.2, 0.31][:seeds])
    assert found.verdict == "too few seeds"
    assert "no verdict" in str(found)
    assert found.mean_difference == pytest.approx(0.9, abs=0.01)
    assert found.probability_of_improvement == 1.0
    if seeds == 1:
        assert found.interval == (-math.inf, math.inf)
        assert math.isnan(found.p_value)
        assert math.isnan(found.spread)
        assert found.relative_interval is None
        assert found.seeds_to_tell is None
    else:
        assert found.interval[0] > 0
        assert found.seeds_to_tell == 4


def test_the_verdict_follows_the_interval():
    """And with it the p-value, which is another way to the same decision."""
    seen = set()
    for found in comparisons(5, 5, 0.05, simulations=300) + comparisons(6, 5, -0.05, simulations=300):
        low, high = found.interval
        assert found.verdict == ("better" if low > 0 else "worse" if high < 0 else "cannot tell")
        assert (found.verdict == "cannot tell") == (found.p_value >= 0.05)
        if found.relative_interval is not None and found.baseline_mean > 0:
            assert (found.relative_interval[0] > 0) == (low > 0)
            assert (found.relative_interval[1] < 0) == (high < 0)
        seen.add(found.verdict)
    assert seen == {"better", "worse", "cannot tell"}


def test_the_sentence_says_the_verdict_the_figures_and_what_more_seeds_would_do():
    """It is what `print` shows a person; the numbers are from SciPy's t-test, the gain's interval by root finding."""
    assert str(paired_comparison(TREATMENT, BASELINE)) == (
        "Better: mean 0.32 against 0.275, a difference of +0.045 (95 % interval +0.00404 to +0.086; "
        "+16.4 % of the baseline, +1.4 to +33.0 %) over 8 paired seeds, p = 0.036."
    )
    unclear = paired_comparison(TREATMENT[:4], BASELINE[:4])
    assert str(unclear).startswith(
        "No clear difference: mean 0.3325 against 0.2875, a difference of +0.045 (95 % interval -"
    )
    assert str(unclear).endswith(f", about {unclear.seeds_to_tell} seeds would confirm it.")
    assert str(paired_comparison([0.4], [0.3])).endswith("(95 % interval -inf to +inf) at one seed.")


def test_the_fields_can_be_written_down():
    """Reports keep them as a record; the verdict is among them."""
    record = dataclasses.asdict(paired_comparison(TREATMENT, BASELINE))
    assert (record["verdict"], record["seeds"], record["confidence"]) == ("better", 8, 0.95)
    assert all(isinstance(value, float | int | str | tuple) for value in record.values())


# ----- power and the number of seeds


def power_by_integration(effect, spread, seeds, confidence):
    """P(|mean| > t se): normal mean given the standard error, integrated over the chi-squared law of the variance."""
    t, freedom = stats.t.ppf((1 + confidence) / 2, seeds - 1), seeds - 1
    shift = effect / spread * math.sqrt(seeds)

    def given_variance(v):
        edge = t * math.sqrt(v / freedom)
        return (stats.norm.sf(edge - shift) + stats.norm.cdf(-edge - shift)) * stats.chi2.pdf(v, freedom)

    return integrate.quad(given_variance, 0, freedom + 20 * math.sqrt(2 * freedom) + 20, limit=200)[0]


@pytest.mark.parametrize("effect", [0.02, 0.3, -0.7, 2.0])
@pytest.mark.parametrize("seeds", [4, 8, 30])
def test_power_is_the_integral_that_defines_it(effect, seeds):
    """Without the noncentral t; effects in both directions."""
    assert power(effect, 0.8, seeds, 0.9) == pytest.approx(power_by_integration(effect, 0.8, seeds, 0.9), abs=1e-7)


def test_power_of_a_textbook_case():
    """Half a standard deviation, 34 pairs, 5 % two-sided: 80.8 %, the usual example for 80 %; 33 pairs fall short."""
    assert power(0.5, 1.0, 34) == pytest.approx(0.80778, abs=5e-6)
    assert power(0.5, 1.0, 33) < 0.8


def test_power_at_its_ends():
    """No effect is "found" as often as the level allows; enormous ones always, where SciPy's tails answer nan."""
    assert power(0.0, 1.0, 8) == pytest.approx(0.05)
    assert power(1e-9, 1.0, 8) == pytest.approx(0.05)
    assert (power(0.0, 0.0, 8), power(0.1, 0.0, 8)) == (0.0, 1.0)
    for effect in [10.0, 15.0, 40.0, 1e3, 1e9, 1e300]:
        assert power(effect, 1.0, 8) == pytest.approx(1.0, abs=1e-12)
        assert power(-effect, 1.0, 8) == power(effect, 1.0, 8)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_seeds_to_tell_is_the_first_number_with_enough_power(confidence):
    """One seed fewer would not do."""
    checked = 0
    for pair in zip(*arms(7, 6, 0.03, simulations=40), strict=True):
        found = paired_comparison(*pair, confidence=confidence)
        if found.verdict != "cannot tell":
            assert found.seeds_to_tell is None
        elif found.seeds_to_tell is not None:
            effect, number = found.mean_difference, found.seeds_to_tell
            assert number > 6
            assert power(effect, found.spread, number, confidence) >= 0.8
            assert number == 7 or power(effect, found.spread, number - 1, confidence) < 0.8
            checked += 1
        else:
            assert power(found.mean_difference, found.spread, 1000, confidence) < 0.8
    assert checked >= 10


def test_seeds_to_tell_is_more_than_there_are():
    """At a confidence of 10 % the formula alone would say that the seeds which just failed to tell are enough."""
    found = paired_comparison([1.0, -1.0, 1.0, -1.0, 0.01], [0.0] * 5, confidence=0.1)
    assert found.verdict == "cannot tell"
    assert power(found.mean_difference, found.spread, 5, 0.1) >= 0.8
    assert found.seeds_to_tell == 6


def test_an_effect_that_a_thousand_seeds_would_not_tell_has_no_number():
    """A recommendation of 40,000 seeds would not help anyone."""
    found = paired_comparison([0.01, 1.0, -1.0, 1.0, -1.0], [0.0] * 5)
    assert found.verdict == "cannot tell"
    assert found.seeds_to_tell is None
    assert "would tell" not in str(found)


# ----- invariances

values = st.floats(-100, 100).map(lambda value: round(value, 4))
pairs = st.lists(st.tuples(values, values), min_size=2, max_size=12)


@settings(max_examples=50)
@given(pairs)
def test_swapping_the_arms_mirrors_the_comparison(rows):
    """What is better one way is worse by as much the other."""
    left, right = zip(*rows, strict=True)
    one, other = paired_comparison(left, right), paired_comparison(right, left)
    mirror = {"better": "worse", "worse": "better"}
    assert other.mean_difference == -one.mean_difference
    assert other.interval == (-one.interval[1], -one.interval[0])
    assert other.p_value == one.p_value
    assert other.verdict == mirror.get(one.verdict, one.verdict)
    assert other.probability_of_improvement == pytest.approx(1 - one.probability_of_improvement)
    low, high = one.probability_interval
    assert other.probability_interval == pytest.approx((1 - high, 1 - low))


@settings(max_examples=50)
@given(pairs, st.integers(-50, 50))
def test_shifting_both_arms_leaves_the_difference(rows, shift):
    """A reward that every response gets says nothing about the arms."""
    left, right = np.array(rows).T
    one, other = paired_comparison(left, right), paired_comparison(left + shift, right + shift)
    assert other.mean_difference == pytest.approx(one.mean_difference, abs=1e-10)
    assert other.interval == pytest.approx(one.interval, abs=1e-8)
    assert other.probability_of_improvement == one.probability_of_improvement


@settings(max_examples=50)
@given(pairs, st.sampled_from([1e-3, 0.5, 7.0, 1e4]))
def test_scaling_both_arms_scales_the_difference_and_leaves_the_rest(rows, factor):
    """Rewards in per cent give the same verdict as rewards in shares."""
    left, right = np.array(rows).T
    one, other = paired_comparison(left, right), paired_comparison(factor * left, factor * right)
    tolerance = 1e-9 * factor
    assert other.mean_difference == pytest.approx(factor * one.mean_difference, abs=tolerance)
    assert other.interval == pytest.approx([factor * end for end in one.interval], abs=tolerance, rel=1e-6)
    assert other.p_value == pytest.approx(one.p_value, abs=1e-6)
    assert other.probability_of_improvement == one.probability_of_improvement
    if one.relative_interval is not None and other.relative_interval is not None and abs(one.baseline_mean) > 0.01:
        assume(abs(one.relative_interval[0]) + abs(one.relative_interval[1]) < 1e4)
        assert other.relative_interval == pytest.approx(one.relative_interval, rel=1e-4, abs=1e-6)


@settings(max_examples=50)
@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_the_seeds_does_not_matter(rows, random):
    """As long as it is the same in both arms."""
    shuffled = random.sample(rows, len(rows))
    one, other = (paired_comparison(*zip(*each, strict=True)) for each in (rows, shuffled))
    assert other.interval == pytest.approx(one.interval, abs=1e-9)
    assert other.p_value == pytest.approx(one.p_value, abs=1e-6)


# ----- several comparisons, means, pass@k


def test_holm_on_a_worked_example():
    """Ordered 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, and 0.04 raised to 0.06; in given order."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def rejected_by_holm(p_values, level):
    """The procedure itself: walk up from the smallest, stop at the first that misses level / (number left)."""
    rejected = set()
    for left, place in zip(itertools.count(len(p_values), -1), sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[place] * left > level:
            break
        rejected.add(place)
    return rejected


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holms_adjusted_values_decide_as_his_procedure(p_values, level):
    """Also: never below the raw value, never above 1, and in the same order."""
    adjusted = holm(p_values)
    assert {place for place, p in enumerate(adjusted) if p <= level} == rejected_by_holm(p_values, level)
    assert all(raw <= p <= 1 for raw, p in zip(p_values, adjusted, strict=True))
    in_order = [adjusted[place] for place in sorted(range(len(p_values)), key=p_values.__getitem__)]
    assert in_order == sorted(in_order)


def test_the_interval_of_a_mean_is_scipys():
    """Student's t; one value has no interval to speak of."""
    expected = stats.ttest_1samp(TREATMENT, 0).confidence_interval(0.9)
    assert mean_interval(TREATMENT, 0.9) == pytest.approx((np.mean(TREATMENT), *expected), rel=1e-12)
    assert mean_interval([0.3]) == (0.3, -math.inf, math.inf)


def test_a_band_is_the_interval_at_each_point():
    """Columns are points; a transposed reading would give the seeds' intervals."""
    curves = np.random.default_rng(8).normal(size=(5, 3))
    means, lows, highs = mean_band(curves, 0.8)
    for n in range(3):
        assert (means[n], lows[n], highs[n]) == pytest.approx(mean_interval(curves[:, n], 0.8), rel=1e-12)
    means, lows, highs = mean_band([[0.1, 0.2]])
    assert (means.tolist(), lows.tolist(), highs.tolist()) == ([0.1, 0.2], [-math.inf] * 2, [math.inf] * 2)


@pytest.mark.parametrize("samples", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(samples):
    """Every way to draw k of the n answers, counted."""
    for correct, k in itertools.product(range(samples + 1), range(1, samples + 1)):
        draws = list(itertools.combinations([True] * correct + [False] * (samples - correct), k))
        assert pass_at_k(samples, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-14)


@pytest.mark.parametrize(
    ("samples", "correct", "k"),
    [(10_000, 1, 1), (10_000, 1, 9_999), (10_000, 5_000, 3), (10_000, 37, 100), (9_973, 9_000, 900), (200, 3, 100)],
)
def test_pass_at_k_is_exact_for_many_samples(samples, correct, k):
    """Against whole-number arithmetic; the factorials themselves overflow a float."""
    missed = Fraction(math.comb(samples - correct, k), math.comb(samples, k))
    assert pass_at_k(samples, correct, k) == pytest.approx(float(1 - missed), rel=1e-12)


def test_pass_at_k_is_unbiased():
    """Its mean over draws of n answers is 1 - (1 - p)^k; the plug-in 1 - (1 - c/n)^k would miss by 0.04."""
    counts = np.random.default_rng(9).binomial(10, 0.15, 20_000)
    estimates = np.array([pass_at_k(10, correct, 5) for correct in range(11)])[counts]
    assert estimates.mean() == pytest.approx(1 - 0.85**5, abs=4 * estimates.std() / math.sqrt(20_000))


# ----- what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: paired_comparison([1.0, 2.0], [1.0]),
            r"treatment has 2 values and baseline 1; give one number per seed",
        ),
        (lambda: paired_comparison([], []), r"treatment is empty; give one number per seed"),
        (lambda: paired_comparison([1.0], []), r"baseline is empty"),
        (
            lambda: paired_comparison([1.0, math.nan, 2.0], [1.0, 1.0, 1.0]),
            r"treatment\[1\] is nan; leave that seed out of both",
        ),
        (
            lambda: paired_comparison([1.0, 1.0, 1.0], [1.0, math.inf, math.nan]),
            r"baseline\[1\] is inf \(and 1 more\); leave that seed out of both",
        ),
        (lambda: paired_comparison([[1.0, 2.0]], [[1.0, 2.0]]), r"treatment is of shape \(1, 2\); give one number"),
        (lambda: paired_comparison(["high"], [1.0]), r"treatment does not hold numbers .*'high'"),
        (lambda: paired_comparison([1.0], [1.0], confidence=95), r"confidence is 95; give a fraction between 0 and 1"),
        (lambda: paired_comparison([1.0], [1.0], confidence=math.nan), r"confidence is nan"),
        (lambda: holm([0.1, math.nan]), r"p_values\[1\] is nan; .* leave out tests that have none"),
        (lambda: holm([-0.1]), r"p_values\[0\] is -0.1"),
        (lambda: mean_interval([]), r"values is empty"),
        (lambda: mean_interval([1.0, None]), r"values\[1\] is nan; leave that seed out"),
        (lambda: mean_interval([1.0, 2.0], 1.0), r"confidence is 1.0"),
        (lambda: mean_band([[1.0, 2.0], [1.0, math.nan]]), r"matrix_SN\[1, 1\] is nan; .* cut all curves"),
        (lambda: mean_band([[1.0, 2.0], [1.0]]), r"matrix_SN does not hold numbers in rows of equal length"),
        (lambda: mean_band([1.0, 2.0]), r"matrix_SN is of shape \(2,\); give one row per seed"),
        (lambda: pass_at_k(0, 0, 1), r"k is 1, but there are 0 samples"),
        (lambda: pass_at_k(4, 2, 5), r"k is 5, but there are 4 samples per problem; choose k from 1"),
        (lambda: pass_at_k(4, 2, 0), r"k is 0"),
        (lambda: pass_at_k(4, 5, 1), r"correct is 5 of samples = 4; it must be between 0 and samples"),
        (lambda: pass_at_k(4, -1, 1), r"correct is -1"),
        (lambda: power(0.1, 0.1, 1), r"seeds is 1, but a t-test needs a spread over seeds; give 2 or more"),
        (lambda: power(0.1, -0.1, 8), r"effect is 0.1 and spread -0.1; give a finite effect and a finite spread >= 0"),
        (lambda: power(math.nan, 0.1, 8), r"effect is nan"),
        (lambda: power(0.1, math.nan, 8), r"spread nan"),
        (lambda: power(0.1, 0.1, 8, 0.0), r"confidence is 0.0"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_to_do(call, message):
    """A crash of one run leaves a nan; it must neither spread in silence nor end in a bare stack trace."""
    with pytest.raises(ValueError, match=message):
        call()


def test_shares_of_answers_are_refused():
    """pass@k counts answers; 2.5 right ones mean that something else was passed."""
    with pytest.raises(TypeError):
        pass_at_k(4, 2.5, 1)


def test_every_public_name_says_what_it_is():
    """Its equation and what it raises are in the docstring."""
    for function in [paired_comparison, holm, mean_interval, mean_band, pass_at_k, power]:
        assert "Raises ValueError" in function.__doc__
    assert statistics.PairedComparison.__doc__


def test_the_module_loads_no_torch():
    """Reports are written where no engine is installed; and `import hysteretic` must do without SciPy."""
    program = (
        "import sys, hysteretic; print('scipy' in sys.modules);"
        "import hysteretic.statistics; print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "False"]
