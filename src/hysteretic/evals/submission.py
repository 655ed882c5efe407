"""Responses as a submission to the AI Telco Troubleshooting Challenge (Zindi): four rows per question.

    ID,Qwen3-32B,Qwen2.5-7B-Instruct,Qwen2.5-1.5B-Instruct
    ID_7QX_1,placeholder,placeholder,"... \\boxed{C3}"
    ID_7QX_2,placeholder,placeholder,"... \\boxed{C5}"

Tracks without answers keep the placeholder, as the challenge asks.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.tasks.task import Identifies, Problem, Task

if TYPE_CHECKING:
    from hysteretic.evals.metrics import Answered

TRACKS = ("Qwen3-32B", "Qwen2.5-7B-Instruct", "Qwen2.5-1.5B-Instruct")
RESPONSES = 4


def check_ids(task: Task, problems: Sequence[Problem]) -> None:
    """Raises UsageError unless every problem has an id of the data's own."""
    if not isinstance(task, Identifies):
        raise UsageError(f"--submission needs the ids of the data's rows, which {task.name} does not have.")
    with usage_errors():
        names = Counter(name for problem in problems for name in task.ids_of(problem))
    for name, count in names.most_common(1):
        if count > 1:
            raise UsageError(f"{count} questions have the id {name!r}; a submission needs one each.")


def write_submission(path: Path, track: str, task: Task, rows: Sequence[Answered]) -> int:
    """Write the first four responses to each problem; returns the number of rows. Raises UsageError for fewer."""
    assert isinstance(task, Identifies)  # see check_ids
    lines = []
    for row in rows:
        if len(row.responses) < RESPONSES:
            raise UsageError(
                f"A submission has {RESPONSES} responses per question, but problem {row.problem.id} has "
                f"{len(row.responses)}."
            )
        for name in task.ids_of(row.problem):
            for number, response in enumerate(row.responses[:RESPONSES], 1):
                answers = [response if column == track else "placeholder" for column in TRACKS]
                lines.append([f"{name}_{number}", *answers])
    try:
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            csv.writer(file).writerows([["ID", *TRACKS], *lines])
    except OSError as error:
        raise UsageError(f"Cannot write {path} ({error.strerror}); give another --submission.") from error
    return len(lines)
