"""A drive in about a hundred tokens, for a tiny model: the prompt, and the report that a response to it should be.

The prompt has the bad rows and one more on each side, in two-digit integers:

     72 31 a1 07 09 21 15 93 a2 11 08 b1 29 14
     46 30 a1 07 09 20 15 96 a2 11 03 b1 29 12

    throughput in 10 Mbit/s | speed in km/h | serving cell, its PCI modulo 30, its distance in 20 m (50 is 1 km),
    the angle below the horizon under which it sees the road, and the angle at which its lobe ends on the far side |
    resource blocks in 2 (80 is 160) | two neighbours: cell, PCI modulo 30, dB below the serving cell

The letter of a cell stands for its site, in order of appearance. Numbers are clipped to 00..99; a neighbour that is
stronger than the serving cell is 00 dB below it; -- marks a missing neighbour.

A report has one number per rule, in the order of the rules up to the first that holds, and its cause in a box:

    <think> speed 31 blocks 87 far 58</think>\\boxed{C2}

    speed      highest speed of the bad rows, km/h            tilt       far edge of the lobe beyond the road, degrees
    blocks     mean resource blocks of the bad rows, in 2     overlap    bad rows whose strongest neighbour belongs to
    far        largest distance to the serving cell, 20 m                another site and is at most 3 dB weaker
    handovers  changes of the serving cell in the bad rows    modulo     bad rows with a PCI collision modulo 30
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

from .rules import MODULUS, collides, overlaps, root_cause
from .scenario import Cell, Row, Scenario, angle_below, changes, distance_km

CONTEXT = 1
"""Rows shown before and after the bad rows."""

LEGEND = (
    "Each line of the prompt: throughput / 10, speed, serving cell, its PCI modulo 30, its distance in 20 m, the angle "
    "down to the road, the far edge of its lobe, resource blocks / 2; then for two neighbours: cell, PCI modulo 30, "
    "dB below the serving cell"
)
"""How to read a compact prompt."""

SITES = "abcdefghijklm"
NEIGHBOURS = 2
ABSENT = " -- -- --"

WORDS = ("speed", "blocks", "far", "handovers", "modulo", "tilt", "overlap")
"""One for each rule, in their order; the last rule, C3, has none."""

ORDER = ("C7", "C8", "C2", "C5", "C6", "C1", "C4", "C3")


def compact(scenario: Scenario) -> str:
    """The prompt: one line for each row shown."""
    names: dict[tuple[str, int], str] = {}
    return "".join(f"\n{_line(scenario, row, names)}" for row in shown(scenario).rows) + "\n"


def shown(scenario: Scenario) -> Scenario:
    """The part of a scenario that the prompt shows: rows around the bad ones, and two listed neighbours in each."""
    bad = scenario.bad_rows
    rows = scenario.rows[max(min(bad) - CONTEXT, 0) : max(bad) + 1 + CONTEXT]
    return Scenario(
        tuple(
            replace(row, neighbours=tuple(n for n in row.neighbours if scenario.cell(n.pci, row))[:NEIGHBOURS])
            for row in rows
        ),
        scenario.cells,
    )


def measurements(scenario: Scenario) -> tuple[str, ...]:
    """What the prompt shows for each of WORDS, two digits each."""
    seen = shown(scenario)
    bad = [seen.rows[i] for i in seen.bad_rows]
    served = [(row, cell) for row in bad if (cell := seen.serving(row))]
    beyond = [
        int(_two_digits(max(cell.far_edge, 0))) - int(_two_digits(angle_below(cell, row)))
        for row, cell in served
        if row.pci == seen.rows[0].pci
    ]
    found = (
        max(row.speed for row in bad),
        fmean(row.rb for row in bad) / 2,
        max(50 * distance_km(row, cell) for row, cell in served),
        changes([row.pci for row in bad]),
        sum(map(collides, bad)),
        max(beyond, default=0),
        sum(overlaps(seen, row) for row in bad),
    )
    return tuple(map(_two_digits, found))


def report(read: tuple[str, ...], cause: str) -> str:
    """A response: measurements in their order, then the label."""
    said = "".join(f" {word} {value}" for word, value in zip(WORDS, read, strict=False))
    return f"<think>{said}</think>\\boxed{{{cause}}}"


def careful_report(scenario: Scenario) -> str:
    """The measurements up to the first rule that holds, and its cause."""
    cause = root_cause(scenario).cause
    return report(measurements(scenario)[: ORDER.index(cause) + 1], cause)


def _two_digits(value: float) -> str:
    """Rounded down and clipped to 00..99."""
    return f"{min(max(math.floor(value), 0), 99):02d}"


def _line(scenario: Scenario, row: Row, names: dict[tuple[str, int], str]) -> str:
    cell = scenario.serving(row)
    assert cell is not None  # drives made by `draw` list every serving cell
    numbers = [
        row.throughput / 10,
        row.speed,
        row.pci % MODULUS,
        distance_km(row, cell) * 50,
        angle_below(cell, row),
        max(cell.far_edge, 0.0),
        row.rb / 2,
    ]
    throughput, speed, rest, distance, angle, edge, blocks = map(_two_digits, numbers)
    line = f" {throughput} {speed} {_name(cell, names)} {rest} {distance} {angle} {edge} {blocks}"
    for neighbour in row.neighbours:
        other = scenario.cell(neighbour.pci, row)
        if other is not None and neighbour.level is not None:
            gap = math.ceil(round(row.rsrp - neighbour.level, 2))
            line += f" {_name(other, names)} {neighbour.pci % MODULUS:02d} {_two_digits(gap)}"
    return line + ABSENT * (NEIGHBOURS - len(row.neighbours))


def _name(cell: Cell, names: dict[tuple[str, int], str]) -> str:
    """Site letter and number of the cell: a1, a2, b1, ..."""
    key = (cell.gnodeb, cell.number)
    if key not in names:
        letters = {gnodeb: name[0] for (gnodeb, _), name in names.items()}
        letter = letters.get(cell.gnodeb, SITES[len(letters)])
        names[key] = f"{letter}{sum(gnodeb == cell.gnodeb for gnodeb, _ in names) + 1}"
    return names[key]
