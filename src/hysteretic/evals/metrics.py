"""Task metrics over many responses: majority votes, confusions, and agreement between variants of one problem.

pass@1       share of responses that are right, over problems
pass@k       share of problems with a right one among the k responses
maj@k        share of problems where the answer that most of the k responses give is right
confusion    how often an answer of each class was given to problems of each class
consistency  share of problems that get the same answer in both variants, right or wrong
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
"""Classes of a confusion beyond those of the problems: an answer may be any text."""


@dataclass(frozen=True)
class Answered:
    """A problem's responses and what became of each.

    index: place of the problem in its set, by which two variants of one problem find each other.
    answers: what each response answers, None for no answer; empty where the task does not say.
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
    """The problems that have a response, with what the task says of each response."""
    found = []
    for index, (problem, texts, row) in enumerate(zip(problems, responses, scores, strict=True)):
        answers = [task.answer_of(problem, text) for text in texts] if isinstance(task, Answers) else []
        if texts:
            found.append(Answered(index, problem, texts, row, answers))
    return found


def figures(task: Task, rows: dict[str, list[Answered]]) -> dict[str, Any]:
    """By decoding: what `report` gives, and pass@k, maj@k and the confusion where there are any."""
    found = report({decoding: [list(row.scores) for row in some] for decoding, some in rows.items()})
    for decoding, figure in found.items():
        some = rows[decoding]
        counts = {len(row.responses) for row in some}
        figure["responses"] = sum(len(row.responses) for row in some)
        if counts != {1}:
            of = str(*counts) if len(counts) == 1 else "all"
            figure[f"pass@{of}"] = asdict(rate([[any(row.is_correct)] for row in some]))
            if isinstance(task, Answers):
                figure[f"maj@{of}"] = asdict(rate([[majority(row.answers, row.is_correct)] for row in some]))
        table = confusion(task, some)
        if table is not None:
            figure["confusion"] = table
    return found


def majority(answers: Sequence[str | None], is_correct: Sequence[bool]) -> float:
    """Is the answer with the most votes right? Responses without an answer do not vote; without votes it is wrong.

    Between answers with equally many votes a fair draw decides, and this is the mean over the draw: the share of the
    winners that are right. So the order of the responses does not matter.
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
    """Counts of responses by the problem's class (a row) and the class answered (a column), and what is in no column.

    None for a task that has no classes. other: answers that are no class; none: no answer.
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
    """Share of pairs, of a response in one variant and one in the other, that give the same answer.

    All pairs of a problem count, so that a problem with k responses in both has k * k. Two responses without an answer
    do not agree. None where no problem has been answered in both variants.
    """
    by_index = {other.index: other for other in others}
    pairs = [
        [one is not None and one == two for one, two in product(row.answers, by_index[row.index].answers)]
        for row in rows
        if row.index in by_index and row.answers and by_index[row.index].answers
    ]
    return asdict(rate(pairs)) if pairs else None
