"""How does a scenario look to a small model? The bad rows and one beside them, in whole numbers of two digits.

     72 31 a1 07 09 21 15 93 a2 11 08 b1 29 14
     46 30 a1 07 09 20 15 96 a2 11 03 b1 29 12

    throughput in 10 Mbit/s | speed in km/h | serving cell, its PCI modulo 30, its distance in 20 m (50 is 1 km),
    the angle below the horizon under which it sees the road, and the angle at which its lobe ends on the far side |
    resource blocks in 2 (80 is 160) | two neighbours: cell, PCI modulo 30, dB below the serving cell

The letter of a cell is its site's, in the order of appearance. Numbers are cut to 00..99; a neighbour that is
stronger than the serving cell is 00 dB below it; -- stands for a neighbour that is not there.
"""

from __future__ import annotations

import math
from dataclasses import replace

from .rules import MODULUS
from .scenario import Cell, Row, Scenario, angle_below, distance_km

CONTEXT = 1
"""Rows shown before and after the bad stretch."""

LEGEND = (
    "A line of the prompt: throughput / 10, speed, serving cell, its PCI modulo 30, its distance in 20 m, the angle "
    "down to the road, the far edge of its lobe, resource blocks / 2; then of two neighbours: cell, PCI modulo 30, "
    "dB below"
)
"""How to read a compact prompt."""

SITES = "abcdefghijklm"
NEIGHBOURS = 2
ABSENT = " -- -- --"


def compact(scenario: Scenario) -> str:
    """The prompt: a line for each row shown."""
    names: dict[tuple[str, int], str] = {}
    return "".join(f"\n{_line(scenario, row, names)}" for row in shown(scenario).rows) + "\n"


def shown(scenario: Scenario) -> Scenario:
    """What the prompt shows of a scenario: the rows around the bad ones, and two neighbours of the table in each."""
    bad = scenario.bad_rows
    rows = scenario.rows[max(min(bad) - CONTEXT, 0) : max(bad) + 1 + CONTEXT]
    return Scenario(
        tuple(
            replace(row, neighbours=tuple(n for n in row.neighbours if scenario.cell(n.pci, row))[:NEIGHBOURS])
            for row in rows
        ),
        scenario.cells,
    )


def two_digits(value: float) -> str:
    """Rounded down and cut to 00..99."""
    return f"{min(max(math.floor(value), 0), 99):02d}"


def _line(scenario: Scenario, row: Row, names: dict[tuple[str, int], str]) -> str:
    cell = scenario.serving(row)
    assert cell is not None  # drives of `draw` list every serving cell
    numbers = [
        row.throughput / 10,
        row.speed,
        row.pci % MODULUS,
        distance_km(row, cell) * 50,
        angle_below(cell, row),
        max(cell.far_edge, 0.0),
        row.rb / 2,
    ]
    throughput, speed, rest, distance, angle, edge, blocks = map(two_digits, numbers)
    line = f" {throughput} {speed} {_name(cell, names)} {rest} {distance} {angle} {edge} {blocks}"
    for neighbour in row.neighbours:
        other = scenario.cell(neighbour.pci, row)
        if other is not None and neighbour.level is not None:
            gap = math.ceil(round(row.rsrp - neighbour.level, 2))
            line += f" {_name(other, names)} {neighbour.pci % MODULUS:02d} {two_digits(gap)}"
    return line + ABSENT * (NEIGHBOURS - len(row.neighbours))


def _name(cell: Cell, names: dict[tuple[str, int], str]) -> str:
    """Site letter and number of the cell: a1, a2, b1, ..."""
    key = (cell.gnodeb, cell.number)
    if key not in names:
        letters = {gnodeb: name[0] for (gnodeb, _), name in names.items()}
        letter = letters.get(cell.gnodeb, SITES[len(letters)])
        names[key] = f"{letter}{sum(gnodeb == cell.gnodeb for gnodeb, _ in names) + 1}"
    return names[key]
