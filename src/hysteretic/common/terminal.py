"""How does a table look in a terminal, how a duration, and is there a terminal?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """A table for a terminal; the first row is its header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def is_terminal(stream: Any) -> bool:
    """Whether a written line can be written over: not in a file, a pipe, or a terminal that calls itself dumb."""
    return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"


def clock(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
