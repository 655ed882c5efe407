"""How do a task's problems and scores reach TRL? As a data set and a reward function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datasets import Dataset

from hysteretic.tasks.task import Problem, RewardError, Task


def as_dataset(problems: Sequence[Problem]) -> Dataset:
    """Columns prompt and problem_id, in the problems' order. Raises ValueError without problems."""
    if not problems:
        raise ValueError("The task gave no training problems; ask for more, or widen the task's options.")
    return Dataset.from_dict(
        {"prompt": [problem.prompt for problem in problems], "problem_id": [problem.id for problem in problems]}
    )


def task_reward(task: Task, problems: Sequence[Problem]) -> Callable[..., list[float]]:
    """TRL's reward function for these problems of the task.

    It also logs `accuracy` and `format`, the shares of right responses and of responses in the right format: they
    differ from the reward where a task gives a bonus.
    Raises RewardError naming task, problem and row when the task raises.
    """
    by_id = {problem.id: problem for problem in problems}

    def reward(
        prompts: Sequence[Any],
        completions: Sequence[Any],
        problem_id: Sequence[str],
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float]:
        scores = []
        for row, (completion, name) in enumerate(zip(completions, problem_id, strict=True)):
            try:
                scores.append(task.score(by_id[name], response_text(completion)))
            except RewardError:
                raise
            except Exception as error:
                raise RewardError(
                    f"Task {task.name} raised {type(error).__name__} for problem {name} (row {row}): {error}"
                ) from error
        if log_metric is not None and scores:
            log_metric("accuracy", sum(score.is_correct for score in scores) / len(scores))
            log_metric("format", sum(score.has_format for score in scores) / len(scores))
        return [score.reward for score in scores]

    reward.__name__ = task.name.replace("-", "_")
    return reward


def response_text(completion: Any) -> str:
    """A completion's text: itself, or its chat messages' contents."""
    if isinstance(completion, str):
        return completion
    return "".join(str(message.get("content") or "") for message in completion)
