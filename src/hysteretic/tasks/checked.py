"""Tasks and problems for commands: errors of a task become UsageErrors, and problem ids are unique."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..common.errors import UsageError, usage_errors
from . import load
from .rows import lone_surrogate
from .task import Problem, Task, up_to


def load_task(name: str, **options: Any) -> Task:
    """`hysteretic.tasks.load` for a command. Raises UsageError if the task does not exist or its data is missing."""
    with usage_errors():
        return load(name, **options)


def draw(
    task: Task, split: str, seed: int, count: int | None, is_required: bool = True, advice: str = ""
) -> Sequence[Problem]:
    """Problems of a split.

    Args:
        count: how many; None for the task's default.
        is_required: whether fewer than `count` are an error. Otherwise the task gives as many as it has.
        advice: added to errors, such as which flag to change.

    Raises:
        UsageError: the task cannot supply them, or two of them share an id.
    """
    with usage_errors(advice):
        problems = up_to(task, split, seed, count, is_required)
    check_unique_ids(task, problems)
    check_prompts(task, problems)
    return problems


def is_labelled(task: Task) -> bool:
    """Whether the right answers are known (see `Identifies`)."""
    return bool(getattr(task, "is_labelled", True))


def check_labelled(task: Task) -> None:
    """Raises UsageError, before any work, for a task whose responses cannot be scored."""
    if not is_labelled(task):
        raise UsageError(
            f"{task.name} has no answers (is_labelled is false), so its responses cannot be scored; only `hysteretic "
            "eval --submission` can use it. Give data with answers."
        )


def check_prompts(task: Task, problems: Sequence[Problem]) -> None:
    """Raises UsageError for what no tokenizer or data set accepts: text that is not Unicode, text next to messages."""
    for problem in problems:
        if isinstance(problem.prompt, str) != isinstance(problems[0].prompt, str):
            raise UsageError(
                f"{task.name} has both plain text and chat messages as prompts (problems {problems[0].id!r} and "
                f"{problem.id!r}); use one kind."
            )
        half = lone_surrogate([problem.id, problem.prompt])
        if half is not None:
            raise UsageError(
                f"{task.name} has half of a surrogate pair ({half}) in the prompt or id of problem {problem.id!r}, as "
                "when text is cut within an emoji; fix the task's data."
            )


def check_unique_ids(task: Task, problems: Sequence[Problem]) -> None:
    """Raises UsageError if two problems share an id: a response to one could be scored as the other's."""
    for name, count in Counter(problem.id for problem in problems).most_common(1):
        if count > 1:
            raise UsageError(f"{task.name} has {count} problems with the id {name!r}; give each problem its own id.")
