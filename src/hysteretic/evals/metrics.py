"""Task metrics over many responses: majority votes, confusions, and agreement between variants of one problem.

pass@1       fraction of correct responses, over problems
pass@k       fraction of problems with at least one correct response among k
maj@k        fraction of problems where the most common answer of k responses is correct
confusion    how often each class was answered for problems of each class
consistency  fraction of problems that get the same answer in both variants, correct or not
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from statistics import fmean
from typing import Any

from hysteretic.evals.evaluate import rate, report
from hysteretic.tasks.task import Answers, Classifies, Problem, Score, Task

MOST_CLASSES = 40
"""The limit on classes of a confusion matrix besides those of the problems: an answer may be any text."""


@dataclass(frozen=True)
class Answered:
    """A problem's responses, with their scores and answers.

    index: the problem's position in its set, which matches the two variants of a problem.
    answers: the answer that each response gives, None for no answer; empty where the task does not extract answers.
    """

    index: int
    problem: Problem
    responses: Sequence[str]
    scores: Sequence[Score]
    answers: Sequence[str | None]

    @property
    def is_correct(self) -> list[bool]:
        return [score.is_correct for score in self.scores]


def answered(
    task: Task,
    problems: Sequence[Problem],
    responses: Sequence[Sequence[str]],
    scores: Sequence[Sequence[Score]],
) -> list[Answered]:
    """The problems that have a response, with the answers that the task extracts."""
    found = []
    for index, (problem, texts, row) in enumerate(zip(problems, responses, scores, strict=True)):
        answers = [task.answer_of(problem, text) for text in texts] if isinstance(task, Answers) else []
        if texts:
            found.append(Answered(index, problem, texts, row, answers))
    return found


def metrics_by_decoding(task: Task, rows: dict[str, list[Answered]]) -> dict[str, Any]:
    """By decoding: the metrics of `report` (format only where it is checked), and pass@k, maj@k and the confusion
    matrix where they exist."""
    found = report({decoding: [list(row.scores) for row in some] for decoding, some in rows.items()})
    for decoding, metrics in found.items():
        some = rows[decoding]
        counts = {len(row.responses) for row in some}
        metrics["responses"] = sum(len(row.responses) for row in some)
        if getattr(task, "is_format_optional", False) and metrics["format"]["value"] == 1:
            del metrics["format"]  # nothing was checked
        if counts != {1}:
            of = str(*counts) if len(counts) == 1 else "all"
            metrics[f"pass@{of}"] = asdict(rate([[any(row.is_correct)] for row in some]))
            if isinstance(task, Answers):
                metrics[f"maj@{of}"] = asdict(rate([[majority(row.answers, row.is_correct)] for row in some]))
        table = confusion(task, some)
        if table is not None:
            metrics["confusion"] = table
    return found


def majority(answers: Sequence[str | None], is_correct: Sequence[bool]) -> float:
    """Whether the answer with the most votes is correct: 1, 0, or between for a tie.

    Responses without an answer do not vote; without votes the result is 0. A tie gives the fraction of the tied answers
    that are correct, so the order of the responses does not matter.
    """
    votes: dict[str, list[bool]] = defaultdict(list)
    for answer, right in zip(answers, is_correct, strict=True):
        if answer is not None:
            votes[answer].append(right)
    if not votes:
        return 0.0
    most = max(map(len, votes.values()))
    return fmean(fmean(rights) for rights in votes.values() if len(rights) == most)


def confusion(task: Task, rows: Sequence[Answered]) -> dict[str, Any] | None:
    """Counts of responses by the problem's class (rows) and the answered class (columns).

    None for a task without classes. other: answers that are not a class. none: responses without an answer.
    """
    if not isinstance(task, Answers) or not isinstance(task, Classifies):
        return None
    counts: dict[str, Counter[str | None]] = defaultdict(Counter)
    for row in rows:
        expected = task.class_of(row.problem)
        if expected is not None:
            counts[expected].update(row.answers)
    if not counts:
        return None
    given = {answer for row in counts.values() for answer in row if answer is not None}
    classes = sorted(counts.keys() | (given if len(given) <= MOST_CLASSES else set()))
    table = [[counts[expected][answer] for answer in classes] for expected in classes]
    none = [counts[expected][None] for expected in classes]
    other = [
        counts[expected].total() - sum(line) - missing
        for expected, line, missing in zip(classes, table, none, strict=True)
    ]
    return {"classes": classes, "counts": table, "other": other, "none": none}


def consistency(rows: Sequence[Answered], others: Sequence[Answered]) -> dict[str, Any] | None:
    """Fraction of pairs, one response from each variant, that give the same answer.

    All pairs of a problem count: k * k for k responses in each. Two responses without an answer do not agree. None
    if no problem was answered in both variants.
    """
    by_index = {other.index: other for other in others}
    pairs = [
        [one is not None and one == two for one, two in product(row.answers, by_index[row.index].answers)]
        for row in rows
        if row.index in by_index and row.answers and by_index[row.index].answers
    ]
    return asdict(rate(pairs)) if pairs else None
