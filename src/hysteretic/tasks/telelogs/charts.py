"""Charts of a drive, to show side by side: maps, and over its seconds what the rules look at.

maps              all cells, and a close-up of the road (`charts_map.py`)
throughput        bad below 600 Mbit/s                levels       the serving cell among its neighbours: C3, C4, C6
speed             C7 above 40 km/h                    blocks       C8 below 160 on average
distance          C2 above 1 km                       lobe         C1 where the antenna sees the road above its lobe

Colours are names that a page defines (see `hysteretic.tasks.task.Pictures`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from statistics import fmean
from typing import Any

import altair as alt

from .charts_map import BAD, chart, maps
from .rules import BLOCKS, DISTANCE_KM, MODULUS, SPEED
from .scenario import THRESHOLD, Scenario, angle_below, distance_km

INK, MUTED = "var(--ink)", "var(--muted)"
COLOURS = [f"var(--arm{number})" for number in (1, 2, 3, 4, 5, 6, 7)]
DASHES = [[1, 0], [6, 3], [2, 2], [9, 3, 2, 3], [12, 3], [4, 2, 1, 2], [3, 5]]
HEIGHT = 170
Values = list[dict[str, Any]]


def charts(scenario: Scenario) -> list[alt.TopLevelMixin]:
    """Two maps, then six panels over the rows of the drive, with its bad rows shaded."""
    rows = scenario.rows
    distances = [None if (cell := scenario.serving(row)) is None else distance_km(row, cell) for row in rows]
    return [
        *maps(scenario),
        _panel(scenario, [row.throughput for row in rows], THRESHOLD, "Throughput", "Mbit/s; bad below the line"),
        _levels(scenario),
        _panel(scenario, [row.speed for row in rows], SPEED, "Speed", "km/h; C7 above the dashed line"),
        _blocks(scenario),
        _panel(scenario, distances, DISTANCE_KM, "Distance to the serving cell", "km; C2 above the dashed line"),
        _lobe(scenario),
    ]


def _panel(
    scenario: Scenario, values: Sequence[float | None], limit: float, title: str, note: str, zero: bool = True
) -> alt.LayerChart:
    data = [{"row": i + 1, "value": value, "bad": i in scenario.bad_rows} for i, value in enumerate(values)]
    base = chart([point for point in data if point["value"] is not None])
    line = base.mark_line(color=INK, strokeWidth=1.5).encode(x=_x(), y=_y("value", zero))
    fill = alt.condition("datum.bad", alt.value(BAD), alt.value(COLOURS[0]))
    points = base.mark_point(filled=True, size=55, opacity=1).encode(x=_x(), y=_y("value", zero), color=fill)
    dashed = chart([{"value": limit}]).mark_rule(color=INK, strokeDash=[5, 4]).encode(y=_y("value", zero))
    return _finished([_window(scenario), dashed, line, points], title, note)


def _blocks(scenario: Scenario) -> alt.LayerChart:
    """Single rows do not matter for C8, only the mean over the bad ones."""
    layers = _panel(scenario, [row.rb for row in scenario.rows], BLOCKS, "", "", zero=False).layer
    bad, note = scenario.bad_rows, "C8 if their mean is below the dashed line"
    if bad:
        mean = fmean(scenario.rows[i].rb for i in bad)
        data = [{"from": bad[0] + 0.5, "to": bad[-1] + 1.5, "value": mean}]
        ends = {"x": alt.X("from:Q", scale=_rows(scenario)), "x2": "to:Q"}
        layers = [*layers, chart(data).mark_rule(color=BAD, strokeWidth=3).encode(**ends, y=_y("value", False))]
        note = f"C8 if the mean of the bad ones ({mean:.0f}, thick) is below"
    return _finished(layers, "Resource blocks", note)


def _lobe(scenario: Scenario) -> alt.LayerChart:
    """The angle of the road below the horizon of the serving antenna, and the far edge of its main lobe."""
    data: Values = []
    for i, row in enumerate(scenario.rows):
        cell = scenario.serving(row)
        if cell is not None:
            angles = {"the road": angle_below(cell, row), "the lobe's far edge": cell.far_edge}
            data += [{"row": i + 1, "value": value, "of": name} for name, value in angles.items()]
    names = ["the road", "the lobe's far edge"]
    lines = _lines(data, names, [INK, COLOURS[1]], [[1, 0], [6, 3]], columns=2)
    note = "degrees; C1 where the first cell's lobe ends below"
    return _finished([_window(scenario), lines], "Below the serving antenna's horizon", note)


def _levels(scenario: Scenario) -> alt.LayerChart:
    """Every cell that is heard; the thick line is the level of the serving one."""
    heard: dict[int, Values] = {}
    for i, row in enumerate(scenario.rows):
        levels = [(row.pci, row.rsrp), *((n.pci, n.level) for n in row.neighbours)]
        for pci, level in levels:
            if level is not None:
                heard.setdefault(pci, []).append({"row": i + 1, "value": level})
    serving = {row.pci for row in scenario.rows}
    order = sorted(heard, key=lambda pci: (pci not in serving, -max(point["value"] for point in heard[pci])))
    shown = order[: len(COLOURS)]
    names = {pci: _cell_label(scenario, pci) for pci in shown}
    data = [{**point, "of": names[pci]} for pci in shown for point in heard[pci]]
    thick = [{"row": i + 1, "value": row.rsrp, "of": names[row.pci]} for i, row in enumerate(scenario.rows)]
    line = chart(thick).mark_line(color=INK, strokeWidth=6, opacity=0.35).encode(x=_x(), y=_y("value", False))
    lines = _lines(data, list(names.values()), COLOURS, DASHES, columns=1)
    left_out = len(order) - len(shown)
    note = "dBm; thick: serving" + (f"; {left_out} weak cell{'s' * (left_out > 1)} left out" if left_out else "")
    return _finished([_window(scenario), line, lines], "Levels", note)


def _cell_label(scenario: Scenario, pci: int) -> str:
    row = next(row for row in scenario.rows if pci == row.pci or pci in {n.pci for n in row.neighbours})
    cell = scenario.cell(pci, row)
    site = "not in the table" if cell is None else f"gNodeB {cell.gnodeb}"
    return f"PCI {pci} ({pci % MODULUS} modulo {MODULUS}), {site}"


# Parts of a panel.


def _rows(scenario: Scenario) -> alt.Scale:
    return alt.Scale(domain=[0.5, len(scenario.rows) + 0.5], nice=False, zero=False)


def _x() -> alt.X:
    axis = alt.Axis(grid=False, format="d", tickMinStep=1, labelOverlap=True)
    return alt.X("row:Q", title="Row", axis=axis)


def _y(name: str, zero: bool) -> alt.Y:
    return alt.Y(
        f"{name}:Q", title=None, scale=alt.Scale(zero=zero), axis=alt.Axis(tickCount=4, domain=False, ticks=False)
    )


def _window(scenario: Scenario) -> alt.Chart:
    """Shading behind the bad rows."""
    runs: Values = []
    for _, run in groupby(enumerate(scenario.bad_rows), lambda pair: pair[1] - pair[0]):
        places = [place for _, place in run]
        runs.append({"from": places[0] + 0.5, "to": places[-1] + 1.5})
    x = alt.X("from:Q", title="Row", scale=_rows(scenario))
    return chart(runs).mark_rect(color=BAD, opacity=0.13).encode(x=x, x2="to:Q")


def _lines(data: Values, names: list[str], colours: list[str], dashes: list[list[int]], columns: int) -> alt.Chart:
    legend = alt.Legend(
        title=None, orient="bottom", direction="vertical", columns=columns, labelLimit=310, symbolType="stroke"
    )
    colour = alt.Scale(domain=names, range=colours[: len(names)])
    dash = alt.Scale(domain=names, range=dashes[: len(names)])
    return (
        chart(data)
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=22))
        .encode(
            x=_x(),
            y=_y("value", False),
            color=alt.Color("of:N", scale=colour, legend=legend),
            strokeDash=alt.StrokeDash("of:N", scale=dash, legend=legend),
        )
    )


def _finished(layers: Any, title: str, note: str) -> alt.LayerChart:
    return alt.layer(*layers).properties(height=HEIGHT, title=alt.Title(title, subtitle=note))
