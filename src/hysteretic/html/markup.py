"""How does text that nobody can vouch for become HTML? Escaped unless it is Markup, control characters made visible."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

MINUS, NONE = "\u2212", "\u2013"
"""A real minus sign; a dash where there is no figure."""

WIDTHS = range(22, 71, 6)
"""Widths in rem that a table's columns may need."""

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_VOID = frozenset({"input"})


class Markup(str):
    """HTML made here. Any other text is escaped when it is put into a tag."""

    __slots__ = ()


def visible(text: object) -> str:
    """The text, with controls, direction marks and lone surrogates replaced by signs that show and harm nothing."""
    return "".join(_sign(c) for c in str(text).replace("\r\n", "\n"))


def _sign(c: str) -> str:
    if c in "\n\t":
        return c
    if c in _BIDI or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or ord(c) in (0xFFFE, 0xFFFF):
        return f"[U+{ord(c):04X}]"
    return c


def markup(*parts: object) -> Markup:
    """The parts in a row: Markup as it is, None as nothing, all else escaped."""
    return Markup(
        "".join(
            part if isinstance(part, Markup) else html.escape(visible(part), quote=True)
            for part in parts
            if part is not None
        )
    )


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """`<name attributes>children</name>`; None is left out. `class_` is written class, and `aria_label` aria-label."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{markup(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{pairs}>" if name in _VOID else f"<{name}{pairs}>{markup(*children)}</{name}>")


def items(texts: Sequence[object], class_: str | None = None) -> Markup:
    return tag("ul", *(tag("li", text) for text in texts), class_=class_)


def table(caption: object, header: Sequence[object], rows: Sequence[Sequence[object]], width: int = 0) -> Markup:
    """A table in a box that scrolls by itself, also by keyboard. The first cell of a row is its heading.

    Where its columns are too many for the page, a stylesheet may show every row by itself: cells know their columns
    (data-column), and the box how wide they are (fits-N of WIDTHS). width: in rem, where it is not that of numbers.
    """
    head = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in header)))
    lines = (
        (
            tag("th", row[0], scope="row"),
            *(tag("td", c, data_column=h) for h, c in zip(header[1:], row[1:], strict=True)),
        )
        for row in rows
    )
    body = tag("tbody", *(tag("tr", *cells) for cells in lines))
    inner = tag("table", tag("caption", caption), head, body)
    needed = width or 10 + 6 * len(header)
    kind = f"scroll fits-{next((wide for wide in WIDTHS if wide >= needed), WIDTHS[-1])}"
    return tag("div", inner, class_=kind, tabindex="0", role="region", aria_label=visible(caption))


def shorten(text: str, most: int, tail: bool = False) -> str:
    """The text's first (or last) characters, and how many were left out."""
    if len(text) <= most:
        return text
    said = f"[{len(text) - most:,} more characters]"
    return f"{said} … {text[-most:]}" if tail else f"{text[:most]} … {said}"


def lines(*parts: object) -> Markup:
    """A cell of two lines, the second one quieter."""
    first, *rest = (part for part in parts if part is not None)
    return markup(first, *(tag("small", part) for part in rest))


def number(value: float | None, signed: bool = False) -> str:
    """Three digits after the point (four of a difference), with a real minus sign; a dash where there is no figure."""
    if value is None:
        return NONE
    size, sign, digits = abs(value), "+" if signed else "", 4 if signed else 3
    if 0 < size < 0.5 * 10**-digits:
        return f"{value:{sign}.0e}".replace("e-0", "e-").replace("-", MINUS)
    digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else digits
    return f"{value:{sign},.{digits}f}".replace("-", MINUS)


def true_minus(text: str, names: Iterable[str]) -> str:
    """A sentence with a real minus sign before its numbers and in their exponents; names in it stay as they are."""
    kept = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if name)
    sign = r"(?<![\w.=/-])-(?=[\d.])|(?<=\de)-(?=\d)"
    return re.sub(f"({kept})|{sign}" if kept else f"((?!))|{sign}", lambda found: found[1] or MINUS, text)


def rate(value: float | None) -> str:
    """A learning rate as it is written in a recipe, but for the minus sign: 3e−4."""
    if value is None:
        return NONE
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace("e0", "").replace("-", MINUS) if value else "0"


def interval(bounds: Sequence[float] | None, signed: bool = False, percent: bool = False) -> str | None:
    """`low to high`, or None when there is none."""
    if bounds is None:
        return None
    low, high = (share(b) if percent else number(b, signed) for b in bounds)
    return f"{low} to {high}"


def share(value: float | None) -> str:
    """A relative change in percent, signed."""
    return NONE if value is None else f"{100 * value:+.1f} %".replace("-", MINUS)


def probability(value: float | None) -> str:
    """A p value, never shown as 0."""
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
