"""Summaries of an evaluation: a record for JSON, and tables and sentences for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hysteretic.common.terminal import text_table
from hysteretic.evals.evaluate import Rate
from hysteretic.evals.metrics import consistency, metrics_by_decoding
from hysteretic.evals.variants import Judged, Variant
from hysteretic.html.text import NONE, visible

Record = Mapping[str, Any]
DECODINGS = ("greedy", "sampled", "given")
WIDEST = 16
"""The maximum number of classes of a confusion matrix that is printed."""


def describe(variants: Sequence[Variant], judged: Judged) -> dict[str, Any]:
    """The metrics by decoding, those of the randomised variant separately, and the consistency of the two.

    {"greedy": {"pass@1": rate, ...}, "sampled": ..., "randomised": {"task": name, "greedy": ...}, "consistency": ...}
    """
    tasks = {variant.name: variant.task for variant in variants}
    record: dict[str, Any] = metrics_by_decoding(tasks["plain"], judged.get("plain", {}))
    if "randomised" in judged:
        other = tasks["randomised"]
        record["randomised"] = {"task": other.name, **metrics_by_decoding(other, judged["randomised"])}
        found = {
            decoding: consistency(rows, judged["randomised"].get(decoding, []))
            for decoding, rows in judged.get("plain", {}).items()
        }
        record["consistency"] = {decoding: rate for decoding, rate in found.items() if rate is not None}
    return record


def sets(record: Record) -> Iterator[tuple[str, str, Record]]:
    """Variant, decoding and metrics of everything that was evaluated."""
    for variant, metrics_of in [("plain", record), ("randomised", record.get("randomised", {}))]:
        for decoding in DECODINGS:
            if decoding in metrics_of:
                yield variant, decoding, metrics_of[decoding]


def headline(record: Record) -> str:
    """What was evaluated."""
    problems = max(figure["pass@1"]["problems"] for _, _, figure in sets(record))
    what = f"model {record['model']}" if record["responses"] is None else f"responses in {record['responses']}"
    return (
        f"{record['task']}, {what}: {problems} problem{'s' * (problems > 1)} of split {record['split']}, seed "
        f"{record['seed']}; 95 % intervals over problems"
    )


def table_rows(record: Record) -> list[list[str]]:
    """A header, and one row per variant and decoding."""
    found = list(sets(record))
    metrics = list(dict.fromkeys(key for _, _, figure in found for key in figure if "@" in key))
    has_variants = "randomised" in record
    has_format = any("format" in figure for _, _, figure in found)
    forms = {"format": "valid format"} if has_format else {}
    header = [*(["variant"] if has_variants else []), "decoding", *metrics, *forms.values(), "responses"]
    rows = [header]
    for variant, decoding, figure in found:
        rates = [str(Rate(**figure[key])) if key in figure else NONE for key in (*metrics, *forms)]
        problems = figure["pass@1"]["problems"]
        rows.append([*([variant] if has_variants else []), decoding, *rates, f"{problems} x {responses(figure)}"])
    return rows


def responses(figure: Record) -> str:
    """Responses per problem; the mean where the numbers differ."""
    counted = figure["responses"] / figure["pass@1"]["problems"]
    return f"{counted:g}" if counted == int(counted) else f"{counted:.1f}"


def sentences(record: Record) -> list[str]:
    """The agreement of the two variants."""
    said = []
    for decoding, found in record.get("consistency", {}).items():
        what = {
            "greedy": "of the problems get the same greedy answer in both variants",
            "sampled": "of the pairs of sampled responses, one per variant, give the same answer",
            "given": "of the pairs of responses, one per variant, give the same answer",
        }[decoding]
        said.append(f"Consistency: {Rate(**found)} {what}, correct or not.")
    return said


def confusion_rows(table: Record) -> list[list[str]]:
    """A header, and one row per class; a dot stands for 0."""
    has_other = any(table["other"])
    header = ["expected", *table["classes"], *(["other"] if has_other else []), "none"]
    rows = [header]
    for i, expected in enumerate(table["classes"]):
        cells = [*table["counts"][i], *([table["other"][i]] if has_other else []), table["none"][i]]
        rows.append([expected, *(str(cell) if cell else "·" for cell in cells)])
    return rows


def as_text(record: Record) -> str:
    """The text for the terminal: the table, the agreement, and the first confusion matrix."""
    parts = [headline(record), "", text_table(table_rows(record))]
    if agreement := sentences(record):
        parts += ["", *agreement]
    variant, decoding, figure = next(sets(record))
    table = figure.get("confusion")
    if table is not None and len(table["classes"]) <= WIDEST:
        where = f"{variant}, {decoding}" if "randomised" in record else decoding
        parts += ["", f"Answers ({where}), by expected answer:", text_table(confusion_rows(table))]
    return visible("\n".join(parts))
