"""The look of every page and chart: colours for light and dark screens, fonts, chart configuration, rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

LIGHT = {
    "ground": "#ffffff",
    "ink": "#1a1c1f",
    "muted": "#565d66",
    "line": "#e2e5e9",
    "arm0": "#1a1c1f",
    "arm1": "#0072b2",
    "arm2": "#d55e00",
    "arm3": "#009e73",
    "arm4": "#cc79a7",
    "arm5": "#e69f00",
    "arm6": "#56b4e9",
    "arm7": "#8a7a00",
}
"""Okabe and Ito's palette for colour-blind readers, with yellow darkened for white paper."""

DARK = LIGHT | {
    "ground": "#14171b",
    "ink": "#e8eaed",
    "muted": "#a2a9b2",
    "line": "#2d3239",
    "arm0": "#e8eaed",
    "arm1": "#3b9bdc",
    "arm2": "#f07f2e",
    "arm3": "#1fbf92",
    "arm6": "#8fd0f5",
    "arm7": "#f0e442",
}

VARIABLES = {name: f"var(--{name})" for name in LIGHT}
"""The same names as CSS variables: charts on a page follow its colour scheme without being drawn again."""

FONT = "system-ui, sans-serif"


def stylesheet() -> str:
    """The colours as CSS variables. Dark screens get DARK; paper is always light."""

    def block(colours: Mapping[str, str]) -> str:
        return ":root {" + "".join(f" --{name}: {value};" for name, value in colours.items()) + " }"

    dark = f"@media screen and (prefers-color-scheme: dark) {{ {block(DARK)} :root {{ color-scheme: dark; }} }}"
    return f"{block(LIGHT)}\n{dark}\n"


def chart_config(colours: Mapping[str, str], background: str = "transparent") -> dict[str, Any]:
    """Vega-Lite's `config` for a chart in these colours (LIGHT for files, VARIABLES for pages)."""
    ink, muted = colours["ink"], colours["muted"]
    fonts = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}
    axis = {f"{part}Color": muted for part in ("label", "title", "domain", "tick")}
    title = {"anchor": "start", "frame": "group", "fontSize": 14, "fontWeight": 600, "offset": 10, "color": ink}
    return {
        "background": background,
        "font": FONT,
        "padding": 4,
        "view": {"stroke": None},
        "text": {"color": ink},
        "rule": {"color": muted},
        "axis": {**axis, **fonts, "gridColor": colours["line"], "titlePadding": 8, "labelPadding": 6},
        "legend": {**fonts, "labelColor": ink, "titleColor": ink},
        "title": {**title, "subtitleColor": muted, "subtitleFontSize": 12},
    }


def nearest_rule(base: alt.Chart, x: str, tooltip: Sequence[Any] | None = None) -> alt.Chart:
    """A layer that draws a rule at the x nearest to the pointer, with a tooltip (all of the row's fields by default).

    base: a chart with one row per x. The x is in the parameter `at`, so that other layers can follow it.
    """
    at = alt.selection_point(name="at", nearest=True, on="pointerover", clear="pointerout", fields=[x], empty=False)
    rule = base.mark_rule(tooltip=alt.TooltipContent("data") if tooltip is None else alt.Undefined)
    rule = rule.encode(opacity=alt.condition(at, alt.value(1), alt.value(0)))
    return (rule if tooltip is None else rule.encode(tooltip=list(tooltip))).add_params(at)
