"""How is a value written so that hydra, which verl reads its settings with, reads it as it was meant?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hysteretic.common.errors import UsageError

PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/_.-]*")
"""Words that hydra takes for text as they are, but for the ones that mean something else."""

OTHERWISE = {"null", "true", "false", "inf", "nan"}


def hydra(overrides: Mapping[str, Any]) -> list[str]:
    """As words of a command line, key=value in hydra's grammar."""
    return [f"{key}={value_of(value)}" for key, value in overrides.items()]


def value_of(value: Any) -> str:
    """A value in hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(value_of, value))}]"
    return _text(str(value))


def _text(text: str) -> str:
    """In quotes, where hydra halves the backslashes that stand before a quote. Raises UsageError."""
    if PLAIN.fullmatch(text) and text.lower() not in OTHERWISE:
        return text
    if "${" in text:
        raise UsageError(f"{text!r} holds ${{, which verl would take for the name of a setting; use another name.")
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"
