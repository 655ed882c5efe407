"""The published rules that find the root cause, in their order, each with the measurements that decide it.

On the rows with a throughput below 600 Mbit/s:

    C7  max speed > 40 km/h
    C8  mean RB < 160
    C2  max distance to the serving cell > 1 km
    C5  the serving PCI changes at least 3 times
    C6  in every row some neighbour has the same PCI modulo 30 as the serving cell
    C1  in some row served by the first cell, angle below the horizon < tilt - beamwidth / 2
    C4  in 75 % of the rows the strongest neighbour belongs to another gNodeB and is at most 3 dB weaker
    C3  none of these
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from .scenario import Cell, Row, Scenario, angle_below, changes, distance_km

SPEED, BLOCKS, DISTANCE_KM, CHANGES, MODULUS, GAP_DB, OVERLAP_FRACTION = 40.0, 160.0, 1.0, 3, 30, 3.0, 0.75


@dataclass(frozen=True)
class Finding:
    """Whether a cause holds, and the evidence. rows: indices of the rows that show it."""

    cause: str
    holds: bool
    evidence: str
    rows: tuple[int, ...] = ()


def findings(scenario: Scenario) -> Iterator[Finding]:
    """One finding per cause in the order of the rules, lazily: later ones cost most. The last, C3, always holds."""
    for rule in RULES:
        yield rule(scenario)


def root_cause(scenario: Scenario) -> Finding:
    """The first finding that holds.

    Example:
        >>> from hysteretic.tasks.telelogs import Difficulty, draw
        >>> root_cause(draw("example", "C7", Difficulty())).cause
        'C7'
    """
    return next(finding for finding in findings(scenario) if finding.holds)


def _speed(scenario: Scenario) -> Finding:
    fast = tuple(i for i in scenario.bad_rows if scenario.rows[i].speed > SPEED)
    highest = max((scenario.rows[i].speed for i in scenario.bad_rows), default=0.0)
    return Finding("C7", bool(fast), f"highest speed {highest:g} km/h (limit {SPEED:g})", fast)


def _blocks(scenario: Scenario) -> Finding:
    bad = scenario.bad_rows
    mean = fmean(scenario.rows[i].rb for i in bad) if bad else float("inf")
    return Finding("C8", mean < BLOCKS, f"{mean:.1f} RBs on average (limit {BLOCKS:g})", bad)


def _distance(scenario: Scenario) -> Finding:
    found = {i: distance_km(scenario.rows[i], cell) for i in scenario.bad_rows if (cell := _serving(scenario, i))}
    farthest = max(found.values(), default=0.0)
    rows = tuple(i for i, distance in found.items() if distance > DISTANCE_KM)
    return Finding("C2", bool(rows), f"serving cell {farthest:.2f} km away (limit {DISTANCE_KM:g})", rows)


def _handovers(scenario: Scenario) -> Finding:
    served = [scenario.rows[i].pci for i in scenario.bad_rows]
    rows = tuple(i for i, one, other in zip(scenario.bad_rows[1:], served, served[1:], strict=False) if one != other)
    count = changes(served)
    return Finding("C5", count >= CHANGES, f"{count} changes of the serving PCI (limit {CHANGES})", rows)


def _collision(scenario: Scenario) -> Finding:
    rows = tuple(i for i in scenario.bad_rows if collides(scenario.rows[i]))
    bad = len(scenario.bad_rows)
    words = f"a neighbour with the serving PCI modulo {MODULUS} in {len(rows)} of {bad} bad rows"
    return Finding("C6", 0 < bad == len(rows), words, rows)


def collides(row: Row) -> bool:
    """Whether some neighbour has the same PCI modulo 30 as the serving cell."""
    return any(n.pci % MODULUS == row.pci % MODULUS and n.pci != row.pci for n in row.neighbours)


def _tilt(scenario: Scenario) -> Finding:
    first = scenario.rows[0].pci
    short, rows = float("-inf"), []
    for i in scenario.bad_rows:
        cell = _serving(scenario, i)
        if scenario.rows[i].pci == first and cell is not None:
            beyond = cell.far_edge - angle_below(cell, scenario.rows[i])
            short = max(short, beyond)
            if beyond > 0:
                rows.append(i)
    words = "the first cell serves no bad row"
    if short > float("-inf"):
        side = "beyond" if short > 0 else "inside"
        words = f"the road is {abs(short):.1f} degrees {side} the far edge of the first cell's main lobe"
    return Finding("C1", bool(rows), words, tuple(rows))


def _overlap(scenario: Scenario) -> Finding:
    rows = tuple(i for i in scenario.bad_rows if overlaps(scenario, scenario.rows[i]))
    bad = len(scenario.bad_rows)
    words = f"strongest neighbour of another site within {GAP_DB:g} dB in {len(rows)} of {bad} bad rows"
    return Finding("C4", 0 < bad * OVERLAP_FRACTION <= len(rows), words, rows)


def overlaps(scenario: Scenario, row: Row) -> bool:
    """Whether the strongest neighbour belongs to another gNodeB than the serving cell and is at most 3 dB weaker."""
    if not row.neighbours or row.neighbours[0].level is None:
        return False
    if round(row.neighbours[0].level - row.rsrp, 2) < -GAP_DB:  # levels have two decimals
        return False
    serving, neighbour = scenario.serving(row), scenario.cell(row.neighbours[0].pci, row)
    return serving is not None and neighbour is not None and serving.gnodeb != neighbour.gnodeb


def _neighbour(scenario: Scenario) -> Finding:
    bad = [scenario.rows[i] for i in scenario.bad_rows]
    words = "nothing else explains it"
    if bad:
        before = [row.throughput for row in bad if row.pci == bad[0].pci]
        after = [row.throughput for row in bad if row.pci != bad[0].pci]
        if after:
            words += f"; {fmean(before):.0f} Mbit/s on the first cell, {fmean(after):.0f} after the handover"
    return Finding("C3", True, words, scenario.bad_rows)


def _serving(scenario: Scenario, index: int) -> Cell | None:
    return scenario.serving(scenario.rows[index])


RULES = (_speed, _blocks, _distance, _handovers, _collision, _tilt, _overlap, _neighbour)
