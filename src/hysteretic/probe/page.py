"""The page of a probe: the verdict, the table, curves over group sizes, and sample responses with their rewards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt

from hysteretic.html import page
from hysteretic.html.theme import VARIABLES, nearest_rule
from hysteretic.probe.summary import HEADER, Record, changes, headline, notes, rows, sentences

COLOURS = (VARIABLES["arm1"], VARIABLES["arm2"])
HEIGHT = 240


def save_page(record: Record, path: Path) -> None:
    """Write the page: one HTML file that works offline."""
    page.save_page(
        path,
        "probe/page.html",
        title=f"Will {Path(record['model']).name} start learning on {Path(record['task']).name}?",
        headline=headline(record),
        changes=changes(record),
        sentences=sentences(record),
        caption=f"Groups of each size in a batch of {record['prompts_per_batch']} prompts",
        header=HEADER,
        rows=rows(record),
        notes=notes(record),
        charts=_charts(record),
        examples=[{**each, "prompt": prompt_words(each["prompt"])} for each in record["examples"]],
    )


def prompt_words(prompt: str | list[dict[str, str]]) -> str:
    """A prompt as plain text, with each message's role before it."""
    if isinstance(prompt, str):
        return prompt
    return "".join(f"[{message['role']}] {message['content']}\n" for message in prompt) + "[response] "


def _charts(record: Record) -> list[alt.LayerChart]:
    """Curves over group sizes; alpha and cost are left out if no group is informative."""
    curve = [
        {
            "G": row["group_size"],
            "silent": row["silent"]["value"],
            "low": row["silent"]["low"],
            "high": row["silent"]["high"],
            "alpha": row["alpha"],
            "tokens": row["tokens_needed"],
            "from": "fitted distribution" if row["is_extrapolated"] else "samples",
        }
        for row in record["curve"]
    ]
    base = alt.Chart(alt.Data(values=tuple(curve))).encode(
        x=alt.X("G:Q", title="Group size", scale=alt.Scale(type="log", base=2, nice=False)),
        color=alt.value(COLOURS[0]),
    )
    percents, legend = alt.Axis(format="%"), alt.Legend(title=None, orient="bottom", symbolSize=900)
    dash = alt.StrokeDash("from:N", sort=["samples", "fitted distribution"], legend=legend)

    def line(name: str, title: str, number: str = ".3g", **options: Any) -> alt.LayerChart:
        y = alt.Y(f"{name}:Q", title=None, **options)
        tooltip = [
            alt.Tooltip("G:Q", title="Group size"),
            alt.Tooltip(f"{name}:Q", title=title, format=number),
            alt.Tooltip("from:N", title="From"),
        ]
        drawn = base.mark_line(strokeWidth=2.5).encode(y=y, strokeDash=dash)
        return alt.layer(drawn, nearest_rule(base, "G", tooltip)).properties(title=title, height=HEIGHT)

    groups = record["informative"] * record["prompts_per_batch"]
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=None, axis=percents), y2="high:Q")
    silent = line("silent", "Expected fraction of silent groups", ".1%", axis=percents)
    charts = [alt.layer(band, silent).properties(title=silent.title, height=HEIGHT), _problems(record)]
    if any(row["alpha"] is not None for row in curve):
        charts.append(line("alpha", "Initial alpha of A-HPO", scale=alt.Scale(domain=[0, 1])))
        charts.append(line("tokens", f"Tokens for {groups:g} informative groups", axis=alt.Axis(format="~s")))
    return charts


def _problems(record: Record) -> alt.LayerChart:
    """Problems by number of successes, with the fit; by mean reward if rewards have more than two values."""
    if "counts" not in record:
        means = [{"mean": sum(rewards) / len(rewards)} for rewards in record["rewards"].values()]
        chart = alt.Chart(alt.Data(values=tuple(means))).mark_bar(color=COLOURS[0])
        x = alt.X("mean:Q", bin=alt.Bin(maxbins=20), title="Mean reward of a problem")
        return chart.encode(x=x, y=alt.Y("count()", title=None)).properties(
            title="Problems by mean reward", height=HEIGHT
        )
    pairs = zip(record["counts"]["problems"], record["counts"]["fitted"], strict=True)
    values = [{"c": c, "seen": seen, "fit": fitted} for c, (seen, fitted) in enumerate(pairs)]
    base = alt.Chart(alt.Data(values=tuple(values))).encode(
        x=alt.X("c:O", title=f"Successes of {record['samples']}", axis=alt.Axis(labelAngle=0))
    )
    tips = [
        alt.Tooltip("c:O", title="Successes"),
        alt.Tooltip("seen:Q", title="Problems"),
        alt.Tooltip("fit:Q", title="Fitted", format=".1f"),
    ]
    seen = base.mark_bar(color=COLOURS[0], opacity=0.5).encode(y=alt.Y("seen:Q", title=None), tooltip=tips)
    fitted = base.mark_line(color=COLOURS[1], point=alt.OverlayMarkDef(color=COLOURS[1])).encode(y="fit:Q")
    title = alt.Title("Problems by successes", subtitle="bars: counted, line: beta-binomial fit")
    return (seen + fitted).properties(title=title, height=HEIGHT)
