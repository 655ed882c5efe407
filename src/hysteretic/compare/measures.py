"""The measures of a finished run, computed from the metrics it recorded.

r_i: mean reward of rollout i = 1..n. c_i: cost of the run up to the end of rollout i, in tokens or seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from hysteretic.common.files import read_json, read_lines
from hysteretic.common.metric_names import COMPLETION_LENGTH, REWARD, STEP_TIME
from hysteretic.runs.metrics import rollouts
from hysteretic.statistics import pass_at_k

MEASURES = {
    "area": ("Whole run", "mean reward over all rollouts: the area under the learning curve, per update"),
    "early": ("First quarter", "mean reward over the first quarter of the rollouts"),
    "end": ("End", "mean reward over the last tenth of the rollouts"),
    "pass@1 greedy": ("Held-out pass@1, greedy", "fraction of held-out problems that the greedy response solves"),
    "pass@1 sampled": (
        "Held-out pass@1, sampled",
        "fraction of sampled responses to held-out problems that are correct",
    ),
    "pass@k": (
        "Held-out pass@{k}",
        "chance that at least one of {k} sampled responses is correct (unbiased estimate)",
    ),
    "area_by_token": (
        "Per generated token",
        "mean reward over generated tokens, up to the total of the run that generated the fewest",
    ),
    "area_by_second": (
        "Per second",
        "mean reward over seconds of rollouts and updates, up to the total of the fastest run",
    ),
}
"""Label and description of each measure."""

CHOOSABLE = ("area", "early", "end", "pass@1 greedy", "pass@1 sampled", "area_by_token", "area_by_second")
"""Measures that a comparison may use as its primary one."""


@dataclass(frozen=True)
class Record:
    """One run's metrics, one entry per rollout.

    updates, tokens, seconds: cumulative, at the end of the rollout's updates. panels: logged metrics, by key.
    """

    updates: list[int]
    rewards: list[float]
    tokens: list[float]
    seconds: list[float]
    panels: dict[str, list[float | None]]
    evaluation: Mapping[str, Any]
    about: Mapping[str, Any]


def read_record(folder: Path, panels: Sequence[str] = ()) -> Record:
    """The metrics of a run folder, ignoring a last line cut short by a crash. Raises ValueError if unusable."""
    lines = read_lines(folder / "metrics.jsonl")
    found = rollouts(lines)
    if not found:
        raise ValueError("no rollout was recorded")
    about = read_json(folder / "run.json") or {}
    steps = [line.get("step") for line in lines]
    if about.get("state") == "finished" and steps != list(range(1, about.get("updates", 0) + 1)):
        raise ValueError(
            f"metrics.jsonl is damaged: {len(steps)} lines for {about.get('updates')} updates; remove the run's folder "
            "to run it again"
        )
    responses = about.get("settings", {}).get("generation_batch_size") or 1
    record = Record([], [], [], [], {key: [] for key in panels}, read_json(folder / "evaluation.json") or {}, about)
    tokens = seconds = 0.0
    for rollout in found:
        first = rollout.lines[0]
        if rollout.reward is None:
            raise ValueError(f"the reward of update {first['step']} is {first[REWARD]}, which is not a finite number")
        tokens += (first.get(COMPLETION_LENGTH) or 0.0) * responses
        seconds += sum(line.get(STEP_TIME) or 0.0 for line in rollout.lines)
        record.updates.append(rollout.step)
        record.rewards.append(rollout.reward)
        record.tokens.append(tokens)
        record.seconds.append(seconds)
        for key, values in record.panels.items():
            values.append(rollout.mean(key))
    return record


def measures(record: Record) -> dict[str, float]:
    """The measures that need one run only (MEASURES without the last two)."""
    rewards, n = record.rewards, len(record.rewards)
    figures = {
        "area": fmean(rewards),
        "early": fmean(rewards[: math.ceil(n / 4)]),
        "end": fmean(rewards[-math.ceil(n / 10) :]),
    }
    after = record.evaluation.get("after", {})
    for decoding in ("greedy", "sampled"):
        if decoding in after:
            figures[f"pass@1 {decoding}"] = after[decoding]["pass@1"]["value"]
    k = after.get("sampled", {}).get("responses_per_problem", 1)
    if k > 1 and "correct_by_problem" in after["sampled"]:
        figures[f"pass@{k}"] = fmean(pass_at_k(k, c, k) for c in after["sampled"]["correct_by_problem"])
    return figures


def label_and_meaning(measure: str) -> tuple[str, str]:
    """Label and description of a measure, for pass@k with any k."""
    if measure in MEASURES:
        return MEASURES[measure]
    label, meaning = MEASURES["pass@k"]
    k = measure.removeprefix("pass@")
    return label.format(k=k), meaning.format(k=k)


def area_up_to(rewards: Sequence[float], costs: Sequence[float], budget: float) -> float:
    """Mean reward of a run over its cost, up to a budget within that cost.

        1/budget sum_i r_i (min(c_i, budget) - min(c_{i-1}, budget))

    costs: cumulative. Raises ValueError for a budget of 0 or beyond the run's cost.
    """
    if not 0 < budget <= costs[-1] * (1 + 1e-9):
        raise ValueError(
            f"The budget is {budget:g}, but the run cost {costs[-1]:g}; give one above 0 and at most that."
        )
    total, before = 0.0, 0.0
    for reward, cost in zip(rewards, costs, strict=True):
        reached = min(cost, budget)
        total += reward * (reached - before)
        before = reached
    return total / budget
