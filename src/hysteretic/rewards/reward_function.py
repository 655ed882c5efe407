"""A task for TRL: its problems as a data set, its scores as a reward function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset

from hysteretic.common import metric_names as names
from hysteretic.rewards.scoring import Scoring, here
from hysteretic.tasks.scored import Unscored
from hysteretic.tasks.task import Problem, Score, Task


def as_dataset(problems: Sequence[Problem]) -> Dataset:
    """Columns prompt and problem_id, in the problems' order. Raises ValueError without problems."""
    if not problems:
        raise ValueError("The task has no training problems; request more, or widen the task's options.")
    return Dataset.from_dict(
        {"prompt": [problem.prompt for problem in problems], "problem_id": [problem.id for problem in problems]}
    )


def task_reward(
    task: Task, problems: Sequence[Problem], scoring: Scoring | None = None
) -> Callable[..., list[float | Unscored]]:
    """TRL's reward function for these problems. scoring: where responses are scored; in this process by default.

    It also logs `accuracy` and `format`, the fractions of correct responses and of responses in the required format,
    which differ from the reward where a task adds a bonus.
    Raises RewardError, naming task and problem, if the task raises.
    """
    by_id = {problem.id: problem for problem in problems}
    score = here(task) if scoring is None else scoring

    def reward(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        problem_id: Sequence[str],
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | Unscored]:
        scores = score([by_id[name] for name in problem_id], [response_text(completion) for completion in completions])
        known = [one for one in scores if isinstance(one, Score)]
        if log_metric is not None and known:
            log_metric(names.ACCURACY, sum(one.is_correct for one in known) / len(known))
            log_metric("format", sum(one.has_format for one in known) / len(known))
        return [one.reward if isinstance(one, Score) else one for one in scores]

    reward.__name__ = task.name.replace("-", "_")
    return reward


def response_text(completion: Any) -> str:
    """The text of a completion, which may be a list of chat messages."""
    if isinstance(completion, str):
        return completion
    return "".join(str(message.get("content") or "") for message in completion)
