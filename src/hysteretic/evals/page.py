"""How is an evaluation handed on? As a page: figures, confusions as pictures, and a few wrong answers to look at."""

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
from hysteretic.html.markup import Markup, items, markup, shorten, table, tag, visible
from hysteretic.html.problem import explained, explanation_markup, pictures, prompt_markup, text_block
from hysteretic.html.sheet import Sheet
from hysteretic.tasks.task import Classifies, Task

MOST_WRONG = 8
"""Wrong answers on the page."""

WIDEST_PICTURE = 24
"""Classes that a confusion is drawn for."""


def save_page(record: Mapping[str, Any], variants: Sequence[Variant], judged: Judged, path: Path) -> None:
    """Writes the page of an evaluation."""
    task = shorten(record["task"], 80)
    who = "are these responses to" if record["model"] is None else f"is {shorten(record['model'], 80)} on"
    sheet = Sheet(f"How good {who} {task}?")
    header, *rows = table_rows(record)
    sheet.add(tag("p", headline(record)), table("Figures", header, rows))
    if agreement := sentences(record):
        sheet.add(items(agreement, "plain"))
    sheet.add(_confusions(sheet, record))
    variant = next(variant for variant in variants if variant.name in judged)
    sheet.add(_wrong(sheet, variant.task, judged[variant.name]))
    sheet.save(path)


def _confusions(sheet: Sheet, record: Mapping[str, Any]) -> Markup | None:
    found = [(g, d, figure["confusion"]) for g, d, figure in sets(record) if "confusion" in figure]
    if not found:
        return None
    titled = [
        (f"{variant}, {decoding}" if "randomised" in record else decoding, counts)
        for variant, decoding, counts in found
    ]
    charts = [
        confusion_chart(counts).properties(title=alt.Title(title.capitalize(), subtitle="expected: row, given: column"))
        for title, counts in titled
        if len(counts["classes"]) <= WIDEST_PICTURE
    ]
    tables = (table(title.capitalize(), *_head_and_body(counts)) for title, counts in titled)
    note = "Responses by the expected answer and the given one; none: no answer. Right ones are framed."
    numbers = tag("details", tag("summary", "The same in numbers"), *tables)
    return markup(tag("h2", "Which is taken for which?"), tag("p", note), sheet.charts(charts), numbers)


def _head_and_body(counts: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    header, *rows = confusion_rows(counts)
    return header, rows


def confusion_chart(counts: Mapping[str, Any]) -> alt.LayerChart:
    """A square for each pair of classes: the darker, the larger its share of the row."""
    header, *_ = confusion_rows(counts)
    columns, classes = header[1:], counts["classes"]
    extra = [counts[name] for name in ("other", "none") if name in columns[len(classes) :]]
    cells = []
    for i, found in enumerate(counts["counts"]):
        line = [*found, *(column[i] for column in extra)]
        for j, count in enumerate(line):
            share = count / max(sum(line), 1)
            cells.append({"row": i, "column": j, "count": count, "share": share, "right": i == j})
    rotated = -90 if max(map(len, classes)) > 4 else 0
    names = [shorten(visible(name), 24) for name in classes], [shorten(visible(name), 24) for name in columns]
    base = alt.Chart(alt.Data(values=cells)).encode(
        x=alt.X("column:O", title=None, axis=_axis(names[1], orient="top", labelAngle=rotated)),
        y=alt.Y("row:O", title=None, axis=_axis(names[0])),
    )
    squares = base.mark_rect(color="var(--arm1)").encode(
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.03, 0.7]), legend=None)
    )
    right = base.transform_filter("datum.right").mark_rect(filled=False, stroke="var(--ink)", strokeWidth=1)
    numbers = base.transform_filter("datum.count > 0").mark_text(fontSize=12).encode(text="count:Q")
    return alt.layer(squares, right, numbers).properties(height=max(28 * len(classes), 56))


def _axis(names: Sequence[str], **more: Any) -> alt.Axis:
    """Places are numbers and names are put on them, so that equal names stay apart."""
    quoted = "[" + ", ".join(_quoted(name) for name in names) + "]"
    return alt.Axis(labelExpr=f"{quoted}[datum.value]", domain=False, ticks=False, labelLimit=110, **more)


def _quoted(name: str) -> str:
    return "'" + name.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ") + "'"


def _wrong(sheet: Sheet, task: Task, judged: Mapping[str, list[Answered]]) -> Markup:
    """Of the first decoding: wrong responses, every class in turn."""
    decoding, rows = next(iter(judged.items()))
    wrong = [(row, place) for row in rows if (place := _first_wrong(row)) is not None]
    title = tag("h2", f"Wrong answers ({decoding})")
    if not wrong:
        return markup(title, tag("p", "No problem has a wrong response."))
    by_class: dict[str | None, list[tuple[Answered, int]]] = defaultdict(list)
    for row, place in wrong:
        by_class[task.class_of(row.problem) if isinstance(task, Classifies) else None].append((row, place))
    in_turn = [found for found in chain(*zip_longest(*by_class.values())) if found is not None][:MOST_WRONG]
    note = f"{len(wrong)} of {len(rows)} problems have a wrong response; shown: {len(in_turn)}."
    return markup(title, tag("p", note), *(_article(sheet, task, row, place) for row, place in in_turn))


def _first_wrong(row: Answered) -> int | None:
    return next((i for i, right in enumerate(row.is_correct) if not right), None)


def _article(sheet: Sheet, task: Task, row: Answered, place: int) -> Markup:
    answer = row.answers[place] if row.answers else None
    given = f"given: {answer}" if answer is not None else "no answer" if row.answers else None
    form = None if row.scores[place].has_format else "not in the form asked for"
    about = "; ".join(part for part in (given, form) if part)
    charts = sheet.charts(pictures(task, row.problem))
    lines = explained(task, row.problem)
    return tag(
        "article",
        tag("h3", shorten(row.problem.id, 200)),
        tag("p", tag("b", "Response"), f" ({shorten(about, 200)})" if about else None),
        text_block(row.responses[place]),
        tag("p", tag("b", "Expected")),
        explanation_markup(lines),
        tag("details", tag("summary", "Picture"), charts) if charts is not None else None,
        tag("details", tag("summary", "Prompt"), prompt_markup(row.problem)),
    )
