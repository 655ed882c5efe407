"""The faults that put each root cause into a generated drive, and the false leads that resemble them.

A draft has cells, the serving cell and the level of each cell per row, speeds and resource blocks; SINR and throughput
are derived from them afterwards (see `drive.py`). Each fault changes the bad window only. Faults follow the way the
official data is made, with levels, places and both tables kept consistent. A false lead does the same, but stays within
the limits of the rules.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from .scenario import Cell

Place = tuple[float, float]


class UnsuitableDraftError(Exception):
    """The fault or false lead is impossible in this draft; draw another."""


@dataclass
class Draft:
    """A drive under construction. Places are in metres east and north of the main site.

    sites: place of each gNodeB; site_of: its index by cell. first, second: cells of the main site; far: a cell of a
    distant site. window: indices of the bad rows; handover: index of the row from which `second` serves. levels: dBm by
    cell and row; shadow: dB to subtract from all of them. targets: intended throughput by row, used in the window.
    """

    rng: random.Random
    cells: list[Cell]
    site_of: list[int]
    sites: list[Place]
    places: list[Place]
    speeds: list[float]
    blocks: list[float]
    serving: list[int]
    window: range
    targets: list[float]
    far: int
    levels: list[list[float]] = field(default_factory=list)
    shadow: float = 0.0
    first: int = 0
    second: int = 1

    @property
    def handover(self) -> int:
        return self.window[2]

    @property
    def pair(self) -> tuple[int, int]:
        """The two cells that serve."""
        return self.first, self.far if self.far in self.serving else self.second

    def served_by_first(self) -> list[int]:
        """Bad rows served by the first cell."""
        return [row for row in self.window if self.serving[row] == self.first]

    def distance(self, cell: int, row: int) -> float:
        """Metres over the ground."""
        site, place = self.sites[self.site_of[cell]], self.places[row]
        return math.hypot(place[0] - site[0], place[1] - site[1])

    def angle(self, cell: int, row: int) -> float:
        """Degrees below the horizon."""
        return math.degrees(math.atan2(self.cells[cell].height, self.distance(cell, row)))

    def others(self, row: int) -> list[int]:
        """Cells that do not serve the row."""
        return [c for c in range(len(self.cells)) if c != self.serving[row]]

    def strangers(self, cell: int) -> list[int]:
        """Cells of other sites."""
        return [c for c in range(len(self.cells)) if self.site_of[c] != self.site_of[cell]]

    def attenuate_strangers(self, row: int, cell: int) -> None:
        """Lower the cells of other sites equally until the strongest is 3.3 to 6 dB below the cell."""
        strangers = self.strangers(cell)
        most = self.levels[cell][row] - self.rng.uniform(3.3, 6)
        excess = max(self.levels[c][row] for c in strangers) - most
        for c in strangers:
            self.levels[c][row] -= max(excess, 0.0)


def tilt_between(draft: Draft, cell: int, low: float, high: float) -> None:
    """Set an integer mechanical tilt that puts the far edge of a cell between two angles.

    Raises UnsuitableDraftError if there is none.
    """
    old = draft.cells[cell]
    rest = old.far_edge - old.mechanical_tilt
    fitting = [tilt for tilt in range(31) if low <= tilt + rest <= high]
    if not fitting:
        raise UnsuitableDraftError
    draft.cells[cell] = replace(old, mechanical_tilt=float(draft.rng.choice(fitting)))


def too_much_tilt(draft: Draft) -> None:
    """C1: the first cell's beam ends 2 to 8 degrees short of the road."""
    highest = max(draft.angle(draft.first, row) for row in draft.served_by_first())
    tilt_between(draft, draft.first, highest + 2, highest + 8)


def weaker(draft: Draft) -> None:
    """C1: every cell loses 5 dB in the window."""
    for row in draft.window:
        for levels in draft.levels:
            levels[row] -= 5


def overshooting(draft: Draft) -> None:
    """C2: a cell more than 1.05 km away serves from the handover on."""
    if min(draft.distance(draft.far, row) for row in draft.window[2:]) < 1050:
        raise UnsuitableDraftError
    serve_from_far(draft)


def serve_from_far(draft: Draft) -> None:
    """The far cell replaces the second one."""
    draft.serving = [draft.far if cell == draft.second else cell for cell in draft.serving]


def lift_far(draft: Draft) -> None:
    """Where the far cell serves, it is the strongest by some dB; elsewhere it replaces the second one as neighbour."""
    loss = draft.rng.uniform(16, 22)
    for row in range(len(draft.places)):
        if draft.serving[row] == draft.far:
            draft.attenuate_strangers(row, draft.first)
            strongest = max(draft.levels[c][row] for c in draft.others(row))
            draft.levels[draft.far][row] = strongest + draft.rng.uniform(3.3, 6)
        else:
            most = draft.levels[draft.serving[row]][row] - draft.rng.uniform(3.4, 5)
            draft.levels[draft.far][row] = most if row in draft.window else min(draft.levels[draft.second][row], most)
        draft.levels[draft.second][row] -= loss


def better_neighbour(draft: Draft) -> None:
    """C3: the second cell, nearly as strong before the handover, carries 160 to 230 Mbit/s more after it."""
    before = draft.rng.uniform(190, 340)
    after = before + draft.rng.uniform(160, 230)
    for row in draft.window:
        draft.targets[row] = (before if draft.serving[row] == draft.first else after) + draft.rng.uniform(-25, 25)


def lift_stranger(draft: Draft, low: float, high: float) -> None:
    """For a stretch that includes the window, a cell of another site is the strongest neighbour.

    It is U(low, high) dB weaker than the serving cell in the window, and at least 3.4 dB weaker in the rows around it.
    """
    loudest = stranger(draft)
    begin, end = draft.rng.randint(0, draft.window[0]), draft.rng.randint(draft.window[-1] + 1, len(draft.places))
    for row in range(begin, end):
        own = draft.levels[draft.serving[row]][row]
        gap = draft.rng.uniform(low, high) if row in draft.window else draft.rng.uniform(max(low, 3.4), max(high, 5))
        draft.levels[loudest][row] = own - gap
        for c in draft.others(row):
            if c != loudest:
                below = draft.rng.uniform(0.2, 0.6) if c in draft.pair else draft.rng.uniform(0.7, 2)
                draft.levels[c][row] = min(draft.levels[c][row], own - gap - below)


def stranger(draft: Draft) -> int:
    """The strongest cell of another site within 950 m of the window, or raises UnsuitableDraftError."""
    others = [c for c in draft.strangers(draft.first) if c not in draft.pair]
    near = [c for c in others if draft.distance(c, draft.window[0]) < 950]
    if not near:
        raise UnsuitableDraftError
    return max(near, key=lambda c: draft.levels[c][draft.window[1]])


def ping_pong(draft: Draft) -> None:
    """C5: two cells alternate, 3 handovers."""
    for row, cell in zip(draft.window, (draft.first, draft.second) * 2, strict=True):
        draft.serving[row] = cell


def same_modulo(draft: Draft) -> None:
    """C6: the two cells that serve get the same PCI modulo 30, in both tables."""
    first, other = draft.pair
    collide(draft, other, first)


def collide(draft: Draft, cell: int, other: int) -> None:
    """Give a cell a new PCI with the same remainder modulo 30 as that of the other."""
    wanted = draft.cells[other].pci
    free = [p for p in range(wanted % 30, 1008, 30) if p != wanted]
    draft.cells[cell] = replace(draft.cells[cell], pci=draft.rng.choice(free))


def scale_blocks(draft: Draft, low: float, high: float) -> None:
    """U(low, high) resource blocks in the window on average, at least 100 in each row."""
    mean = draft.rng.uniform(low, high)
    now = sum(draft.blocks[row] for row in draft.window) / len(draft.window)
    for row in draft.window:
        draft.blocks[row] = max(draft.blocks[row] * mean / now, 100 + draft.rng.random())


def nearly_overshooting(draft: Draft) -> None:
    """A cell 0.8 to 0.985 km away serves after the handover."""
    reached = [draft.distance(draft.far, row) for row in draft.window]
    if max(reached) > 985 or min(reached) < 800:
        raise UnsuitableDraftError
    serve_from_far(draft)


def nearly_ping_pong(draft: Draft) -> None:
    """Two handovers in the window."""
    second, third, fourth = draft.window[1:]
    draft.serving[second] = draft.serving[third]
    draft.serving[third] = draft.serving[fourth] = draft.first


def nearly_same_modulo(draft: Draft) -> None:
    """A cell of another site collides with one that serves only part of the window."""
    collide(draft, stranger(draft), draft.serving[draft.window[0]])


def nearly_too_much_tilt(draft: Draft) -> None:
    """The road is 0.3 to 1.6 degrees inside the far edge of the first cell's main lobe."""
    lowest = min(draft.angle(draft.first, row) for row in draft.served_by_first())
    tilt_between(draft, draft.first, lowest - 1.6, lowest - 0.3)


def wide_enough(draft: Draft) -> None:
    """Not a fault: the main lobe of the first cell reaches every bad row it serves, with a margin."""
    lowest = min(draft.angle(draft.first, row) for row in draft.served_by_first())
    if draft.cells[draft.first].far_edge > lowest - 0.3:
        tilt_between(draft, draft.first, -90, lowest - 0.3)


def nothing(draft: Draft) -> None:
    """No change."""


@dataclass(frozen=True)
class Fault:
    """What a fault or false lead does to a draft: before the levels are computed, and to the levels."""

    before: Callable[[Draft], None] = nothing
    levels: Callable[[Draft], None] = nothing


FAULTS = {
    "C1": Fault(too_much_tilt, weaker),
    "C2": Fault(overshooting),
    "C3": Fault(levels=better_neighbour),
    "C4": Fault(levels=partial(lift_stranger, low=0.3, high=2.6)),  # dB weaker
    "C5": Fault(ping_pong),
    "C6": Fault(same_modulo),
    "C7": Fault(),  # 40 km/h faster: `drive.py` computes the places from the speeds
    "C8": Fault(partial(scale_blocks, low=105, high=152)),
}

ORDER = ("C8", "C7", "C5", "C4", "C3", "C2", "C6", "C1")
"""In which faults are applied: C6 needs to know which cells serve, and C1 which rows the first one serves."""

FALSE_LEADS = {
    "C1": Fault(nearly_too_much_tilt),
    "C2": Fault(nearly_overshooting),
    "C4": Fault(levels=partial(lift_stranger, low=3.4, high=5)),
    "C5": Fault(nearly_ping_pong),
    "C6": Fault(levels=nearly_same_modulo),
    "C7": Fault(),  # 37 to 39 km/h
    "C8": Fault(partial(scale_blocks, low=161, high=167)),
}
"""By the cause that each resembles."""

LEADS = {cause: tuple(lead for lead in FALSE_LEADS if lead != cause) for cause in FAULTS}
"""By cause, the false leads that may come with it: all but its own, so that none of them says anything."""

COMPACT_LEADS = {
    "C1": ("C2", "C4", "C6", "C7", "C8"),
    "C2": ("C1", "C4", "C6", "C7", "C8"),
    "C3": ("C1", "C4", "C6", "C7", "C8"),
    "C4": ("C1", "C5", "C6", "C7", "C8"),
    "C5": ("C1", "C4", "C6", "C7", "C8"),
    "C6": ("C1", "C4", "C5", "C7", "C8"),
    "C7": ("C1", "C2", "C4", "C5", "C6", "C8"),
    "C8": ("C1", "C2", "C4", "C5", "C6", "C7"),
}
"""The same for telelogs-compact."""
