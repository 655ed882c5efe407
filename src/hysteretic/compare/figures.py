"""What does a comparison look like? Learning curves and paired differences as charts, for files and for the page.

A chart knows arms by their place in `results["arms"]`; names appear in legends alone. On the page, colours are CSS
variables, so that a dark screen and paper need no other charts; in files they are those of a light page.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from hysteretic.common.files import write_bytes, write_text
from hysteretic.common.metric_names import ALPHA, MEAN_LENGTH, REWARD, SILENT_SHARE
from hysteretic.html.markup import visible

Results = Mapping[str, Any]
Rows = list[dict[str, Any]]
Colours = Mapping[str, str]

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
"""Okabe and Ito's palette, told apart by colour-blind people; ink for the baseline, yellow darkened for white paper."""

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
"""The same names as CSS variables, which a page defines for either scheme."""

DASHES = ([1, 0], [7, 3], [2, 2], [10, 3, 2, 3], [16, 4], [5, 2, 1, 2, 1, 2], [3, 5])
"""Seven patterns and seven colours: an arm is known by its pattern where there is no colour."""

X_TITLES = {"update": "Update", "token": "Generated tokens", "second": "Seconds"}
VERDICTS = {"better": "▲", "cannot tell": "○", "worse": "▼", "identical": "=", "too few seeds": "·"}
OVERVIEW = (REWARD, ALPHA, SILENT_SHARE, MEAN_LENGTH)
LONGEST_CURVE = 400
MOST_POINTS = 40_000
FONT = "system-ui, sans-serif"


def label(results: Results, measure: str) -> str:
    return str(results["measures"].get(measure, {}).get("label", measure))


def arm_colours(results: Results) -> list[str]:
    """The colour's name of every arm: ink for the baseline, the palette in turn for the others."""
    names = [arm["name"] for arm in results["arms"]]
    others = [name for name in names if name != results.get("baseline")]
    return ["arm0" if name not in others else f"arm{1 + others.index(name) % 7}" for name in names]


def arm_dashes(results: Results) -> list[list[int]]:
    """The pattern of every arm; after the seventh the patterns shift, so that colour and pattern do not repeat."""
    return [DASHES[(i + i // 7) % 7] for i in range(len(results["arms"]))]


def thin(results: Results) -> Rows:
    """Panels whose curves have at most 400 points each and 40,000 in all: evenly spaced ones, first and last kept."""
    count = sum(len(panel["curves"]) for panel in results["panels"])
    most = max(2, min(LONGEST_CURVE, MOST_POINTS // max(count, 1)))
    places = {arm["name"]: i for i, arm in enumerate(results["arms"])}
    panels = []
    for panel in results["panels"]:
        curves = [_thin(curve, most) | {"arm": places[curve["arm"]]} for curve in panel["curves"] if curve["x"]]
        panels.append({**panel, "curves": curves})
    return [panel for panel in panels if panel["curves"]]


def _thin(curve: Mapping[str, Any], most: int) -> dict[str, Any]:
    last = len(curve["x"]) - 1
    keep = sorted({round(i * last / (most - 1)) for i in range(most)}) if last >= most else range(last + 1)

    def pick(values: Sequence[float | None] | None) -> list[float | None] | None:
        return [None if values[i] is None else float(f"{values[i]:.6g}") for i in keep] if values else None

    return {**curve, **{key: pick(curve.get(key)) for key in ("x", "mean", "low", "high")}}


def curve_rows(panel: Mapping[str, Any]) -> Rows:
    """A thinned panel's points, one a row; `lone` are those that no line reaches."""
    rows: Rows = []
    for curve in panel["curves"]:
        n, mean = len(curve["x"]), curve["mean"]
        low, high = curve["low"] or mean, curve["high"] or mean
        for i in range(n):
            neighbours = [mean[j] for j in (i - 1, i + 1) if 0 <= j < n]
            point = {"arm": curve["arm"], "x": curve["x"][i], "mean": mean[i], "low": low[i], "high": high[i]}
            rows.append(point | {"lone": all(value is None for value in neighbours)})
    return rows


def curve_chart(
    results: Results,
    panel: Mapping[str, Any],
    colours: Colours,
    data: Any,
    height: int,
    legend: alt.Legend | None = None,
) -> alt.LayerChart:
    """Means and bands of one panel; see `finish` for the parameters that it listens to."""
    places = list(range(len(results["arms"])))
    palette = alt.Scale(domain=places, range=[colours[name] for name in arm_colours(results)])
    patterns = alt.Scale(domain=places, range=arm_dashes(results))
    x = alt.X(
        "x:Q",
        title=X_TITLES[panel["x"]],
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(grid=False, format="~s", tickCount=alt.ExprRef("max(2, floor(width / 80))")),
    )
    # By labelExpr: with `format` the digits come from the axis, of which d3 subtracts 0.02 from 0.12, finds less than
    # 0.1, and labels both 0.1 and 0.12 by one digit.
    label = "format(datum.value, '~r')"
    y_axis = alt.Axis(domain=False, ticks=False, minExtent=34, tickCount=height // 40, labelExpr=label)
    y_scale = alt.Scale(nice=height // 40, zero=True)
    y = alt.Y("mean:Q", title=None, axis=y_axis, scale=y_scale)
    low = alt.Y("low:Q", title=None, axis=y_axis, scale=y_scale)
    colour = alt.Color("arm:N", scale=palette, legend=legend)
    shown = alt.condition("focus === null || focus === datum.arm", alt.value(1), alt.value(0.12))
    in_band = alt.condition("bands && (focus === null || focus === datum.arm)", alt.value(0.13), alt.value(0))
    base = alt.Chart(data).transform_filter("indexof(hidden, datum.arm) < 0").encode(x=x)
    band = base.mark_area().encode(y=low, y2="high:Q", color=colour, fillOpacity=in_band)
    line = base.mark_line(strokeWidth=2, strokeJoin="round").encode(
        y=y,
        color=colour,
        strokeDash=alt.StrokeDash("arm:N", scale=patterns, legend=legend),
        strokeOpacity=shown,
    )
    if not any(row["lone"] for row in curve_rows(panel)):
        return alt.layer(band, line).properties(height=height)
    lone = base.transform_filter("datum.lone && datum.mean !== null").mark_point(size=50, filled=True, strokeWidth=0)
    return alt.layer(band, line, lone.encode(y=y, color=colour, fillOpacity=shown)).properties(height=height)


def pair_rows(results: Results) -> Rows:
    """A row for each arm and measure: its paired difference from the baseline."""
    rows = []
    for pair in results["pairs"]:
        if pair["baseline"] != results["baseline"] or pair["mean_difference"] is None:
            continue
        low, high = pair["interval"] or [pair["mean_difference"]] * 2
        label = f"{VERDICTS[pair['verdict']]} {pair['verdict']}: {visible(pair['treatment'])}"
        kept = {"row": pair["treatment"], "measure": pair["measure"], "verdict": pair["verdict"], "label": label}
        rows.append(kept | {"mean": pair["mean_difference"], "low": low, "high": high})
    return rows


def forest_chart(results: Results, colours: Colours, data: Any) -> alt.LayerChart:
    """Paired differences with their intervals on the measure that parameter `measure` names."""
    names = list(dict.fromkeys(row["row"] for row in pair_rows(results)))
    verdicts = list(VERDICTS)
    colour_of = {"better": "arm1", "worse": "arm2"}
    fill = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=verdicts, range=[colours[colour_of.get(verdict, "muted")] for verdict in verdicts]),
        legend=None,
    )
    shapes = alt.Scale(domain=verdicts, range=["triangle-up", "circle", "triangle-down", "square", "cross"])
    base = (
        alt.Chart(data)
        .transform_filter("datum.measure === measure")
        .encode(y=alt.Y("row:N", sort=names, axis=None, scale=alt.Scale(domain=names)))
    )
    axis = alt.Axis(
        labelExpr="datum.value === 0 ? '0' : format(datum.value, '+~r')",
        tickCount=alt.ExprRef("max(2, floor(width / 90))"),
        domain=False,
        ticks=False,
    )
    x = alt.X("mean:Q", title=None, axis=axis, scale=alt.Scale(zero=True))
    text = base.mark_text(
        align="left", baseline="bottom", yOffset=-3, fontSize=13, color=colours["ink"], limit=alt.ExprRef("width")
    )
    whole = base.mark_rule(strokeWidth=2.5, yOffset=9).encode(x=alt.X("low:Q", title=None, axis=axis), x2="high:Q")
    point = base.mark_point(size=110, filled=True, opacity=1, yOffset=9).encode(
        x=x, shape=alt.Shape("verdict:N", scale=shapes, legend=None), color=fill
    )
    zero = base.mark_tick(color=colours["muted"], size=18, thickness=1, yOffset=9).encode(x=alt.datum(0))
    layers = alt.layer(zero, text.encode(x=alt.value(0), text="label:N"), whole.encode(color=fill), point)
    return layers.properties(height=52 * len(names))


def finish(chart: alt.TopLevelMixin, results: Results, colours: Colours, ground: str) -> alt.TopLevelMixin:
    """The chart with its typography and its parameters.

    hidden: places of arms that are not drawn. focus: the arm that stands out, or null. bands: whether intervals are
    drawn. measure: of the paired differences.
    """
    quiet = {"labelColor": colours["muted"], "titleColor": colours["muted"], "titleFontWeight": "normal"}
    sizes = {"labelFontSize": 12, "titleFontSize": 12}
    lines = {"gridColor": colours["line"], "domainColor": colours["muted"], "tickColor": colours["muted"]}
    title = {
        "anchor": "start",
        "frame": "group",
        "color": colours["ink"],
        "fontSize": 14,
        "fontWeight": 600,
        "offset": 10,
    }
    subtitle = {"subtitleColor": colours["muted"], "subtitleFontSize": 12}
    chart = chart.configure(font=FONT, background=ground, padding=4).configure_view(stroke=None)
    chart = chart.configure_axis(**quiet, **sizes, **lines, titlePadding=8, labelPadding=6)
    chart = chart.configure_title(**title, **subtitle)
    chart = chart.configure_legend(
        labelColor=colours["ink"], labelFontSize=12, symbolSize=900, symbolStrokeWidth=2, symbolOpacity=1
    )
    values = {"hidden": [], "focus": None, "bands": True, "measure": results["primary"]}
    return chart.add_params(*(alt.param(name=name, value=value) for name, value in values.items()))


def save_figures(results: Results, folder: Path) -> list[Path]:
    """Every panel, the paired differences, and an overview (`curves`), each as SVG and as PNG; what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    panels = {(panel["key"], panel["x"]): panel for panel in thin(results)}
    charts = {f"{_slug(key)}-by-{x}": _titled(results, panel, 640) for (key, x), panel in panels.items()}
    overview = [_titled(results, panels[key, "update"], 400) for key in OVERVIEW if (key, "update") in panels]
    if overview:
        charts["curves"] = alt.vconcat(*(alt.hconcat(*overview[i : i + 2], spacing=32) for i in (0, 2)), spacing=24)
    if any(row["measure"] == results["primary"] for row in pair_rows(results)):
        title = alt.Title(
            f"{label(results, results['primary'])}: difference from {visible(results['baseline'])}",
            subtitle=f"paired by seed, with {percent(results['confidence'])} intervals",
        )
        chart = forest_chart(results, LIGHT, alt.Data(values=pair_rows(results)))
        charts["differences"] = chart.properties(width=640, title=title)
    written = []
    for name, chart in charts.items():
        svg = folder / f"{name}.svg"
        drawn = io.StringIO()
        finish(chart, results, LIGHT, LIGHT["ground"]).save(drawn, format="svg")
        write_text(svg, drawn.getvalue())
        png = svg.with_suffix(".png")
        write_bytes(png, vl_convert.svg_to_png(drawn.getvalue(), scale=2))
        written += [svg, png]
    return written


def _titled(results: Results, panel: Mapping[str, Any], width: int) -> alt.LayerChart:
    names = json.dumps([visible(arm["name"]) for arm in results["arms"]])
    legend = alt.Legend(
        title=None, orient="bottom", columns=2, labelExpr=f"{names}[datum.value]", labelLimit=320, symbolType="stroke"
    )
    chart = curve_chart(results, panel, LIGHT, alt.Data(values=curve_rows(panel)), width // 2, legend)
    return chart.properties(width=width, title=alt.Title(panel_title(panel), subtitle=curve_note(results, panel)))


def panel_title(panel: Mapping[str, Any]) -> str:
    return panel["title"] if panel["x"] == "update" else f"{panel['title']}, by {X_TITLES[panel['x']].lower()}"


def curve_note(results: Results, panel: Mapping[str, Any]) -> str:
    """What the lines and bands of a panel are: unit, seeds, intervals."""
    seeds = sorted({curve["seeds"] for curve in panel["curves"]})
    count = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''}"
    band = f", {percent(results['confidence'])} intervals" if any(curve["low"] for curve in panel["curves"]) else ""
    return f"{panel['unit'] + ', ' if panel['unit'] else ''}mean of {count}{band}"


def percent(confidence: float) -> str:
    return f"{100 * confidence:g} %"


def _slug(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
