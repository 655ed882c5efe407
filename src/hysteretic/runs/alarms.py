"""Alarms for a collapsing run, computed from its metrics, each with advice.

    silent     every group has zero variance (is silent) in SILENT consecutive rollouts: no gradient
    floor      alpha at its floor in FLOOR consecutive rollouts: almost no successes among the failures
    graded     nothing right in GRADED consecutive rollouts, yet most groups have variance: alpha counts other rewards
    length     responses of at most FEW tokens, a quarter of their first length, in LENGTH consecutive rollouts
    entropy    at most CERTAIN nats per token in ENTROPY consecutive rollouts: no exploration
    kl         at least FAR nats per token from the reference in KL consecutive rollouts
    held-out   reward rose over the run, and held-out pass@1 fell

An alarm is raised once, at the rollout that completes its streak. The thresholds were chosen, not fitted. A metric that
is not logged raises no alarm, and a rollout without it ends the streak.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from hysteretic.common import metric_names as names
from hysteretic.common.files import read_json, read_lines
from hysteretic.runs.metrics import Rollout, rollouts

SILENT, FLOOR, GRADED, LENGTH, ENTROPY, KL = 5, 10, 5, 3, 5, 3
"""Number of consecutive rollouts that raise an alarm."""
FEW, CERTAIN, FAR = 4.0, 0.02, 1.0
"""Tokens per response; nats per token; nats per token."""
FEWEST_ROLLOUTS = 8
"""For the held-out alarm: quarters of at least two rollouts."""


@dataclass(frozen=True)
class Alarm:
    """step: the last update of the rollout at which it was raised. words: what was observed. advice: what to try."""

    name: str
    step: int
    words: str
    advice: str

    def __str__(self) -> str:
        return f"Alarm after update {self.step}: {self.words} {self.advice}"


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


WARM_START = "supervised training on right responses"
"""The advice for a run whose record does not say what its task has."""


def sounding(history: Sequence[Rollout], floor: float | None = None, warm_start: str = WARM_START) -> list[Alarm]:
    """Alarms whose streak is complete at the last rollout.

    floor: of an adaptive alpha, None for other weights. warm_start: how to have one for the task of the run.
    """
    found = [
        _silent(history, warm_start),
        None if floor is None else _at_floor(history, floor, warm_start),
        None if floor is None else _graded(history),
        _short(history),
        _certain(history),
        _far(history),
    ]
    return [alarm for alarm in found if alarm is not None]


def alarms(history: Sequence[Rollout], floor: float | None = None, warm_start: str = WARM_START) -> list[Alarm]:
    """Every alarm of a run so far, once, in the order in which they were raised."""
    heard: dict[str, Alarm] = {}
    for end in range(1, len(history) + 1):
        for alarm in sounding(history[:end], floor, warm_start):
            heard.setdefault(alarm.name, alarm)
    return list(heard.values())


def _streak(history: Sequence[Rollout], count: int, *metrics: str, holds: Callable[[float], bool]) -> list[float]:
    """The metric in the last `count` rollouts if `holds` is true of all of them, otherwise nothing."""
    values = _known(rollout.mean(*metrics) for rollout in history[-count:])
    return values if len(values) == count and all(map(holds, values)) else []


def _silent(history: Sequence[Rollout], warm_start: str) -> Alarm | None:
    if not _streak(history, SILENT, names.SILENT_SHARE, holds=lambda share: share >= 1 - 1e-6):
        return None
    rewards = _known(r.reward for r in history[-SILENT:])
    reward = fmean(rewards) if rewards else math.nan
    words = (
        f"All groups were silent (zero variance) in {SILENT} consecutive rollouts (mean reward {reward:.2g}): there is "
        "no gradient."
    )
    never = (
        "If the model never learned, use easier problems, more responses per prompt (num_generations) or a warm start "
        f"({warm_start}), and run `hysteretic probe`; if it did, return to a checkpoint with a lower learning_rate."
    )
    always = "If the problems are solved, stop or use harder ones; if any response gets this reward, fix the reward."
    return Alarm("silent", history[-1].step, words, always if reward > 0 else never)


def _at_floor(history: Sequence[Rollout], floor: float, warm_start: str) -> Alarm | None:
    if not _streak(history, FLOOR, names.ALPHA, holds=lambda alpha: alpha <= floor * 1.01):
        return None
    return Alarm(
        "floor",
        history[-1].step,
        f"alpha was at its floor, {floor:g}, in {FLOOR} consecutive rollouts: failures outnumber successes by "
        "more than it can compensate.",
        "Use easier problems, more responses per prompt (num_generations), a lower alpha_min, or a warm start "
        f"({warm_start}).",
    )


def _graded(history: Sequence[Rollout]) -> Alarm | None:
    is_wrong = _streak(history, GRADED, names.ACCURACY, holds=lambda accuracy: accuracy == 0)
    silent = _streak(history, GRADED, names.SILENT_SHARE, holds=lambda share: share < 0.5)
    alpha = _known(rollout.mean(names.ALPHA) for rollout in history[-GRADED:])
    if not is_wrong or not silent or not alpha:
        return None
    return Alarm(
        "graded",
        history[-1].step,
        f"No response was right in {GRADED} consecutive rollouts, but wrong ones get different rewards in "
        f"{1 - fmean(silent):.0%} of the groups: alpha ({fmean(alpha):.2f}) is computed from those, and does not see "
        "that successes are rare.",
        "Give every wrong response the same reward, or use easier problems until some are right.",
    )


def _short(history: Sequence[Rollout]) -> Alarm | None:
    lengths = (names.MEAN_LENGTH, names.COMPLETION_LENGTH)
    before = _known(rollout.mean(*lengths) for rollout in history[:LENGTH])
    now = _streak(history, LENGTH, *lengths, holds=lambda length: length <= FEW)
    if not before or not now or fmean(now) > fmean(before) / 4:
        return None
    return Alarm(
        "length",
        history[-1].step,
        f"Responses shrank from {fmean(before):.0f} tokens to {fmean(now):.1f}: the model has stopped answering.",
        "Lower learning_rate, return to a checkpoint, and check whether an empty or short response is rewarded.",
    )


def _certain(history: Sequence[Rollout]) -> Alarm | None:
    if not _streak(history, ENTROPY, names.ENTROPY, holds=lambda entropy: entropy <= CERTAIN):
        return None
    return Alarm(
        "entropy",
        history[-1].step,
        f"Entropy was at most {CERTAIN:g} nats per token in {ENTROPY} consecutive rollouts: the responses to a prompt "
        "are nearly identical.",
        "Lower learning_rate, raise epsilon_high (clip-higher) or temperature, set beta, or return to a checkpoint.",
    )


def _far(history: Sequence[Rollout]) -> Alarm | None:
    found = _streak(history, KL, names.KL, holds=lambda kl: kl >= FAR)
    if not found:
        return None
    return Alarm(
        "kl",
        history[-1].step,
        f"The policy is {fmean(found):.2g} nats per token from its reference, in {KL} consecutive rollouts.",
        "Lower learning_rate or max_grad_norm, raise beta, or return to a checkpoint.",
    )


def held_out_alarm(history: Sequence[Rollout], evaluation: Mapping[str, Any]) -> Alarm | None:
    """The alarm if reward rose (last quarter over first, by more than two standard errors) but held-out pass@1 fell
    (disjoint intervals). None if either is unknown, because an evaluation is missing."""
    rewards = _known(rollout.reward for rollout in history)
    quarter = len(rewards) // 4
    if len(rewards) < FEWEST_ROLLOUTS:
        return None
    first, last = rewards[:quarter], rewards[-quarter:]
    rise = fmean(last) - fmean(first)
    if rise <= 2 * math.sqrt((variance(first) + variance(last)) / quarter) or rise <= 0:
        return None
    for decoding in ("sampled", "greedy"):
        before, after = (evaluation.get(when, {}).get(decoding, {}).get("pass@1", {}) for when in ("before", "after"))
        if "low" in before and "high" in after:
            if after["high"] >= before["low"]:
                return None
            return Alarm(
                "held-out",
                history[-1].step,
                f"Reward rose from {fmean(first):.3f} to {fmean(last):.3f} in training, while held-out pass@1 "
                f"({decoding}) fell from {100 * before['value']:.1f} % to {100 * after['value']:.1f} %.",
                "Train on more problems, check samples.jsonl for wrong responses that are rewarded, or stop earlier.",
            )
    return None


def alarms_of(folder: Path) -> list[Alarm]:
    """The alarms of a run's folder, whether or not it finished; none without metrics."""
    history = rollouts(read_lines(folder / "metrics.jsonl"))
    about = read_json(folder / "run.json") or {}
    last = held_out_alarm(history, read_json(folder / "evaluation.json") or {})
    return [*alarms(history, alpha_floor(about), warm_start_of(about)), *([] if last is None else [last])]


def warm_start_of(about: Mapping[str, Any]) -> str:
    """How to have a warm start for the task of a run, from its record (run.json)."""
    return str(about.get("warm_start", WARM_START))


def alpha_floor(about: Mapping[str, Any]) -> float | None:
    """The floor of the adaptive weight in a run's record (run.json); None for any other weight."""
    objective = about.get("objective")
    weight = objective.get("weight") if isinstance(objective, Mapping) else None
    floor = weight.get("alpha_min") if isinstance(weight, Mapping) else None
    return float(floor) if isinstance(floor, int | float) else None
