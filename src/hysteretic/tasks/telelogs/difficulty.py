"""How hard generated drives are, and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .faults import COMPACT_LEADS, LEADS


@dataclass(frozen=True)
class Ranges:
    """What drives are made of, apart from their difficulty.

    speeds: lowest and highest, km/h, without the fault C7. steps: by how much they change from second to second, the
    standard deviation. steepest: mechanical downtilt, degrees. leads: by cause, the false leads that may come with it.
    is_loaded: whether the SINR of bad rows follows from the load of other cells, instead of being drawn.
    """

    speeds: tuple[int, int]
    steps: tuple[float, float]
    steepest: int
    leads: Mapping[str, Sequence[str]]
    is_loaded: bool


OFFICIAL = Ranges(speeds=(0, 36), steps=(2.0, 8.0), steepest=24, leads=LEADS, is_loaded=True)
"""Speeds, tilts and loads as in the data set (with the false lead C7, speeds reach 39 km/h)."""

COMPACT = Ranges(speeds=(10, 36), steps=(2.0, 2.0), steepest=16, leads=COMPACT_LEADS, is_loaded=False)
"""The drives of telelogs-compact: kept as they were, so that published results and the tiny model can be repeated."""


@dataclass(frozen=True)
class Difficulty:
    """How hard the drives are.

    Args:
        cells: fewest and most rows of the engineering table, 4 to 16.
        false_leads: probability of each false lead (39 km/h, 0.98 km, 165 RBs, two handovers, ...), whatever the cause.
        ranges: what the drives are made of.

    Raises:
        ValueError: a value is out of range.

    Example:
        >>> from hysteretic.tasks.telelogs import draw
        >>> len(draw("example", "C7", Difficulty(cells=(8, 8))).cells)
        8
    """

    cells: tuple[int, int] = (5, 13)
    false_leads: float = 0.3
    ranges: Ranges = OFFICIAL

    def __post_init__(self) -> None:
        low, high = self.cells
        if not 4 <= low <= high <= 16:
            raise ValueError(f"cells is {self.cells}; give the fewest and the most, between 4 and 16.")
        if not 0 <= self.false_leads <= 1:
            raise ValueError(f"false_leads is {self.false_leads}; it is a probability, 0 to 1.")
