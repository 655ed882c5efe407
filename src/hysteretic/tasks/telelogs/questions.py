"""A row's question, answer and kind: what scoring needs is the options that the question lists, and nothing more.

telelogs   a drive log and a table of cells, with some of the eight causes as options
network    another question about mobile networks, such as LTE measurements with options A to I
general    any other question with options
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .layout import DRIVE, Layout, Options, layout
from .parse import in_words, parse_question, read_options

KINDS = ("telelogs", "network", "general")

_NETWORK = re.compile(r"\b(?:LTE|NR|[45]G|[eg]Node[Bb]|[eg]NB|RSR[PQ]|SINR|PCI|PDCCH|E-UTRAN?|[Hh]andovers?)\b|Mbps")


@dataclass(frozen=True)
class Asked:
    """A question: its text, kind, and options, each with its cause or else its words.

    label: the right one; None if the data has no answers. remarks: what is missing in its tables.
    """

    text: str
    kind: str
    label: str | None
    options: dict[str, str]
    remarks: tuple[str, ...] = ()


def kind_of(found: Layout) -> str:
    """One of KINDS. A question that lists five causes or more, and nothing else, belongs to TeleLogs without tables."""
    causes = [option.cause for option in found.options]
    known = {*causes} - {None}
    has_log = any(table.kind == DRIVE for table in found.tables)  # a table of cells alone has other questions too
    if has_log or (found.tables and len(known) >= 2) or len(causes) == len(known) >= 5:
        return "telelogs"
    return "network" if any(map(_NETWORK.search, found.lines)) else "general"


class UnusableError(ValueError):
    """A question that cannot be scored, or of TeleLogs whose tables cannot be read. kind: one of KINDS."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def read_question(text: str, answer: Any, needs_tables: bool = True) -> Asked:
    """Read a question of any kind.

    answer: the right label; None if unknown. needs_tables: whether the tables of a TeleLogs question must be readable.
    Raises UnusableError for a question that lists no options, or not the answer, and for a TeleLogs question whose
    tables cannot be read; ValueError for text that cannot be divided into lists and tables.
    """
    found = layout(text)
    kind = kind_of(found)
    if kind != "telelogs":
        listed = _with(found, answer)
        try:
            if answer is not None:
                read_options(listed)  # each label once; without an answer nothing is scored
            options = {option.label: in_words(option.words) for option in listed}
            return Asked(text, kind, _label(answer, options), options)
        except ValueError as error:
            raise UnusableError(kind, str(error)) from error
    try:
        try:
            parsed = parse_question(text)
        except ValueError:
            if needs_tables:
                raise
            options = read_options(found.options)
            return Asked(text, kind, _label(answer, options), options)
        return Asked(text, kind, _label(answer, parsed.options), parsed.options, parsed.remarks)
    except ValueError as error:
        raise UnusableError(kind, str(error)) from error


def _with(found: Layout, answer: Any) -> Options:
    """The last list that has the answer, since steps to follow may be numbered too; else the last."""
    for options in reversed(found.lists):
        if _as_label(answer, [option.label for option in options]) is not None:
            return options
    return found.lists[-1] if found.lists else ()


def _label(answer: Any, labels: Collection[str]) -> str | None:
    label = _as_label(answer, labels)
    if label is None and answer is not None:
        raise ValueError(f"the answer is {str(answer)[:60]!r}; expected one of {', '.join(sorted(labels))}.")
    return label


def _as_label(answer: Any, labels: Collection[str]) -> str | None:
    """The label that an answer names; nothing but whole numbers, case and spaces is guessed."""
    if isinstance(answer, bool) or not isinstance(answer, str | int | float):
        return None
    return {label.casefold(): label for label in labels}.get(as_text(answer).casefold())


def as_text(value: Any) -> str:
    """A label or an id as text: spreadsheets, and tables with gaps, turn "3" into 3 or 3.0."""
    text = str(value).strip()
    return text.partition(".")[0] if re.fullmatch(r"[0-9]+\.0+", text) else text
