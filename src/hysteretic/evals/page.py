"""The page of an evaluation: results, confusion matrices, and a few wrong answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

import altair as alt

from hysteretic.evals.metrics import Answered
from hysteretic.evals.summary import confusion_rows, headline, sentences, sets, table_rows
from hysteretic.evals.variants import Judged, Variant
from hysteretic.html import page
from hysteretic.html.text import shorten, visible
from hysteretic.tasks.task import Classifies, Task, explained, pictures

MOST_WRONG = 8
"""The maximum number of wrong answers on the page."""

WIDEST_PICTURE = 24
"""The maximum number of classes of a confusion matrix that is drawn."""


def save_page(record: Mapping[str, Any], variants: Sequence[Variant], judged: Judged, path: Path) -> None:
    """Write the page of an evaluation."""
    task = shorten(record["task"], 80)
    who = "are these responses to" if record["model"] is None else f"is {shorten(record['model'], 80)} on"
    header, *rows = table_rows(record)
    first = next(variant for variant in variants if variant.name in judged)
    page.save_page(
        path,
        "evals/page.html",
        title=f"How good {who} {task}?",
        headline=headline(record),
        header=header,
        rows=rows,
        agreement=sentences(record),
        confusions=_confusions(record),
        **_wrong(first.task, judged[first.name]),
    )


def _confusions(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for variant, decoding, metrics in sets(record):
        if counts := metrics.get("confusion"):
            title = (f"{variant}, {decoding}" if "randomised" in record else decoding).capitalize()
            heading = alt.Title(title, subtitle="rows: expected, columns: given")
            is_drawn = len(counts["classes"]) <= WIDEST_PICTURE
            chart = confusion_chart(counts).properties(title=heading) if is_drawn else None
            found.append({"title": title, "chart": chart, "table": confusion_rows(counts)})
    return found


def confusion_chart(counts: Mapping[str, Any]) -> alt.LayerChart:
    """A heat map of a confusion matrix, shaded by the fraction of the row."""
    header, *_ = confusion_rows(counts)
    columns, classes = header[1:], counts["classes"]
    extra = [counts[name] for name in ("other", "none") if name in columns[len(classes) :]]
    cells = []
    for i, found in enumerate(counts["counts"]):
        line = [*found, *(column[i] for column in extra)]
        for j, count in enumerate(line):
            fraction = count / max(sum(line), 1)
            cells.append({"row": i, "column": j, "count": count, "fraction": fraction, "right": i == j})
    rotated = -90 if max(map(len, classes)) > 4 else 0
    names = [shorten(visible(name), 24) for name in classes], [shorten(visible(name), 24) for name in columns]
    base = alt.Chart(alt.Data(values=tuple(cells))).encode(
        x=alt.X("column:O", title=None, axis=_axis(names[1], orient="top", labelAngle=rotated)),
        y=alt.Y("row:O", title=None, axis=_axis(names[0])),
    )
    squares = base.mark_rect(color="var(--arm1)").encode(
        opacity=alt.Opacity("fraction:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.7]), legend=None)
    )
    right = base.transform_filter("datum.right").mark_rect(filled=False, stroke="var(--ink)", strokeWidth=1)
    numbers = base.transform_filter("datum.count > 0").mark_text(fontSize=12).encode(text="count:Q")
    return alt.layer(squares, right, numbers).properties(height=max(28 * len(classes), 56))


def _axis(names: Sequence[str], **more: Any) -> alt.Axis:
    """Positions are numbers labelled with names, so that equal names are not merged."""
    quoted = "[" + ", ".join(_quoted(name) for name in names) + "]"
    return alt.Axis(labelExpr=f"{quoted}[datum.value]", domain=False, ticks=False, labelLimit=110, **more)


def _quoted(name: str) -> str:
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ") + "'"


def _wrong(task: Task, judged: Mapping[str, list[Answered]]) -> dict[str, Any]:
    """Wrong responses of the first decoding, taking the classes in turn."""
    decoding, rows = next(iter(judged.items()))
    wrong = [(row, row.is_correct.index(False)) for row in rows if False in row.is_correct]
    by_class: dict[str | None, list[tuple[Answered, int]]] = defaultdict(list)
    for row, place in wrong:
        by_class[task.class_of(row.problem) if isinstance(task, Classifies) else None].append((row, place))
    in_turn = [found for found in chain(*zip_longest(*by_class.values())) if found is not None][:MOST_WRONG]
    shown = [
        {
            "problem": row.problem,
            "about": _about(row, place),
            "response": row.responses[place],
            "lines": explained(task, row.problem),
            "charts": pictures(task, row.problem),
        }
        for row, place in in_turn
    ]
    return {"decoding": decoding, "wrong": shown, "wrong_problems": len(wrong), "problems": len(rows)}


def _about(row: Answered, place: int) -> str:
    """The answer found in a response, and whether its format is right."""
    answer = row.answers[place] if row.answers else None
    given = f"given: {answer}" if answer is not None else "no answer" if row.answers else None
    form = None if row.scores[place].has_format else "wrong format"
    return "; ".join(part for part in (given, form) if part)
