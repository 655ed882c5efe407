"""How is a comparison handed on? As one HTML file: the verdict, tables, charts and samples, readable without a network.

Without a script everything but the charts is there, and the charts are in words. The policy in the page's head lets it
run the two scripts that are written here, known by their hashes, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import altair as alt
import vl_convert
import yaml

from hysteretic.common.files import write_text
from hysteretic.compare import sections
from hysteretic.compare.figures import (
    DARK,
    LIGHT,
    VARIABLES,
    Results,
    Rows,
    arm_colours,
    curve_chart,
    curve_rows,
    finish,
    forest_chart,
    label,
    pair_rows,
    percent,
    thin,
)
from hysteretic.compare.samples import samples
from hysteretic.html.markup import WIDTHS, Markup, markup, tag, visible


def save_page(results: Results, path: Path) -> None:
    """Writes the page of a comparison (results.json, schema 1)."""
    library, script = vega(), read("page.js")
    panels = thin(results)
    parts = {
        "policy": policy(library, script),
        "title": markup(results["title"]),
        "style": colours() + read("page.css") + narrow_tables(),
        "subtitle": sections.subtitle(results),
        "verdict": sections.verdict(results),
        "notes": sections.notes(results) or "",
        "differences": _differences(results),
        "summary": sections.summary(results),
        "curves": _curves(results, panels),
        "arm_settings": sections.arm_settings(results),
        "common": sections.common(results),
        "runs": sections.runs(results),
        "responses": samples(results),
        "repeat": _repeat(results),
        "data": _data(results, panels),
        "library": library,
        "script": script,
    }
    write_text(path, Template(read("page.html")).substitute(parts))


def _differences(results: Results) -> Markup:
    """Selector, chart and tables of the paired differences."""
    if not results["pairs"]:
        return tag("p", "No two arms have finished on the same seeds, so there is no difference to show yet.")
    options = [
        tag("option", label(results, measure), value=i) for i, measure in enumerate(sections.measures_of_pairs(results))
    ]
    select = tag("label", "Measure ", tag("select", *options, id="measure"), class_="needs-script")
    chart = tag(
        "div",
        class_="chart forest",
        id="forest",
        role="img",
        aria_label="Paired differences with their intervals; the same figures are in the table",
    )
    words = (
        f"First arm minus second, paired by seed, with {percent(results['confidence'])} intervals of each pair alone. "
        "Holm: p, corrected for the number of pairs; the verdict goes by it. P(better): how often a run of the first "
        "arm beats one of the second. To tell: about how many seeds in all would tell such a difference from none."
    )
    both = tag(
        "div",
        tag("figure", chart, class_="panel") if pair_rows(results) else None,
        tag("div", sections.pair_tables(results)),
        class_="beside",
    )
    return markup(select, both, tag("p", words, class_="quiet"))


def _curves(results: Results, panels: Rows) -> Markup:
    """Rewards large and first, then what moved them."""
    if not panels:
        return tag("p", "No run has recorded a rollout yet, so there are no curves.")
    frames = [(panel, sections.panel(results, panel, i)) for i, panel in enumerate(panels)]
    rewards = [frame for panel, frame in frames if panel["key"] == "reward"]
    others = [frame for panel, frame in frames if panel["key"] != "reward"]
    silent = tag("noscript", tag("p", "The charts need a script; their first and last values are in words below."))
    return markup(
        silent,
        sections.switches(results),
        tag("div", *rewards, class_="grid rewards"),
        tag("div", *others, class_="grid causes"),
    )


def _repeat(results: Results) -> Markup:
    button = tag("button", "Copy", type="button", id="copy", class_="needs-script")
    said = tag("span", id="copied", role="status", class_="quiet")
    where = "In the directory where the comparison was started, because its paths are relative to that one:"
    code = tag("pre", tag("code", results["command"], id="command"))
    command = markup(tag("p", where), code, tag("p", button, " ", said))
    if not results.get("comparison"):
        return command
    file = yaml.safe_dump(results["comparison"], sort_keys=False, allow_unicode=True, width=100)
    return markup(command, tag("p", "with this comparison.yaml:"), tag("pre", tag("code", file)))


def _data(results: Results, panels: Rows) -> str:
    """What page.js draws, as JSON that no HTML parser can take for a tag."""
    arms = zip(results["arms"], arm_colours(results), strict=True)
    rows = pair_rows(results)
    specs = {_shape(panel): panel for panel in panels}
    data = {
        "arms": [{"name": visible(arm["name"]), "colour": VARIABLES[colour]} for arm, colour in arms],
        "specs": {shape: _curve_spec(results, panel) for shape, panel in specs.items()},
        "charts": [{"spec": _shape(panel), "x": panel["x"], "curves": panel["curves"]} for panel in panels],
        "forest": _spec(results, forest_chart(results, VARIABLES, alt.Data(values=rows))) if rows else None,
        "measures": sections.measures_of_pairs(results),
    }
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _shape(panel: Mapping[str, Any]) -> str:
    """What a panel's chart depends on besides its data; panels of one shape share a chart."""
    lone = any(row["lone"] for row in curve_rows(panel))
    return f"{panel['x']} {_height(panel)} {'with points' if lone else 'lines'}"


def _height(panel: Mapping[str, Any]) -> int:
    return 320 if panel["key"] == "reward" and panel["x"] == "update" else 210


def _curve_spec(results: Results, panel: Mapping[str, Any]) -> dict[str, Any]:
    return _spec(results, curve_chart(results, panel, VARIABLES, alt.NamedData("curves"), _height(panel)))


def _spec(results: Results, chart: alt.LayerChart) -> dict[str, Any]:
    """A chart as wide as its frame. Silent for screen readers: the frame says what it shows."""
    wide = chart.properties(width="container", autosize=alt.AutoSizeParams(type="fit-x", contains="padding"))
    spec: dict[str, Any] = finish(wide, results, VARIABLES, "transparent").to_dict()
    spec["config"]["aria"] = False
    return spec


def colours() -> str:
    """The names of figures.py as CSS variables. A dark screen has its own; paper is light."""

    def block(colours: Mapping[str, str]) -> str:
        return ":root {" + "".join(f" --{name}: {value};" for name, value in colours.items()) + " }"

    dark = f"@media screen and (prefers-color-scheme: dark) {{ {block(DARK)} :root {{ color-scheme: dark; }} }}"
    return f"{block(LIGHT)}\n{dark}\n"


def narrow_tables() -> str:
    """Where the columns of a table do not fit beside each other, every row of it by itself."""
    rows = read("page_rows.css")
    boxes = "\n".join(f"@container (max-width: {wide - 0.01}rem) {{ .fits-{wide} {{ {rows} }} }}" for wide in WIDTHS)
    return f"@media screen {{\n{boxes}\n}}\n"


def policy(*scripts: str) -> str:
    """Content-Security-Policy: these scripts by their hashes, styles of the page, no request to anywhere."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script: it takes seconds to put together."""
    return str(vl_convert.javascript_bundle())  # type: ignore[call-arg]


def read(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
