"""Shorten any task to seconds: its first problems, long prompts with the middle cut out, rewards that always differ."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate import PartialState

from hysteretic.config.settings import RunSpec
from hysteretic.scales import Scale
from hysteretic.tasks.checked import load_task
from hysteretic.tasks.task import HasStandIn, Problem, Score, Task

LONGEST = 200
"""Maximum characters of a prompt."""


class ShortTask:
    """A task with short prompts. Responses are scored on the full problem, with a spread added.

    A batch in which all responses fail has no gradient and would test nothing, so each reward is increased by a number
    in [0, 1) that is a function of the response's text. Where the objective needs rewards of 0 and 1 (`is_binary`),
    those of each problem's responses alternate instead; other rewards stay, for the objective to report.
    """

    def __init__(self, task: Task, is_binary: bool = False) -> None:
        self.whole = task
        self._is_binary = is_binary
        self._scored = Counter[str]()
        self._problems: dict[str, Problem] = {}
        self.rewards: list[float] = []
        """The task's own rewards, one per response."""

    @property
    def name(self) -> str:
        return self.whole.name

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> Sequence[Problem]:
        whole = self.whole.problems(split, seed=seed, count=count)
        self._problems |= {problem.id: problem for problem in whole}
        return [replace(problem, prompt=_cut(problem.prompt)) for problem in whole]

    def whole_problem(self, problem: Problem) -> Problem:
        """The problem with its full prompt."""
        return self._problems[problem.id]

    def score(self, problem: Problem, response: str) -> Score:
        score = self.whole.score(self._problems[problem.id], response)
        self.rewards.append(float(score.reward))
        if self._is_binary:
            self._scored[problem.id] += 1  # ranks begin differently, since a group may be spread over them
            alternate = float((self._scored[problem.id] + PartialState().process_index) % 2)
            return replace(score, reward=alternate) if score.reward in (0, 1) else score
        return replace(score, reward=score.reward + zlib.crc32(response.encode("utf-8", "replace")) / 2**32)


def _cut(prompt: Any) -> Any:
    """Keep the beginning and the end of every text."""
    if isinstance(prompt, str):
        return prompt if len(prompt) <= LONGEST else f"{prompt[: LONGEST // 2]} ... {prompt[-LONGEST // 2 :]}"
    return [{**message, "content": _cut(message["content"])} for message in prompt]


def short_task(request: RunSpec) -> tuple[ShortTask, str | None]:
    """The task of a run, shortened, and a note if a stand-in replaces it because its data is not available.

    Raises UsageError if there is no such task.
    """
    task = load_task(request.run.task, **request.run.load_options())
    is_binary = needs_binary(request.training.objective().scale)
    other = task.stand_in() if isinstance(task, HasStandIn) else None
    if other is not None:
        try:
            task.problems("train", count=1)
        except ValueError:
            note = f"the data of {task.name}, which are not available here, with problems of {other.name}"
            return ShortTask(other, is_binary), note
    return ShortTask(task, is_binary), None


def needs_binary(scale: Scale) -> bool:
    """Whether an objective's scale refuses graded rewards."""
    try:
        scale(torch.tensor([[0.25, 0.75]]))
    except ValueError:
        return True
    return False
