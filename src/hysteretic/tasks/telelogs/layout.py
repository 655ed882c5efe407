"""Locate the options and the two tables in the text of a question: lines and positions, no values yet.

Options are lines such as "C1: ...", "A) ..." or "2. ..." whose words name one of the eight causes, in this project's
or the data set's wording. Tables are '|'-separated lines under a header with the known column names, in any order.
Every step is linear in the length of the text, and the text is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .scenario import CAUSES
from .text import CELL_COLUMNS, DRIVE_COLUMNS

LONGEST = 1_000_000
"""Most characters of a question; those of the data set have 5,000."""
MOST_LINES = 5_000
MOST_ROWS = 200
"""Most rows of a table; those of the data set have at most 13."""
LONGEST_OPTION = 400

DRIVE, CELLS = "drive log", "table of cells"
COLUMNS = {DRIVE: DRIVE_COLUMNS, CELLS: CELL_COLUMNS}

_LABEL = re.compile(
    r"[ \t*>(\[-]{0,8}([A-Za-z]{0,2}[0-9]{1,2}|[A-Za-z])[ \t*)\]]{0,4}(?:[:)\uff1a][ \t*]{0,4}|\.[ \t*]{1,4})(?=\S)"
)
_BRACKETS = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
_KEYWORDS = {
    "C1": re.compile(r"tilt"),
    "C2": re.compile(r"over-?\s?sho|(?<![\d.])1\s?(?:km|kilomet)(?!\s?/)|1,?000\s?m\b"),
    "C3": re.compile(r"(?:higher|better|greater|more) throughput"),
    "C4": re.compile(r"overlap"),
    "C5": re.compile(r"hand-?\s?(?:over|off)"),
    "C6": re.compile(r"mod(?:ulo)?\s?30"),
    "C7": re.compile(r"speed|\bfaster\b|km/h"),
    "C8": re.compile(r"\brbs?\b|resource blocks?"),
}
"""By cause, the words (in lower case) that only its option contains."""


@dataclass(frozen=True)
class Option:
    """An option line: its label, the cause its words name, and their position (indices into the text)."""

    line: int
    label: str
    cause: str
    start: int
    end: int


@dataclass(frozen=True)
class Table:
    """A table. header, rows: (line number from 1, line). introduction: number of the line above that introduces it."""

    kind: str
    header: tuple[int, str]
    rows: tuple[tuple[int, str], ...]
    introduction: int | None


@dataclass(frozen=True)
class Layout:
    """The lines of a text (without line breaks), the index at which each starts, its options and tables in order."""

    lines: tuple[str, ...]
    starts: tuple[int, ...]
    options: tuple[Option, ...]
    tables: tuple[Table, ...]
    others: tuple[tuple[int, str], ...]
    """Lines that look like an option but name no cause, or several."""
    stray: tuple[int, ...]
    """Lines that look like rows (three '|' or more) but are outside any table, as after a blank line."""


def layout(text: str, is_strict: bool = False) -> Layout:
    """Find options and tables. is_strict: a blank line ends a table; otherwise the next line of prose does.

    Raises ValueError for text that is too long and for two tables of one kind.
    """
    if not isinstance(text, str):
        raise ValueError(f"The question is {type(text).__name__}; it must be text.")
    if len(text) > LONGEST:
        raise ValueError(f"The question has {len(text):,} characters; the limit is {LONGEST:,}.")
    lines = text.split("\n")
    if len(lines) > MOST_LINES:
        raise ValueError(f"The question has {len(lines):,} lines; the limit is {MOST_LINES:,}.")
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    options, others = _options(lines, starts)
    tables, stray = _tables(lines, is_strict)
    return Layout(tuple(lines), tuple(starts), tuple(options), tuple(tables), tuple(others), tuple(stray))


def cause_of(words: str) -> str | None:
    """The cause that the words of an option name; None if they name none or several."""
    words = " ".join(words.casefold().split())
    found = [cause for cause in CAUSES if _KEYWORDS[cause].search(words)]
    return found[0] if len(found) == 1 else None


def column_key(name: str) -> str:
    """A column name without units, case, spaces or punctuation."""
    return "".join(filter(str.isalnum, _BRACKETS.sub("", name.rpartition("\uff1a")[2]).casefold()))


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")]


def _options(lines: Sequence[str], starts: Sequence[int]) -> tuple[list[Option], list[tuple[int, str]]]:
    """Options, and lines that look like one. If labels have several styles, the one that names most causes counts."""
    options: dict[str, list[Option]] = {}
    others: dict[str, list[tuple[int, str]]] = {}
    for number, (line, start) in enumerate(zip(lines, starts, strict=True), 1):
        if len(line) > LONGEST_OPTION or "|" in line or not (label := _LABEL.match(line)):
            continue
        words = line[label.end() :].rstrip()
        cause = cause_of(words)
        style = _style(label[1])
        if cause is None:
            others.setdefault(style, []).append((number, label[1]))
        else:
            begin = start + label.end()
            options.setdefault(style, []).append(Option(number, label[1], cause, begin, begin + len(words)))
    if not options:
        return [], []
    best = max(options, key=lambda style: len({option.cause for option in options[style]}))
    return options[best], others.get(best, [])


def _style(label: str) -> str:
    """ "C1" and "C12" are alike, "A" and "b", "1" and "10"."""
    return "".join(dict.fromkeys("0" if character.isdigit() else "A" for character in label))


def _tables(lines: Sequence[str], is_strict: bool) -> tuple[list[Table], list[int]]:
    tables: list[Table] = []
    stray: list[int] = []
    kind, header, introduction = "", (0, ""), None
    rows: list[tuple[int, str]] = []
    above = 0  # number of the last line that is not blank
    for number, line in enumerate([*lines, "end"], 1):
        is_row = "|" in line
        found = _kind(line) if is_row else ""
        if kind and (found or (not is_row and (is_strict or line.strip()))):
            tables.append(Table(kind, header, tuple(rows), introduction))
            kind = ""
        if found:
            _check_new(found, number, tables)
            introduces = above > 0 and _introduces(lines[above - 1])
            kind, header, introduction, rows = found, (number, line), above if introduces else None, []
        elif kind and is_row:
            rows.append((number, line))
            if len(rows) > MOST_ROWS:
                raise ValueError(f"line {number}: the {kind} has more than {MOST_ROWS} rows, which is the limit.")
        elif line.count("|") >= 3:
            stray.append(number)
        above = number if line.strip() else above
    return tables, stray


def _check_new(kind: str, number: int, tables: Sequence[Table]) -> None:
    for table in tables:
        if table.kind == kind:
            raise ValueError(
                f"line {number}: a second {kind} begins (the first is at line {table.header[0]}); keep one of them."
            )


_KEYS = {kind: frozenset(map(column_key, names)) for kind, names in COLUMNS.items()}
_OWN_KEYS = {DRIVE: _KEYS[DRIVE] - _KEYS[CELLS], CELLS: _KEYS[CELLS] - _KEYS[DRIVE]}


def _kind(line: str) -> str:
    """The kind of table whose header this line is: it has three or more column names of only that table; else ""."""
    words = line.casefold()
    if len(line) > 10_000 or ("pc" not in words and "gnodeb" not in words):  # quick: most rows go here
        return ""
    keys = set(map(column_key, line.split("|")))
    counts = {kind: len(own & keys) for kind, own in _OWN_KEYS.items()}
    best = max(counts, key=lambda kind: counts[kind])
    return best if counts[best] >= 3 else ""


def _introduces(line: str) -> bool:
    """Whether a line above a header introduces the table: it ends with a colon or is a heading."""
    words = line.strip()
    return len(words) <= 200 and "|" not in words and (words.endswith((":", "\uff1a", ":**")) or words.startswith("#"))
