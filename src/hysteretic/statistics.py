"""Compare arms over a few seeds: which is better, by how much, and how certain that is.

Needs numpy and (except for `wilson` and `pass_at_k`) scipy, which come with the extra `report`; neither torch nor TRL.
The seed is the unit: one number per run, treatment and baseline paired by seed. Why Student's t rather than a
bootstrap: results/intervals.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise
from math import inf, isfinite, nan, sqrt
from operator import index
from statistics import NormalDist
from typing import Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Numbers: TypeAlias = Sequence[float] | Array
Verdict = Literal["better", "worse", "cannot tell", "too few seeds"]

FEWEST_SEEDS = 4
"""Fewer paired seeds get no verdict, whatever their interval: three numbers cannot reveal an outlier."""

MOST_SEEDS, POWER_TO_TELL = 1000, 0.8
"""`seeds_to_tell` considers up to this many seeds, and aims at this power."""

NOISE = 1e-12
"""Differences below this fraction of the largest value are rounding errors and count as 0."""


@dataclass(frozen=True)
class PairedComparison:
    """The result of `paired_comparison`; print it for a sentence. Intervals are (low, high) at `confidence`."""

    treatment_mean: float
    baseline_mean: float
    mean_difference: float
    spread: float
    """Standard deviation of the differences over seeds (divisor S - 1); nan for one seed."""
    interval: tuple[float, float]
    relative_gain: float
    """treatment_mean / baseline_mean - 1: negative for a better treatment where the baseline's mean is negative."""
    relative_interval: tuple[float, float] | None
    probability_of_improvement: float
    """Fraction of paired seeds at which treatment > baseline; a tie counts half."""
    probability_interval: tuple[float, float]
    p_value: float
    """Two-sided paired t-test; nan for one seed."""
    seeds: int
    confidence: float
    verdict: Verdict

    @cached_property
    def seeds_to_tell(self) -> int | None:
        """About how many seeds in all give 80 % power, if the observed effect and spread are the true ones.

            min { n > S, n >= 4 : power(mean_difference, spread, n) >= 0.8 }

        A rough guide: effect and spread are estimates themselves. None when the verdict is already clear, when n
        would exceed 1000 (always so without any difference), and for one seed, which has no spread. Not a field,
        because it takes longer than everything else: `dataclasses.asdict` leaves it out.
        """
        if self.verdict in ("better", "worse") or self.seeds < 2:
            return None
        numbers = range(max(FEWEST_SEEDS, self.seeds + 1), MOST_SEEDS + 1)
        effect, spread, confidence = self.mean_difference, self.spread, self.confidence
        place = bisect_left(numbers, POWER_TO_TELL, key=lambda seeds: power(effect, spread, seeds, confidence))
        return numbers[place] if place < len(numbers) else None

    def __str__(self) -> str:
        words = {"too few seeds": f"fewer than {FEWEST_SEEDS} seeds, no verdict", "cannot tell": "no clear difference"}
        verdict = words.get(self.verdict, self.verdict)
        low, high = self.interval
        sentence = (
            f"{verdict.capitalize()}: mean {self.treatment_mean:.4g} against {self.baseline_mean:.4g}, a difference of "
            f"{self.mean_difference:+.3g} ({100 * self.confidence:g} % interval {low:+.3g} to {high:+.3g}"
        )
        if self.relative_interval is not None and self.baseline_mean > 0:
            gain, least, most = (100 * part for part in (self.relative_gain, *self.relative_interval))
            sentence += f"; {gain:+.1f} % of the baseline, {least:+.1f} to {most:+.1f} %"
        sentence += f") over {self.seeds} paired seeds, p = {self.p_value:.2g}" if self.seeds > 1 else ") at one seed"
        if self.seeds_to_tell is not None:
            sentence += f"; if the difference is as measured, about {self.seeds_to_tell} seeds would confirm it"
        return sentence + "."


def paired_comparison(treatment: Numbers, baseline: Numbers, confidence: float = 0.95) -> PairedComparison:
    """Compare two arms seed by seed: mean difference, relative gain, probability of improvement and a verdict.

        d_s = treatment_s - baseline_s        m = mean of d        v = variance of d over seeds, divisor S - 1
        interval = m -+ t sqrt(v / S)         p = 2 P(T_{S-1} < -|m| / sqrt(v / S))    (Student 1908)
        relative_gain = m / b, b the baseline's mean; relative_interval = Fieller's set (`_fieller`)
        probability_of_improvement = (#{d_s > 0} + #{d_s = 0} / 2) / S, with Wilson's interval (`wilson`)

    t: quantile (1 + confidence) / 2 at S - 1 degrees of freedom. Verdict: "better" when the interval
    lies above 0, "worse" when below, else "cannot tell"; "too few seeds" under 4, where the numbers are still given as
    far as they exist (for one seed the interval is (-inf, inf)). The probability is over paired seeds, not over all
    pairs of runs as in Agarwal et al. (2021, arXiv 2108.13264). Where all d_s are equal, up to rounding of the values,
    the interval has width 0, and p is 1 if they are 0, else 0.

    treatment, baseline: one number per seed, in the same order. Higher is better.
    Raises ValueError when they are empty, of unequal length, not one-dimensional or hold a value that is not finite,
    and for a confidence outside (0, 1).
    """
    from scipy import special

    _check_confidence(confidence)
    remedy = "leave that seed out of both treatment and baseline, or repeat its run"
    treatment_S, baseline_S = _finite(treatment, "treatment", 1, remedy), _finite(baseline, "baseline", 1, remedy)
    seeds = len(treatment_S)
    if seeds != len(baseline_S):
        found = f"treatment has {seeds} values and baseline {len(baseline_S)}"
        raise ValueError(
            f"{found}; give one number per seed in the same order, without the seeds that one of them lacks."
        )
    difference_S = _without_noise(treatment_S - baseline_S, NOISE * max(abs(treatment_S).max(), abs(baseline_S).max()))
    mean, base = float(difference_S.mean()), float(baseline_S.mean())
    spread = float((difference_S - difference_S[0]).std(ddof=1)) if seeds > 1 else nan  # 0 for equal numbers
    error = spread / sqrt(seeds)
    half = _t(seeds, confidence) * error if seeds > 1 else inf
    ratio = abs(mean) / error if error else inf if mean else 0.0
    low, high = mean - half, mean + half
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "cannot tell"
    improved = float((difference_S > 0).mean() + (difference_S == 0).mean() / 2)
    return PairedComparison(
        treatment_mean=float(treatment_S.mean()),
        baseline_mean=base,
        mean_difference=mean,
        spread=spread,
        interval=(low, high),
        relative_gain=mean / base if base else nan,
        relative_interval=_fieller(difference_S, baseline_S, confidence),
        probability_of_improvement=improved,
        probability_interval=wilson(improved, seeds, confidence),
        p_value=float(2 * special.stdtr(seeds - 1, -ratio)),
        seeds=seeds,
        confidence=confidence,
        verdict="too few seeds" if seeds < FEWEST_SEEDS else verdict,
    )


def equivalence_p(treatment: Numbers, baseline: Numbers, margin: float) -> float:
    """The p-value of "the treatment's mean lies within a margin of the baseline's", by two one-sided paired t-tests.

        p = max(P(T_{S-1} < t(d - margin b)), P(T_{S-1} > t(d + margin b)))     t(x) = mean(x) / (std(x) / sqrt(S))

    d_s = treatment_s - baseline_s, b_s the baseline. A small p says that the relative gain lies within +- margin: at
    p <= 0.05 its 90 % Fieller interval does (Schuirmann 1987). That no difference was found says nothing of the kind.

    treatment, baseline: one number per seed, in the same order, at least 2; the baseline's mean must be above 0.
    margin: a fraction of the baseline's mean, above 0.
    Raises ValueError for a margin or baseline that is not above 0, and as `paired_comparison`.
    """
    from scipy import special

    remedy = "leave that seed out of both treatment and baseline, or repeat its run"
    treatment_S, baseline_S = _finite(treatment, "treatment", 1, remedy), _finite(baseline, "baseline", 1, remedy)
    seeds = len(treatment_S)
    if seeds != len(baseline_S) or seeds < 2:
        raise ValueError(
            f"treatment has {seeds} values and baseline {len(baseline_S)}; give one number per seed in the same order, "
            "for at least 2 seeds."
        )
    if not 0 < margin < inf or not baseline_S.mean() > 0:
        raise ValueError(
            f"margin is {margin} and the baseline's mean {baseline_S.mean():g}; a margin is a fraction above 0 of a "
            "mean above 0."
        )
    sides = []
    for sign in (1, -1):  # sign * (d - sign * margin b) is to lie below 0
        beyond_S = sign * (treatment_S - baseline_S) - margin * baseline_S
        mean, error = float(beyond_S.mean()), float(beyond_S.std(ddof=1)) / sqrt(seeds)
        ratio = mean / error if error else inf if mean > 0 else -inf if mean < 0 else 0.0
        sides.append(float(special.stdtr(seeds - 1, ratio)))
    return max(sides)


SIMULATED_PATHS = 50_000
"""Comparisons without a difference that `sequential_p` simulates."""


def sequential_p(p_value: float, looks: Sequence[int]) -> float:
    """The p-value of a paired t-test at one of several looks, each of which could have ended the comparison.

        sequential_p = P(min_k P_k <= p_value)        P_k: the p-value at look k, without any difference

    Stopping as soon as p <= 0.05 at some look finds a difference that is not there in far more than 5 % of comparisons;
    stopping as soon as sequential_p <= 0.05 does not, at whichever look one stops (Pocock 1977 with t in place of z).
    Without a difference, p-values of normal differences have one joint distribution whatever their spread; it is
    simulated, always with the same random numbers.

    looks: number of seeds at each planned look, increasing, at least 2; the looks that were not reached count too.
    Raises ValueError for a p-value outside [0, 1] and for other looks.
    """
    looks = tuple(index(seeds) for seeds in looks)
    if not looks or looks[0] < 2 or any(second <= first for first, second in pairwise(looks)):
        raise ValueError(f"looks is {list(looks)}; give the number of seeds at each look, increasing, at least 2.")
    if not 0 <= p_value <= 1:
        raise ValueError(f"p_value is {p_value}; give one in [0, 1].")
    if len(looks) == 1:
        return p_value
    least = _least_p_values(looks)
    simulated = (1 + int(np.searchsorted(least, p_value, side="right"))) / (1 + len(least))
    return min(1.0, len(looks) * p_value, simulated)


@cache
def _least_p_values(looks: tuple[int, ...]) -> Array:
    """The smallest p-value over the looks of each simulated comparison, sorted."""
    from scipy import special

    rng = np.random.default_rng(0)
    sums, squares = np.zeros(SIMULATED_PATHS), np.zeros(SIMULATED_PATHS)
    least, before = np.ones(SIMULATED_PATHS), 0
    for seeds in looks:
        for _ in range(seeds - before):
            difference = rng.standard_normal(SIMULATED_PATHS)
            sums += difference
            squares += difference**2
        spread = np.sqrt((squares - sums**2 / seeds) / (seeds - 1))
        least = np.minimum(least, 2 * special.stdtr(seeds - 1, -abs(sums) / sqrt(seeds) / spread))
        before = seeds
    return cast("Array", np.sort(least))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple tests, in the order given: the chance of any false finding stays below the level.

        adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j))        p_(1) <= ... <= p_(m)

    Step-down, valid for any dependence between the tests (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).
    Raises ValueError for a p-value that is not in [0, 1]; one that is nan (too few seeds to test) must be left out.
    """
    for place, p in enumerate(p_values):
        if not 0 <= p <= 1:
            raise ValueError(f"p_values[{place}] is {p}; give p-values in [0, 1] and leave out tests that have none.")
    p_M = np.asarray(p_values, dtype=np.float64)
    order_M = np.argsort(p_M, kind="stable")
    adjusted_M = np.empty_like(p_M)
    adjusted_M[order_M] = np.maximum.accumulate(np.minimum(1.0, np.arange(len(p_M), 0, -1) * p_M[order_M]))
    return cast("list[float]", adjusted_M.tolist())


def mean_interval(values: Numbers, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean, low and high: Student's t over seeds.

        mean -+ t_{S-1, (1 + confidence) / 2} sqrt(v / S)        v: variance with divisor S - 1 (Student 1908)

    One value has the interval (-inf, inf). Raises ValueError as `mean_band` does.
    """
    values_S = _finite(values, "values", 1, "leave that seed out, or repeat its run")
    mean, low, high = mean_band(values_S[:, None], confidence)
    return float(mean[0]), float(low[0]), float(high[0])


def mean_band(matrix_SN: Sequence[Numbers] | Array, confidence: float = 0.95) -> tuple[Array, Array, Array]:
    """Means, lows and highs of N points over S seeds: `mean_interval` of each column, so for each point by itself.

    matrix_SN: one row per seed, one column per point (a step of a curve, a line of a table).
    Raises ValueError for an empty matrix, rows of unequal length, a value that is not finite (cut the curves to the
    steps that all seeds have) and a confidence outside (0, 1).
    """
    _check_confidence(confidence)
    values_SN = _finite(matrix_SN, "matrix_SN", 2, "leave that seed out, or cut all curves to the points it has")
    seeds = len(values_SN)
    means = values_SN.mean(axis=0)
    half = _t(seeds, confidence) * values_SN.std(axis=0, ddof=1) / sqrt(seeds) if seeds > 1 else inf
    return means, means - half, means + half


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Probability that at least one of k answers is right, from n answers of which c are: unbiased (Chen et al. 2021).

        pass@k = 1 - C(n - c, k) / C(n, k) = 1 - prod_{i = n-c+1}^{n} (1 - k / i)        (arXiv 2107.03374, section 2.1)

    samples: n. correct: c. Summed in logarithms, so that nothing overflows.
    Raises ValueError unless 0 <= c <= n and 1 <= k <= n; TypeError for numbers that are not integers.
    """
    samples, correct, k = index(samples), index(correct), index(k)
    if not 0 <= correct <= samples:
        raise ValueError(f"correct is {correct} of samples = {samples}; it must be between 0 and samples.")
    if not 1 <= k <= samples:
        raise ValueError(f"k is {k}, but there are {samples} samples per problem; choose k from 1 to samples.")
    if correct == 0:
        return 0.0
    if samples - correct < k:
        return 1.0
    return float(-np.expm1(np.log1p(-k / np.arange(samples - correct + 1, samples + 1)).sum()))


def power(effect: float, spread: float, seeds: int, confidence: float = 0.95) -> float:
    """Chance that `paired_comparison` distinguishes a true mean difference from 0: the power of its t-test.

        power = P(T > t) + P(T < -t)        T noncentral with shift effect sqrt(S) / spread (Johnson and Welch 1940)

    effect, spread: true mean and standard deviation of the differences over seeds, taken to be normal. S: seeds. t as
    in `paired_comparison`. Without spread every effect but 0 is found.
    Raises ValueError for fewer than 2 seeds, a spread that is negative, values that are not finite and a confidence
    outside (0, 1).
    """
    _check_confidence(confidence)
    if not isfinite(effect) or not 0 <= spread < inf:
        raise ValueError(f"effect is {effect} and spread {spread}; give a finite effect and a finite spread >= 0.")
    if seeds < 2:
        raise ValueError(f"seeds is {seeds}, but a t-test needs a spread over seeds; give 2 or more (8 is usual).")
    if not spread or not effect:
        return 1 - confidence if spread else float(effect != 0)
    from scipy import special

    t, shift = _t(seeds, confidence), abs(effect) / spread * sqrt(seeds)
    # SciPy answers nan where a probability is far too small to matter.
    missed, wrong_way = np.nan_to_num(special.nctdtr(seeds - 1, shift, np.array([t, -t])), nan=0.0)
    return float(1 - missed + wrong_way)


def wilson(fraction: float, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a fraction of independent trials (Wilson 1927, JASA 22, 209-212).

        (f + z^2 / 2n -+ z sqrt(f (1 - f) / n + z^2 / 4n^2)) / (1 + z^2 / n)

    fraction f: successes over trials n; ties may count half, so f n need not be whole. z: normal quantile
    (1 + confidence) / 2.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = fraction + z**2 / (2 * trials)
    half = z * sqrt(fraction * (1 - fraction) / trials + (z / (2 * trials)) ** 2)
    scale = 1 + z**2 / trials
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def _fieller(difference_S: Array, baseline_S: Array, confidence: float) -> tuple[float, float] | None:
    """Fieller's set for the relative gain g = E d / E b of paired means (Fieller 1954, JRSS B 16, 175-185).

        { g : (m - g b)^2 <= t^2 (v_dd - 2 g v_db + g^2 v_bb) } = { g : A g^2 - 2 B g + C <= 0 }
        A = b^2 - t^2 v_bb        B = m b - t^2 v_db        C = m^2 - t^2 v_dd

    v: variances and covariance of the means (divided by S). An interval when A > 0, that is when the t-interval of the
    baseline's mean leaves out 0; unbounded otherwise: None. For b > 0 it leaves out 0 just when the interval of m does.
    """
    seeds = len(difference_S)
    if seeds < 2:
        return None
    mean, base = float(difference_S.mean()), float(baseline_S.mean())
    centred = np.stack([difference_S - mean, baseline_S - base])
    covariance = centred @ centred.T * (_t(seeds, confidence) ** 2 / (seeds * (seeds - 1)))
    a = base**2 - float(covariance[1, 1])
    b = mean * base - float(covariance[0, 1])
    c = mean**2 - float(covariance[0, 0])
    if a <= 0:
        return None
    far = b + (1 if b >= 0 else -1) * sqrt(max(b**2 - a * c, 0.0))  # the root without cancellation, times a
    low, high = sorted((far / a, c / far if far else 0.0))
    return low, high


def _t(seeds: int, confidence: float) -> float:
    """Quantile (1 + confidence) / 2 of Student's t with seeds - 1 degrees of freedom."""
    from scipy import special

    return float(special.stdtrit(seeds - 1, (1 + confidence) / 2))


def _without_noise(difference_S: Array, noise: float) -> Array:
    """Differences that are 0 up to rounding made 0, and those equal up to rounding made equal."""
    if np.ptp(difference_S) <= noise:
        difference_S = np.full_like(difference_S, difference_S.mean())
    return np.where(abs(difference_S) <= noise, 0.0, difference_S)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; give a fraction between 0 and 1, such as 0.95.")


def _finite(values: object, name: str, axes: int, remedy: str) -> Array:
    """The values as an array of floats. Raises ValueError that names the first unusable one and says what to do."""
    try:
        array: Array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} does not hold numbers in rows of equal length ({error}); give floats.") from error
    if array.ndim != axes or not array.size:
        wanted = "one number per seed" if axes == 1 else "one row per seed with one number per point"
        raise ValueError(f"{name} is {'empty' if not array.size else f'of shape {array.shape}'}; give {wanted}.")
    bad = np.argwhere(~np.isfinite(array)).tolist()
    if bad:
        others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        place = ", ".join(str(at) for at in bad[0])
        raise ValueError(f"{name}[{place}] is {array[tuple(bad[0])]}{others}; {remedy}.")
    return array
