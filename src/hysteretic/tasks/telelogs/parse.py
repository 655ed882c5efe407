"""Parse the text of a TeleLogs question into a scenario and its options, and solve it by the rules.

Columns are found by name, in any order. Accepted are also: options that name only some of the causes, or none; either
kind of line break; blank lines inside tables; '|' around rows, Markdown's line under a header, and other separators;
unknown columns; empty cells for '-'; rows without an essential value (they are left out); and tables without columns
that no rule reads. What was left out or assumed is in the remarks.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from .layout import CELLS, COLUMNS, DRIVE, Option, Options, Table, cells_of, column_key, layout
from .rules import root_cause
from .scenario import CAUSES, Cell, Neighbour, Row, Scenario, ScenarioError, vertical_beamwidth
from .text import CELL_COLUMNS, DRIVE_COLUMNS, MISSING, TOP

OPTIONAL = {
    DRIVE: frozenset(
        {DRIVE_COLUMNS[0], DRIVE_COLUMNS[6], *DRIVE_COLUMNS[9 : 8 + TOP], *DRIVE_COLUMNS[9 + TOP : 8 + 2 * TOP]}
    ),
    CELLS: frozenset({"Cell ID", "Mechanical Azimuth", "Digital Azimuth", *CELL_COLUMNS[-3:]}),
}
"""Columns that a table may lack: time, SINR, neighbours after the first; cell data that no rule reads."""

_KEY = {name: column_key(name) for names in COLUMNS.values() for name in names}
Made = TypeVar("Made")

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Question:
    """A parsed question.

    Args:
        scenario: its tables.
        options: the cause of each label, in the order in which they are listed; for an option that names none of the
            eight causes, its words.
        remarks: what was left out or assumed, each with its line.
    """

    scenario: Scenario
    options: dict[str, str]
    remarks: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The label of each listed cause, in the order C1 to C8."""
        of = {cause: label for label, cause in self.options.items()}
        return {cause: of[cause] for cause in CAUSES if cause in of}


class NotApplicableError(ValueError):
    """The rules cannot answer a question: it does not list the eight causes, or has no tables to apply them to."""


class _MissingError(Exception):
    """An essential cell of a row is empty."""


def parse_question(text: str) -> Question:
    """Parse a question.

    Args:
        text: the whole question: options, drive log and table of cells.

    Returns:
        The scenario, the cause of each label, and remarks.

    Raises:
        ValueError: the text is malformed; says in which line, what was found and what to do. No other exception.

    Example:
        >>> from hysteretic.tasks.telelogs import Difficulty, draw, render
        >>> drive = draw("example", "C7", Difficulty())
        >>> parse_question(render(drive)).scenario == drive
        True
    """
    found = layout(text)
    options = read_options(found.options)
    tables = {table.kind: table for table in found.tables}
    for kind in (DRIVE, CELLS):
        if kind not in tables:
            raise ValueError(
                f"The question has no {kind}: none of its {len(found.lines)} lines is a header with columns such as "
                f"{COLUMNS[kind][0]!r} and {COLUMNS[kind][4]!r}, separated by '|'. Give the complete question."
            )
    remarks: list[str] = []
    rows = _read(tables[DRIVE], remarks, _row)
    cells = _read(tables[CELLS], remarks, _cell)
    return Question(Scenario(rows, cells), options, tuple(remarks))


def solve(question: str) -> str:
    """The label that answers a question: that of the cause the rules find in its tables.

    Args:
        question: text of a TeleLogs question.

    Returns:
        One of the labels of the question, usually "C1" to "C8".

    Raises:
        NotApplicableError: the options are not the eight causes; the message names those that are missing.
        ValueError: the text is not a TeleLogs question.

    Example:
        >>> from hysteretic.tasks.telelogs import Difficulty, draw, render
        >>> solve(render(draw("example", "C7", Difficulty())))
        'C7'

    References:
        The rules: see `hysteretic.tasks.telelogs.rules`.
    """
    found = parse_question(question)
    check_applicable(found.options)
    return found.labels[root_cause(found.scenario).cause]


def check_applicable(options: Mapping[str, str]) -> None:
    """Raises NotApplicableError unless the options name all eight causes."""
    missing = [cause for cause in CAUSES if cause not in options.values()]
    if missing:
        named = ", ".join(f"{cause} ({CAUSES[cause]})" for cause in missing)
        raise NotApplicableError(
            f"The rules are not applicable: the options name {len(CAUSES) - len(missing)} of the eight causes; missing "
            f"are {named}"
        )


def read_options(options: Options) -> dict[str, str]:
    """The cause of each label, in the order of the text; where an option names no cause of its own, its words.

    Raises ValueError for an ambiguous list: without options, with a label or an option twice.
    """
    if not options:
        raise ValueError("The question lists no options; list each on its own line, as 'C1: ...'.")
    by_label: dict[str, Option] = {}
    by_words: dict[str, Option] = {}
    for option in options:
        before = by_label.setdefault(option.label.casefold(), option)
        if before is not option:
            raise ValueError(
                f"line {option.line}: label {option.label!r} is already used in line {before.line}; give each option "
                "its own label."
            )
        before = by_words.setdefault(" ".join(option.words.casefold().split()), option)
        if before is not option:
            raise ValueError(
                f"line {option.line}: option {option.label!r} says the same as option {before.label!r} in line "
                f"{before.line}; list each once."
            )
    causes = Counter(option.cause for option in options)
    return {
        option.label: option.cause if option.cause and causes[option.cause] == 1 else in_words(option.words)
        for option in options
    }


def in_words(words: str) -> str:
    """The words of an option, in quotes if a cause is called so: "C1" may be a carbon atom."""
    return f'"{words}"' if words in CAUSES else words


ABSENT = (MISSING, "", "\u2013", "\u2014")
"""What stands in a cell without a value; editors make dashes of hyphens. Words such as nan are errors."""


@dataclass(frozen=True)
class _Cells:
    """One row of a table: its cells by column, and access to them as text or numbers."""

    kind: str
    cells: Mapping[str, str]
    assumed: list[str]

    def is_missing(self, column: str) -> bool:
        return self.cells.get(_KEY[column], MISSING) in ABSENT

    def text(self, column: str, default: str | None = None) -> str:
        if not self.is_missing(column):
            return self.cells[_KEY[column]]
        return self._absent(column, default)

    def number(self, column: str, default: float | None = None) -> float:
        """Raises _MissingError for '-' if there is no default."""
        if self.is_missing(column):
            return self._absent(column, default)
        cell = self.cells[_KEY[column]]
        value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
        if not math.isfinite(value):
            raise ScenarioError(f"{column!r} is {cell[:40]!r}; expected a number such as 12.5.")
        return value

    def integer(self, column: str, default: int | None = None) -> int:
        value = self.number(column, default)
        if value != int(value):
            raise ScenarioError(f"{column!r} is {value}; expected an integer.")
        return int(value)

    def _absent(self, column: str, default: Made | None) -> Made:
        if default is None:
            raise _MissingError(column)
        self.assumed.append(f"no {column}, assumed {default}")
        return default


def _read(table: Table, remarks: list[str], make: Callable[[_Cells], Made]) -> tuple[Made, ...]:
    """The rows of a table, each converted by `make`. Raises ValueError naming the line of a malformed row."""
    keys = _keys(table)
    made = []
    for number, line in table.rows:
        cells = _split(table, line, len(keys))
        if len(cells) != len(keys):
            raise ValueError(
                f"line {number}: a row of the {table.kind} has {len(cells)} cells, but its header (line "
                f"{table.header[0]}) has {len(keys)}; fix or remove the row."
            )
        row = _Cells(table.kind, dict(zip(keys, cells, strict=True)), [])
        try:
            made.append(make(row))
        except _MissingError as error:
            remarks.append(f"line {number}: left out, column {error.args[0]!r} is empty")
        except ScenarioError as error:
            raise ValueError(f"line {number}: in the {table.kind}, {error} Fix or remove the row.") from error
        else:
            remarks.extend(f"line {number}: {assumed}" for assumed in row.assumed)
    if not made:
        raise ValueError(f"line {table.header[0]}: the {table.kind} has no valid row; it needs at least one.")
    return tuple(made)


def _keys(table: Table) -> list[str]:
    """The column of each cell of a row."""
    number, line = table.header
    keys = [column_key(name) for name in _split(table, line)]
    known = {_KEY[name]: name for name in COLUMNS[table.kind]}
    for place, key in enumerate(keys):
        if key in known and key in keys[:place]:
            raise ValueError(f"line {number}: column {known[key]!r} appears twice; keep one.")
    for key, name in known.items():
        if key not in keys and name not in OPTIONAL[table.kind]:
            raise ValueError(f"line {number}: the {table.kind} has no column {name!r}; add it.")
    return keys


def _split(table: Table, line: str, wanted: int | None = None) -> list[str]:
    """The cells of a row without empty ones at either end. wanted: how many there should be."""
    cells = cells_of(line, table.separator)
    if cells[0] == "" and len(cells) > 1 and table.header[1].lstrip(" ").startswith(table.separator):
        cells = cells[1:]
    if cells[-1] == "" and (wanted is None or len(cells) == wanted + 1):
        cells = cells[:-1]
    return cells


def _row(cells: _Cells) -> Row:
    names = DRIVE_COLUMNS
    neighbours: list[Neighbour] = []
    for pci, level in zip(names[8 : 8 + TOP], names[8 + TOP : 8 + 2 * TOP], strict=True):
        if not cells.is_missing(pci):
            neighbours.append(Neighbour(cells.integer(pci), None if cells.is_missing(level) else cells.number(level)))
    return Row(
        time=cells.text(names[0], MISSING),
        longitude=cells.number(names[1]),
        latitude=cells.number(names[2]),
        speed=cells.number(names[3]),
        pci=cells.integer(names[4]),
        rsrp=cells.number(names[5]),
        sinr=None if cells.is_missing(names[6]) else cells.number(names[6]),
        throughput=cells.number(names[7]),
        neighbours=tuple(neighbours),
        rb=cells.number(names[-1]),
    )


def _cell(cells: _Cells) -> Cell:
    names = CELL_COLUMNS
    beam = cells.text(names[8])
    vertical_beamwidth(beam)  # an unknown one fails here, with its line
    return Cell(
        gnodeb=cells.text(names[0]),
        number=cells.integer(names[1], 0),
        longitude=cells.number(names[2]),
        latitude=cells.number(names[3]),
        azimuth=cells.number(names[4], 0.0),
        mechanical_tilt=cells.number(names[5]),
        digital_tilt=cells.number(names[6]),
        digital_azimuth=cells.number(names[7], 0.0),
        beam=beam,
        height=cells.number(names[9]),
        pci=cells.integer(names[10]),
        mode=cells.text(names[11], MISSING),
        power=cells.number(names[12], 0.0),
        antenna=cells.text(names[13], MISSING),
    )
