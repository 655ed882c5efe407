"""The outcome of each run of a comparison (state, record, measures), and means over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, variance
from typing import Any

from hysteretic.common.files import read_json
from hysteretic.compare.curves import LOGGED
from hysteretic.compare.folder import Run, finished
from hysteretic.compare.measures import Record, area_up_to, measures, read_record
from hysteretic.compare.verdicts import Track, Values
from hysteretic.statistics import mean_interval

BY_COST = ("area_by_token", "area_by_second")


@dataclass
class Outcome:
    """A run and its outcome. record: None unless it finished. error: why it failed."""

    run: Run
    state: str
    error: str | None = None
    record: Record | None = None
    figures: dict[str, float] | None = None


def outcome(run: Run) -> Outcome:
    """The outcome of a run so far."""
    record = read_json(run.folder / "run.json")
    failure = read_json(run.failure)
    if failure is not None:
        return Outcome(run, "failed", f"{failure.get('error')}\n{failure.get('last_lines', '')}".strip())
    if record is None:
        return Outcome(run, "planned")
    if not finished(run):
        return Outcome(run, "running")
    try:
        found = read_record(run.folder, (*LOGGED, "grad_norm"))
    except ValueError as error:
        return Outcome(run, "failed", str(error))
    return Outcome(run, "finished", None, found, measures(found))


def add_costs(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Add measures up to a common budget, the smallest total among all finished runs.

    Returns by measure the budget and the median of the totals.
    """
    budgets = {}
    done = [(one.figures, one.record) for one in outcomes if one.figures is not None and one.record is not None]
    for name, costs in zip(BY_COST, ("tokens", "seconds"), strict=True):
        totals = [getattr(record, costs)[-1] for _, record in done]
        budget = min(totals, default=0.0)
        if budget > 0:
            budgets[name] = {"budget": budget, "median_total": median(totals)}
            for figures, record in done:
                figures[name] = area_up_to(record.rewards, getattr(record, costs), budget)
    return budgets


def measure_order(done: Sequence[Outcome]) -> list[str]:
    """The measures that every finished run has, in order."""
    each = [one.figures or {} for one in done]
    return [name for name in each[0] if all(name in figures for figures in each)] if each else []


def by_seed(done: Sequence[Outcome], arm: str, measure: str) -> dict[int, float]:
    """A measure of one arm's finished runs."""
    return {one.run.seed: one.figures[measure] for one in done if one.run.arm.name == arm and one.figures is not None}


def least_reward(done: Sequence[Outcome], samples: Sequence[Mapping[str, Any]]) -> float:
    """The smallest possible reward, as far as known: 0, or the smallest seen below it."""
    seen = [reward for one in done if one.record is not None for reward in one.record.rewards]
    seen += [sample["reward"] for sample in samples if isinstance(sample.get("reward"), int | float)]
    return 0.0 if min(seen, default=0.0) >= 0 else -math.inf


def summary(values: Values, confidence: float, least: float) -> list[dict[str, Any]]:
    """Mean and interval over seeds, by measure and arm; intervals are clipped to its range.

    least: the smallest possible reward. pass@k lies in 0 to 1.
    """
    rows = []
    for name, by_arm in values.items():
        for arm, by_its_seed in by_arm.items():
            if by_its_seed:
                mean, low, high = mean_interval(list(by_its_seed.values()), confidence)
                bounds = (0.0, 1.0) if name.startswith("pass@") else (least, math.inf)
                interval = [max(low, bounds[0]), min(high, bounds[1])] if len(by_its_seed) > 1 else None
                seeds = len(by_its_seed)
                rows.append({"arm": arm, "measure": name, "mean": mean, "interval": interval, "seeds": seeds})
    return rows


def spread_of_pass(done: Sequence[Outcome], arms: Sequence[str]) -> list[dict[str, Any]]:
    """What moves the sampled held-out pass@1 of a run, by arm, as standard deviations.

        evaluation^2 = mean over seeds of sum_n p_n (1 - p_n) / (k - 1) / N^2      p_n: of k responses to problem n
        training^2   = variance of pass@1 over seeds - evaluation^2, at least 0
        problems^2   = variance over problems of their mean rate / N - what sampling adds to it, at least 0

    evaluation: drawing other responses; training: another seed; problems: N other problems, which moves all runs alike,
    so that it does not enter a difference between arms. For arms with two seeds or more and k >= 2 responses to the
    same problems.
    """
    rows = []
    for arm in arms:
        found = [record.evaluation.get("after", {}).get("sampled", {}) for record in records(done, arm)]
        k = found[0].get("responses_per_problem", 1) if found else 1
        counts = [each.get("correct_by_problem") for each in found]
        if len(counts) < 2 or k < 2 or len({len(each or []) for each in counts}) > 1 or not counts[0]:
            continue
        rates_SN = [[c / k for c in each] for each in counts]
        N, S = len(rates_SN[0]), len(rates_SN)
        noise_N = [fmean(row[n] * (1 - row[n]) / (k - 1) for row in rates_SN) for n in range(N)]
        evaluation = fmean(noise_N) / N
        training = max(0.0, variance([fmean(row) for row in rates_SN]) - evaluation)
        of_problems = variance([fmean(column) for column in zip(*rates_SN, strict=True)]) if N > 1 else 0.0
        problems = max(0.0, of_problems / N - evaluation / S)
        parts = {"training": training, "evaluation": evaluation, "problems": problems}
        rows.append({"arm": arm, **{name: math.sqrt(part) for name, part in parts.items()}})
    return rows


def records(done: Sequence[Outcome], arm: str) -> list[Record]:
    return [one.record for one in done if one.run.arm.name == arm and one.record is not None]


def tracks(done: Sequence[Outcome], arm: str) -> dict[int, Track]:
    found = ((one.run, one.record) for one in done if one.record is not None)
    return {run.seed: (record.rewards, record.tokens) for run, record in found if run.arm.name == arm}
