"""How does text that nobody can vouch for become HTML? Escaped unless it is Markup, control characters made visible."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Sequence

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Markup(str):
    """HTML made here. Any other text is escaped when it is put into a tag."""

    __slots__ = ()


def visible(text: object) -> str:
    """The text, with controls, direction marks and lone surrogates replaced by signs that show and harm nothing."""
    return "".join(_sign(c) for c in str(text).replace("\r\n", "\n"))


def _sign(c: str) -> str:
    if c in "\n\t":
        return c
    if ord(c) < 32:
        return chr(0x2400 + ord(c))
    if c in _BIDI or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or ord(c) in (0xFFFE, 0xFFFF):
        return f"‹U+{ord(c):04X}›"
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
    """`<name attributes>children</name>`. An attribute is left out when None; `class_` is class, `aria_label` aria-label."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{markup(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{pairs}>{markup(*children)}</{name}>")


def items(texts: Sequence[object], class_: str | None = None) -> Markup:
    return tag("ul", *(tag("li", text) for text in texts), class_=class_)


def table(
    caption: object, header: Sequence[object], rows: Sequence[Sequence[object]], id_: str | None = None
) -> Markup:
    """A table in a box that scrolls by itself, also by keyboard. The first cell of a row is its heading."""
    head = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in header)))
    body = tag("tbody", *(tag("tr", tag("th", row[0], scope="row"), *(tag("td", c) for c in row[1:])) for row in rows))
    inner = tag("table", tag("caption", caption), head, body)
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=visible(caption), id_=id_)


def lines(*parts: object) -> Markup:
    """A cell of two lines, the second one quieter."""
    first, *rest = (part for part in parts if part is not None)
    return markup(first, *(tag("small", part) for part in rest))


def number(value: float | None, signed: bool = False) -> str:
    """About three figures, with a real minus sign; a dash where there is none."""
    if value is None:
        return "–"
    size = abs(value)
    digits = ",.0f" if size >= 1000 else ".1f" if size >= 100 else ".2f" if size >= 10 else ".3f"
    if 0 < size < 0.001:
        digits = ".1e"
    return f"{value:{'+' if signed else ''}{digits}}".replace("-", "−")


def rate(value: float) -> str:
    """A learning rate as it is written in a recipe: 3e-4."""
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}".replace("e0", "") if value else "0"


def interval(bounds: Sequence[float] | None, signed: bool = False, percent: bool = False) -> str | None:
    """`low to high`, or None when there is none."""
    if bounds is None:
        return None
    low, high = (share(b) if percent else number(b, signed) for b in bounds)
    return f"{low} to {high}"


def share(value: float | None) -> str:
    """A relative change in percent, signed."""
    return "–" if value is None else f"{100 * value:+.1f} %".replace("-", "−")


def probability(value: float | None) -> str:
    """A p value, never shown as 0."""
    return "–" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"
