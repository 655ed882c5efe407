"""Which label answers a question, from its text alone? The tables are read and the published rules applied."""

from __future__ import annotations

from .parse import parse_question
from .rules import root_cause


def solve(question: str) -> str:
    """The label that the question gives to the cause the rules find: "C1" to "C8" in the usual form.

    Reads tolerantly (see `parse.py`). Raises ValueError for text that is no TeleLogs question.
    """
    found = parse_question(question, is_strict=False)
    return found.labels[root_cause(found.scenario).cause]
