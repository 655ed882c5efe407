"""Your own data and your own reward function as a task, without touching the package."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

from .named_object import named_object
from .rows import SUFFIXES, Row, column, read_tables
from .splits import check_fraction, digest, in_order, side
from .task import NotFiniteError, Problem, RewardError, Score

Reward = Callable[[str, Any], "float | bool | Score"]


@dataclass(frozen=True)
class FileTask:
    """One problem a row of a data set, scored by a function `reward(response, answer)`.

    The reward function, `def` or `async def`, gets the response's text and the row's answer, and returns
        a bool: reward 1 or 0;
        a number: the reward; 1 or more counts as correct;
        a Score: the reward, is_correct and has_format, all yours. Otherwise has_format is True: nothing checked it.
    If it raises, or returns anything else (None, NaN, infinity), that is a RewardError, never a reward of 0.

    Splits: a data set with several (the hub's, or a JSON file {"train": [...], "test": [...]}) is used as it is. One
    with a single table is divided into train and test by a hash of the prompt: equal prompts stay on one side, and
    adding rows moves none. Identical rows (prompt and answer) are one problem.

    source: a .jsonl, .json, .csv or .parquet file, or a hub id.
    reward: "path/to/file.py:function", "package.module:function", or the function itself.
    prompt_column: a string, or chat messages [{"role": ..., "content": ...}].
    answer_column: what the reward function gets: text, a number, or any JSON value.
    splits: which split of the data serves as which, for example {"test": "validation"}; each is then used whole.
    test_fraction: the share of a single table that becomes test.
    config: the configuration of a hub data set that has several, for example "main" of openai/gsm8k.
    is_chat: wrap each string prompt as one user message, for instruct models.
    """

    source: str
    reward: str | Reward
    prompt_column: str = "prompt"
    answer_column: str = "answer"
    splits: Mapping[str, str] | None = None
    test_fraction: float = 0.1
    config: str | None = None
    is_chat: bool = False

    def __post_init__(self) -> None:
        check_fraction(self.test_fraction)
        if not isinstance(self.reward, str) and not callable(self.reward):
            raise ValueError(f"reward is {self.reward!r}; give a function or its name, path/to/file.py:function.")
        _ = self._function  # a wrong name fails here, not at the first response

    @property
    def name(self) -> str:
        path = Path(self.source)
        return path.stem if path.suffix.lower() in SUFFIXES else self.source

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> tuple[Problem, ...]:
        """The first `count` problems of a split in the order of a seed; None: all of them.

        Raises ValueError for a split that is not there, a missing column, a prompt that is neither text nor
        messages, and when fewer than `count` problems exist, saying how many.
        """
        return in_order(self._split(split), split, seed, count, self.source)

    def score(self, problem: Problem, response: str) -> Score:
        """Call the reward function. Raises RewardError, naming function and problem, when it gives no reward."""
        return asyncio.run(self.score_async(problem, response)) if self.is_async else self._score(problem, response)

    async def score_async(self, problem: Problem, response: str) -> Score:
        """The same, with a reward function that is `async def`."""
        try:
            value = await self._function(response, problem.answer)  # type: ignore[misc]
        except Exception as error:
            raise self._raised(error, problem) from error
        return self._checked(value, problem)

    def _score(self, problem: Problem, response: str) -> Score:
        try:
            value = self._function(response, problem.answer)
        except Exception as error:
            raise self._raised(error, problem) from error
        return self._checked(value, problem)

    def _raised(self, error: Exception, problem: Problem) -> RewardError:
        return RewardError(
            f"The reward function {self._reward_name} raised {type(error).__name__}: {error}, on problem "
            f"{problem.id!r}. Make it return a number for every text a model can write."
        )

    def _checked(self, value: Any, problem: Problem) -> Score:
        if isinstance(value, Score):
            reward, is_correct, has_format = value.reward, value.is_correct, value.has_format
        else:
            reward, is_correct, has_format = value, isinstance(value, Real) and float(value) >= 1, True
        if not isinstance(reward, Real) or not math.isfinite(reward):
            kind = NotFiniteError if isinstance(reward, Real) else RewardError
            raise kind(
                f"The reward function {self._reward_name} returned {value!r} on problem {problem.id!r}, which is no "
                "finite number; return a float, a bool or a Score."
            )
        return Score(float(reward), is_correct, has_format)

    def explanation(self, problem: Problem) -> str:
        """The row's answer: what the reward function is given."""
        answer = problem.answer
        return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)

    @cached_property
    def _function(self) -> Reward:
        if not isinstance(self.reward, str):
            return self.reward
        function = named_object(self.reward, "function")
        if not callable(function):
            raise ValueError(f"reward {self.reward!r} is {type(function).__name__}; it should be a function.")
        checked: Reward = function
        return checked

    @property
    def is_async(self) -> bool:
        """Whether the reward function is `async def`."""
        function = self._function
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004

    @property
    def _reward_name(self) -> str:
        if isinstance(self.reward, str):
            return self.reward
        return getattr(self.reward, "__qualname__", repr(self.reward))

    @cached_property
    def _tables(self) -> dict[str, list[Row]]:
        return read_tables(self.source, self.config)

    def _split(self, split: str) -> list[Problem]:
        """The distinct problems of one split, in the order of the data."""
        tables = self._tables
        has: tuple[str, ...]
        is_divided = len(tables) == 1 and self.splits is None
        if is_divided:
            has, table = ("train", "test"), next(iter(tables))
        else:
            named = dict(zip(tables, tables, strict=True)) if self.splits is None else dict(self.splits)
            has, table = tuple(named), named.get(split, "")
        if split not in has:
            raise ValueError(
                f"{self.source} has no split {split!r}; it has {', '.join(has)}. To use one of its tables "
                f"({', '.join(tables)}) as {split!r}, set splits={{{split!r}: ...}}."
            )
        if table not in tables:
            raise ValueError(f"splits asks for {table!r}, but {self.source} has {', '.join(tables)}; name one of them.")
        problems: dict[str, Problem] = {}
        for index, row in enumerate(tables[table]):
            problem = self._problem(row, f"{self.source}, row {index},")
            if not is_divided or side(problem.prompt, self.test_fraction) == split:
                problems.setdefault(problem.id, problem)
        return list(problems.values())

    def _problem(self, row: Row, where: str) -> Problem:
        prompt = column(row, self.prompt_column, "Set prompt_column to one of them.", where)
        answer = column(row, self.answer_column, "Set answer_column to one of them.", where)
        if isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}] if self.is_chat else prompt
        elif not _are_messages(prompt):
            raise ValueError(
                f"{where} has {type(prompt).__name__} in column {self.prompt_column!r}; a prompt is text or "
                'messages [{"role": ..., "content": ...}].'
            )
        return Problem(f"{self.name}:{digest(prompt, answer):016x}", prompt, answer)


def _are_messages(prompt: Any) -> bool:
    return (
        isinstance(prompt, list)
        and len(prompt) > 0
        and all(
            isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))
            for message in prompt
        )
    )
