"""How does any task become one of seconds? Its first problems with the middle of long prompts cut out, and a reward
that always has a spread."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import hysteretic.tasks
from hysteretic.config.settings import RunSpec
from hysteretic.runs.train import load_task
from hysteretic.tasks.task import Problem, Score, Task

LONGEST = 200
"""Characters of a prompt."""
GATED = ("telelogs", "telelogs-randomised")
TWIN = "telelogs-synthetic"


class ShortTask:
    """A task whose prompts are short. Scores are of the whole problem, with a spread added.

    A batch in which all responses fail has no gradient, and would prove nothing: each response's reward gets a number
    within [0, 1) that follows from its text.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._whole: dict[str, Problem] = {}
        self.rewards: list[float] = []
        """What the task itself gave, response by response."""

    @property
    def name(self) -> str:
        return self._task.name

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> Sequence[Problem]:
        whole = self._task.problems(split, seed=seed, count=count)
        self._whole |= {problem.id: problem for problem in whole}
        return [replace(problem, prompt=_cut(problem.prompt)) for problem in whole]

    def score(self, problem: Problem, response: str) -> Score:
        score = self._task.score(self._whole[problem.id], response)
        self.rewards.append(float(score.reward))
        return replace(score, reward=score.reward + zlib.crc32(response.encode("utf-8", "replace")) / 2**32)


def _cut(prompt: Any) -> Any:
    """The beginning and the end of every text."""
    if isinstance(prompt, str):
        return prompt if len(prompt) <= LONGEST else f"{prompt[: LONGEST // 2]} ... {prompt[-LONGEST // 2 :]}"
    return [{**message, "content": _cut(message["content"])} for message in prompt]


def short_task(request: RunSpec) -> tuple[ShortTask, str | None]:
    """The task of a request, cut, and what stands in for its data where they are gated and not here.

    Raises UsageError where there is no such task.
    """
    task = load_task(request)
    is_gated = request.run.task in GATED and "source" not in request.run.load_options()
    if is_gated:
        try:
            task.problems("train", count=1)
        except ValueError:
            twin = hysteretic.tasks.load(TWIN)
            return ShortTask(twin), f"the gated data of {task.name}, which are not here, by problems of {twin.name}"
    return ShortTask(task), None
