"""What there is to show of a problem: its prompt, the expected answer with reasons, and its pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hysteretic.tasks.task import Explains, Pictures, Problem, Task


def prompt_parts(problem: Problem) -> list[tuple[str | None, str]]:
    """Role and text of each message; a plain prompt is one text without a role."""
    if isinstance(problem.prompt, str):
        return [(None, problem.prompt)]
    return [(str(message.get("role", "?")), str(message.get("content", ""))) for message in problem.prompt]


def explained(task: Task, problem: Problem) -> list[str]:
    """The right answer, then how it can be checked, one line each."""
    if isinstance(task, Explains):
        lines = task.explanation(problem).splitlines()
        if lines:
            return lines
    answer = problem.answer
    return [answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)]


def pictures(task: Task, problem: Problem) -> Sequence[Any]:
    """The charts of a problem; none where the task has none."""
    return task.picture(problem) if isinstance(task, Pictures) else ()
