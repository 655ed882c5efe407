"""Read a run's metrics.jsonl: its updates, grouped into rollouts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any

from hysteretic.common.metric_names import REWARD


@dataclass(frozen=True)
class Rollout:
    """The updates made on one rollout.

    lines: the lines of metrics.jsonl, one per update. The first has the reward.
    """

    lines: Sequence[Mapping[str, Any]]

    @property
    def step(self) -> int:
        """The number of its last update."""
        return int(self.lines[-1].get("step", 0))

    @property
    def reward(self) -> float | None:
        """Mean reward; None if it was NaN or infinite."""
        return _finite(self.lines[0][REWARD])

    def mean(self, *names: str) -> float | None:
        """The mean over updates of the first of these metrics that was logged; None if none was."""
        for name in names:
            found = [value for value in (_finite(line.get(name)) for line in self.lines) if value is not None]
            if found:
                return fmean(found)
        return None


def rollouts(lines: Sequence[Mapping[str, Any]]) -> list[Rollout]:
    """The rollouts in lines of metrics.jsonl. Each begins where a reward is logged; updates before the first
    are ignored."""
    starts = [i for i, line in enumerate(lines) if REWARD in line]
    return [Rollout(lines[start:end]) for start, end in pairwise([*starts, len(lines)])]


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
