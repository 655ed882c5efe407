"""What the phone logs in a drive: throughput and SINR of each row, and both tables.

A good row has the SINR that its throughput needs. A bad row has the SINR that the levels and loads of the other cells
leave it, and the throughput of that, less the cost of its fault.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from .difficulty import Ranges
from .faults import Draft
from .radio import handover_loss, interference, load_for, rate, sinr_for, sinr_under, speed_loss
from .scenario import Neighbour, Row, Scenario

METRES_PER_DEGREE = 111_194.93
"""Along a meridian, on a sphere of 6,371 km."""
WEAKEST = -118.0
"""dBm before shadowing; weaker cells are not reported."""
FAINTEST = -125.0
"""dBm; the lowest level that a phone reports."""


def logged(draft: Draft, ranges: Ranges) -> Scenario:
    """Add throughput and SINR, and build both tables."""
    rng = draft.rng
    sinrs, throughputs = [], []
    bad = _loaded(draft) if ranges.is_loaded else {row: sinr_for(draft.targets[row] / 190) for row in draft.window}
    for row in range(len(draft.places)):
        recent = sum(draft.serving[r] != draft.serving[r - 1] for r in (row - 1, row) if r >= 1)
        left = draft.blocks[row] * speed_loss(draft.speeds[row])
        lossy = left * handover_loss(recent)
        if row in draft.window:  # the cost of the fault is added to this
            sinr = bad[row]
            carried = lossy * rate(sinr)
        else:  # throughput limited by a handover, at the SINR that it requires without one
            gap = draft.levels[draft.serving[row]][row] - max(draft.levels[c][row] for c in draft.others(row))
            wanted = rng.uniform(640, 900) + 25 * min(max(gap, 0), 20) * rng.random()
            carried = lossy * rate(sinr_for(wanted / lossy))
            sinr = sinr_for(carried / left)
        sinrs.append(sinr + rng.gauss(0, 0.3))
        throughputs.append(carried * (1 + rng.gauss(0, 0.015)))
    return _tables(draft, sinrs, throughputs)


def _loaded(draft: Draft) -> dict[int, float]:
    """The SINR of each bad row, from the levels of all cells and the load of those that do not serve.

    The load is the one that gives the targets of the rows of one serving cell on average; it varies from cell to cell,
    and by a tenth from second to second.
    """
    rng = draft.rng
    relative = [rng.uniform(0.4, 1) for _ in draft.cells]
    found = {}
    for served in dict.fromkeys(draft.serving[row] for row in draft.window):
        rows = [row for row in draft.window if draft.serving[row] == served]
        levels = [draft.levels[served][row] - draft.shadow for row in rows]
        others = [
            interference((draft.levels[c][row] - draft.shadow, relative[c]) for c in draft.others(row)) for row in rows
        ]
        load = load_for(sum(draft.targets[row] for row in rows) / 190, levels, others)
        for row, own, other in zip(rows, levels, others, strict=True):
            found[row] = sinr_under(own, other * min(load * math.exp(rng.gauss(0, 0.1)), 1))
    return found


def _tables(draft: Draft, sinrs: list[float], throughputs: list[float]) -> Scenario:
    rng = draft.rng
    site = draft.cells[0]
    longitude, latitude = site.longitude, site.latitude
    began = datetime(2025, rng.randint(1, 12), rng.randint(1, 28), rng.randint(8, 18), rng.randrange(60))
    began += timedelta(seconds=rng.randrange(60))
    heard = rng.randint(2, 5)
    unlisted = rng.randrange(1008) if rng.random() < 0.3 else None
    listed = {cell.pci for cell in draft.cells}
    remainders = {pci % 30 for pci in listed}
    rows = []
    for r, (x, y) in enumerate(draft.places):
        others = sorted(draft.others(r), key=lambda c: -draft.levels[c][r])
        found = [(draft.cells[c].pci, draft.levels[c][r]) for c in others if draft.levels[c][r] > WEAKEST]
        found = found[: heard if rng.random() < 0.7 else max(heard - 1, 2)]
        if unlisted is not None and unlisted % 30 not in remainders and len(found) > 2 and rng.random() < 0.7:
            found[-1] = (unlisted, found[-1][1])
        rows.append(
            Row(
                time=(began + timedelta(seconds=r)).strftime("%Y-%m-%d %H:%M:%S.000000"),
                longitude=longitude_of(longitude, latitude, x),
                latitude=round(latitude + y / METRES_PER_DEGREE, 6),
                speed=draft.speeds[r],
                pci=draft.cells[draft.serving[r]].pci,
                rsrp=_reported(draft.levels[draft.serving[r]][r], draft.shadow),
                sinr=round(sinrs[r], 2),
                throughput=round(throughputs[r], 2),
                neighbours=tuple(Neighbour(pci, _reported(level, draft.shadow)) for pci, level in found),
                rb=round(draft.blocks[r], 2),
            )
        )
    return Scenario(tuple(rows), tuple(draft.cells))


def _reported(level: float, shadow: float) -> float:
    """dBm as reported by a phone. Rounded first, so that differences between cells do not depend on the shadow."""
    return max(round(round(level, 2) - shadow, 2), FAINTEST)


def longitude_of(origin: float, latitude: float, east: float) -> float:
    """Degrees, `east` metres from the origin."""
    return round(origin + east / (METRES_PER_DEGREE * math.cos(math.radians(latitude))), 6)
