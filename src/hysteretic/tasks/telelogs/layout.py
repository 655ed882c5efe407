"""Locate the options and the two tables in the text of a question: lines and positions, no values yet.

Options are lists of lines such as "C1: ...", "M5. ...", "A) ..." or "2. ...". Their words may name one of the eight
causes, in this project's or the data set's wording. Tables are lines under a header with the known column names, in any
order, separated by '|', tabs, semicolons or commas. The next line of prose ends a table.
Every step is linear in the length of the text, and the text is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .scenario import CAUSES
from .text import CELL_COLUMNS, DRIVE_COLUMNS

LONGEST = 1_000_000
"""Most characters of a question; those of the data set have 5,000."""
MOST_LINES = 5_000
MOST_ROWS = 200
"""Most rows of a table; those of the data set have at most 13."""
LONGEST_OPTION = 1_000

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


SEPARATORS = "|\t;,"
MOST_WRAPPED = 3
"""Most lines without a label between two options of one list."""


@dataclass(frozen=True)
class Option:
    """An option line: its label, its words, the cause that they name, and their position (indices into the text)."""

    line: int
    label: str
    words: str
    cause: str | None
    start: int
    end: int


Options = tuple[Option, ...]


@dataclass(frozen=True)
class Table:
    """A table. header, rows: (line number from 1, line). introduction: number of the line above that introduces it."""

    kind: str
    header: tuple[int, str]
    rows: tuple[tuple[int, str], ...]
    introduction: int | None
    separator: str = "|"


@dataclass(frozen=True)
class Layout:
    """The lines of a text (without line breaks), the index at which each starts, its lists and tables in order."""

    lines: tuple[str, ...]
    starts: tuple[int, ...]
    lists: tuple[Options, ...]
    """Everything that looks like a list of options: instructions may be numbered too."""
    tables: tuple[Table, ...]

    @property
    def options(self) -> Options:
        """The list that names most causes, the last of several; empty if there is no list."""
        best = max(reversed(self.lists), key=lambda found: len({option.cause for option in found} - {None}), default=())
        styles = {_style(option.label) for option in best if option.cause}  # steps right below have other labels
        return tuple(option for option in best if not styles or _style(option.label) in styles)


def layout(text: str) -> Layout:
    """Find options and tables.

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
    return Layout(tuple(lines), tuple(starts), tuple(_lists(lines, starts)), tuple(_tables(lines)))


def cause_of(words: str) -> str | None:
    """The cause that the words of an option name; None if they name none or several."""
    words = " ".join(words.casefold().split())
    found = [cause for cause in CAUSES if _KEYWORDS[cause].search(words)]
    return found[0] if len(found) == 1 else None


def column_key(name: str) -> str:
    """A column name without units, case, spaces or punctuation."""
    return "".join(filter(str.isalnum, _BRACKETS.sub("", name.rpartition("\uff1a")[2]).casefold()))


def cells_of(line: str, separator: str = "|") -> list[str]:
    return [cell.strip() for cell in line.split(separator)]


def _lists(lines: Sequence[str], starts: Sequence[int]) -> Iterator[Options]:
    """Lists of two options or more. A list goes on while only blank lines lie between its options, or few lines if the
    labels have the same style; labels that begin anew after a gap begin another."""
    found: list[Option] = []
    between = 0
    for number, (line, start) in enumerate(zip(lines, starts, strict=True), 1):
        label = _LABEL.match(line) if len(line) <= LONGEST_OPTION and line.count("|") < 3 else None
        if label is None:
            between += bool(line.strip()) * (MOST_WRAPPED + 1 if line.count("|") >= 3 else 1)
            continue
        words, begin = line[label.end() :].rstrip(), start + label.end()
        option = Option(number, label[1], words, cause_of(words), begin, begin + len(words))
        if found:
            is_wrapped = between <= MOST_WRAPPED and _style(option.label) == _style(found[-1].label)
            is_again = number > found[-1].line + 1 and option.label in {other.label for other in found}
            if (between and not is_wrapped) or is_again:
                if len(found) > 1:
                    yield tuple(found)
                found = []
        found.append(option)
        between = 0
    if len(found) > 1:
        yield tuple(found)


def _style(label: str) -> str:
    """ "C1" and "C12" are alike, "A" and "b", "1" and "10"."""
    return "".join(dict.fromkeys("0" if character.isdigit() else "A" for character in label))


def _tables(lines: Sequence[str]) -> list[Table]:
    tables: list[Table] = []
    kind, separator, header, introduction = "", "|", (0, ""), None
    rows: list[tuple[int, str]] = []
    above = 0  # number of the last line that is not blank
    for number, line in enumerate([*lines, "end"], 1):
        is_row = "|" in line if separator == "|" else line.count(separator) >= 3
        found, split_by = _header(line)
        if kind and (found or (not is_row and (separator != "|" or line.strip()))):
            tables.append(Table(kind, header, tuple(rows), introduction, separator))
            kind, separator = "", "|"
        if found:
            _check_new(found, number, tables)
            introduces = above > 0 and _introduces(lines[above - 1])
            kind, separator, header, rows = found, split_by, (number, line), []
            introduction = above if introduces else None
        elif kind and is_row and not ("---" in line and set(line) <= set("|-: \t\r")):  # Markdown's, under a header
            rows.append((number, line))
            if len(rows) > MOST_ROWS:
                raise ValueError(f"line {number}: the {kind} has more than {MOST_ROWS} rows, which is the limit.")
        above = number if line.strip() else above
    return tables


def _check_new(kind: str, number: int, tables: Sequence[Table]) -> None:
    for table in tables:
        if table.kind == kind:
            raise ValueError(
                f"line {number}: a second {kind} begins (the first is at line {table.header[0]}); keep one of them."
            )


_KEYS = {kind: frozenset(map(column_key, names)) for kind, names in COLUMNS.items()}
_OWN_KEYS = {DRIVE: _KEYS[DRIVE] - _KEYS[CELLS], CELLS: _KEYS[CELLS] - _KEYS[DRIVE]}


def _header(line: str) -> tuple[str, str]:
    """The kind of table whose header this line is, and its separator: it has three or more column names of only that
    table; otherwise ""."""
    words = line.casefold()
    if len(line) > 10_000 or ("pc" not in words and "gnodeb" not in words):  # quick: most rows go here
        return "", "|"
    for separator in SEPARATORS:
        keys = set(map(column_key, line.split(separator)))
        counts = {kind: len(own & keys) for kind, own in _OWN_KEYS.items()}
        best = max(counts, key=lambda kind: counts[kind])
        if counts[best] >= 3:
            return best, separator
    return "", "|"


def _introduces(line: str) -> bool:
    """Whether a line above a header introduces the table: it ends with a colon or is a heading."""
    words = line.strip()
    return len(words) <= 200 and "|" not in words and (words.endswith((":", "\uff1a", ":**")) or words.startswith("#"))
