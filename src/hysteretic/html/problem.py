"""How is a problem shown? Its prompt, the expected answer and why, and its picture, as far as the task tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hysteretic.html.markup import Markup, items, markup, shorten, tag
from hysteretic.tasks.task import Explains, Pictures, Problem, Task

LONGEST_TEXT = 12_000
"""Characters of a prompt or response on a page."""


def prompt_parts(problem: Problem) -> list[tuple[str | None, str]]:
    """Role and text of each message; one text without a role where the prompt is plain."""
    if isinstance(problem.prompt, str):
        return [(None, problem.prompt)]
    return [(str(message.get("role", "?")), str(message.get("content", ""))) for message in problem.prompt]


def explained(task: Task, problem: Problem) -> list[str]:
    """The right answer, then what it can be checked by, a line each."""
    if isinstance(task, Explains):
        lines = task.explanation(problem).splitlines()
        if lines:
            return lines
    answer = problem.answer
    return [answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)]


def pictures(task: Task, problem: Problem) -> Sequence[Any]:
    """The charts of a problem; none where the task has none."""
    return task.picture(problem) if isinstance(task, Pictures) else ()


def text_block(text: str) -> Markup:
    """Text that anybody may have written, cut where it is long."""
    return tag("pre", shorten(text, LONGEST_TEXT), dir="auto") if text else tag("p", "(empty)", class_="quiet")


def prompt_markup(problem: Problem) -> Markup:
    parts = prompt_parts(problem)
    return markup(*(markup(tag("p", tag("b", role)) if role else None, text_block(text)) for role, text in parts))


def explanation_markup(lines: Sequence[str]) -> Markup:
    """The answer, and the rest as a list."""
    first = tag("p", tag("strong", shorten(lines[0], LONGEST_TEXT)))
    return markup(first, items(lines[1:], "plain")) if len(lines) > 1 else first
