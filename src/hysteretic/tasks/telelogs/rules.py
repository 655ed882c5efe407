"""The published rules that find the root cause, in their order, each with the measurements that decide it; and their
findings in words, as an explanation for people and as reasoning for a model to imitate.

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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean

from .scenario import CAUSES, THRESHOLD, Cell, Row, Scenario, angle_below, changes, distance_km

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


CHECKS = {
    "C7": "Speed",
    "C8": "Scheduled resource blocks",
    "C2": "Distance to the serving cell",
    "C5": "Handovers",
    "C6": "PCI modulo 30",
    "C1": "Downtilt",
    "C4": "Overlap with other sites",
    "C3": "A better neighbour",
}
"""What each rule checks."""


def explanation(scenario: Scenario, cause: str, labels: Mapping[str, str]) -> str:
    """The answer in the first line, then one line per rule.

    cause: the right answer, "C1" to "C8". labels: the label that the question gives to each cause.
    """
    found = list(findings(scenario))
    first = next(finding for finding in found if finding.holds)
    is_known = cause in CAUSES  # it may be unknown, or an option that is none of the eight
    right = f"{_name(cause, labels)}: {CAUSES[cause]}" if is_known else f"{labels.get(cause, 'unknown')}: {cause}"
    lines = [right, _bad_rows(scenario)]
    if cause and first.cause != cause:
        lines.append(f"The rules find another cause, {_name(first.cause, labels)}")
    return "\n".join([*lines, *_rules(found, first, labels)])


def trace(scenario: Scenario, labels: Mapping[str, str]) -> str:
    """Reasoning that lists the bad rows, checks one rule after another until one holds, and boxes its label."""
    times = [scenario.rows[i].time.split(" ")[-1].split(".")[0] for i in scenario.bad_rows]
    lines = [f"The throughput is below {THRESHOLD:g} Mbps at {', '.join(times)}. Only these rows matter."]
    for finding in findings(scenario):
        verdict = "this is the cause" if finding.holds else "not the cause"
        lines.append(f"{CHECKS[finding.cause]}: {finding.evidence}; {verdict}.")
        if finding.holds:
            return "\n".join([*lines, f"{CAUSES[finding.cause]} \\boxed{{{labels[finding.cause]}}}"])
    raise AssertionError("the last rule always holds")


def _rules(found: list[Finding], first: Finding, labels: Mapping[str, str]) -> Iterator[str]:
    for finding in found:
        name = _name(finding.cause, labels)
        if finding is first:
            yield f"✓ {name} holds: {finding.evidence}{_rows(finding.rows)}"
        elif finding.cause == "C3":
            yield f"· {name} applies only if no other rule holds"
        elif finding.holds:
            yield f"✓ {name} holds too, but comes after the deciding rule: {finding.evidence}{_rows(finding.rows)}"
        else:
            yield f"· {name} does not hold: {finding.evidence}"


def _bad_rows(scenario: Scenario) -> str:
    bad = [scenario.rows[i].throughput for i in scenario.bad_rows]
    if not bad:
        return "No row has a throughput below 600 Mbit/s"
    return f"Throughput drops to {min(bad):.0f} to {max(bad):.0f} Mbit/s{_rows(scenario.bad_rows)}"


def _name(cause: str, labels: Mapping[str, str]) -> str:
    """The label in the question, followed by the rules' name if that differs."""
    label = labels[cause]
    return label if label == cause else f"{label} ({cause} in the rules)"


def _rows(rows: tuple[int, ...]) -> str:
    """(row 3), (rows 3 to 6), (rows 3, 5, 6): counted from 1."""
    if not rows:
        return ""
    if len(rows) == 1:
        return f" (row {rows[0] + 1})"
    if len(rows) > 2 and rows[-1] - rows[0] == len(rows) - 1:
        return f" (rows {rows[0] + 1} to {rows[-1] + 1})"
    return f" (rows {', '.join(str(row + 1) for row in rows)})"
