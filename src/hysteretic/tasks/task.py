"""What is a task? Problems to ask, and a score for each response: nothing else is needed to train on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Problem:
    """One question.

    id: names the problem, the same in every run and on every machine; two problems never share it.
    prompt: one string, or chat messages [{"role": ..., "content": ...}, ...].
    answer: what `Task.score` needs to judge a response.
    """

    id: str
    prompt: str | list[dict[str, str]]
    answer: dict[str, Any] | str | int | float


@dataclass(frozen=True)
class Score:
    """What a response earned: the reward that is trained on, and two facts that are only reported."""

    reward: float
    is_correct: bool
    has_format: bool


class Task(Protocol):
    """Write a class with these three members, in a file of your own, and `load("file.py:Class")` takes it."""

    @property
    def name(self) -> str:
        """Short name for run folders and tables (a plain attribute does)."""
        ...

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> Sequence[Problem]:
        """The first `count` distinct problems of a split in the order of a seed; None: the task's default."""
        ...

    def score(self, problem: Problem, response: str) -> Score:
        """Judge one response. Must not raise on anything a model can write, and must not run it."""
        ...


# What a task may know beyond that. Each of these methods is optional, by itself, and used where it is there: nothing
# has to be inherited or registered. The task need not be of this package.


@runtime_checkable
class Explains(Protocol):
    """`hysteretic show` and the wrong answers of `hysteretic eval` say what was expected, and why."""

    def explanation(self, problem: Problem) -> str:
        """The right answer in words in the first line; then, a line each, what a person can check it by."""
        ...


@runtime_checkable
class Pictures(Protocol):
    """The same pages draw the problem."""

    def picture(self, problem: Problem) -> Sequence[Any]:
        """Altair charts to be put side by side, none where there is nothing to draw.

        A chart without a width is as wide as its frame. Colours that a page has, on light ground and on dark, are
        "var(--ink)", "var(--muted)", "var(--line)", "var(--ground)" and "var(--arm1)" to "var(--arm7)".
        """
        ...


@runtime_checkable
class Answers(Protocol):
    """`hysteretic eval` takes the majority of the sampled responses, and asks which of them agree."""

    def answer_of(self, problem: Problem, response: str) -> str | None:
        """What a response answers: equal texts are equal answers. None: it gives no answer. Must not raise."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """`hysteretic eval` counts which class is taken for which; needs `answer_of` to give classes."""

    def class_of(self, problem: Problem) -> str | None:
        """The class that is the problem's right answer; None: it has none."""
        ...


@runtime_checkable
class Randomises(Protocol):
    """`hysteretic eval` asks the same again in another variant: is it the same answer?"""

    def randomised(self) -> Task | None:
        """The task whose i-th problem of a split and seed is the i-th of this one, with nothing changed but its
        outward order and names; `answer_of` speaks of both alike. None: there is no such task.
        """
        ...


@runtime_checkable
class Demonstrates(Protocol):
    """`hysteretic warmup` imitates what the task writes."""

    def demonstration(self, problem: Problem) -> str:
        """A response that the task scores as correct."""
        ...


@runtime_checkable
class Streams(Protocol):
    """`hysteretic export` writes any number of problems without holding them."""

    def stream(self, split: str = "train", seed: int = 0) -> Iterator[Problem]:
        """The problems of a split in the order of `problems`, made one at a time, as many as there are."""
        ...


@runtime_checkable
class ScoresAsync(Protocol):
    """Scores that are waited for (a judge, a sandbox) are asked for many responses at once."""

    @property
    def name(self) -> str:
        """As a Task's."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether scores are waited for; False where they are computed after all (a plain attribute does)."""
        ...

    async def score_async(self, problem: Problem, response: str) -> Score:
        """What `score` gives."""
        ...


def up_to(task: Task, split: str, seed: int, count: int | None, is_asked: bool) -> Sequence[Problem]:
    """Problems of a task: `count` where that number was asked for, else as many as there are, up to it.

    Raises ValueError, as the task does, where it cannot give them.
    """
    try:
        return task.problems(split, seed=seed, count=count)
    except ValueError:
        if is_asked or count is None:
            raise
    return task.problems(split, seed=seed, count=None)[:count]


class RewardError(ValueError):
    """A reward function failed or returned no finite number. Never turned into a reward of 0."""


class NotFiniteError(RewardError):
    """A reward is a number, and NaN or infinite: the function works, and has no reward for this response."""
