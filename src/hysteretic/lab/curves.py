"""What did runs look like? Learning curves of some run folders as charts, a picture and a page that works offline."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import altair as alt
import vl_convert

from hysteretic.lab.run_folder import RunFolder, read_lines

WINDOW = 10
"""Rollouts in the moving average."""

PANELS = {
    "reward": "Mean reward of a rollout",
    "hpo/alpha": "Weight of failures (alpha)",
    "hpo/silent_share": "Share of responses in silent groups",
    "hpo/mean_length": "Mean response length (tokens)",
}

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
"""Okabe and Ito's palette, told apart by colour-blind people."""


@dataclass(frozen=True)
class Curve:
    """One panel's figures of one run: raw by rollout, and their mean over the last WINDOW rollouts."""

    updates: list[int]
    raw: list[float]
    smooth: list[float]


def read_curves(folder: RunFolder) -> dict[str, Curve]:
    """The panels of a run, a point for each rollout. Raises ValueError when no rollout is recorded."""
    lines = read_lines(folder.metrics) if folder.metrics.is_file() else []
    rollouts = [line for line in lines if "reward" in line]
    if not rollouts:
        raise ValueError(f"{folder.metrics} records no rollout; train in {folder.path} first.")
    curves = {}
    for key in PANELS:
        points = [(line["step"], line[key]) for line in rollouts if isinstance(line.get(key), int | float)]
        raw = [value for _, value in points]
        smooth = [fmean(raw[max(0, i + 1 - WINDOW) : i + 1]) for i in range(len(raw))]
        curves[key] = Curve([step for step, _ in points], raw, smooth)
    return curves


def charts(runs: Mapping[str, RunFolder]) -> dict[str, alt.LayerChart]:
    """One chart a panel, the runs by name and colour."""
    curves = {name: read_curves(folder) for name, folder in runs.items()}
    return {title: _chart(key, title, curves) for key, title in PANELS.items()}


def _chart(key: str, title: str, curves: Mapping[str, Mapping[str, Curve]]) -> alt.LayerChart:
    rows = [
        {"run": name, "update": update, "rollout": raw, "mean": smooth}
        for name, panels in curves.items()
        for update, raw, smooth in zip(panels[key].updates, panels[key].raw, panels[key].smooth, strict=True)
    ]
    colour = alt.Color(
        "run:N",
        sort=list(curves),
        scale=alt.Scale(range=COLOURS[: len(curves)]),
        legend=alt.Legend(title=None, orient="bottom"),
    )
    base = alt.Chart(alt.Data(values=rows)).encode(x=alt.X("update:Q", title="Update"), color=colour)
    raw = base.mark_point(size=8, opacity=0.35, filled=True).encode(y=alt.Y("rollout:Q", title=None))
    line = base.mark_line(strokeWidth=2.5).encode(
        y=alt.Y("mean:Q", title=None),
        strokeDash=alt.StrokeDash("run:N", sort=list(curves), legend=None),
        tooltip=["run:N", "update:Q", alt.Tooltip("rollout:Q", format=".3g"), alt.Tooltip("mean:Q", format=".3g")],
    )
    return (raw + line).properties(title=title, height=220)


def save_picture(runs: Mapping[str, RunFolder], path: Path) -> None:
    """All panels in one PNG (or SVG, by the suffix)."""
    panels = [chart.properties(width=380) for chart in charts(runs).values()]
    grid = alt.vconcat(alt.hconcat(*panels[:2]), alt.hconcat(*panels[2:]))
    grid.save(str(path), **({"scale_factor": 2} if path.suffix == ".png" else {}))


def save_page(
    runs: Mapping[str, RunFolder], path: Path, title: str, notes: Sequence[str], table: Sequence[Sequence[str]]
) -> None:
    """One HTML file with the table and the curves, readable without a network.

    notes: paragraphs above the table. table: rows of cells, the first one the header.
    """
    specs = [chart.properties(width="container").to_dict() for chart in charts(runs).values()]
    path.write_text(
        _PAGE.format(
            title=html.escape(title),
            notes="\n".join(f"<p>{html.escape(note)}</p>" for note in notes),
            table=_html_table(table),
            figures="\n".join(f'<figure id="chart{i}"></figure>' for i in range(len(specs))),
            library=vl_convert.javascript_bundle(),  # type: ignore[call-arg]
            specs=json.dumps(specs).replace("</", "<\\/"),
        ),
        encoding="utf-8",
    )


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(line(row, "td") for row in rows[1:])
    return f"<table><thead>{line(rows[0], 'th')}</thead><tbody>{body}</tbody></table>"


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """The same table for a terminal."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 0 auto; padding: 1rem; }}
h1 {{ font-size: 1.5rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8886; white-space: nowrap; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 1rem; }}
.grid {{ margin: 1rem 0; }}
figure {{ margin: 0; width: 100%; min-width: 0; }}
</style>
</head>
<body>
<h1>{title}</h1>
{notes}
<div class="scroll">{table}</div>
<div class="grid">{figures}</div>
<script>{library}</script>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
{specs}.forEach((spec, i) => vegaEmbed(`#chart${{i}}`, spec, {{ actions: false, theme: dark ? "dark" : undefined }}));
</script>
</body>
</html>
"""
