"""The charts of a comparison as files: SVG and PNG, in the colours of a light page."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from hysteretic.common.files import write_bytes, write_text
from hysteretic.common.metric_names import ALPHA, MEAN_LENGTH, REWARD, SILENT_SHARE
from hysteretic.compare.charts import (
    Results,
    curve_chart,
    curve_note,
    forest_chart,
    label,
    pair_rows,
    panel_title,
    percent,
)
from hysteretic.compare.curves import thin
from hysteretic.html.text import visible
from hysteretic.html.theme import LIGHT, chart_config

OVERVIEW = (REWARD, ALPHA, SILENT_SHARE, MEAN_LENGTH)


def save_figures(results: Results, folder: Path) -> list[Path]:
    """Every panel, the paired differences, and an overview (`curves`), each as SVG and PNG; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    panels = {(panel["key"], panel["x"]): panel for panel in thin(results)}
    charts: dict[str, alt.TopLevelMixin] = {
        f"{_slug(key)}-by-{x}": _titled(results, panel, 640) for (key, x), panel in panels.items()
    }
    overview = [_titled(results, panels[key, "update"], 400) for key in OVERVIEW if (key, "update") in panels]
    if overview:
        charts["curves"] = alt.vconcat(*(alt.hconcat(*overview[i : i + 2], spacing=32) for i in (0, 2)), spacing=24)
    if any(row["measure"] == results["primary"] for row in pair_rows(results)):
        title = alt.Title(
            f"{label(results, results['primary'])}: difference from {visible(results['baseline'])}",
            subtitle=f"paired by seed, with {percent(results['confidence'])} intervals",
        )
        charts["differences"] = forest_chart(results, LIGHT).properties(width=640, title=title)
    written = []
    for name, chart in charts.items():
        svg = folder / f"{name}.svg"
        spec = chart.configure(**chart_config(LIGHT, LIGHT["ground"])).to_dict(validate=False)
        drawn = vl_convert.vegalite_to_svg(spec)
        write_text(svg, drawn)
        png = svg.with_suffix(".png")
        write_bytes(png, vl_convert.svg_to_png(drawn, scale=2))
        written += [svg, png]
    return written


def _titled(results: Results, panel: Mapping[str, Any], width: int) -> alt.LayerChart:
    names = json.dumps([visible(arm["name"]) for arm in results["arms"]])
    legend = alt.Legend(
        title=None,
        orient="bottom",
        columns=2,
        labelExpr=f"{names}[datum.value]",
        labelLimit=320,
        symbolType="stroke",
        symbolSize=900,
        symbolStrokeWidth=2,
        symbolOpacity=1,
    )
    chart = curve_chart(results, panel, LIGHT, width // 2, legend)
    return chart.properties(width=width, title=alt.Title(panel_title(panel), subtitle=curve_note(results, panel)))


def _slug(key: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
