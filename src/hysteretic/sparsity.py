"""Predict the fraction of silent groups before training, from the rewards of k responses to each of N problems.

A group of G responses is *silent* (zero-variance) when all its rewards are equal. With success probability p, it is
silent with probability

    s(p, G) = p^G + (1 - p)^G          expected fraction of silent groups: E over problems of s(p, G)

G <= k: s is estimated without bias from the responses themselves, C(c, G) / C(k, G) + C(k - c, G) / C(k, G) with c
successes of k (the fraction of subsets of size G that are silent); with several values of reward, a sum over values.
G > k: extrapolated by a beta-binomial fitted to the counts. Needs NumPy and SciPy only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import betaln, comb, expit, logit

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

LARGEST_GROUP = 64
"""The largest group considered; beyond it a rollout is usually too expensive, and the fit extrapolates too far."""
TOLERANCE = 1e-6
"""Rewards that differ by at most this fraction of the largest one are equal, as in hysteretic.advantages."""
_TAIL = 0.025
"""Probability beyond either end of a 95 % interval."""
CORRELATIONS: Array = expit(np.linspace(-8, 6, 85))
"""The grid on which the likelihood is evaluated first: 0.03 % to 99.8 %."""
RARELY_EMPTY = 0.05
"""Starts: at most one batch in 20 has no informative group, and so no gradient (3 such groups expected per batch)."""
OFTEN_EMPTY = 0.5
"""Will not start: most batches have no informative group (0.7 expected), and the others mostly one, which is noise.

Both are chosen, not measured. The embedded model, which does learn, expects about 4 groups per batch.
"""
_RESAMPLES = 32
"""Groups drawn from each problem's responses to count signs when rewards have more than two values."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


# Intervals over problems.


def problem_weights(problems: int, draws: int, rng: np.random.Generator) -> Array:
    """Weights of the problems in each bootstrap sample, [D, N + 1]: Dirichlet(1, ..., 1), one more than problems.

    The Bayesian bootstrap with one unseen problem. `_ends` puts it at either end of the possible range:
    Gaffke's interval for the mean of a bounded variable (arXiv 1905.06208). For values of 0 and 1 it is Clopper and
    Pearson's, so N zeros leave an upper end of 1 - 0.025^(1/N), about 3.7 / N. A plain bootstrap would give 0.
    """
    weights = rng.exponential(size=(draws, problems + 1))
    scaled: Array = weights / weights.sum(axis=1, keepdims=True)
    return scaled


def _ends(values_N: Array, weights_DN: Array) -> tuple[Array, Array]:
    """Draws of the mean of values in [0, 1] when the unseen problem has 0, and when it has 1."""
    seen_D: Array = weights_DN[:, :-1] @ values_N
    return seen_D, seen_D + weights_DN[:, -1]


def _estimate(value: float, low_D: Array, high_D: Array) -> Estimate:
    low, high = float(np.quantile(low_D, _TAIL)), float(np.quantile(high_D, 1 - _TAIL))
    return Estimate(value, min(max(low, 0.0), value), max(min(high, 1.0), value))


def mean_estimate(values_N: Array, draws: int = 2000, seed: int = 0) -> Estimate:
    """Mean over problems of values in [0, 1]; the problems are the independent units, not the responses.

    Raises ValueError without problems, or for values outside [0, 1].
    """
    values_N = np.asarray(values_N, dtype=float)
    if not len(values_N) or values_N.min() < 0 or values_N.max() > 1:
        raise ValueError("An interval over problems needs at least one value, all within [0, 1].")
    weights_DN = problem_weights(len(values_N), draws, np.random.default_rng(seed))
    return _estimate(float(values_N.mean()), *_ends(values_N, weights_DN))


# The success rate's distribution over problems.


@dataclass(frozen=True)
class BetaBinomial:
    """Success probabilities over problems: Beta with this mean and this correlation of two responses to one problem.

    correlation 1 / (1 + a + b) of a Beta(a, b): 0, every problem has p = mean; 1, every p is 0 or 1.
    """

    mean: float
    correlation: float

    def all_succeed(self, group_size: int) -> float:
        """E[p^G]."""
        return float(_powers(self.mean, self.correlation, group_size)[..., group_size])

    def all_fail(self, group_size: int) -> float:
        """E[(1 - p)^G]."""
        return float(_powers(1 - self.mean, self.correlation, group_size)[..., group_size])

    def probabilities(self, samples: int) -> Array:
        """Of 0, 1, ..., k successes of k samples."""
        if self.correlation < 1:
            return np.exp(_log_pmf(self.mean, self.correlation, samples))
        always_or_never = np.zeros(samples + 1)
        always_or_never[[0, -1]] = 1 - self.mean, self.mean
        return always_or_never


def _powers(mean: Array | float, correlation: Array | float, largest: int) -> Array:
    """E[p^n] for n = 0, ..., largest along a new last axis.

    E[p^n] = m prod_{j=1}^{n-1} (m (1 - r) + j r) / ((1 - r) + j r)       m mean, r correlation
    """
    m, r = np.asarray(mean, dtype=float)[..., None], np.asarray(correlation, dtype=float)[..., None]
    j = np.arange(1, max(largest, 1))
    factors = np.concatenate([np.ones_like(m), m, (m * (1 - r) + j * r) / ((1 - r) + j * r)], axis=-1)
    powers: Array = np.cumprod(factors, axis=-1)
    return powers


def _log_pmf(mean: Array | float, correlation: float, samples: int) -> Array:
    """Log-probability of c = 0, ..., k successes along a new last axis; correlation < 1."""
    successes, mean = np.arange(samples + 1), np.asarray(mean)[..., None]
    if correlation == 0:
        return np.asarray(stats.binom.logpmf(successes, samples, mean))
    total = 1 / correlation - 1
    a, b = mean * total, (1 - mean) * total
    ways = -np.log(samples + 1) - betaln(samples - successes + 1, successes + 1)
    return np.asarray(ways + betaln(successes + a, samples - successes + b) - betaln(a, b))


def fit_beta_binomial(successes_N: Counts, samples: int) -> BetaBinomial:
    """The mean of the sample, and the correlation of maximum likelihood at that mean.

    Ends that no Beta(a, b) reaches are exact: no success (or no failure) at all, or no more spread than binomial noise
    gives: correlation 0; problems that always or never succeed: correlation 1.
    Raises ValueError for fewer than two samples, no problems, or counts outside 0..samples.
    """
    successes_N = np.asarray(successes_N)
    if samples < 2 or not len(successes_N) or successes_N.min() < 0 or successes_N.max() > samples:
        raise ValueError(
            f"A beta-binomial needs problems with 0 to {samples} successes, and at least 2 samples; found "
            f"{len(successes_N)} problems and {samples} samples."
        )
    problems_C = np.bincount(successes_N, minlength=samples + 1)
    mean = float(successes_N.mean() / samples)
    if mean in (0.0, 1.0):
        return BetaBinomial(mean, 0.0)
    if not problems_C[1:-1].any():
        return BetaBinomial(mean, 1.0)

    def misfit(correlation: float) -> float:
        return float(-(problems_C @ _log_pmf(mean, correlation, samples)))

    places = np.concatenate([[0.0], CORRELATIONS])
    best = int(np.argmin([misfit(correlation) for correlation in places]))
    if best == 0:
        return BetaBinomial(mean, 0.0)
    around = logit(places[[max(best - 1, 1), min(best + 1, len(places) - 1)]])
    found = optimize.minimize_scalar(lambda place: misfit(expit(place)), bounds=around, method="bounded")
    return BetaBinomial(mean, float(expit(found.x)))


def _fit_draws(successes_N: Counts, samples: int, weights_DN: Array, unseen: int) -> tuple[Array, Array]:
    """As `fit_beta_binomial` (to the grid), for each bootstrap sample with so many successes of the unseen problem.

    Returns E[p^n] and E[(1-p)^n] for n = 0, ..., LARGEST_GROUP, each [D, n].
    """
    shares_DC = weights_DN[:, :-1] @ np.eye(samples + 1)[successes_N]
    shares_DC[:, unseen] += weights_DN[:, -1]
    mean_D = np.clip(shares_DC @ np.arange(samples + 1) / samples, 1e-9, 1 - 1e-9)
    places = np.concatenate([[0.0], CORRELATIONS])
    likelihood_DQ = np.stack([(shares_DC * _log_pmf(mean_D, place, samples)).sum(axis=1) for place in places], axis=1)
    correlation_D = places[likelihood_DQ.argmax(axis=1)]
    return _powers(mean_D, correlation_D, LARGEST_GROUP), _powers(1 - mean_D, correlation_D, LARGEST_GROUP)


# Groups.


@dataclass(frozen=True)
class Forecast:
    """A forecast for groups of one size under the sampled policy.

    silent: expected fraction of silent groups. measured: 95 % prediction interval for the fraction among `groups` new
    groups of new problems, to compare with the mean hpo/silent_share of the first rollouts. positives,
    negatives: expected number in a group of responses whose advantage is above, below 0. is_extrapolated: the group
    is larger than the samples per problem, so these numbers come from the fitted beta-binomial.
    """

    group_size: int
    silent: Estimate
    measured: Estimate
    groups: int
    positives: float
    negatives: float
    is_extrapolated: bool

    @property
    def informative(self) -> float:
        """Expected fraction of groups that are not silent; rounding errors are 0."""
        fraction = 1 - self.silent.value
        return fraction if fraction > 1e-9 else 0.0

    def informative_responses(self, prompts: int) -> Estimate:
        """Expected number of responses in informative groups, in a batch of so many prompts."""
        rows, silent = prompts * self.group_size, self.silent
        return Estimate(rows * (1 - silent.value), rows * (1 - silent.high), rows * (1 - silent.low))

    def alpha(self, floor: float = 0.1) -> float | None:
        """A-HPO's first alpha, the ratio of expected counts in a batch, clipped; None if nothing is informative.

        alpha = clip(E[n_pos] / E[n_neg], floor, 1)
        """
        return min(max(self.positives / self.negatives, floor), 1.0) if self.informative > 0 else None

    def prompts_for(self, informative_groups: float) -> int | None:
        """Prompts per batch for this expected number of informative groups; None if no number suffices."""
        return math.ceil(informative_groups / self.informative - 1e-9) if self.informative > 0 else None


def outcomes(rewards_NK: Array) -> Counts:
    """Rank of each reward among the distinct values seen: 0 for the lowest. Equal within TOLERANCE."""
    rewards_NK = np.asarray(rewards_NK, dtype=float)
    step = TOLERANCE * np.abs(rewards_NK).max(initial=0.0)
    ordered = np.unique(rewards_NK)
    rank = np.concatenate([[0], np.cumsum(np.diff(ordered) > step)])
    ranks: Counts = rank[np.searchsorted(ordered, rewards_NK)]
    return ranks


def silent_of_problems(outcomes_NK: Counts, group_size: int) -> Array:
    """Unbiased estimate, for each problem, of the probability that a group of it is silent; group_size <= k.

    sum over values v of C(n_v, G) / C(k, G)        n_v responses of k with value v
    """
    samples = outcomes_NK.shape[1]
    alike_NK = np.stack([(row[:, None] == row).sum(axis=1) for row in outcomes_NK])
    share_K = comb(np.arange(samples + 1), group_size) / comb(samples, group_size)
    silent_N: Array = (share_K[alike_NK] / alike_NK).sum(axis=1)
    return np.clip(silent_N, 0.0, 1.0)


def forecasts(
    rewards_NK: Array, group_sizes: Iterable[int], groups: int = 320, draws: int = 2000, seed: int = 0
) -> list[Forecast]:
    """A forecast for each group size; sizes above k only where rewards have at most two values.

    rewards_NK: of k responses to each of N problems (successes and failures are 1 and 0; any two values will do).
    groups: how many groups `Forecast.measured` is for.
    Raises ValueError when rewards are not [N, k] with k >= 2, or a group size is outside 2..64.
    """
    rewards_NK = np.asarray(rewards_NK, dtype=float)
    if rewards_NK.ndim != 2 or rewards_NK.shape[0] < 1 or rewards_NK.shape[1] < 2:
        raise ValueError(f"rewards must be [N, k], k >= 2 responses to each problem; found {list(rewards_NK.shape)}.")
    sizes = sorted(set(group_sizes))
    if sizes and not 2 <= sizes[0] <= sizes[-1] <= LARGEST_GROUP:
        raise ValueError(f"Group sizes are {sizes}; a group has 2 to {LARGEST_GROUP} responses.")
    outcomes_NK, rng = outcomes(rewards_NK), np.random.default_rng(seed)
    samples, is_binary = rewards_NK.shape[1], bool(outcomes_NK.max() <= 1)
    weights_DN = problem_weights(len(rewards_NK), draws, rng)
    found = [_within(rewards_NK, outcomes_NK, size, groups, weights_DN, rng) for size in sizes if size <= samples]
    if is_binary and sizes and sizes[-1] > samples:
        found += _beyond(outcomes_NK, [size for size in sizes if size > samples], groups, weights_DN, rng)
    return found


def _forecast(
    size: int,
    value: float,
    ends: tuple[Array, Array],
    groups: int,
    signs: tuple[float, float],
    is_extrapolated: bool,
    rng: np.random.Generator,
) -> Forecast:
    low_D, high_D = (np.clip(end, 0.0, 1.0) for end in ends)
    drawn = (rng.binomial(groups, low_D) / groups, rng.binomial(groups, high_D) / groups)
    silent, measured = _estimate(value, low_D, high_D), _estimate(value, *drawn)
    return Forecast(size, silent, measured, groups, *signs, is_extrapolated)


def _within(
    rewards_NK: Array, outcomes_NK: Counts, size: int, groups: int, weights_DN: Array, rng: np.random.Generator
) -> Forecast:
    silent_N = silent_of_problems(outcomes_NK, size)
    if outcomes_NK.max() > 1:
        signs = _graded_signs(rewards_NK, size, rng)
    else:
        counts_N, samples = outcomes_NK.sum(axis=1), outcomes_NK.shape[1]
        rate = float(counts_N.mean() / samples)
        succeed, fail = (float((comb(n, size) / comb(samples, size)).mean()) for n in (counts_N, samples - counts_N))
        signs = (size * (rate - succeed), size * (1 - rate - fail))
    return _forecast(size, float(silent_N.mean()), _ends(silent_N, weights_DN), groups, signs, False, rng)


def _beyond(
    outcomes_NK: Counts, sizes: list[int], groups: int, weights_DN: Array, rng: np.random.Generator
) -> list[Forecast]:
    """Groups larger than the samples. Their silent fraction never exceeds that of a group of all samples."""
    samples, counts_N = outcomes_NK.shape[1], outcomes_NK.sum(axis=1)
    silent_N = silent_of_problems(outcomes_NK, samples)
    fit, mostly = fit_beta_binomial(counts_N, samples), samples * int(2 * counts_N.mean() > samples)
    draws = [_fit_draws(counts_N, samples, weights_DN, unseen) for unseen in (samples // 2, mostly)]
    ends_D = _ends(silent_N, weights_DN)
    found = []
    for size in sizes:
        succeed, fail = fit.all_succeed(size), fit.all_fail(size)
        low_D, high_D = (np.minimum(s[:, size] + f[:, size], end) for (s, f), end in zip(draws, ends_D, strict=True))
        signs = (size * (fit.mean - succeed), size * (1 - fit.mean - fail))
        value = min(succeed + fail, float(silent_N.mean()))
        found.append(_forecast(size, value, (low_D, high_D), groups, signs, True, rng))
    return found


def _graded_signs(rewards_NK: Array, size: int, rng: np.random.Generator) -> tuple[float, float]:
    """Expected responses above and below the mean of a group, from groups drawn out of each problem's responses."""
    order = rng.random((len(rewards_NK), _RESAMPLES, rewards_NK.shape[1])).argsort(axis=2)[..., :size]
    drawn = np.take_along_axis(rewards_NK[:, None, :], order, axis=2)
    spread = np.ptp(drawn, axis=2, keepdims=True)
    tolerance = TOLERANCE * np.abs(drawn).max(axis=2, keepdims=True)
    above = (drawn - drawn.mean(axis=2, keepdims=True)) * (spread > tolerance)
    margin = np.minimum(tolerance, spread / (2 * size))
    signs = [float((side > margin).sum(axis=2).mean()) for side in (above, -above)]
    return signs[0], signs[1]


# Will it start?

WORDS = ("starts", "starts slowly", "will not start")


def start(silent: float, prompts: int) -> str:
    """The verdict, from how often a batch of so many prompts has no informative group at all: silent ** prompts."""
    empty = silent**prompts
    return WORDS[int(empty > RARELY_EMPTY) + int(empty > OFTEN_EMPTY)]


@dataclass(frozen=True)
class Verdict:
    """Whether training starts, from which group size, what else the interval allows, and what to change."""

    word: str
    group_size: int
    within_interval: tuple[str, ...]
    changes: tuple[str, ...]


def verdict(
    asked: Sequence[Forecast],
    curve: Sequence[Forecast],
    prompts: int,
    mean_success: float | None,
    warm_start: str = "supervised training on a few good responses first",
) -> Verdict:
    """The verdict for the smallest requested group size that starts, or else starts slowly, or else for the largest.

    curve: forecasts for all sizes, from which a better size is suggested. mean_success: None for graded rewards.
    warm_start: how to have one for this task.
    """
    by_word = {start(forecast.silent.value, prompts): forecast for forecast in reversed(asked)}
    word = next(word for word in WORDS if word in by_word)
    chosen = asked[-1] if word == WORDS[-1] else by_word[word]
    silent = chosen.silent
    best, worst = (WORDS.index(start(share, prompts)) for share in (silent.low, silent.high))
    changes = []
    if word != WORDS[0]:
        starting = [f.group_size for f in curve if start(f.silent.value, prompts) == WORDS[0]]
        if starting:
            changes.append(f"a larger group: {min(starting)} responses per prompt")
        if 0 < chosen.informative < 1:
            needed = math.ceil(math.log(RARELY_EMPTY) / math.log(silent.value))
            changes.append(f"more prompts: {needed:,} per batch, with groups of {chosen.group_size}")
            times = 1 / chosen.informative
            changes.append(f"dynamic sampling (draw until a group is informative): {times:,.1f} times the generation")
        if mean_success is not None and mean_success > 0.5:
            changes.append("harder problems: nearly all of these are already solved")
        else:
            changes += ["easier problems", f"a warm start: {warm_start}"]
        if mean_success == 0:
            changes.insert(0, "the reward function, if it is wrong: look at responses and rewards in probe.json")
    return Verdict(word, chosen.group_size, WORDS[best : worst + 1], tuple(changes))
