"""UsageError, for wrong commands and settings, and the hint at the name that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UsageError(ValueError):
    """The command or its settings are wrong. The message, shown without a traceback, says what to do."""


@contextmanager
def usage_errors(
    advice: str = "", kinds: type[Exception] | tuple[type[Exception], ...] = (ValueError, OSError, ImportError)
) -> Iterator[None]:
    """Turn errors of user code and user data into UsageError.

    Args:
        advice: added to the message, such as which flag to change.
        kinds: the exceptions to convert; by default those that a task may raise when it is loaded or draws problems.

    Raises:
        UsageError: in place of any of `kinds`, with that error as its cause. A UsageError passes unchanged.
    """
    try:
        yield
    except UsageError:
        raise
    except kinds as error:
        raise UsageError(f"{error}{advice}") from error


class Refusals:
    """Several UsageErrors as one, so that a user sees everything to change at once."""

    def __init__(self) -> None:
        self._messages: list[str] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep a UsageError of the block for `check` and continue after the block."""
        try:
            yield
        except UsageError as error:
            self._messages.append(str(error))

    def check(self) -> None:
        """Raises UsageError with every message so far, one per line, if there is any."""
        if self._messages:
            raise UsageError("\n".join(dict.fromkeys(self._messages)))


def algorithm_name(name: str) -> str:
    """The name of an algorithm as it is listed: a-hpo for A_HPO."""
    return name.lower().replace("_", "-")


def nearest(name: str, names: Iterable[str], before: str = "") -> str:
    """' Did you mean ...?' for the closest of the names, or nothing when none is close.

    before: the prefix shown with a name, such as -- for flags.
    """
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f" Did you mean {before + close[0]!r}?" if close else ""
