"""Evaluate a model on problems: generate, score, and report pass@1 with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

from hysteretic.rewards.scoring import Scoring, here
from hysteretic.statistics import wilson
from hysteretic.tasks.scored import Unscored
from hysteretic.tasks.task import Problem, RewardError, Score, Task

Z = NormalDist().inv_cdf(0.975)

Generate = Callable[[Sequence[Problem], int], list[list[str]]]
"""Responses by problem: so many sampled ones to each, or one greedy response for 0."""


@dataclass(frozen=True)
class Rate:
    """A fraction with its 95 % interval. problems: how many it is computed over."""

    value: float
    low: float
    high: float
    problems: int

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % ({100 * self.low:.1f} to {100 * self.high:.1f})"


def rate(successes_by_problem: Sequence[Sequence[float]]) -> Rate:
    """Mean success, with its interval over problems (the independent units; responses to one problem are not).

    With one response per problem, or no variation between problems: Wilson's score interval. Otherwise: the mean of the
    problems' success rates +- 1.96 standard errors.
    Raises ValueError without problems.
    """
    if not successes_by_problem:
        raise ValueError("There are no problems to compute a rate over; evaluate on at least one.")
    shares, n = [fmean(successes) for successes in successes_by_problem], len(successes_by_problem)
    mean = fmean(shares)
    if n > 1 and len(successes_by_problem[0]) > 1 and (spread := stdev(shares)) > 0:
        half = Z * spread / math.sqrt(n)
        return Rate(mean, max(mean - half, 0.0), min(mean + half, 1.0), n)
    return Rate(mean, *wilson(mean, n), n)


def report(scores: dict[str, list[list[Score]]]) -> dict[str, Any]:
    """By decoding ("greedy", "sampled"): pass@1, the fraction of responses in the required format, and counts.

    correct_by_problem: correct responses to each problem, from which pass@k is estimated.
    """
    return {
        decoding: {
            "pass@1": asdict(rate([[score.is_correct for score in row] for row in rows])),
            "format": asdict(rate([[score.has_format for score in row] for row in rows])),
            "responses_per_problem": len(rows[0]),
            "correct_by_problem": [sum(score.is_correct for score in row) for row in rows],
        }
        for decoding, rows in scores.items()
        if rows
    }


def score_all(
    task: Task, problems: Sequence[Problem], responses: Sequence[Sequence[str]], scoring: Scoring | None = None
) -> list[list[Score]]:
    """The task's scores of each problem's responses. scoring: where they are scored; in this process by default.

    Raises RewardError if a response has no score.
    """
    asked = [problem for problem, texts in zip(problems, responses, strict=True) for _ in texts]
    found = iter((scoring or here(task))(asked, [text for texts in responses for text in texts]))
    return [[_scored(next(found), problem) for _ in texts] for problem, texts in zip(problems, responses, strict=True)]


def _scored(found: Score | Unscored, problem: Problem) -> Score:
    if isinstance(found, Unscored):
        raise RewardError(f"A response to problem {problem.id} has no score: {found.reason}.")
    return found


def decodings(samples: int) -> list[tuple[str, int]]:
    """The names of the decodings of an evaluation, each with the number that `Generate` is called with."""
    return [("greedy", 0), ("sampled", samples)] if samples else [("greedy", 0)]


def evaluate(
    generate: Generate, task: Task, problems: Sequence[Problem], samples: int, scoring: Scoring | None = None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The report, and a few sample responses."""
    scores, kept = {}, []
    for decoding, count in decodings(samples):
        responses = generate(problems, count)
        scores[decoding] = score_all(task, problems, responses, scoring)
        for problem, texts, row in list(zip(problems, responses, scores[decoding], strict=True))[:4]:
            kept.append(
                {"problem": problem.id, "decoding": decoding, "prompt": problem.prompt, "response": texts[0]}
                | asdict(row[0])
            )
    return report(scores), kept
