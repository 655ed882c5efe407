"""How do words, tables and charts become one page? An HTML file in the look of the others that works without a network.

sheet = Sheet("One problem")
sheet.add(tag("p", "Words"), sheet.charts([chart]))
sheet.save(path)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from hysteretic.common.errors import UsageError
from hysteretic.compare.figures import FONT, VARIABLES
from hysteretic.compare.page import colours, policy, vega
from hysteretic.html.markup import Markup, markup, tag

_AXIS = {f"{part}Color": VARIABLES["muted"] for part in ("label", "title", "domain", "tick")}
_TITLE = {"anchor": "start", "frame": "group", "fontSize": 14, "fontWeight": 600, "offset": 8, "subtitleFontSize": 12}
_SIZES = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}

CONFIG = {
    "background": "transparent",
    "font": FONT,
    "padding": 4,
    "aria": False,
    "view": {"stroke": None},
    "text": {"color": VARIABLES["ink"]},
    "rule": {"color": VARIABLES["muted"]},
    "axis": {**_AXIS, **_SIZES, "gridColor": VARIABLES["line"]},
    "legend": {**_SIZES, "labelColor": VARIABLES["ink"], "titleColor": VARIABLES["ink"]},
    "title": {**_TITLE, "color": VARIABLES["ink"], "subtitleColor": VARIABLES["muted"]},
}
"""What a chart has unless it says otherwise."""


class Sheet:
    """A page in the making."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._body: list[object] = []
        self._specs: list[dict[str, Any]] = []

    def add(self, *parts: object) -> None:
        """More below what is there; text is escaped unless it is Markup."""
        self._body += parts

    def charts(self, charts: Sequence[Any]) -> Markup | None:
        """Frames for Altair charts, side by side. A chart without a width is as wide as its frame."""
        if not charts:
            return None
        frames = []
        for chart in charts:
            frames.append(tag("figure", class_="chart", data_chart=len(self._specs)))
            self._specs.append(_spec(chart))
        return tag("div", *frames, class_="grid")

    def save(self, path: Path) -> None:
        """Write the file. Raises UsageError where that is not possible."""
        library, script = vega(), read("sheet.js")
        data = json.dumps(self._specs, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
        parts = {
            "policy": policy(library, script),
            "title": markup(self.title),
            "style": colours() + read("sheet.css"),
            "body": markup(tag("h1", self.title), *self._body),
            "data": data,
            "library": library,
            "script": script,
        }
        page = Template(read("sheet.html")).substitute(parts)
        try:
            path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"Cannot write the page {path} ({error.strerror}); give another file.") from error


def _spec(chart: Any) -> dict[str, Any]:
    spec: dict[str, Any] = chart.to_dict()
    own = spec.pop("config", {})
    if own == {"view": {"continuousWidth": 300, "continuousHeight": 300}}:  # what altair adds to every chart
        own = {}
    spec["config"] = {**CONFIG, **own}
    is_single = not any(key in spec for key in ("hconcat", "vconcat", "concat", "facet", "repeat"))
    if is_single and "width" not in spec:
        spec |= {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    return spec


def read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
