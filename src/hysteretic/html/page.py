"""A template, values and Altair charts as one HTML file that works without a network.

    save_page(path, "html/problem.html", title="One problem", charts=[...], ...)

A template extends html/base.html, and may have a stylesheet and a script of its own beside it (NAME.css, NAME.js).
Everything a template prints is escaped unless it is Markup, with control characters made visible. The page's policy
allows its own scripts, by their hashes, and no request. `{{ chart(...) }}` puts an Altair chart on the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import vl_convert
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hysteretic.common.errors import UsageError
from hysteretic.common.files import write_text
from hysteretic.html import text, theme
from hysteretic.tasks.task import prompt_parts

ROOT = Path(__file__).parents[1]
WIDTHS = range(22, 71, 6)
"""The steps, in rem, of the width that a table may need."""


def save_page(path: Path, template: str, title: str, **values: Any) -> None:
    """Write the file. Raises UsageError if that fails."""
    page = render(template, title, **values)
    try:
        write_text(path, page)
    except OSError as error:
        raise UsageError(f"Cannot write the page {path} ({error.strerror}); give another file.") from error


def render(template: str, title: str, **values: Any) -> str:
    """The page as text. See the module's docstring for what a template can use."""
    specs: list[dict[str, Any]] = []

    def chart(altair_chart: Any, **attributes: str) -> Markup:
        """A frame that the script draws the chart in, as wide as its parent."""
        specs.append(_spec(altair_chart))
        given = "".join(f' {name}="{Markup.escape(text.visible(value))}"' for name, value in attributes.items())
        return Markup(f'<div class="chart" data-chart="{len(specs) - 1}"{given}></div>')

    def data() -> Markup:
        """The charts so far, as JSON that no HTML parser can mistake for a tag."""
        return Markup(json.dumps(specs, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))

    own = ROOT / template
    script = "".join(_read(file) for file in (ROOT / "html/base.js", own.with_suffix(".js")))
    style = theme.stylesheet() + "".join(_read(file) for file in (ROOT / "html/base.css", own.with_suffix(".css")))
    page = _environment().get_template(template)
    return page.render(
        title=title,
        policy=_policy(vega(), script),
        style=Markup(style + _narrow_tables()),
        chart=chart,
        data=data,
        library=Markup(vega()),
        script=Markup(script),
        **values,
    )


def small(*lines: object) -> Markup:
    """A table cell with several lines, all but the first in small print; None is left out."""
    first, *rest = (
        Markup.escape(text.visible(line)) if not isinstance(line, Markup) else line
        for line in lines
        if line is not None
    )
    return Markup().join([first, *(Markup("<small>{}</small>").format(line) for line in rest)])


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(ROOT),
        autoescape=True,
        extensions=["jinja2.ext.do"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    made.filters |= {
        name: getattr(text, name) for name in ("number", "interval", "rate", "change", "probability", "shorten")
    }
    made.globals |= {"fitting_width": _fitting_width, "prompt_parts": prompt_parts, "small": small}
    return made


def _finalize(value: object) -> object:
    """The text of a value; Jinja then escapes it unless it is Markup."""
    return value if isinstance(value, Markup) else "" if value is None else text.visible(value)


def _fitting_width(rem: int) -> int:
    return next((wide for wide in WIDTHS if wide >= rem), WIDTHS[-1])


def _narrow_tables() -> str:
    """Rules that show each row as a block if a table's columns do not fit side by side."""
    rows = _read(ROOT / "html/narrow_table.css")
    boxes = "\n".join(f"@container (max-width: {wide - 0.01}rem) {{ .fits-{wide} {{ {rows} }} }}" for wide in WIDTHS)
    return f"@media screen {{\n{boxes}\n}}\n"


def _spec(chart: Any) -> dict[str, Any]:
    """Vega-Lite's JSON, in the page's theme; a single chart without a width is as wide as its frame."""
    spec: dict[str, Any] = chart.to_dict(validate=False)  # validation takes seconds
    own = spec.pop("config", {})
    if own == {"view": {"continuousWidth": 300, "continuousHeight": 300}}:  # what altair adds to every chart
        own = {}
    spec["config"] = theme.chart_config(theme.VARIABLES) | {"aria": False} | own  # frames say what charts show
    is_single = not any(key in spec for key in ("hconcat", "vconcat", "concat", "facet", "repeat"))
    if is_single and "width" not in spec:
        spec |= {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    return spec


def _policy(*scripts: str) -> str:
    """Content-Security-Policy: these scripts by their hashes, inline styles, no requests."""
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script; bundling takes seconds."""
    return str(vl_convert.javascript_bundle())  # type: ignore[call-arg]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
