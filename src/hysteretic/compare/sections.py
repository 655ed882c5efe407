"""The contents of a comparison's page, apart from its charts: plain values for report.html."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from hysteretic.compare.charts import SIGNS, Results, label
from hysteretic.compare.verdicts import headline
from hysteretic.html.page import small
from hysteretic.html.text import NONE, interval, number, shorten, true_minus

LONGEST_SETTING = 4_000

_BOXES = {
    "better": "Better than {}",
    "cannot tell": "No clear difference from {}",
    "worse": "Worse than {}",
    "identical": "Identical to {}",
    "same": "Within the margin of {}",
    "too few seeds": "Too few seeds",
}
_ALWAYS = ("better", "cannot tell", "worse")
"""Boxes that are shown even if empty."""


def facts(results: Results) -> list[str]:
    """What was compared, its progress, and when the results were written."""
    progress = results["progress"]
    runs = f"{progress['finished']} of {progress['planned']} runs finished"
    failed = f", {progress['failed']} failed" if progress["failed"] else ""
    created = results["created"][:16].replace("T", " ")
    parts = [results["task"], f"model {results['model']}", results["device"], runs + failed, created]
    return [part for part in parts if part]


def lead(results: Results) -> tuple[str, str, list[str]]:
    """The first verdict, split after its headline, and the other verdicts."""
    sentences = results["verdicts"] or ["No verdict yet: no two arms have finished on the same seed."]
    first, *others = (in_page(results, sentence) for sentence in sentences)
    heads = [in_page(results, headline(pair)) for pair in results["pairs"]]
    head = max((text for text in heads if first.startswith(text)), default=first, key=len)
    return head, first.removeprefix(head), others


def boxes(results: Results) -> list[dict[str, Any]]:
    """Arms that are better, worse or neither on the primary measure."""
    pairs = against_baseline(results, results["primary"])
    found = {kind: [pair for pair in pairs if pair["verdict"] == kind] for kind in SIGNS}
    return [
        {
            "class": kind.replace(" ", "-"),
            "sign": sign,
            "head": _BOXES[kind].format(results["baseline"]),
            "pairs": found[kind],
        }
        for kind, sign in SIGNS.items()
        if pairs and (found[kind] or kind in _ALWAYS)
    ]


def in_page(results: Results, sentence: str) -> str:
    """A sentence with real minus signs, except in the names of arms."""
    return true_minus(sentence, [arm["name"] for arm in results["arms"]])


def against_baseline(results: Results, measure: str) -> list[Mapping[str, Any]]:
    return [p for p in results["pairs"] if p["measure"] == measure and p["baseline"] == results["baseline"]]


def pair_tables(results: Results) -> list[dict[str, Any]]:
    """By measure, the primary one first: arms against the baseline, and the other pairs."""
    found = dict.fromkeys(pair["measure"] for pair in results["pairs"])
    order = dict.fromkeys([results["primary"], *results["measures"], *found])
    return [
        {
            "measure": measure,
            "label": label(results, measure),
            "about": _about(results, measure),
            "against_baseline": against_baseline(results, measure),
            "others": [p for p in results["pairs"] if p["measure"] == measure and p["baseline"] != results["baseline"]],
        }
        for measure in order
        if measure in found
    ]


def _about(results: Results, measure: str) -> str:
    """A measure's description as a sentence, with its budget where it has one."""
    text = results["measures"].get(measure, {}).get("description", "").rstrip(".")
    budget = results.get("budgets", {}).get(measure)
    if budget:
        text += f", here {number(budget['budget'])} (the median run took {number(budget['median_total'])})"
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def summary(results: Results) -> list[list[str | Markup]]:
    """Header and rows: every arm's mean and interval on every measure; empty without a finished run."""
    found = {(line["arm"], line["measure"]): line for line in results["summary"]}
    measures = [measure for measure in results["measures"] if any(key[1] == measure for key in found)]
    if not measures:
        return []
    rows: list[list[str | Markup]] = [["Arm", *(label(results, measure) for measure in measures), "Seeds"]]
    for arm in results["arms"]:
        cells = [found.get((arm["name"], measure)) for measure in measures]
        seeds = sorted({cell["seeds"] for cell in cells if cell})
        count = " to ".join(dict.fromkeys(str(n) for n in (seeds[0], seeds[-1]))) if seeds else "0"
        filled = [small(number(c["mean"]), interval(c["interval"])) if c else NONE for c in cells]
        rows.append([arm["name"], *filled, count])
    return rows


def spread(results: Results) -> list[list[str]]:
    """Header and rows: what moves the held-out pass@1 of each arm; empty where it is not known."""
    rows = results.get("spread", [])
    header = ["Arm", "Another training seed", "Other samples of the evaluation", "Other problems"]
    parts = ("training", "evaluation", "problems")
    return [header, *([row["arm"], *(number(row[part]) for part in parts)] for row in rows)] if rows else []


def shared_settings(results: Results) -> dict[str, Mapping[str, Any]]:
    """Settings, versions and sources that all runs share."""
    many = len(results["source_sha256"]) > 1
    sources = f"source, {len(results['source_sha256'])} versions" if many else "source"
    versions = {**results["versions"], "device": results["device"], sources: ", ".join(results["source_sha256"])}
    return {"Settings common to all runs": results["settings"], "Versions and device": versions}


def written(value: object) -> str:
    """The value of a setting."""
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), LONGEST_SETTING)


def runs(results: Results) -> list[Sequence[object]]:
    """Header and one row per run; empty without runs."""
    if not results["runs"]:
        return []
    primary = results["primary"]
    header = ["Arm", "Seed", "State", label(results, primary), "Updates", "Tokens", "Seconds", "Folder"]
    return [header, *(_run_row(run, primary) for run in results["runs"])]


def _run_row(run: Mapping[str, Any], primary: str) -> Sequence[object]:
    sign = {"finished": "✓", "failed": "✕"}.get(run["state"], "…")
    amounts = [f"{run[key] or 0:,.0f}" for key in ("updates", "tokens", "seconds")]
    value = number(run["measures"].get(primary))
    return [run["arm"], run["seed"], f"{sign} {run['state']}", value, *amounts, _code(run["folder"])]


def _code(text: str) -> Markup:
    return Markup("<code>{}</code>").format(text)
