"""A probe's result in words: sentences and a table, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hysteretic.common.terminal import text_table
from hysteretic.html.text import visible

Record = Mapping[str, Any]
HEADER = ("group size", "silent groups", "in 10 batches", "informative", "alpha", "tokens", "verdict")


def headline(record: Record) -> str:
    """The verdict in a sentence or two."""
    verdict, prompts = record["verdict"], record["prompts_per_batch"]
    if verdict is None:
        return (
            f"No prediction: rewards have more than two values, and all group sizes are above the {record['samples']} "
            "samples per problem; give more --samples or smaller --group-sizes."
        )
    chosen = next(row for row in record["curve"] if row["group_size"] == verdict["group_size"])
    groups = {
        "starts": f"groups of {verdict['group_size']}",
        "starts slowly": f"groups of {verdict['group_size']}",
        "will not start": f"groups of up to {verdict['group_size']}",
    }[verdict["word"]]
    empty = chosen["silent"]["value"] ** prompts
    said = (
        f"{verdict['word'].capitalize()}, with {prompts} prompts per batch and {groups}: expect "
        f"{prompts * chosen['informative']:.1f} informative groups per batch, and none in {percent(empty)} of "
        "batches."
    )
    others = [word for word in verdict["within_interval"] if word != verdict["word"]]
    if others:
        said += f" Also within the interval: {', '.join(others)}. Probe more --problems to narrow it down."
    return said


def sentences(record: Record) -> list[str]:
    """What was sampled, the success rate, and the group size for the target fraction of informative groups."""
    samples, tokens = record["samples"], record["tokens"]
    said = [
        *(f"Warning: {words}" for words in record["warnings"]),
        f"{record['problems']} problems of split {record['split']}, {samples} responses each at temperature "
        f"{record['temperature']:g} (sampled by {record['sampled_by']}); prompts of {tokens['prompt']:.0f} tokens, "
        f"responses of {tokens['response']:.0f}"
        + (f", {tokens['cut']} of them cut at {record['max_completion_length']}." if tokens["cut"] else "."),
    ]
    if "success" in record:
        problems = record["counts"]["problems"]
        never, always = (count / record["problems"] for count in (problems[0], problems[-1]))
        said.append(
            f"Success rate {spread(record['success'])}, 95 % interval over problems; {percent(never)} of problems were "
            f"never solved, {percent(always)} always."
        )
        if record["success_reward"] not in (1.0, None):
            said.append(
                f"Two different rewards occurred; the higher, {record['success_reward']:g}, counts as success. Correct "
                f"according to the task: {spread(record['correct'])}."
            )
    else:
        mean = record["mean_reward"]
        said.append(
            f"Mean reward {mean['value']:.3g} ({mean['low']:.3g} to {mean['high']:.3g}), of {record['reward_values']} "
            f"different values; a group is silent when all its rewards are equal. Correct: "
            f"{spread(record['correct'])}. Group sizes above the {samples} samples are left out: only rewards with "
            "two values can be extrapolated."
        )
    wanted, smallest = percent(record["informative"]), record["smallest_group"]
    if smallest is None:
        said.append(f"No group size up to {record['curve'][-1]['group_size']} makes {wanted} of groups informative.")
    else:
        beyond = ", extrapolated" if smallest > samples else ""
        said.append(f"At least {wanted} of groups are informative from a group size of {smallest}{beyond}.")
    groups = record["informative"] * record["prompts_per_batch"]
    ways = [
        f"{row['prompts_needed']:,} prompts x {row['group_size']} ({count(row['tokens_needed'])} tokens)"
        for row in _asked(record)
        if row["prompts_needed"] is not None
    ]
    if ways:
        said.append(f"{groups:g} informative groups per batch take any of: {'; '.join(ways)}.")
    return said


def changes(record: Record) -> list[str]:
    """What would help if training does not start well. A warning comes first: it may be the whole cause."""
    found = list((record["verdict"] or {}).get("changes", ()))
    return ["what the warning says, before anything else", *found] if found and record["warnings"] else found


def notes(record: Record) -> str:
    """How to read the table."""
    said = (
        "Silent (zero-variance) groups: expected fraction with its 95 % interval. In 10 batches: the 95 % prediction "
        "interval for the fraction measured before the policy changes. Informative: responses in groups that are not "
        "silent. Alpha: A-HPO's initial value, expected successes over failures in informative groups, clipped to "
        "[0.1, 1]. Tokens: per batch, counting each prompt once. Starts: at most 1 batch in 20 has no informative "
        "group; starts slowly: at most 1 in 2."
    )
    if any(row["is_extrapolated"] for row in _asked(record)):
        said += f" *: extrapolated beyond the {record['samples']} samples by a beta-binomial fitted to the counts."
    return said


def rows(record: Record) -> list[list[str]]:
    """The rows of the table under HEADER."""
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


def percent(fraction: float) -> str:
    """A fraction in percent; rounded to 0 % or 100 % only if it is 0 or 1."""
    if 0 < fraction < 0.0005 or 0.9995 < fraction < 1:
        return "less than 0.1 %" if fraction < 0.5 else "over 99.9 %"
    return f"{100 * fraction:.0f} %" if fraction in (0, 1) or 0.1 <= fraction <= 0.9 else f"{100 * fraction:.1f} %"


def spread(estimate: Mapping[str, float]) -> str:
    low, high = 100 * estimate["low"], 100 * estimate["high"]
    return f"{100 * estimate['value']:.1f} % ({low:.1f} to {high:.1f})"


def count(tokens: float) -> str:
    return f"{tokens / 1e6:.1f}M" if tokens >= 1e6 else f"{tokens / 1e3:.1f}k" if tokens >= 1e4 else f"{tokens:,.0f}"


def as_text(record: Record) -> str:
    """For the terminal."""
    table_ = text_table([HEADER, *rows(record)]) if rows(record) else ""
    parts = [*sentences(record), "", table_, "", notes(record), "", headline(record)]
    found = changes(record)
    if found:
        parts += ["Any one of these changes would help:", *(f"  - {change}" for change in found)]
    return visible("\n".join(parts))
