"""What was wrong with what was asked, and which known name was meant?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """The command or its settings are wrong: what was found and what to do, shown without a traceback."""


def algorithm_name(name: str) -> str:
    """The name of an algorithm as it is listed: a-hpo for A_HPO."""
    return name.lower().replace("_", "-")


def nearest(name: str, names: Iterable[str], before: str = "") -> str:
    """' Did you mean ...?' for the closest of the names, or nothing when none is close.

    before: what every name begins with, such as -- of a flag.
    """
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" Did you mean {before + close[0]!r}?" if close else ""
