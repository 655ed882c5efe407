"""Tables, durations and terminal detection for plain-text output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns for a terminal.

    rows: the header first, then one row per line; all of the same length.

    >>> print(text_table([["arm", "area"], ["grpo", "0.2"]]))
    arm   area
    ────  ────
    grpo  0.2
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def is_terminal(stream: Any) -> bool:
    """Whether a line can be overwritten: not in a file, a pipe, or a terminal with TERM=dumb."""
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def clock(seconds: float) -> str:
    """A duration as text, rounded to one or two units.

    seconds: of any length; below 90 they are shown as seconds.

    >>> clock(45), clock(750), clock(12000)
    ('45 s', '12 min', '3 h 20 min')
    """
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
