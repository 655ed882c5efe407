"""Sample responses before and after training, by arm, limited so that the page opens quickly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape

from hysteretic.html.text import shorten

LONGEST_TEXT = 6_000
MOST_BYTES = 2_000_000
"""The limit over all samples; every arm gets an equal part."""

Results = Mapping[str, Any]


def samples(results: Results) -> list[tuple[str, list[dict[str, Any]], int]]:
    """For each arm its name, its problems with the responses before and after, and how many problems were left out."""
    by_arm: dict[str, list[Mapping[str, Any]]] = {}
    for sample in results["samples"]:
        by_arm.setdefault(sample["arm"], []).append(sample)
    return [(arm, *_problems(found, MOST_BYTES // len(by_arm))) for arm, found in by_arm.items()]


def _problems(found: Sequence[Mapping[str, Any]], most_bytes: int) -> tuple[list[dict[str, Any]], int]:
    by_problem: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for sample in found:
        by_problem.setdefault((sample["problem"], sample["seed"], sample["decoding"]), []).append(sample)
    shown: list[dict[str, Any]] = []
    used = 0
    for (problem, seed, decoding), same in by_problem.items():
        prompt = _prompt(same[0]["prompt"])
        used += sum(_bytes(text) for text in (prompt, *(sample["response"] for sample in same)))
        if used > most_bytes:
            break
        sides = [[sample for sample in same if sample["when"] == when] for when in ("before", "after")]
        head = {"problem": str(problem), "seed": seed, "decoding": decoding}
        shown.append({**head, "prompt": prompt, "sides": [side for side in sides if side]})
    return shown, len(by_problem) - len(shown)


def _bytes(text: str) -> int:
    return len(escape(shorten(text, LONGEST_TEXT)).encode(errors="replace"))


def _prompt(prompt: Any) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"{message.get('role', '?')}: {_content(message.get('content', ''))}" for message in prompt)


def _content(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
