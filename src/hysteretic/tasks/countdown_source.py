"""Countdown problems from a data set: the rows that fit the settings, and how many were left out and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .countdown_problems import Numbers, public_problems

SIZES = range(2, 6)
"""How many numbers Countdown takes."""


@dataclass
class Source:
    """The problems of a data set that fit the settings, once each, in its order.

    rows: how many it has. left_out: how many do not fit, by reason with the setting that admits them.
    """

    name: str
    rows: int = 0
    problems: list[tuple[Numbers, int]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """What was left out, in a sentence; empty if nothing was."""
        if not self.left_out:
            return ""
        reasons = "; ".join(f"{count:,} {reason}" for reason, count in self.left_out.most_common())
        return f"Of the {self.rows:,} rows of {self.name}, {self.left_out.total():,} are left out: {reasons}."


def read_source(name: str, size: int, largest: int, largest_target: int, config: str | None = None) -> Source:
    """Read a data set (see `public_problems`). Raises ValueError for rows that are not Countdown problems."""
    found = Source(name)
    seen: set[tuple[Numbers, int]] = set()
    sizes: Counter[int] = Counter()
    large: list[int] = []
    far: list[int] = []
    repeated = 0
    for numbers, target in public_problems(name, config):
        found.rows += 1
        if len(numbers) != size:
            sizes[len(numbers)] += 1
        elif numbers[-1] > largest:
            large.append(numbers[-1])
        elif target > largest_target:
            far.append(target)
        elif (numbers, target) in seen:
            repeated += 1
        else:
            seen.add((numbers, target))
            found.problems.append((numbers, target))
    for other, count in sizes.items():
        remedy = f"size={other} or the task countdown-{other}" if other in (3, 4) else f"size={other}"
        of_size = f"of {other} number{'s' * (other > 1)}"
        found.left_out[f"{of_size} ({remedy} takes them)" if other in SIZES else f"{of_size} (not supported)"] = count
    if large:
        found.left_out[f"with a number above {largest} (largest={max(large)} takes them)"] = len(large)
    if far:
        found.left_out[f"with a target above {largest_target} (largest_target={max(far)} takes them)"] = len(far)
    if repeated:
        found.left_out["that repeat another"] = repeated
    return found
