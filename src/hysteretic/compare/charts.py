"""Learning curves and paired differences as Altair charts.

Charts know arms by their position in `results["arms"]`; names appear in legends and readings only. `panel` is one of
`curves.thin`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from hysteretic.compare.verdicts import WORDS
from hysteretic.html.text import number, visible
from hysteretic.html.theme import nearest_rule

Results = Mapping[str, Any]
Rows = list[dict[str, Any]]
Colours = Mapping[str, str]

DASHES = ([1, 0], [7, 3], [2, 2], [10, 3, 2, 3], [16, 4], [5, 2, 1, 2, 1, 2], [3, 5])
"""Seven patterns for seven colours: arms are recognisable without colour."""

X_TITLES = {"update": "Update", "token": "Generated tokens", "second": "Seconds"}
SIGNS = {"better": "▲", "cannot tell": "○", "worse": "▼", "identical": "=", "same": "≈", "too few seeds": "·"}


def label(results: Results, measure: str) -> str:
    return str(results["measures"].get(measure, {}).get("label", measure))


def arm_colours(results: Results) -> list[str]:
    """The name of each arm's colour: ink for the baseline, the palette in turn for the others."""
    names = [arm["name"] for arm in results["arms"]]
    others = [name for name in names if name != results.get("baseline")]
    return ["arm0" if name not in others else f"arm{1 + others.index(name) % 7}" for name in names]


def arm_dashes(results: Results) -> list[list[int]]:
    """The pattern of every arm; after the seventh the patterns shift, so that colour and pattern do not repeat."""
    return [DASHES[(i + i // 7) % 7] for i in range(len(results["arms"]))]


def curve_data(results: Results, panel: Mapping[str, Any]) -> alt.Data:
    """A thinned panel's curves, one row each; `curve_chart` unfolds them. `lone` are points that no line reaches."""
    rows = []
    for curve in panel["curves"]:
        mean = curve["mean"]
        around = zip([None, *mean[:-1]], [*mean[1:], None], strict=True)
        rows.append(
            {
                "arm": curve["arm"],
                "name": visible(results["arms"][curve["arm"]]["name"]),
                "x": curve["x"],
                "mean": mean,
                "low": curve["low"] or mean,
                "high": curve["high"] or mean,
                "lone": [before is None and after is None for before, after in around],
                "has_band": curve["low"] is not None,
            }
        )
    return alt.Data(values=tuple(rows))  # every method of a chart copies lists in it, but no tuples


def curve_chart(
    results: Results,
    panel: Mapping[str, Any],
    colours: Colours,
    height: int,
    legend: alt.Legend | None = None,
) -> alt.LayerChart:
    """Means and bands of one panel. Without a legend (on a page), a rule with a tooltip shows every arm's values.

    Parameters that a page may set: hidden, the positions of arms that are not drawn; focus, the highlighted arm,
    or null; bands, whether intervals are drawn; reading, the x at which points are marked, or null.
    """
    places = list(range(len(results["arms"])))
    palette = alt.Scale(domain=places, range=[colours[name] for name in arm_colours(results)])
    patterns = alt.Scale(domain=places, range=arm_dashes(results))
    x_name = X_TITLES[panel["x"]]  # also the first line of the tooltip
    x = alt.X(
        f"{x_name}:Q",
        scale=alt.Scale(zero=False, nice=False),
        axis=alt.Axis(grid=False, format="~s", tickCount=alt.ExprRef("max(2, floor(width / 80))")),
    )
    # labelExpr, since with `format` d3 takes the digits from the axis step: it subtracts 0.02 from 0.12, finds less
    # than 0.1, and labels both 0.1 and 0.12 with one digit.
    tick = "format(datum.value, '~r')"
    y_axis = alt.Axis(domain=False, ticks=False, minExtent=34, tickCount=height // 40, labelExpr=tick)
    y_scale = alt.Scale(nice=height // 40, zero=True)
    y = alt.Y("mean:Q", title=None, axis=y_axis, scale=y_scale)
    low = alt.Y("low:Q", title=None, axis=y_axis, scale=y_scale)
    colour = alt.Color("arm:N", scale=palette, legend=legend)
    shown = alt.condition("focus === null || focus === datum.arm", alt.value(1), alt.value(0.12))
    in_band = alt.condition("bands && (focus === null || focus === datum.arm)", alt.value(0.13), alt.value(0))
    base = (
        alt.Chart(curve_data(results, panel))
        .transform_filter("indexof(hidden, datum.arm) < 0")
        .transform_flatten(["x", "mean", "low", "high", "lone"], [x_name, "mean", "low", "high", "lone"])
    )
    band = base.mark_area().encode(x=x, y=low, y2="high:Q", color=colour, fillOpacity=in_band)
    line = base.mark_line(strokeWidth=2, strokeJoin="round").encode(
        x=x,
        y=y,
        color=colour,
        strokeDash=alt.StrokeDash("arm:N", scale=patterns, legend=legend),
        strokeOpacity=shown,
    )
    points = base.mark_point(size=50, filled=True, strokeWidth=0).encode(x=x, y=y, color=colour, opacity=shown)
    marked = points.transform_filter(f"datum.mean !== null && (datum.lone || datum['{x_name}'] === reading)")
    layers = [band, line, marked]
    if legend is None:
        text = "format(datum.mean, '.4~r')"
        bounds = "' (' + format(datum.low, '.4~r') + ' to ' + format(datum.high, '.4~r') + ')'"
        text = f"datum.mean === null ? '\u2013' : {text} + (datum.has_band ? {bounds} : '')"
        by_x = base.transform_calculate(text=text).transform_pivot("name", "text", groupby=[x_name], op="max")
        layers.append(nearest_rule(by_x.encode(x=x), x_name))
    values: dict[str, Any] = {"hidden": [], "focus": None, "bands": True, "reading": None}
    params = [alt.param(name=name, value=value) for name, value in values.items()]
    return alt.layer(*layers).properties(height=height).add_params(*params)


def pair_rows(results: Results) -> Rows:
    """One row per arm and measure: its paired difference from the baseline."""
    rows = []
    for pair in results["pairs"]:
        if pair["baseline"] != results["baseline"] or pair["mean_difference"] is None:
            continue
        low, high = pair["interval"] or [pair["mean_difference"]] * 2
        kind = pair["verdict"]
        text = f"{SIGNS[kind]} {WORDS[kind]}: {visible(pair['treatment'])}"
        kept = {"row": pair["treatment"], "measure": pair["measure"], "verdict": kind, "label": text}
        rows.append(kept | {"mean": pair["mean_difference"], "low": low, "high": high})
    return rows


def forest_chart(results: Results, colours: Colours) -> alt.LayerChart:
    """Paired differences with their intervals on the measure that the parameter `measure` names."""
    rows = pair_rows(results)
    names = list(dict.fromkeys(row["row"] for row in rows))
    colour_of = {"better": "arm1", "worse": "arm2"}
    fill = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=list(SIGNS), range=[colours[colour_of.get(kind, "muted")] for kind in SIGNS]),
        legend=None,
    )
    shapes = alt.Scale(
        domain=list(SIGNS), range=["triangle-up", "circle", "triangle-down", "square", "diamond", "cross"]
    )
    base = (
        alt.Chart(alt.Data(values=tuple(rows)))
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
    return layers.properties(height=52 * len(names)).add_params(alt.param(name="measure", value=results["primary"]))


def panel_title(panel: Mapping[str, Any]) -> str:
    return panel["title"] if panel["x"] == "update" else f"{panel['title']}, by {X_TITLES[panel['x']].lower()}"


def curve_note(results: Results, panel: Mapping[str, Any]) -> str:
    """A panel's unit, number of seeds and intervals."""
    seeds = sorted({curve["seeds"] for curve in panel["curves"]})
    count = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''}"
    band = f", {percent(results['confidence'])} intervals" if any(curve["low"] for curve in panel["curves"]) else ""
    return f"{panel['unit'] + ', ' if panel['unit'] else ''}mean of {count}{band}"


def panel_in_words(results: Results, panel: Mapping[str, Any]) -> str:
    """The first and last value of every arm, for readers who cannot see the chart."""
    ends = []
    for curve in panel["curves"]:
        known = [value for value in curve["mean"] if value is not None]
        if known:
            ends.append(f"{results['arms'][curve['arm']]['name']} {number(known[0])} to {number(known[-1])}")
    return f"First to last value: {'; '.join(ends)}." if ends else "No values."


def percent(confidence: float) -> str:
    return f"{100 * confidence:g} %"
