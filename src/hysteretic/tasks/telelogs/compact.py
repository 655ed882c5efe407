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

from .rules import MODULUS, findings
from .scenario import Cell, Row, Scenario, angle_below, distance_km

CONTEXT = 1
"""Rows shown before and after the bad stretch."""

SITES = "abcdefghijklm"
SECTORS = 4
ABSENT = " -- -- --"


def compact(scenario: Scenario) -> str:
    """The prompt: a line for each row shown."""
    bad = scenario.bad_rows
    shown = scenario.rows[max(min(bad) - CONTEXT, 0) : max(bad) + 1 + CONTEXT]
    names: dict[tuple[str, int], str] = {}
    return "".join(f"\n{_line(scenario, row, names)}" for row in shown) + "\n"


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
    heard = [
        (other, neighbour)
        for neighbour in row.neighbours
        if neighbour.level is not None and (other := scenario.cell(neighbour.pci, row))
    ]
    for other, neighbour in heard[:2]:
        gap = row.rsrp - (neighbour.level or 0.0)
        line += f" {_name(other, names)} {neighbour.pci % MODULUS:02d} {two_digits(math.ceil(gap))}"
    return line + ABSENT * (2 - len(heard[:2]))


def _name(cell: Cell, names: dict[tuple[str, int], str]) -> str:
    """Site letter and number of the cell: a1, a2, b1, ..."""
    key = (cell.gnodeb, cell.number)
    if key not in names:
        letters = {gnodeb: name[0] for (gnodeb, _), name in names.items()}
        letter = letters.get(cell.gnodeb, SITES[len(letters)])
        names[key] = f"{letter}{sum(gnodeb == cell.gnodeb for gnodeb, _ in names) + 1}"
    return names[key]


def angle_digits(scenario: Scenario) -> list[str]:
    """The evidence of each rule in the order of `findings`, for a response: a word and a number of two digits."""
    bad = [scenario.rows[i] for i in scenario.bad_rows]
    return [finding.evidence for finding in findings(scenario)] if bad else []
