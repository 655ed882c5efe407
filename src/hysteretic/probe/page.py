"""How is a probe shown? As sentences and a table, for the terminal and for a page with curves that works offline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import altair as alt
import vl_convert

from hysteretic.common.files import write_text
from hysteretic.common.terminal import text_table
from hysteretic.compare.figures import FONT, VARIABLES
from hysteretic.compare.page import colours
from hysteretic.html.markup import Markup, items, markup, table, tag, visible

Record = Mapping[str, Any]
HEADER = ("group size", "silent groups", "in 10 batches", "informative", "alpha", "tokens", "verdict")

COLOURS = (VARIABLES["arm1"], VARIABLES["arm2"])
"""Two of those that a report has, for a light screen and a dark one."""


def save_page(record: Record, path: Path) -> None:
    """One HTML file with the verdict, the table and the curves."""
    title = f"Will {Path(record['model']).name} start on {Path(record['task']).name}?"
    caption = f"Groups of each size in a batch of {record['prompts_per_batch']} prompts"
    specs = [_styled(chart).to_dict() for chart in _charts(record)]
    figures = [tag("figure", id=f"chart{i}") for i in range(len(specs))]
    parts = {
        "title": markup(title),
        "colours": colours(),
        "body": markup(
            tag("h1", title),
            tag("p", tag("strong", headline(record))),
            _changes(record),
            *(tag("p", sentence) for sentence in sentences(record)),
            table(caption, HEADER, rows(record)),
            tag("p", notes(record)),
            tag("div", *figures, class_="grid"),
            *_examples(record),
        ),
        "library": vl_convert.javascript_bundle(),  # type: ignore[call-arg]
        "specs": json.dumps(specs, allow_nan=False).replace("<", "\\u003c"),
    }
    write_text(path, Template(_PAGE).substitute(parts))


def _examples(record: Record) -> list[Markup]:
    parts = [tag("h2", "Responses and their rewards")]
    for example in record["examples"]:
        correct = "correct" if example["is_correct"] else "not correct"
        parts.append(tag("p", f"{example['problem']}: reward {example['reward']:g}, {correct}"))
        parts.append(tag("pre", visible(prompt_words(example["prompt"]) + example["response"])))
    return parts


def prompt_words(prompt: str | list[dict[str, str]]) -> str:
    """A prompt as it is read, roles before messages."""
    if isinstance(prompt, str):
        return prompt
    return "".join(f"[{message['role']}] {message['content']}\n" for message in prompt) + "[response] "


def _changes(record: Record) -> Markup | None:
    changes = (record["verdict"] or {}).get("changes", ())
    return markup(tag("p", "What to change, any of:"), items(changes)) if changes else None


# Words.


def headline(record: Record) -> str:
    """The verdict in a sentence or two."""
    verdict, prompts = record["verdict"], record["prompts_per_batch"]
    if verdict is None:
        return (
            f"Cannot tell: rewards have more than two values, and every group size asked is above the "
            f"{record['samples']} samples; give more --samples or smaller --group-sizes."
        )
    chosen = next(row for row in record["curve"] if row["group_size"] == verdict["group_size"])
    groups = {
        "starts": f"groups of {verdict['group_size']}",
        "starts slowly": f"groups of {verdict['group_size']}",
        "will not start": f"groups of up to {verdict['group_size']}",
    }[verdict["word"]]
    empty = chosen["silent"]["value"] ** prompts
    said = (
        f"{verdict['word'].capitalize()}, with {prompts} prompts a batch and {groups}: "
        f"{prompts * chosen['informative']:.1f} informative groups a batch are expected, none in {percent(empty)} of "
        "the batches."
    )
    others = [word for word in verdict["within_interval"] if word != verdict["word"]]
    if others:
        said += f" Within the interval it may also be: {', '.join(others)}. Probe more --problems to tell."
    return said


def sentences(record: Record) -> list[str]:
    """What was sampled, how well it went, and the group size for the wanted share of informative groups."""
    samples, tokens = record["samples"], record["tokens"]
    said = [
        f"{record['problems']} problems of split {record['split']}, {samples} responses each at temperature "
        f"{record['temperature']:g} (sampled by {record['sampled_by']}); prompts of {tokens['prompt']:.0f} tokens, "
        f"responses of {tokens['response']:.0f}."
    ]
    if "success" in record:
        problems = record["counts"]["problems"]
        never, always = (count / record["problems"] for count in (problems[0], problems[-1]))
        said.append(
            f"Success rate {spread(record['success'])}, 95 % over problems; {percent(never)} of the problems were "
            f"never solved, {percent(always)} always."
        )
        if record["success_reward"] not in (1.0, None):
            said.append(
                f"Two rewards were seen, and the higher, {record['success_reward']:g}, is taken for success; correct "
                f"by the task: {spread(record['correct'])}."
            )
    else:
        mean = record["mean_reward"]
        said.append(
            f"Mean reward {mean['value']:.3g} ({mean['low']:.3g} to {mean['high']:.3g}), of {record['reward_values']} "
            f"different values; a group is silent when all its rewards are equal. Correct: "
            f"{spread(record['correct'])}. Groups larger than the {samples} samples are left out: only two values "
            "can be extrapolated."
        )
    wanted, smallest = percent(record["informative"]), record["smallest_group"]
    if smallest is None:
        said.append(f"No group size looked at makes {wanted} of the groups informative.")
    else:
        beyond = ", extrapolated" if smallest > samples else ""
        said.append(f"At least {wanted} of the groups are informative from groups of {smallest} on{beyond}.")
    groups = record["informative"] * record["prompts_per_batch"]
    ways = [
        f"{row['prompts_needed']:,} prompts x {row['group_size']} ({count(row['tokens_needed'])} tokens)"
        for row in _asked(record)
        if row["prompts_needed"] is not None
    ]
    if ways:
        said.append(f"For {groups:g} informative groups a batch, any of: {'; '.join(ways)}.")
    return said


def notes(record: Record) -> str:
    """How to read the table."""
    said = (
        "Silent groups: expected share with its 95 % interval. In 10 batches: 95 % range of the share to be measured, "
        "while the policy is still the one sampled. Informative: responses in groups that are not silent. Alpha: "
        "A-HPO's first, expected successes over failures in informative groups, within 0.1 and 1. Tokens: of a batch, "
        "each prompt once. Starts: at most 1 batch in 20 has no informative group; starts slowly: at most 1 in 2."
    )
    if any(row["is_extrapolated"] for row in _asked(record)):
        said += f" *: above the {record['samples']} samples, from a beta-binomial fitted to the counts."
    return said


def rows(record: Record) -> list[list[str]]:
    """The table's cells under HEADER."""
    return [
        [
            f"{row['group_size']}{'*' if row['is_extrapolated'] else ''}",
            spread(row["silent"]),
            f"{100 * row['measured']['low']:.1f} to {100 * row['measured']['high']:.1f} %",
            f"{row['informative_responses']['value']:,.0f} of {record['prompts_per_batch'] * row['group_size']:,}",
            "-" if row["alpha"] is None else f"{row['alpha']:.2f}",
            count(row["tokens"]),
            row["start"],
        ]
        for row in _asked(record)
    ]


def _asked(record: Record) -> list[dict[str, Any]]:
    return [row for row in record["curve"] if row["group_size"] in record["group_sizes"]]


def percent(share: float) -> str:
    """A share that is not 0 or 1 is not shown as 0 or 100 %."""
    if 0 < share < 0.0005 or 0.9995 < share < 1:
        return "less than 0.1 %" if share < 0.5 else "over 99.9 %"
    return f"{100 * share:.0f} %" if share in (0, 1) or 0.1 <= share <= 0.9 else f"{100 * share:.1f} %"


def spread(estimate: Mapping[str, float]) -> str:
    low, high = 100 * estimate["low"], 100 * estimate["high"]
    return f"{100 * estimate['value']:.1f} % ({low:.1f} to {high:.1f})"


def count(tokens: float) -> str:
    return f"{tokens / 1e6:.1f}M" if tokens >= 1e6 else f"{tokens / 1e3:.1f}k" if tokens >= 1e4 else f"{tokens:,.0f}"


def as_text(record: Record) -> str:
    """For the terminal."""
    changes = (record["verdict"] or {}).get("changes", ())
    table_ = text_table([HEADER, *rows(record)]) if rows(record) else ""
    parts = [*sentences(record), "", table_, "", notes(record), "", headline(record)]
    if changes:
        parts += ["What to change, any of:", *(f"  - {change}" for change in changes)]
    return visible("\n".join(parts))


# Curves.


def _charts(record: Record) -> list[alt.LayerChart]:
    """Those that have something to show: without an informative group there is neither an alpha nor a price."""
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
    base = alt.Chart(alt.Data(values=curve)).encode(
        x=alt.X("G:Q", title="Group size", scale=alt.Scale(type="log", base=2, nice=False)),
        color=alt.value(COLOURS[0]),
    )
    percents, legend = alt.Axis(format="%"), alt.Legend(title=None, orient="bottom")
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", title=None, axis=percents), y2="high:Q")

    def line(name: str, title: str, **options: Any) -> alt.Chart:
        origin = alt.StrokeDash("from:N", sort=["samples", "fitted distribution"], legend=legend)
        tips = ["G:Q", alt.Tooltip(f"{name}:Q", format=".3g"), "from:N"]
        y = alt.Y(f"{name}:Q", title=None, **options)
        return base.mark_line(strokeWidth=2.5).encode(y=y, strokeDash=origin, tooltip=tips).properties(title=title)

    groups = record["informative"] * record["prompts_per_batch"]
    silent = (band + line("silent", "", axis=percents)).properties(title="Expected share of silent groups")
    charts = [silent, _problems(record)]
    if any(row["alpha"] is not None for row in curve):
        charts.append(line("alpha", "First alpha of A-HPO", scale=alt.Scale(domain=[0, 1])))
        charts.append(line("tokens", f"Tokens for {groups:g} informative groups", axis=alt.Axis(format="~s")))
    return charts


def _styled(chart: alt.LayerChart) -> alt.LayerChart:
    """As wide as its frame, in the page's colours."""
    ink, muted, line = (VARIABLES[name] for name in ("ink", "muted", "line"))
    chart = chart.properties(width="container", height=240).configure(background="transparent", font=FONT)
    chart = chart.configure_title(anchor="start", frame="group", color=ink, subtitleColor=muted)
    chart = chart.configure_axis(labelColor=muted, titleColor=muted, gridColor=line, domainColor=muted, tickColor=muted)
    return chart.configure_legend(labelColor=ink).configure_view(stroke=None)


def _problems(record: Record) -> alt.LayerChart:
    """Problems by successes, with the fit; by mean reward where rewards have more than two values."""
    if "counts" not in record:
        means = [{"mean": sum(rewards) / len(rewards)} for rewards in record["rewards"].values()]
        chart = alt.Chart(alt.Data(values=means)).mark_bar(color=COLOURS[0])
        x = alt.X("mean:Q", bin=alt.Bin(maxbins=20), title="Mean reward of a problem")
        return chart.encode(x=x, y=alt.Y("count()", title=None)).properties(title="Problems by mean reward")
    pairs = zip(record["counts"]["problems"], record["counts"]["fitted"], strict=True)
    values = [{"c": c, "seen": seen, "fit": fitted} for c, (seen, fitted) in enumerate(pairs)]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("c:O", title=f"Successes of {record['samples']}", axis=alt.Axis(labelAngle=0))
    )
    tips = ["c:O", "seen:Q", alt.Tooltip("fit:Q", format=".1f")]
    seen = base.mark_bar(color=COLOURS[0], opacity=0.5).encode(y=alt.Y("seen:Q", title=None), tooltip=tips)
    fitted = base.mark_line(color=COLOURS[1], point=alt.OverlayMarkDef(color=COLOURS[1])).encode(y="fit:Q")
    title = alt.Title("Problems by successes", subtitle="bars: counted, line: beta-binomial fit")
    return (seen + fitted).properties(title=title)


_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$colours
html { background: var(--ground); color: var(--ink); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; width: min(100vw - 2rem, 100%); position: sticky; left: 0; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); white-space: nowrap; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; width: 100%; min-width: 0; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid currentColor; padding-left: .7em; }
</style>
</head>
<body>
$body
<script>$library</script>
<script>
const specs = $specs;
specs.forEach((spec, i) => vegaEmbed("#chart" + i, spec, { actions: false, renderer: "svg" }));
</script>
</body>
</html>
"""
