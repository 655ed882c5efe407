"""What is a task? Problems to ask, and a score for each response: nothing else is needed to train on it."""

from __future__ import annotations

from collections.abc import Sequence
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


@runtime_checkable
class Demonstrates(Task, Protocol):
    """A task that can also write a right response: what `hysteretic warmup` imitates."""

    def demonstration(self, problem: Problem) -> str:
        """A response that the task scores as correct."""
        ...


class RewardError(ValueError):
    """A reward function failed or returned no finite number. Never turned into a reward of 0."""
