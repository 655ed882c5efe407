"""Is a run collapsing? Alarms over its metrics, in plain words, each with what to try.

    silent     every group silent in SILENT rollouts in a row: no gradient
    floor      alpha at its floor in FLOOR rollouts in a row: hardly a success among the failures
    length     responses of at most FEW tokens, a quarter of what they had, in LENGTH rollouts in a row
    entropy    at most CERTAIN nats a token in ENTROPY rollouts in a row: nothing is explored
    kl         at least FAR nats a token from the reference in KL rollouts in a row
    held-out   reward rose over the run, and held-out pass@1 fell

An alarm sounds once, at the rollout that completes it. The bounds were chosen, not fitted; what is not logged sounds no
alarm, and a rollout without a figure ends the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, variance
from typing import Any

from hysteretic.parts import AdaptiveWeight
from hysteretic.presets import ALGORITHMS
from hysteretic.runs.folder import read_json, read_lines

SILENT, FLOOR, LENGTH, ENTROPY, KL = 5, 10, 3, 5, 3
"""Rollouts in a row."""
FEW, CERTAIN, FAR = 4.0, 0.02, 1.0
"""Tokens a response; nats a token; nats a token."""
FEWEST_ROLLOUTS = 8
"""For the held-out alarm: quarters of two rollouts or more."""


@dataclass(frozen=True)
class Alarm:
    """step: the update that ended the rollout at which it sounded. words: what was seen. advice: what to try."""

    name: str
    step: int
    words: str
    advice: str

    def __str__(self) -> str:
        return f"Alarm after update {self.step}: {self.words} {self.advice}"


@dataclass(frozen=True)
class Rollout:
    """Its figures, each None where it was not logged. step: of its last update."""

    step: int
    reward: float
    silent: float | None
    alpha: float | None
    length: float | None
    entropy: float | None
    kl: float | None


def rollouts(lines: Sequence[Mapping[str, Any]]) -> list[Rollout]:
    """From lines of metrics.jsonl: a rollout begins where a reward is logged."""
    starts = [i for i, line in enumerate(lines) if _number(line.get("reward")) is not None]
    return [_rollout(lines[start:end]) for start, end in pairwise([*starts, len(lines)])]


def _rollout(lines: Sequence[Mapping[str, Any]]) -> Rollout:
    def mean(*keys: str) -> float | None:
        for key in keys:
            found = [value for value in (_number(line.get(key)) for line in lines) if value is not None]
            if found:
                return fmean(found)
        return None

    return Rollout(
        step=int(lines[-1].get("step", 0)),
        reward=float(lines[0]["reward"]),
        silent=mean("hpo/silent_share"),
        alpha=mean("hpo/alpha"),
        length=mean("hpo/mean_length", "completions/mean_length"),
        entropy=mean("entropy"),
        kl=mean("kl"),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def sounding(history: Sequence[Rollout], floor: float | None = None) -> list[Alarm]:
    """Alarms whose row is complete at the last rollout. floor: of the adaptive alpha; None where it is not adaptive."""
    found = [
        _silent(history),
        None if floor is None else _at_floor(history, floor),
        _short(history),
        _certain(history),
        _far(history),
    ]
    return [alarm for alarm in found if alarm is not None]


def alarms(history: Sequence[Rollout], floor: float | None = None) -> list[Alarm]:
    """Every alarm of a run so far, once, in the order in which they sounded."""
    heard: dict[str, Alarm] = {}
    for end in range(1, len(history) + 1):
        for alarm in sounding(history[:end], floor):
            heard.setdefault(alarm.name, alarm)
    return list(heard.values())


def _row(history: Sequence[Rollout], count: int, holds: Callable[[Rollout], bool]) -> bool:
    return len(history) >= count and all(holds(rollout) for rollout in history[-count:])


def _silent(history: Sequence[Rollout]) -> Alarm | None:
    if not _row(history, SILENT, lambda r: r.silent is not None and r.silent >= 1 - 1e-6):
        return None
    reward = fmean(r.reward for r in history[-SILENT:])
    words = f"All groups were silent in {SILENT} rollouts in a row (mean reward {reward:.2g}): nothing is learnt."
    never = (
        "If it never learnt, take easier problems, more responses a prompt (num_generations) or `hysteretic warmup`, "
        "and ask `hysteretic probe`; if it did, go back to a checkpoint with a lower learning_rate."
    )
    always = "If the problems are solved, stop or take harder ones; if any response gets this reward, mend the reward."
    return Alarm("silent", history[-1].step, words, never if reward <= 0 else always)


def _at_floor(history: Sequence[Rollout], floor: float) -> Alarm | None:
    if not _row(history, FLOOR, lambda r: r.alpha is not None and r.alpha <= floor * 1.01):
        return None
    return Alarm(
        "floor",
        history[-1].step,
        f"alpha was at its floor, {floor:g}, in {FLOOR} rollouts in a row: failures outnumber successes more than it "
        "follows.",
        "Take easier problems, more responses a prompt (num_generations), a lower alpha_min, or `hysteretic warmup`.",
    )


def _short(history: Sequence[Rollout]) -> Alarm | None:
    before = [r.length for r in history[:LENGTH] if r.length is not None]
    if not before or not _row(history, LENGTH, lambda r: r.length is not None and r.length <= FEW):
        return None
    now = fmean(r.length for r in history[-LENGTH:] if r.length is not None)
    if now > fmean(before) / 4:
        return None
    return Alarm(
        "length",
        history[-1].step,
        f"Responses fell from {fmean(before):.0f} tokens to {now:.1f}: the model has stopped answering.",
        "Lower learning_rate, go back to a checkpoint, and look whether an empty or short response is rewarded.",
    )


def _certain(history: Sequence[Rollout]) -> Alarm | None:
    if not _row(history, ENTROPY, lambda r: r.entropy is not None and r.entropy <= CERTAIN):
        return None
    return Alarm(
        "entropy",
        history[-1].step,
        f"Entropy was at most {CERTAIN:g} nats a token in {ENTROPY} rollouts in a row: the responses to a prompt are "
        "nearly all the same.",
        "Lower learning_rate, raise epsilon_high (clip-higher) or temperature, set beta, or go back to a checkpoint.",
    )


def _far(history: Sequence[Rollout]) -> Alarm | None:
    if not _row(history, KL, lambda r: r.kl is not None and r.kl >= FAR):
        return None
    now = fmean(r.kl for r in history[-KL:] if r.kl is not None)
    return Alarm(
        "kl",
        history[-1].step,
        f"The policy is {now:.2g} nats a token from its reference, in {KL} rollouts in a row.",
        "Lower learning_rate or max_grad_norm, raise beta, or go back to a checkpoint.",
    )


def held_out_alarm(history: Sequence[Rollout], evaluation: Mapping[str, Any]) -> Alarm | None:
    """Whether reward rose (last quarter over first, beyond two standard errors) and held-out pass@1 fell (intervals
    apart). None where either is not known: evaluation has no "before" or "after"."""
    quarter = len(history) // 4
    if len(history) < FEWEST_ROLLOUTS:
        return None
    first, last = ([r.reward for r in part] for part in (history[:quarter], history[-quarter:]))
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
                f"({decoding}) fell from {before['value']:.1%} to {after['value']:.1%}.",
                "Train on more problems, look at samples.jsonl for what is rewarded and wrong, or stop earlier.",
            )
    return None


def alarms_of(folder: Path) -> list[Alarm]:
    """The alarms of a run's folder, whatever became of it; none where it holds no metrics."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    history = rollouts(read_lines(path))
    settings = (read_json(folder / "run.json") or {}).get("settings", {})
    last = held_out_alarm(history, read_json(folder / "evaluation.json") or {})
    return [*alarms(history, alpha_floor(settings)), *([] if last is None else [last])]


def alpha_floor(settings: Mapping[str, Any]) -> float | None:
    """The floor of an adaptive weight in a run's settings; None for another weight."""
    preset = ALGORITHMS.get(str(settings.get("algorithm") or ("a-hpo" if settings.get("loss_type") else "")))
    own = None if preset is None else preset().weight
    asked = settings.get("weight")
    if asked != "adaptive" and (asked is not None or not isinstance(own, AdaptiveWeight)):
        return None
    floor = settings.get("alpha_min")
    usual = own if isinstance(own, AdaptiveWeight) else AdaptiveWeight()
    return float(usual.alpha_min if floor is None else floor)
