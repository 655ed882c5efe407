"""Make untrusted text printable, and format numbers. Needs the standard library only."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

MINUS, NONE = "\u2212", "\u2013"
"""A real minus sign; a dash for a missing number."""

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: object) -> str:
    """The text with control characters, direction marks and lone surrogates replaced by names such as [U+202E]."""
    return "".join(_sign(c) for c in str(text).replace("\r\n", "\n"))


def _sign(c: str) -> str:
    if c in "\n\t":
        return c
    if c in _BIDI or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or ord(c) in (0xFFFE, 0xFFFF):
        return f"[U+{ord(c):04X}]"
    return c


def shorten(text: str, most: int, tail: bool = False) -> str:
    """The text's first (or last) characters, and how many were left out."""
    if len(text) <= most:
        return text
    note = f"[{len(text) - most:,} more characters]"
    return f"{note} … {text[-most:]}" if tail else f"{text[:most]} … {note}"


def number(value: float | None, signed: bool = False) -> str:
    """Three decimals (four for a difference) with a real minus sign; a dash for None."""
    if value is None:
        return NONE
    size, sign, digits = abs(value), "+" if signed else "", 4 if signed else 3
    if 0 < size < 0.5 * 10**-digits:
        return f"{value:{sign}.0e}".replace("e-0", "e-").replace("-", MINUS)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else digits
    return f"{value:{sign},.{digits}f}".replace("-", MINUS)


def true_minus(text: str, names: Iterable[str]) -> str:
    """A sentence with real minus signs in its numbers; hyphens in the given names stay."""
    kept = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name)
    sign = r"(?<![\w.=/-])-(?=[\d.])|(?<=\de)-(?=\d)"
    return re.sub(f"({kept})|{sign}" if kept else f"((?!))|{sign}", lambda found: found[1] or MINUS, text)


def rate(value: float | None) -> str:
    """A learning rate as in a recipe, but with a real minus sign: 3e−4."""
    if value is None:
        return NONE
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace("e0", "").replace("-", MINUS) if value else "0"


def interval(bounds: Sequence[float] | None, signed: bool = False, percent: bool = False) -> str | None:
    """`low to high`, or None when there is none."""
    if bounds is None:
        return None
    low, high = (change(b) if percent else number(b, signed) for b in bounds)
    return f"{low} to {high}"


def change(value: float | None) -> str:
    """A relative change in percent, signed."""
    return NONE if value is None else f"{100 * value:+.1f} %".replace("-", MINUS)


def probability(value: float | None) -> str:
    """A p-value, never shown as 0."""
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
