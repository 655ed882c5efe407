"""What does a comparison say, apart from its charts? The page's parts as plain HTML, readable without a script."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hysteretic.compare.figures import (
    VERDICTS,
    Results,
    arm_colours,
    arm_dashes,
    curve_note,
    label,
    panel_title,
    percent,
)
from hysteretic.compare.verdicts import headline
from hysteretic.html.markup import (
    NONE,
    Markup,
    interval,
    items,
    lines,
    markup,
    number,
    probability,
    rate,
    share,
    shorten,
    table,
    tag,
    true_minus,
)
from hysteretic.statistics import FEWEST_SEEDS

LONGEST_ERROR = 4_000

_BOXES = {
    "better": "Better than {}",
    "cannot tell": "Cannot tell from {}",
    "worse": "Worse than {}",
    "identical": "Identical to {}",
    "too few seeds": "Too few seeds",
}
_ALWAYS = ("better", "cannot tell", "worse")
"""Boxes that are shown when they are empty too."""


def subtitle(results: Results) -> Markup:
    progress = results["progress"]
    runs = f"{progress['finished']} of {progress['planned']} runs finished"
    failed = f", {progress['failed']} failed" if progress["failed"] else ""
    parts = [results["task"], f"model {results['model']}", results["device"], runs + failed, _day(results["created"])]
    return tag("p", *(tag("span", part) for part in parts if part), class_="facts")


def verdict(results: Results) -> Markup:
    """The sentences, and under them who is better, worse, or neither, by sign and word and place."""
    sentences = results["verdicts"] or ["There is no verdict: no two arms have finished on the same seeds yet."]
    names = [arm["name"] for arm in results["arms"]]
    first, *others = (true_minus(sentence, names) for sentence in sentences)
    heads = [true_minus(headline(pair), names) for pair in results["pairs"]]
    head = max((text for text in heads if first.startswith(text)), default=first, key=len)
    lead = tag("p", tag("b", head), first.removeprefix(head), class_="lead")
    said = markup(lead, items(others, "sentences") if others else None)
    pairs, baseline = against_baseline(results, results["primary"]), results["baseline"]
    boxes = []
    for kind, sign in VERDICTS.items():
        found = [pair for pair in pairs if pair["verdict"] == kind]
        if pairs and (found or kind in _ALWAYS):
            head = _BOXES[kind].format(baseline)
            rows = [_standing(pair) for pair in found] or [tag("span", "none", class_="none")]
            title = tag("h3", tag("span", sign, class_="sign", aria_hidden="true"), " ", head)
            boxes.append(tag("div", title, items(rows), class_=f"box {kind.replace(' ', '-')}"))
    on = tag("p", f"On the measure chosen beforehand: {label(results, results['primary'])}.", class_="quiet")
    return markup(said, markup(on, tag("div", *boxes, class_="board")) if boxes else None)


def _standing(pair: Mapping[str, Any]) -> Markup:
    bounds = interval(pair["interval"], signed=True)
    return markup(
        tag("b", pair["treatment"]),
        " ",
        tag("span", number(pair["mean_difference"], True), class_="whole"),
        markup(" ", tag("span", f"({bounds})", class_="whole")) if bounds else None,
    )


def against_baseline(results: Results, measure: str) -> list[Mapping[str, Any]]:
    return [p for p in results["pairs"] if p["measure"] == measure and p["baseline"] == results["baseline"]]


def notes(results: Results) -> Markup | None:
    if not results["notes"]:
        return None
    names = [arm["name"] for arm in results["arms"]]
    said = items([true_minus(note, names) for note in results["notes"]])
    return tag("aside", tag("h2", "Before you rely on it", id="cautions"), said, class_="cautions")


def pair_tables(results: Results) -> Markup:
    """One table a measure, the primary one first. Their ids end with the measure's place in the selector."""
    named = measures_of_pairs(results)
    return markup(*(_pair_table(results, measure, i) for i, measure in enumerate(named)))


def measures_of_pairs(results: Results) -> list[str]:
    """Measures that a pair is compared on, the primary one first, then in the order of `measures`."""
    found = dict.fromkeys(pair["measure"] for pair in results["pairs"])
    order = [results["primary"], *results["measures"], *found]
    return [measure for measure in dict.fromkeys(order) if measure in found]


def _pair_table(results: Results, measure: str, place: int) -> Markup:
    """Arms against the baseline, and in a second table against each other."""
    name, about = label(results, measure), _about(results, measure)
    header = ["Difference", "Relative", "P(better)", "p", "Seeds"]
    first = against_baseline(results, measure)
    rest = [p for p in results["pairs"] if p["measure"] == measure and p["baseline"] != results["baseline"]]
    parts = [
        table(f"{name}: difference from {results['baseline']}", ["Arm", *header], [_pair_row(p, False) for p in first])
        if first
        else None,
        tag("p", about, class_="quiet"),
        tag(
            "details",
            tag("summary", f"The other {len(rest)} pairs" if len(rest) > 1 else "The other pair"),
            table(f"{name}: differences among the others", ["Arms", *header], [_pair_row(p, True) for p in rest]),
        )
        if rest
        else None,
    ]
    return tag("div", *parts, class_="pairs", id=f"pairs{place}")


def _about(results: Results, measure: str) -> str:
    """What a measure is, as a sentence; of one up to a budget, how much that was."""
    text = results["measures"].get(measure, {}).get("description", "").rstrip(".")
    budget = results.get("budgets", {}).get(measure)
    if budget:
        text += f", here {number(budget['budget'])} (the median run took {number(budget['median_total'])})"
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _pair_row(pair: Mapping[str, Any], name_both: bool) -> list[object]:
    against = tag("small", f"against {pair['baseline']}") if name_both else None
    more = pair["seeds_to_tell"]
    return [
        markup(pair["treatment"], against, tag("small", badge(pair["verdict"]))),
        lines(number(pair["mean_difference"], True), interval(pair["interval"], True)),
        lines(share(pair["relative_gain"]), interval(pair["relative_interval"], percent=True)),
        _two_digits(pair["probability_of_improvement"] if pair["seeds"] >= FEWEST_SEEDS else None),
        lines(probability(pair["p"]), f"Holm {probability(pair['p_holm'])}"),
        lines(pair["seeds"], f"{more} to tell" if more else None),
    ]


def _two_digits(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"


def badge(kind: str) -> Markup:
    sign = tag("span", VERDICTS[kind], class_="sign", aria_hidden="true")
    return tag("span", sign, " ", kind, class_=f"badge {kind.replace(' ', '-')}")


def summary(results: Results) -> Markup:
    found = {(line["arm"], line["measure"]): line for line in results["summary"]}
    measures = [measure for measure in results["measures"] if any(key[1] == measure for key in found)]
    if not measures:
        return tag("p", "No arm has a finished run yet, so there is nothing to sum up.")
    rows = []
    for arm in results["arms"]:
        cells = [found.get((arm["name"], measure)) for measure in measures]
        seeds = sorted({cell["seeds"] for cell in cells if cell})
        count = " to ".join(dict.fromkeys(str(n) for n in (seeds[0], seeds[-1]))) if seeds else "0"
        filled = [lines(number(c["mean"]), interval(c["interval"])) if c else NONE for c in cells]
        rows.append([arm["name"], *filled, count])
    header = ["Arm", *(label(results, measure) for measure in measures), "Seeds"]
    return table(f"Mean over seeds, with {percent(results['confidence'])} intervals", header, rows)


def swatch(results: Results, arm: int) -> Markup:
    """The line of an arm as the charts draw it."""
    dash = " ".join(str(n) for n in arm_dashes(results)[arm])
    stroke = f"var(--{arm_colours(results)[arm]})"
    line = tag("line", x1=1, x2=37, y1=6, y2=6, stroke=stroke, stroke_width="2.5", stroke_dasharray=dash)
    return tag("svg", line, class_="swatch", width=38, height=12, viewBox="0 0 38 12", aria_hidden="true")


def switches(results: Results) -> Markup:
    """A checkbox an arm, and one for the intervals; they drive every chart."""
    boxes = [
        tag(
            "label", tag("input", type="checkbox", checked="", data_arm=i), swatch(results, i), tag("span", arm["name"])
        )
        for i, arm in enumerate(results["arms"])
    ]
    bands = tag("label", tag("input", type="checkbox", checked="", id="bands"), tag("span", "intervals"))
    legend = tag("legend", "Arms shown in all charts")
    return tag("fieldset", legend, *boxes, bands, class_="switches")


def panel(results: Results, panel: Mapping[str, Any], place: int) -> Markup:
    """A thinned panel's frame, and in words what its chart shows."""
    names = [arm["name"] for arm in results["arms"]]
    ends = []
    for curve in panel["curves"]:
        known = [value for value in curve["mean"] if value is not None]
        if known:
            ends.append(f"{names[curve['arm']]} {number(known[0])} to {number(known[-1])}")
    words = f"First to last value: {'; '.join(ends)}." if ends else "No values."
    about = f"{panel_title(panel)}. Arrow keys read the values."
    chart = tag(
        "div",
        class_="chart",
        id=f"chart{place}",
        tabindex=0,
        role="img",
        aria_label=about,
        aria_describedby=f"sum{place}",
    )
    head = markup(tag("h3", panel_title(panel)), tag("p", curve_note(results, panel), class_="quiet"))
    return tag("figure", head, chart, tag("figcaption", words, id=f"sum{place}", class_="summary"), class_="panel")


def arm_settings(results: Results) -> Markup:
    rows = [
        [
            arm["name"],
            tag("div", arm["objective"], class_="wrap"),
            rate(arm["learning_rate"]),
            _tuning(arm),
            _key_values(arm["settings"]),
        ]
        for arm in results["arms"]
    ]
    header = ["Arm", "Objective", "Learning rate", "Rates tried, with their means", "Own settings"]
    return table("What each arm ran with", header, rows, width=64)


def _tuning(arm: Mapping[str, Any]) -> Markup:
    tuning = arm["tuning"]
    if not tuning:
        return tag("span", "not tuned", class_="quiet")
    tried = [
        tag("b" if line["learning_rate"] == arm["learning_rate"] else "span", f"{rate(line['learning_rate'])}: {mean}")
        for line, mean in ((line, number(line["mean"])) for line in tuning["rates"])
    ]
    edge = tag("small", "the best rate is at the edge of the grid") if tuning["at_edge"] else None
    return markup(items(tried, "plain"), tag("small", f"on seeds {', '.join(map(str, tuning['seeds']))}"), edge)


def _key_values(settings: Mapping[str, Any]) -> Markup:
    pairs = [markup(tag("dt", key), tag("dd", _written(value))) for key, value in settings.items()]
    return tag("dl", *pairs, class_="values") if pairs else tag("span", "none", class_="quiet")


def _written(value: object) -> str:
    return shorten(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), LONGEST_ERROR)


def common(results: Results) -> Markup:
    """Settings, versions and sources that all runs share."""
    many = len(results["source_sha256"]) > 1
    sources = f"source, {len(results['source_sha256'])} versions" if many else "source"
    versions = {**results["versions"], "device": results["device"], sources: ", ".join(results["source_sha256"])}
    both = {"Settings common to all runs": results["settings"], "Versions and device": versions}
    return markup(*(tag("details", tag("summary", name), _key_values(values)) for name, values in both.items()))


def runs(results: Results) -> Markup:
    errors = [
        tag(
            "details",
            tag("summary", f"{run['arm']}, seed {run['seed']} failed"),
            tag("pre", shorten(run["error"] or "No error was recorded.", LONGEST_ERROR, tail=True), dir="auto"),
        )
        for run in results["runs"]
        if run["state"] == "failed"
    ]
    rows = [_run_row(run, results["primary"]) for run in results["runs"]]
    header = ["Arm", "Seed", "State", label(results, results["primary"]), "Updates", "Tokens", "Seconds", "Folder"]
    if not rows:
        return tag("p", "No run is recorded.")
    every = tag("details", tag("summary", f"All {len(rows)} runs"), table("Runs", header, rows))
    return markup(*errors, every)


def _run_row(run: Mapping[str, Any], primary: str) -> Sequence[object]:
    sign = {"finished": "✓", "failed": "✕"}.get(run["state"], "…")
    amounts = [f"{run[key] or 0:,.0f}" for key in ("updates", "tokens", "seconds")]
    value = number(run["measures"].get(primary))
    return [run["arm"], run["seed"], f"{sign} {run['state']}", value, *amounts, tag("code", run["folder"])]


def _day(created: str) -> str:
    return created[:16].replace("T", " ")
