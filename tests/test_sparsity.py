"""Predictions of silence against distributions whose truth is known."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaln

from hysteretic.advantages import group_advantages, silent_groups
from hysteretic.sparsity import (
    BetaBinomial,
    Estimate,
    Forecast,
    fit_beta_binomial,
    forecasts,
    mean_estimate,
    outcomes,
    silent_of_problems,
    start,
    verdict,
)

PROBLEMS, SAMPLES = 200, 16
DISTRIBUTIONS = [(mean, concentration) for mean in (0.005, 0.02, 0.1, 0.5) for concentration in (0.3, 3, 20)]


def silent_truth(mean, concentration, group_size):
    """E[p^G + (1-p)^G] for p of Beta(mean * concentration, (1 - mean) * concentration), by beta functions."""
    a, b = mean * concentration, (1 - mean) * concentration
    whole = betaln(a, b)
    return np.exp(betaln(a + group_size, b) - whole) + np.exp(betaln(a, b + group_size) - whole)


def rewards_of(counts, samples=SAMPLES):
    return (np.arange(samples) < np.asarray(counts)[:, None]).astype(float)


def drawn(mean, concentration, rng):
    p = rng.beta(mean * concentration, (1 - mean) * concentration, PROBLEMS)
    return rewards_of(rng.binomial(SAMPLES, p))


def covered(distributions, repeats, sizes, draws):
    """Share of repeats in which the interval holds the truth, and the range what M fresh groups show: [D, 2]."""
    shares = []
    for mean, concentration in distributions:
        rng = np.random.default_rng(7)
        hits = []
        for repeat in range(repeats):
            for forecast in forecasts(drawn(mean, concentration, rng), sizes, 320, draws, seed=repeat):
                truth = silent_truth(mean, concentration, forecast.group_size)
                fresh = rng.binomial(forecast.groups, truth) / forecast.groups
                held = forecast.silent.low <= truth <= forecast.silent.high
                hits.append((held, forecast.measured.low <= fresh <= forecast.measured.high))
        shares.append(np.mean(hits, axis=0))
    return np.array(shares)


def test_the_interval_holds_the_true_silent_share_whatever_the_distribution():
    """Group sizes within the samples need no model, so every distribution must be covered, the sparsest first."""
    shares = covered(DISTRIBUTIONS, 80, [4, 8, 16], 300)
    assert shares.min() >= 0.9, shares
    assert shares.mean() >= 0.95


def test_the_interval_beyond_the_samples_holds_the_truth_when_success_is_beta_distributed():
    """The fit is an extrapolation: nine in ten over all distributions, none far below."""
    shares = covered(DISTRIBUTIONS[::2], 16, [32, 64], 100)
    assert shares.mean() >= 0.9, shares
    assert shares.min() >= 0.75, shares


def test_intervals_are_not_wide_for_nothing():
    """An interval from 0 to 1 would cover as well."""
    widths = [
        forecast.silent.high - forecast.silent.low
        for mean in (0.005, 0.02, 0.1)
        for forecast in forecasts(drawn(mean, 3, np.random.default_rng(1)), [8])
    ]
    assert max(widths) < 0.15


@settings(max_examples=60, deadline=None)
@given(st.floats(0.001, 0.999), st.floats(0.05, 200), st.integers(2, 20), st.integers(2, 20))
def test_the_estimator_is_unbiased(mean, concentration, samples, group_size):
    """Its mean over all counts of k, weighted by their exact probabilities, is the exact silent share."""
    group_size = min(group_size, samples)
    counts = np.arange(samples + 1)
    weights = stats.betabinom.pmf(counts, samples, mean * concentration, (1 - mean) * concentration)
    silent = silent_of_problems(outcomes(rewards_of(counts, samples)), group_size)
    assert weights @ silent == pytest.approx(silent_truth(mean, concentration, group_size), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.1, 0.1 + 1e-9, 0.5, 1.0]), min_size=2, max_size=7), st.data())
def test_silence_is_the_share_of_subsets_that_the_trainer_calls_silent(rewards, data):
    size = data.draw(st.integers(2, len(rewards)))
    groups = torch.tensor(list(combinations(rewards, size)), dtype=torch.float64)
    expected = silent_groups(groups.flatten(), size).double().mean().item()
    # Another row holds the largest reward, so that equality means the same in every row.
    ranks = outcomes(np.array([rewards, [1.0] * len(rewards)]))
    assert silent_of_problems(ranks, size)[0] == pytest.approx(expected)


@pytest.mark.parametrize("values", [[0.0, 1.0], [-1.0, 1.0], [0.0, 0.3, 1.0], [0.1, 0.2, 0.3]])
def test_signs_are_those_of_the_trainers_advantages(values):
    """Alpha rests on them. Graded rewards have neutral responses, which count on neither side."""
    rng = np.random.default_rng(3)
    rewards = rng.choice(values, (400, 12))
    [forecast] = forecasts(rewards, [4])
    groups = rng.permuted(np.repeat(rewards, 20, axis=0), axis=1)[:, :4]
    advantages = group_advantages(torch.tensor(groups.flatten()), 4)
    rows = len(groups)
    assert forecast.positives == pytest.approx(int((advantages > 0).sum()) / rows, abs=0.04)
    assert forecast.negatives == pytest.approx(int((advantages < 0).sum()) / rows, abs=0.04)
    assert forecast.alpha() == pytest.approx(min(forecast.positives / forecast.negatives, 1))


def test_alpha_is_clipped_and_absent_without_an_informative_group():
    sparse = forecasts(rewards_of([1] * 4 + [0] * 40), [4, 16])
    assert sparse[0].alpha() == pytest.approx(1 / 3)
    assert sparse[1].alpha() == 0.1
    assert sparse[1].alpha(floor=0.0) == pytest.approx(1 / 15)
    assert forecasts(rewards_of([15] * 4), [4])[0].alpha() == 1.0
    assert forecasts(rewards_of([0] * 4), [4])[0].alpha() is None


@pytest.mark.parametrize("count", [0, SAMPLES])
def test_no_success_or_no_failure_leaves_room_for_what_was_not_seen(count):
    """All zeros do not prove silence: Clopper and Pearson's bound over problems, 1 - 0.025^(1/N)."""
    unseen = 1 - 0.025 ** (1 / PROBLEMS)
    for forecast in forecasts(rewards_of([count] * PROBLEMS), [4, 16, 64], draws=4000):
        assert forecast.silent.value == 1
        assert forecast.silent.high == 1
        assert 1 - forecast.silent.low >= 0.9 * unseen
        assert forecast.informative == 0
        assert forecast.prompts_for(16) is None
        assert forecast.alpha() is None
    within = forecasts(rewards_of([count] * PROBLEMS), [4], draws=4000)[0]
    assert 1 - within.silent.low == pytest.approx(unseen, rel=0.1)
    assert mean_estimate(np.zeros(PROBLEMS), draws=4000).high == pytest.approx(unseen, rel=0.1)


def test_problems_always_or_never_solved_are_silent_at_every_size():
    for forecast in forecasts(rewards_of([0] * 30 + [SAMPLES] * 10), [4, 16, 32, 64]):
        assert forecast.silent.value == pytest.approx(1)
        assert forecast.alpha() is None
    assert fit_beta_binomial(np.array([0] * 30 + [SAMPLES] * 10), SAMPLES) == BetaBinomial(0.25, 1.0)


def test_larger_groups_are_silent_less_often_across_the_seam_too():
    """The seam: size 16 is from samples, 17 from the fit."""
    for mean in (0.005, 0.1, 0.5):
        found = forecasts(drawn(mean, 1, np.random.default_rng(4)), range(2, 65), draws=100)
        for name in ("value", "low", "high"):
            values = [getattr(forecast.silent, name) for forecast in found]
            assert all(later <= sooner + 1e-9 for sooner, later in pairwise(values)), name


@given(st.floats(0, 1), st.integers(2, 64))
def test_without_spread_silence_is_that_of_one_probability(p, group_size):
    constant = BetaBinomial(p, 0.0)
    assert constant.all_succeed(group_size) == pytest.approx(p**group_size)
    assert constant.all_fail(group_size) == pytest.approx((1 - p) ** group_size)


def test_the_fit_is_the_most_likely_correlation_and_gives_scipys_probabilities():
    counts = drawn(0.1, 3, np.random.default_rng(5)).sum(axis=1).astype(int)
    fit = fit_beta_binomial(counts, SAMPLES)
    assert fit.mean == pytest.approx(counts.mean() / SAMPLES)
    assert fit.correlation == pytest.approx(1 / 4, abs=0.08)

    def likelihood(correlation):
        total = 1 / correlation - 1
        return stats.betabinom.logpmf(counts, SAMPLES, fit.mean * total, (1 - fit.mean) * total).sum()

    assert all(likelihood(fit.correlation) >= likelihood(fit.correlation * factor) for factor in (0.98, 1.02))
    total = 1 / fit.correlation - 1
    expected = stats.betabinom.pmf(np.arange(SAMPLES + 1), SAMPLES, fit.mean * total, (1 - fit.mean) * total)
    assert fit.probabilities(SAMPLES) == pytest.approx(expected)
    assert fit.all_succeed(40) + fit.all_fail(40) == pytest.approx(silent_truth(fit.mean, total, 40))


@pytest.mark.parametrize("samples", [64, 1100, 3000])
def test_many_samples_are_no_overflow(samples):
    """C(1100, 550) is beyond what a float holds."""
    expected = stats.betabinom.pmf(np.arange(samples + 1), samples, 0.4, 3.6)
    assert BetaBinomial(0.1, 0.2).probabilities(samples) == pytest.approx(expected, rel=1e-6, abs=1e-15)
    found = forecasts(rewards_of([samples // 10, 0, samples // 2], samples), [4, 64], draws=50)
    assert all(0 < forecast.silent.value < 1 and 0 < forecast.positives < 64 for forecast in found)


def test_less_spread_than_chance_gives_is_one_probability():
    assert fit_beta_binomial(np.array([4] * 50), SAMPLES) == BetaBinomial(0.25, 0.0)


def test_counts_of_zero_and_one_values_have_probabilities():
    """The page draws them; the logarithm of 0 must not reach it."""
    assert BetaBinomial(0.0, 0.0).probabilities(4).tolist() == [1, 0, 0, 0, 0]
    assert BetaBinomial(0.25, 1.0).probabilities(4).tolist() == [0.75, 0, 0, 0, 0.25]


def test_graded_rewards_are_not_extrapolated():
    rewards = np.random.default_rng(6).choice([0.0, 0.5, 1.0], (30, 8))
    assert [forecast.group_size for forecast in forecasts(rewards, [4, 8, 16])] == [4, 8]


def test_the_same_seed_gives_the_same_forecast():
    rewards = drawn(0.1, 3, np.random.default_rng(8))
    assert forecasts(rewards, [4, 32], 320, 100, seed=1) == forecasts(rewards, [4, 32], 320, 100, seed=1)
    assert forecasts(rewards, [4, 32], 320, 100, seed=1) != forecasts(rewards, [4, 32], 320, 100, seed=2)


def a_forecast(silent, group_size=8, low=None, high=None):
    estimate = Estimate(silent, silent if low is None else low, silent if high is None else high)
    return Forecast(group_size, estimate, estimate, 320, 1.0, 7.0, False)


def test_prompts_and_responses_follow_from_the_share():
    forecast = a_forecast(0.75, low=0.7, high=0.8)
    assert forecast.prompts_for(16) == 64
    assert forecast.prompts_for(16.1) == 65
    responses = forecast.informative_responses(32)
    assert (responses.value, responses.low, responses.high) == pytest.approx((64, 51.2, 76.8))


def test_the_words_say_how_often_a_batch_is_empty():
    assert start(0.9, 29) == "starts"  # 0.9^29 = 4.7 %
    assert start(0.9, 28) == "starts slowly"  # 5.2 %
    assert start(0.9, 7) == "starts slowly"  # 47.8 %
    assert start(0.9, 6) == "will not start"  # 53.1 %


def test_the_verdict_is_the_smallest_group_that_starts():
    small, large = a_forecast(0.95, 4), a_forecast(0.85, 16)
    found = verdict([small, large], [small, large], 32, 0.02)
    assert (found.word, found.group_size, found.changes) == ("starts", 16, ())
    wide = a_forecast(0.85, 16, low=0.8, high=0.99)
    assert verdict([wide], [wide], 32, 0.02).within_interval == ("starts", "starts slowly", "will not start")


def test_a_verdict_that_is_bad_news_says_what_to_change():
    asked, curve = a_forecast(0.95, 4), [a_forecast(0.95, 4), a_forecast(0.9, 20), a_forecast(0.85, 30)]
    slow = verdict([asked], curve, 32, 0.02)
    assert slow.word == "starts slowly"
    assert any("20 responses" in change for change in slow.changes)
    assert any("59 per batch" in change for change in slow.changes)  # 0.95^59 = 4.8 %, ^58 = 5.1 %
    assert any("20.0 times" in change for change in slow.changes)
    assert any("warm start" in change for change in slow.changes)
    solved = verdict([a_forecast(1.0)], [a_forecast(1.0)], 32, 1.0)
    assert solved.word == "will not start"
    assert solved.changes == ("harder problems: nearly all of these are already solved",)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: forecasts(np.zeros(5), [4]), r"\[N, k\]"),
        (lambda: forecasts(np.zeros((5, 1)), [4]), "k >= 2"),
        (lambda: forecasts(np.zeros((5, 8)), [1]), "2 to 64"),
        (lambda: forecasts(np.zeros((5, 8)), [65]), "2 to 64"),
        (lambda: fit_beta_binomial(np.array([9]), 8), "0 to 8"),
        (lambda: fit_beta_binomial(np.array([]), 8), "0 problems"),
        (lambda: mean_estimate(np.array([2.0])), r"within \[0, 1\]"),
    ],
)
def test_a_mistake_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
