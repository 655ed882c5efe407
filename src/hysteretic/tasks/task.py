"""The Task protocol: problems to pose, and a score for each response. Training needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Problem:
    """One problem.

    Args:
        id: identifies the problem; the same in every run and on every machine, and never shared by two problems.
        prompt: a string, or chat messages [{"role": ..., "content": ...}, ...].
        answer: what `Task.score` needs to judge a response.

    Example:
        >>> Problem(id="sums:2+3", prompt="2+3=", answer=5).answer
        5
    """

    id: str
    prompt: str | list[dict[str, str]]
    answer: dict[str, Any] | str | int | float


@dataclass(frozen=True)
class Score:
    """The score of one response.

    Args:
        reward: the number that is trained on; finite.
        is_correct: whether the answer is right; reported, not trained on.
        has_format: whether the response has the requested format; reported, not trained on.

    Example:
        >>> Score(reward=1.0, is_correct=True, has_format=True).reward
        1.0
    """

    reward: float
    is_correct: bool
    has_format: bool


class Task(Protocol):
    """Any class with these three members is a task: `load("file.py:Class")` takes it. There is nothing to inherit.

    Example:
        >>> class Sums:
        ...     name = "sums"
        ...
        ...     def problems(self, split="train", seed=0, count=None):
        ...         pairs = [(a, b) for a in range(20) for b in range(20) if (a % 2 == 0) == (split == "train")]
        ...         return [Problem(f"sums:{a}+{b}", f"{a}+{b}=", a + b) for a, b in pairs[:count]]
        ...
        ...     def score(self, problem, response):
        ...         is_correct = response.strip() == str(problem.answer)
        ...         return Score(float(is_correct), is_correct, has_format=response.strip().isdigit())
        >>> task = Sums()
        >>> task.score(task.problems(count=3)[2], "2").reward
        1.0
    """

    @property
    def name(self) -> str:
        """Short name for run folders and tables. A plain attribute will do."""
        ...

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> Sequence[Problem]:
        """The first `count` distinct problems of a split in the order of a seed; None: the task's default number."""
        ...

    def score(self, problem: Problem, response: str) -> Score:
        """Judge one response. Must not raise on any text a model can write, and must never execute that text."""
        ...


# Optional capabilities. A task may have any of these methods; each is used if present, without inheriting or
# registering anything.


@runtime_checkable
class Explains(Protocol):
    """Shown by `hysteretic show`, and for wrong answers by `hysteretic eval`."""

    def explanation(self, problem: Problem) -> str:
        """First line: the right answer in words. Following lines: how a person can verify it, one fact per line."""
        ...


@runtime_checkable
class Pictures(Protocol):
    """Drawn on the pages of `hysteretic show` and `hysteretic eval`."""

    def picture(self, problem: Problem) -> Sequence[Any]:
        """Altair charts to show side by side; empty when there is nothing to draw.

        A chart without a width fills its frame. Pages define these colours for light and dark mode: "var(--ink)",
        "var(--muted)", "var(--line)", "var(--ground)" and "var(--arm1)" to "var(--arm7)".
        """
        ...


@runtime_checkable
class Answers(Protocol):
    """Lets `hysteretic eval` take majority votes over sampled responses and measure their agreement."""

    def answer_of(self, problem: Problem, response: str) -> str | None:
        """The answer a response gives: equal strings are equal answers. None: no answer. Must not raise."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Lets `hysteretic eval` build a confusion matrix; requires `answer_of` to return classes."""

    def class_of(self, problem: Problem) -> str | None:
        """The class that is the right answer to the problem; None: it has none."""
        ...


@runtime_checkable
class Randomises(Protocol):
    """Lets `hysteretic eval` pose each problem a second time as a variant and check that the answer stays the same."""

    def randomised(self) -> Task | None:
        """A task whose i-th problem of each split and seed is a variant of this task's i-th; None: there is none.

        Only presentation differs, such as order and labels; `answer_of` returns comparable answers for both.
        """
        ...


@runtime_checkable
class Identifies(Protocol):
    """Lets `hysteretic eval --submission` name the rows of the data.

    If such a task also has the attribute `is_labelled` and it is False, the right answers are unknown: problems can be
    posed, but not scored.
    """

    def ids_of(self, problem: Problem) -> Sequence[str]:
        """The data's own ids of a problem: several if rows are identical. Raises ValueError if it has none."""
        ...


@runtime_checkable
class Demonstrates(Protocol):
    """Supplies the responses that `hysteretic warmup` imitates."""

    def demonstration(self, problem: Problem) -> str:
        """A response that the task scores as correct."""
        ...


@runtime_checkable
class ChoosesPrompts(Protocol):
    """Lets a task with plain text as prompts say that this is on purpose.

    Commands warn when prompts are plain text and the model's tokenizer has a chat template, unless `is_chat` is a bool.
    """

    @property
    def is_chat(self) -> bool | None:
        """Whether prompts are chat messages, as the user chose; None: no choice was made. A plain attribute will do."""
        ...


@runtime_checkable
class DemonstratesSome(Protocol):
    """For a task of which only some problems have a demonstration."""

    @property
    def has_demonstrations(self) -> bool:
        """Whether any problem has one."""
        ...

    def has_demonstration(self, problem: Problem) -> bool:
        """Whether this problem has one."""
        ...


def demonstrates(task: object) -> bool:
    """Whether a task has worked solutions, of all its problems or of some."""
    return isinstance(task, Demonstrates) and bool(getattr(task, "has_demonstrations", True))


def warm_start(task: object) -> str:
    """How to have a warm start on a task: what works for this task, in words. None: for any task."""
    if task is None:
        return "supervised training on a few right responses"
    if demonstrates(task):
        return "`hysteretic warmup` on the task's worked solutions"
    column = getattr(task, "demonstration_column", None)
    needed = "a method demonstration(problem)" if column is None else f"a column {column!r} of right responses"
    return f"`hysteretic warmup`, for which the task needs {needed}"


@runtime_checkable
class HasStandIn(Protocol):
    """Lets `train --dry-run` try a recipe where the task's own data is not available, such as gated data."""

    def stand_in(self) -> Task | None:
        """A task like this one whose problems need no data; None: there is none, or the data is the user's own."""
        ...


@runtime_checkable
class Streams(Protocol):
    """Lets `hysteretic export` write any number of problems without holding them in memory."""

    def stream(self, split: str = "train", seed: int = 0) -> Iterator[Problem]:
        """All problems of a split in the order of `problems`, generated one at a time."""
        ...


@runtime_checkable
class ScoresAsync(Protocol):
    """Lets slow scores (a judge, a sandbox) be awaited for many responses at once."""

    @property
    def name(self) -> str:
        """As for a Task."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether scores are awaited; if False, `score` is used. A plain attribute will do."""
        ...

    async def score_async(self, problem: Problem, response: str) -> Score:
        """As `score`."""
        ...


def up_to(task: Task, split: str, seed: int, count: int | None, is_asked: bool) -> Sequence[Problem]:
    """At most `count` problems of a task; exactly that many if the number was requested explicitly (`is_asked`).

    Raises ValueError, as the task does, when it cannot supply them.
    """
    try:
        return task.problems(split, seed=seed, count=count)
    except ValueError:
        if is_asked or count is None:
            raise
    return task.problems(split, seed=seed, count=None)[:count]


class RewardError(ValueError):
    """A reward function failed or did not return a finite number. Never converted to a reward of 0."""


class NotFiniteError(RewardError):
    """The reward is NaN or infinite: the function works, but has no reward for this response."""


def prompt_parts(problem: Problem) -> list[tuple[str | None, str]]:
    """Role and text of each message; a plain prompt is one text without a role."""
    if isinstance(problem.prompt, str):
        return [(None, problem.prompt)]
    return [(str(message.get("role", "?")), str(message.get("content", ""))) for message in problem.prompt]


def explained(task: Task, problem: Problem) -> list[str]:
    """The right answer, then how to check it, one line each."""
    if isinstance(task, Explains):
        lines = task.explanation(problem).splitlines()
        if lines:
            return lines
    answer = problem.answer
    return [answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)]


def pictures(task: Task, problem: Problem) -> Sequence[Any]:
    """The charts of a problem; empty for a task without pictures."""
    return task.picture(problem) if isinstance(task, Pictures) else ()
