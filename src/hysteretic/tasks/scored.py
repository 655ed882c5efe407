"""Score a response with a check: the task must return a Score with a finite reward."""

from __future__ import annotations

import math
from typing import Any

from .task import NotFiniteError, Problem, RewardError, Score, ScoresAsync, Task


class Unscored:
    """Stands for the Score or reward of a response that could not be scored, with the reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason!r})"


def score(task: Task, problem: Problem, response: str) -> Score:
    """The task's score of a response. Raises RewardError if the task raises or the reward is not finite."""
    try:
        found = task.score(problem, response)
    except RewardError:
        raise
    except (Exception, SystemExit) as error:  # sys.exit() in a reward must not end the run as if it had finished
        raise _failed(task, problem, error) from error
    return _checked(task, problem, found)


async def score_async(task: ScoresAsync, problem: Problem, response: str) -> Score:
    """The same for a task with an asynchronous `score_async`."""
    try:
        found = await task.score_async(problem, response)
    except RewardError:
        raise
    except (Exception, SystemExit) as error:  # sys.exit() in a reward must not end the run as if it had finished
        raise _failed(task, problem, error) from error
    return _checked(task, problem, found)


def _failed(task: Any, problem: Problem, error: BaseException) -> RewardError:
    return RewardError(f"Task {task.name} raised {type(error).__name__} for problem {problem.id}: {error}.")


def _checked(task: Any, problem: Problem, found: Any) -> Score:
    reward = getattr(found, "reward", None)
    if not isinstance(reward, int | float) or not math.isfinite(reward):
        kind = NotFiniteError if isinstance(reward, int | float) else RewardError
        raise kind(f"Task {task.name} returned {found!r} for problem {problem.id}; it must give a finite reward.")
    checked: Score = found
    return checked
