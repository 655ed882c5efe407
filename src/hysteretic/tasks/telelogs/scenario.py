"""What a TeleLogs problem is about: a short drive past 5G cells, with positions, speeds, levels and throughput."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import pairwise

CAUSES = {
    "C1": "The serving cell is tilted down too far, so that its beam ends before the road.",
    "C2": "The serving cell is more than 1 km away: it overshoots.",
    "C3": "A neighbouring cell would give a higher throughput.",
    "C4": "Neighbouring cells of other sites on the same frequency overlap severely.",
    "C5": "Handovers are too frequent.",
    "C6": "A neighbouring cell has the serving cell's PCI modulo 30, so that they interfere.",
    "C7": "The vehicle is faster than 40 km/h.",
    "C8": "Fewer than 160 resource blocks are scheduled on average.",
}
"""The eight root causes."""

THRESHOLD = 600.0
"""Mbit/s; a row below it is bad."""

DEFAULT_TILT = 255
"""Stands for the default digital tilt, 6 degrees."""

EARTH_KM = 6371.0

LEVELS = -200.0, 0.0
"""dBm; what a phone can measure lies between, and -999 for a missing level does not."""


class ScenarioError(ValueError):
    """A value that is impossible for a drive or a cell."""


@dataclass(frozen=True)
class Cell:
    """A row of the engineering table. Angles in degrees, tilts downwards, height in m, power in dBm."""

    gnodeb: str
    number: int
    longitude: float
    latitude: float
    azimuth: float
    mechanical_tilt: float
    digital_tilt: float
    digital_azimuth: float
    beam: str
    height: float
    pci: int
    mode: str = "32T32R"
    power: float = 34.9
    antenna: str = "NR AAU 1"

    def __post_init__(self) -> None:
        _within("longitude", self.longitude, -180, 180)
        _within("latitude", self.latitude, -90, 90)
        _within("height", self.height, 0, 1000)
        _within("PCI", self.pci, 0, 1007)
        _within("mechanical downtilt", self.mechanical_tilt, -90, 90)
        if self.digital_tilt != DEFAULT_TILT:
            _within("digital tilt", self.digital_tilt, -90, 90)
        _within("azimuth", self.azimuth, -360, 360)

    @property
    def tilt(self) -> float:
        """Sum of mechanical and digital downtilt."""
        return self.mechanical_tilt + (6.0 if self.digital_tilt == DEFAULT_TILT else self.digital_tilt)

    @property
    def beamwidth(self) -> float:
        return vertical_beamwidth(self.beam)

    @property
    def far_edge(self) -> float:
        """Angle below the horizon at which the main lobe ends on the far side: tilt - beamwidth / 2."""
        return self.tilt - self.beamwidth / 2


@dataclass(frozen=True)
class Neighbour:
    """A cell heard besides the serving one. level: filtered BRSRP in dBm."""

    pci: int
    level: float | None


@dataclass(frozen=True)
class Row:
    """One second of the drive. speed in km/h, rsrp in dBm, sinr in dB, throughput in Mbit/s, rb: scheduled blocks.

    neighbours: strongest first. A value that is missing in the log is None.
    """

    time: str
    longitude: float
    latitude: float
    speed: float
    pci: int
    rsrp: float
    sinr: float | None
    throughput: float
    neighbours: tuple[Neighbour, ...]
    rb: float

    def __post_init__(self) -> None:
        _within("longitude", self.longitude, -180, 180)
        _within("latitude", self.latitude, -90, 90)
        _within("speed", self.speed, 0, 600)
        _within("serving PCI", self.pci, 0, 1007)
        _within("SS-RSRP", self.rsrp, *LEVELS)
        if self.sinr is not None:
            _within("SS-SINR", self.sinr, -60, 60)
        _within("throughput", self.throughput, 0, 1e5)
        _within("number of RBs", self.rb, 0, 1e4)
        for neighbour in self.neighbours:
            _within("neighbour PCI", neighbour.pci, 0, 1007)
            if neighbour.level is not None:
                _within("BRSRP", neighbour.level, *LEVELS)


@dataclass(frozen=True)
class Scenario:
    """A drive and the cells around it."""

    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]
    _by_pci: dict[int, list[Cell]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.rows:
            raise ScenarioError("The drive has no rows; it needs at least one.")
        if not self.cells:
            raise ScenarioError("The table of cells is empty; it needs at least one.")
        for cell in self.cells:
            self._by_pci.setdefault(cell.pci, []).append(cell)

    @cached_property
    def bad_rows(self) -> tuple[int, ...]:
        """Indices of the rows with a throughput below THRESHOLD."""
        return tuple(i for i, row in enumerate(self.rows) if row.throughput < THRESHOLD)

    def cell(self, pci: int, row: Row) -> Cell | None:
        """The cell with a PCI, the nearest to the row if several share it; None if the table has none."""
        found = self._by_pci.get(pci, [])
        if len(found) < 2:
            return found[0] if found else None
        return min(found, key=lambda cell: distance_km(row, cell))

    def serving(self, row: Row) -> Cell | None:
        return self.cell(row.pci, row)


def distance_km(place: Row | Cell, other: Row | Cell) -> float:
    """Great-circle distance over the ground (haversine), km."""
    lat, other_lat = math.radians(place.latitude), math.radians(other.latitude)
    half = math.sin((other_lat - lat) / 2) ** 2
    half += math.cos(lat) * math.cos(other_lat) * math.sin(math.radians(other.longitude - place.longitude) / 2) ** 2
    return 2 * EARTH_KM * math.asin(min(1.0, math.sqrt(half)))


def angle_below(cell: Cell, row: Row) -> float:
    """Angle of the road below the antenna's horizon, degrees: atan2(height, distance)."""
    return math.degrees(math.atan2(cell.height, 1000 * distance_km(row, cell)))


@lru_cache(maxsize=256)
def vertical_beamwidth(beam: str) -> float:
    """Degrees, by beam scenario: 6 for DEFAULT and SCENARIO_1 to 5, 12 for 6 to 11, 25 from 12 on.

    Raises ScenarioError for any other name.
    """
    name = beam.strip().upper()
    if name == "DEFAULT":
        return 6.0
    prefix, _, number = name.partition("_")
    if prefix != "SCENARIO" or not (number.isascii() and number.isdigit()) or int(number[:4]) < 1:
        raise ScenarioError(f"Beam scenario is {beam[:40]!r}; expected DEFAULT or SCENARIO_1, SCENARIO_2, ...")
    return 6.0 if int(number[:4]) <= 5 else 12.0 if int(number[:4]) <= 11 else 25.0


def changes(pcis: Sequence[int]) -> int:
    """How often the serving cell changes from one row to the next."""
    return sum(before != after for before, after in pairwise(pcis))


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also catches NaN
        raise ScenarioError(f"{name} is {value}; expected {low} to {high}.")
