"""Coverage of 95 % intervals for a paired mean difference at 4, 8 and 16 seeds, by simulation.

    python benchmarks/intervals.py      # about a minute on one core; writes results/intervals.json and .md

Candidates: Student's t (`hysteretic.statistics`), percentile and BCa bootstrap (scipy.stats.bootstrap), bootstrap-t.
Differences are drawn from a normal, two shifted lognormals (skewed) and Student's t with 3 degrees of freedom (heavy
tails), each with mean 0 and standard deviation 1. All candidates see the same samples.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from math import exp, sqrt
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy
from scipy import stats

from hysteretic.statistics import mean_band

Array: TypeAlias = npt.NDArray[np.float64]
Draw: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], Array]
Interval: TypeAlias = Callable[[Array, np.random.Generator, int], tuple[Array, Array]]

RESULTS = Path(__file__).parents[1] / "results"
CONFIDENCE = 0.95
SEEDS = (4, 8, 16)
CHUNK = 50
"""Samples that share their resampling indices; small, so that the resulting correlation averages out."""

PAGE = """# Which interval for a paired difference

Share of 95 % intervals that hold the true mean difference, and in brackets their mean width in standard deviations of
the difference.

{table}

**Choice: Student's t.** For normal and heavy-tailed differences it is within {off:.1f} points of 95 % at every number
of seeds, where the percentile and BCa bootstraps, too narrow, hold the truth in {boot[0]:.0f} to {boot[1]:.0f} % of
cases; bootstrap-t stays nearer to 95 % on skewed differences, but at 4 seeds its median width is {wider:.1f} times that
of Student's t (its mean is set by a few enormous intervals), and it depends on a random seed of its own. On strongly
skewed differences Student's t too holds the truth less often than it says ({skewed[0]:.0f} to {skewed[1]:.0f} %):
look at the single seeds.

{simulations} simulated comparisons a cell, {resamples} resamples a bootstrap, seed {seed}, the same samples for all
four. Monte-Carlo standard error of a share: {typical:.2f} points at 95 %, at most {worst:.2f}. Undefined intervals
(BCa can have them) count as misses: at most {undefined:.2f} % of a cell. numpy {numpy}, scipy {scipy}.

    OMP_NUM_THREADS=1 python benchmarks/intervals.py

It writes `intervals.json`, where the median widths are too, and this page.
"""


def normal(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    return generator.standard_normal(shape)


def lognormal(sigma: float) -> Draw:
    """exp(sigma Z), shifted to mean 0 and scaled to standard deviation 1."""
    mean, deviation = exp(sigma**2 / 2), sqrt((exp(sigma**2) - 1) * exp(sigma**2))
    return lambda generator, shape: (np.exp(sigma * generator.standard_normal(shape)) - mean) / deviation


def heavy(generator: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Student's t with 3 degrees of freedom, scaled to standard deviation 1."""
    return generator.standard_t(3, shape) / sqrt(3)


def student(samples_NS: Array, generator: np.random.Generator, resamples: int) -> tuple[Array, Array]:
    _, low_N, high_N = mean_band(samples_NS.T, CONFIDENCE)
    return low_N, high_N


def scipy_bootstrap(method: str) -> Interval:
    """Percentile or BCa interval; BCa of a sample whose resamples all lie on one side is not defined (nan)."""

    def interval(samples_NS: Array, generator: np.random.Generator, resamples: int) -> tuple[Array, Array]:
        result = stats.bootstrap(
            (samples_NS,),
            np.mean,
            axis=-1,
            vectorized=True,
            n_resamples=resamples,
            confidence_level=CONFIDENCE,
            method=method,
            rng=generator,
        ).confidence_interval
        return result.low, result.high

    return interval


def bootstrap_t(samples_NS: Array, generator: np.random.Generator, resamples: int) -> tuple[Array, Array]:
    """mean - q_0.975 se and mean - q_0.025 se, q of (mean* - mean) / se* (Efron and Tibshirani 1993, section 12.5)."""
    _, S = samples_NS.shape
    index_RS = generator.integers(0, S, (resamples, S))
    resamples_NRS = samples_NS[:, index_RS]
    mean_N, error_N = samples_NS.mean(axis=-1), samples_NS.std(axis=-1, ddof=1) / sqrt(S)
    error_NR = resamples_NRS.std(axis=-1, ddof=1) / sqrt(S)
    shift_NR = resamples_NRS.mean(axis=-1) - mean_N[:, None]
    # Resamples of one value repeated have no spread: their ratio is infinite, up to rounding.
    error_NR[error_NR <= 1e-9 * error_N[:, None]] = 0.0
    ratio_NR = shift_NR / error_NR
    tail = (1 - CONFIDENCE) / 2
    low_N, high_N = np.quantile(ratio_NR, [tail, 1 - tail], axis=-1, method="inverted_cdf")
    return mean_N - high_N * error_N, mean_N - low_N * error_N


DISTRIBUTIONS: dict[str, Draw] = {
    "normal": normal,
    "skewness 1.75 (lognormal 0.5)": lognormal(0.5),
    "skewness 6.2 (lognormal 1)": lognormal(1.0),
    "heavy tails (t, 3)": heavy,
}
INTERVALS: dict[str, Interval] = {
    "Student's t": student,
    "percentile bootstrap": scipy_bootstrap("percentile"),
    "BCa bootstrap": scipy_bootstrap("BCa"),
    "bootstrap-t": bootstrap_t,
}


def measure(draw: Draw, interval: Interval, seeds: int, simulations: int, resamples: int, seed: int) -> dict[str, Any]:
    """Share of intervals that hold the true mean 0, with its Monte-Carlo standard error, and their width."""
    data, luck = (np.random.default_rng([seed, seeds, stream]) for stream in range(2))
    lows, highs = [], []
    for _ in range(simulations // CHUNK):
        low_N, high_N = interval(draw(data, (CHUNK, seeds)), luck, resamples)
        lows.append(low_N)
        highs.append(high_N)
    low, high = np.concatenate(lows), np.concatenate(highs)
    coverage = float(((low <= 0) & (high >= 0)).mean())  # an undefined interval holds nothing
    width = high - low
    return {
        "coverage": coverage,
        "coverage_error": sqrt(coverage * (1 - coverage) / len(low)),
        "mean_width": float(np.nanmean(width)),
        "median_width": float(np.nanmedian(width)),
        "undefined": float(np.isnan(width).mean()),
    }


def table(rows: list[dict[str, Any]], settings: dict[str, Any]) -> str:
    """results/intervals.md."""
    cells = {(row["distribution"], row["seeds"], row["interval"]): row for row in rows}
    lines = ["| difference | seeds | " + " | ".join(INTERVALS) + " |", "|---|---|" + "---|" * len(INTERVALS)]
    for distribution in DISTRIBUTIONS:
        for seeds in SEEDS:
            found = [cells[distribution, seeds, interval] for interval in INTERVALS]
            shown = [f"{100 * row['coverage']:.1f} % ({row['mean_width']:.2f})" for row in found]
            lines.append(f"| {distribution} | {seeds} | {' | '.join(shown)} |")

    def shares(distributions: Sequence[str], intervals: Sequence[str]) -> list[float]:
        kept = [row for row in rows if row["distribution"] in distributions and row["interval"] in intervals]
        return sorted(100 * row["coverage"] for row in kept)

    symmetric = ("normal", "heavy tails (t, 3)")
    bootstraps = shares(symmetric, ("percentile bootstrap", "BCa bootstrap"))
    skewed = shares(("skewness 6.2 (lognormal 1)",), ("Student's t",))
    variance = CONFIDENCE * (1 - CONFIDENCE)
    widths = [cells["normal", 4, interval]["median_width"] for interval in ("bootstrap-t", "Student's t")]
    worst, undefined = (100 * max(row[name] for row in rows) for name in ("coverage_error", "undefined"))
    return PAGE.format(
        table="\n".join(lines),
        off=max(abs(share - 100 * CONFIDENCE) for share in shares(symmetric, ("Student's t",))),
        boot=(bootstraps[0], bootstraps[-1]),
        skewed=(skewed[0], skewed[-1]),
        wider=widths[0] / widths[1],
        typical=100 * sqrt(variance / settings["simulations"]),
        worst=worst,
        undefined=undefined,
        **settings,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=10_000, help=f"comparisons per cell, a multiple of {CHUNK}")
    parser.add_argument("--resamples", type=int, default=999)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if options.simulations < CHUNK or options.simulations % CHUNK:
        parser.error(f"--simulations is {options.simulations}; give a multiple of {CHUNK}")
    versions = {"numpy": np.__version__, "scipy": scipy.__version__}
    settings = {name: getattr(options, name) for name in ("simulations", "resamples", "seed")} | versions
    rows = []
    # BCa warns when undefined, and bootstrap-t may divide by zero: both cases are counted, not hidden.
    warnings.filterwarnings("ignore", category=stats.DegenerateDataWarning)
    np.seterr(divide="ignore", invalid="ignore")
    for distribution, draw in DISTRIBUTIONS.items():
        for seeds in SEEDS:
            for name, interval in INTERVALS.items():
                measured = measure(draw, interval, seeds, options.simulations, options.resamples, options.seed)
                rows.append({"distribution": distribution, "seeds": seeds, "interval": name, **measured})
                print(f"{distribution:30} {seeds:3} {name:22} {measured['coverage']:.4f} {measured['mean_width']:.3f}")
    options.output.mkdir(parents=True, exist_ok=True)
    record = {"settings": settings, "confidence": CONFIDENCE, "rows": rows}
    (options.output / "intervals.json").write_text(json.dumps(record, indent=1) + "\n")
    (options.output / "intervals.md").write_text(table(rows, settings))


if __name__ == "__main__":
    main()
