"""Maps of a drive and its cells, north up: all cells, and a close-up of the road.

A wedge shows the direction of an antenna and is labelled with its PCI; lines connect the bad rows to their serving
cells. Positions are computed here in pixels, so that no two labels overlap on any screen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from .scenario import THRESHOLD, Cell, Row, Scenario

SIZE = 336
"""Pixels along each side of a map."""

EDGE = 34
WEDGE = 24
"""Pixels: margin around the contents, and length of a wedge."""

METRES = 111_194.93
BAD = "var(--arm2)"
GOOD = ("var(--arm6)", "var(--arm1)")
CLASSES = {"below 300 Mbit/s": BAD, "300 to 600": "var(--arm5)", "600 to 900": GOOD[0], "900 and more": GOOD[1]}
ROLES = {
    "serves a bad row": "var(--arm3)",
    "strongest neighbour of a bad row": "var(--arm4)",
    "other cell": "var(--muted)",
}

SECTOR = "M0,0L{x},{y}A1,1,0,0,1,{x2},{y}Z".format(
    x=round(-math.sin(0.55), 3), x2=round(math.sin(0.55), 3), y=round(-math.cos(0.55), 3)
)
"""A wedge of 63 degrees that points upwards, in a circle of radius 1."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Drawing:
    """What a map shows, in pixels. texts, cells, links: the data of its layers."""

    pixels: list[Point]
    texts: list[dict[str, Any]]
    cells: list[dict[str, Any]]
    links: list[dict[str, Any]]


def maps(scenario: Scenario) -> list[alt.LayerChart]:
    """All cells, and a close-up of the road."""
    every, road = drawings(scenario)
    return [
        _map(scenario, every, "All cells", names_rows=False),
        _map(scenario, road, "Close-up of the road", names_rows=True),
    ]


def drawings(scenario: Scenario) -> tuple[Drawing, Drawing]:
    """The contents of both maps."""
    road = [_metres(scenario.rows[0], row) for row in scenario.rows]
    sites = [_metres(scenario.rows[0], cell) for cell in scenario.cells]
    return _drawing(scenario, View([*road, *sites]), road, sites, False), _drawing(
        scenario, View(road), road, sites, True
    )


@dataclass
class View:
    """Projection from metres to pixels that fits the given points, and the boxes of the labels placed so far."""

    seen: Sequence[Point]
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        xs, ys = zip(*self.seen, strict=True)
        self.middle = ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)
        wide = max(max(xs) - min(xs), max(ys) - min(ys), 20.0)
        self.metres_per_pixel = wide / (SIZE - 2 * EDGE)

    def pixel(self, place: Point) -> Point:
        x, y = ((place[i] - self.middle[i]) / self.metres_per_pixel + SIZE / 2 for i in (0, 1))
        return x, y

    def holds(self, pixel: Point) -> bool:
        return all(0 <= value <= SIZE for value in pixel)

    def occupy(self, pixel: Point, width: float, height: float) -> bool:
        """Reserve a box around a pixel; False if it is off the map or overlaps another."""
        x, y = pixel
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        if box[0] < 0 or box[1] < 0 or box[2] > SIZE or box[3] > SIZE:
            return False
        if any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in self.boxes):
            return False
        self.boxes.append(box)
        return True

    def place(self, text: str, at: Point, bearing: float, near: float) -> Point | None:
        """A free position for a label near a pixel, trying the bearing first; None if there is none."""
        for away in (near, near + 9, near + 20, near + 34):
            for turn in (0, 30, -30, 60, -60, 90, -90, 120, -120, 150, -150, 180):
                angle = math.radians(bearing + turn)
                found = (at[0] + away * math.sin(angle), at[1] + away * math.cos(angle))
                if self.occupy(found, 7.5 * len(text) + 4, 15):
                    return found
        return None


def _drawing(scenario: Scenario, view: View, road: list[Point], sites: list[Point], names_rows: bool) -> Drawing:
    pixels = [view.pixel(place) for place in road]
    bar, bar_words, bar_text = _scale_bar(view)
    for x, y in pixels:
        view.boxes.append((x - 5, y - 5, x + 5, y + 5))
    texts = [{"x": bar_text[0], "y": bar_text[1], "text": bar_words}]
    texts += _row_texts(scenario, view, pixels) if names_rows else []
    cells, cell_texts = _cells(scenario, view, sites)
    links = [*_links(scenario, view, pixels, sites), {**_ends(bar), "kind": "bar"}]
    return Drawing(pixels, texts + cell_texts, cells, links)


def _map(scenario: Scenario, drawing: Drawing, title: str, names_rows: bool) -> alt.LayerChart:
    layers = [
        chart(drawing.links)
        .mark_rule(clip=True)
        .encode(
            x=_axis("x"),
            y=_axis("y"),
            x2="x2:Q",
            y2="y2:Q",
            color=alt.condition("datum.kind === 'bar'", alt.value("var(--ink)"), alt.value(BAD)),
            strokeDash=alt.condition("datum.kind === 'bar'", alt.value([1, 0]), alt.value([3, 3])),
            strokeWidth=alt.condition("datum.kind === 'bar'", alt.value(2), alt.value(1)),
        ),
        _wedges(drawing.cells, has_legend=not names_rows),
        _drive(scenario, drawing.pixels, 90 if names_rows else 45, has_legend=names_rows),
        chart(drawing.texts)
        .mark_text(fontSize=12, color="var(--ink)", baseline="middle")
        .encode(x=_axis("x"), y=_axis("y"), text="text:N"),
    ]
    note = "rows 1, 2, … by throughput; bad ones are squares" if names_rows else "north is up; wedges: antennas, by PCI"
    layered = alt.layer(*layers).resolve_scale(color="independent", shape="independent")
    return layered.properties(width=SIZE, height=SIZE, title=alt.Title(title, subtitle=note))


def _wedges(cells: list[dict[str, Any]], has_legend: bool) -> alt.Chart:
    scale = alt.Scale(domain=list(ROLES), range=list(ROLES.values()))
    return (
        chart(cells)
        .mark_point(shape=SECTOR, size=(2 * WEDGE) ** 2, filled=True, opacity=0.55)
        .encode(
            x=_axis("x"),
            y=_axis("y"),
            angle=alt.Angle("azimuth:Q", scale=alt.Scale(domain=[0, 360], range=[0, 360])),
            color=alt.Color("role:N", scale=scale, legend=_legend("square", 1) if has_legend else None),
        )
    )


def _drive(scenario: Scenario, pixels: list[Point], size: int, has_legend: bool) -> alt.LayerChart:
    """The rows in order, by throughput; bad ones are squares."""
    data = [
        {"x": x, "y": y, "row": i, "throughput": _class(row.throughput), "bad": row.throughput < THRESHOLD}
        for i, (row, (x, y)) in enumerate(zip(scenario.rows, pixels, strict=True))
    ]
    base = chart(data).encode(x=_axis("x"), y=_axis("y"))
    scale = alt.Scale(domain=list(CLASSES), range=list(CLASSES.values()))
    colour = alt.Color("throughput:N", scale=scale, legend=_legend("circle", 2) if has_legend else None)
    shape = alt.Shape("bad:N", scale=alt.Scale(domain=[False, True], range=["circle", "square"]), legend=None)
    line = base.mark_line(color="var(--muted)", strokeWidth=1.5).encode(order="row:Q")
    points = base.mark_point(filled=True, size=size, opacity=1)
    return line + points.encode(color=colour, shape=shape)


def _cells(scenario: Scenario, view: View, sites: list[Point]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Wedges within the map, and their PCIs where there is space, those of the bad rows first."""
    roles = [_role(scenario, cell) for cell in scenario.cells]
    cells, texts = [], []
    for role, cell, site in sorted(
        zip(roles, scenario.cells, sites, strict=True), key=lambda found: list(ROLES).index(found[0])
    ):
        x, y = view.pixel(site)
        if not view.holds((x, y)):
            continue
        azimuth = (cell.azimuth + cell.digital_azimuth) % 360
        cells.append({"x": x, "y": y, "azimuth": azimuth, "role": role})
        place = view.place(str(cell.pci), (x, y), azimuth, WEDGE + 10)
        if place is not None:
            texts.append({"x": place[0], "y": place[1], "text": str(cell.pci)})
    return cells[::-1], texts


def _role(scenario: Scenario, cell: Cell) -> str:
    bad = [scenario.rows[i] for i in scenario.bad_rows]
    serving, neighbour, other = ROLES
    if any(scenario.serving(row) is cell for row in bad):
        return serving
    strongest = [scenario.cell(row.neighbours[0].pci, row) for row in bad if row.neighbours]
    return neighbour if any(found is cell for found in strongest) else other


def _row_texts(scenario: Scenario, view: View, pixels: list[Point]) -> list[dict[str, Any]]:
    """Row numbers beside the road; the first, the last and the bad ones take precedence."""
    last = len(pixels) - 1
    order = sorted(range(len(pixels)), key=lambda i: (i not in (0, last), i not in scenario.bad_rows, i))
    bearing = math.degrees(math.atan2(pixels[last][0] - pixels[0][0], pixels[last][1] - pixels[0][1]))
    places = {i: view.place(str(i + 1), pixels[i], bearing + 90, 15) for i in order}
    return [{"x": place[0], "y": place[1], "text": str(i + 1)} for i, place in places.items() if place is not None]


def _links(scenario: Scenario, view: View, pixels: list[Point], sites: list[Point]) -> Iterator[dict[str, Any]]:
    """Lines from each bad row to its serving cell."""
    for i in scenario.bad_rows:
        cell = scenario.serving(scenario.rows[i])
        if cell is not None:
            end = view.pixel(sites[next(c for c, other in enumerate(scenario.cells) if other is cell)])
            yield {**_ends((pixels[i], end)), "kind": "link"}


def _scale_bar(view: View) -> tuple[tuple[Point, Point], str, Point]:
    """A scale bar of a round length, at most a third of the map, in its corner."""
    longest = view.metres_per_pixel * SIZE / 3
    power = 10 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    words = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    end = 6 + length / view.metres_per_pixel
    text = (6 + (7.5 * len(words) + 4) / 2, 18.0)
    view.boxes.append((0, 0, max(end, text[0] + 30), 28))
    return ((6.0, 6.0), (end, 6.0)), words, text


def _class(throughput: float) -> str:
    return list(CLASSES)[min(int(throughput // 300), 3)]


def _metres(origin: Row, place: Row | Cell) -> Point:
    """East and north of the origin, on a plane."""
    east = (place.longitude - origin.longitude + 180) % 360 - 180
    return east * METRES * math.cos(math.radians(origin.latitude)), (place.latitude - origin.latitude) * METRES


def _ends(line: tuple[Point, Point]) -> dict[str, float]:
    return {"x": line[0][0], "y": line[0][1], "x2": line[1][0], "y2": line[1][1]}


def chart(values: Sequence[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.Data(values=tuple(values)))


def _axis(name: str) -> Any:
    kind = alt.X if name == "x" else alt.Y
    return kind(f"{name}:Q", axis=None, scale=alt.Scale(domain=[0, SIZE], nice=False, zero=False))


def _legend(symbol: str, columns: int) -> alt.Legend:
    sides = {"orient": "bottom", "direction": "vertical", "columns": columns, "labelLimit": 280}
    return alt.Legend(title=None, symbolType=symbol, symbolOpacity=1, **sides)
