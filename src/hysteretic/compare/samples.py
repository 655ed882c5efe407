"""What did the models write? Sample responses before and after, by arm, as text that cannot become anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hysteretic.compare.figures import Results
from hysteretic.html.markup import Markup, markup, number, shorten, tag

LONGEST_TEXT = 6_000
MOST_BYTES = 2_000_000
"""Of all samples together, so that the page stays one that opens at once; an arm has an equal share."""


def samples(results: Results) -> Markup:
    by_arm: dict[str, list[Mapping[str, Any]]] = {}
    for sample in results["samples"]:
        by_arm.setdefault(sample["arm"], []).append(sample)
    if not by_arm:
        return tag("p", "No responses were kept.")
    return markup(*(_arm(arm, found, MOST_BYTES // len(by_arm)) for arm, found in by_arm.items()))


def _arm(arm: str, found: list[Mapping[str, Any]], most_bytes: int) -> Markup:
    by_problem: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for sample in found:
        by_problem.setdefault((sample["problem"], sample["seed"], sample["decoding"]), []).append(sample)
    shown: list[Markup] = []
    used = 0
    for key, same in by_problem.items():
        article = _problem(key, same)
        used += len(article.encode())
        if used > most_bytes:
            break
        shown.append(article)
    left = len(by_problem) - len(shown)
    rest = tag("p", f"{left} more in results.json.", class_="quiet") if left else None
    return tag("details", tag("summary", f"{arm}: {len(by_problem)} problems"), *shown, rest)


def _problem(key: tuple[Any, ...], same: list[Mapping[str, Any]]) -> Markup:
    problem, seed, decoding = key
    head = tag("h3", shorten(str(problem), 200), tag("small", f"seed {seed}, {decoding}"))
    asked = tag("details", tag("summary", "Prompt"), _text(_prompt(same[0]["prompt"])))
    sides = [
        tag("div", *(_response(sample) for sample in same if sample["when"] == when))
        for when in ("before", "after")
        if any(sample["when"] == when for sample in same)
    ]
    return tag("article", head, asked, tag("div", *sides, class_="sides"), class_="sample")


def _response(sample: Mapping[str, Any]) -> Markup:
    right = "✓ correct" if sample["is_correct"] else "✕ wrong"
    form = "" if sample["has_format"] else ", answer not in the form asked for"
    about = f"{right}{form}, reward {number(sample['reward'])}"
    return markup(
        tag("p", tag("b", sample["when"].capitalize()), " ", about, class_="quiet"), _text(sample["response"])
    )


def _text(text: str) -> Markup:
    return tag("pre", shorten(text, LONGEST_TEXT), dir="auto") if text else tag("p", "(empty)", class_="quiet")


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"{message.get('role', '?')}: {_content(message.get('content', ''))}" for message in prompt)


def _content(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
