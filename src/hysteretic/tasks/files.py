"""FileTask: your own data and your own reward function as a task."""

from __future__ import annotations

import asyncio
import inspect
import json
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

from .import_object import import_object
from .rows import SUFFIXES, LeftOutWarning, Row, column, read_tables
from .splits import check_fraction, digest, in_order, side, table_of
from .task import NotFiniteError, Problem, RewardError, Score

Reward = Callable[[str, Any], "float | bool | Score"]


@dataclass(frozen=True)
class FileTask:
    """One problem per row of a data set, scored by a function `reward(response, answer)`.

    The reward function, `def` or `async def`, receives the text of the response and the answer of the row. It returns
        a bool: reward 1 or 0;
        a number: the reward; 1 or more counts as correct;
        a Score: reward, is_correct and has_format. (Otherwise has_format is True: nothing was checked.)
    If it raises, or returns anything else (None, NaN, infinity), that is a RewardError, never a reward of 0.

    Splits: a data set with several splits (from the hub, or a JSON file {"train": [...], "test": [...]}) is used as it
    is. A single table is divided into train and test by a hash of the prompt as it is in the data: equal prompts end up
    on the same side, adding rows moves none, and neither does is_chat. Identical rows (prompt and answer) are one
    problem.

    Args:
        source: a .jsonl, .ndjson, .json, .csv or .parquet file, or a hub id.
        reward: "path/to/file.py:function", "package.module:function", or the function itself.
        prompt_column: holds a string, or chat messages [{"role": ..., "content": ...}].
        answer_column: holds what the reward function receives: text, a number, or any JSON value.
        demonstration_column: holds a right response, for `hysteretic warmup`; the column is optional, and so is each
            of its entries.
        splits: which split of the data serves as which, for example {"test": "validation"}; each is then used whole.
        test_fraction: fraction of a single table that becomes the test split.
        config: the configuration of a hub data set that has several, for example "main" of openai/gsm8k.
        is_chat: True wraps each string prompt as one user message, for instruct models; False leaves it plain text, for
            base models. None, the default, leaves it plain text, and commands warn if the model's tokenizer has a chat
            template. Prompts that are messages stay as they are.

    Raises:
        ValueError, FileNotFoundError, ImportError: test_fraction is not between 0 and 1, or the reward function cannot
            be imported. The data is read later, by `problems`.

    Example:
        >>> import json, pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "sums.jsonl"
        >>> rows = [{"prompt": f"{n}+1=", "answer": n + 1} for n in range(100)]
        >>> _ = path.write_text("\\n".join(map(json.dumps, rows)))
        >>> task = FileTask(str(path), reward=lambda response, answer: response.strip() == str(answer))
        >>> problem = task.problems("train", count=1)[0]
        >>> task.score(problem, f" {problem.answer} ")
        Score(reward=1.0, is_correct=True, has_format=True)
    """

    source: str
    reward: str | Reward
    prompt_column: str = "prompt"
    answer_column: str = "answer"
    splits: Mapping[str, str] | None = None
    test_fraction: float = 0.1
    config: str | None = None
    is_chat: bool | None = None
    demonstration_column: str = "demonstration"

    is_format_optional: ClassVar[bool] = True
    """has_format says something only if the reward function returns a Score."""

    def __post_init__(self) -> None:
        check_fraction(self.test_fraction)
        if self.is_chat is not None and not isinstance(self.is_chat, bool):
            raise ValueError(f"is_chat is {self.is_chat!r}; set it to true or false.")
        if not isinstance(self.reward, str) and not callable(self.reward):
            raise ValueError(f"reward is {self.reward!r}; give a function or its name, path/to/file.py:function.")
        _ = self._function  # so that a wrong name fails here, not at the first response

    @property
    def name(self) -> str:
        path = Path(self.source)
        return path.stem if path.suffix.lower() in SUFFIXES else self.source

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> tuple[Problem, ...]:
        """The first `count` problems of a split in the order of a seed; None: all of them.

        Raises ValueError for a split that does not exist, a missing column, a prompt that is neither text nor
        messages, text next to messages, and when fewer than `count` problems exist, saying how many.
        """
        return in_order(self._split(split), split, seed, count, self.source)

    def score(self, problem: Problem, response: str) -> Score:
        """Call the reward function. Raises RewardError, naming function and problem, when it gives no reward."""
        if self.is_async:
            return asyncio.run(self.score_async(problem, response))
        with self._reporting(problem):
            value = self._function(response, problem.answer)
        return self._checked(value, problem)

    async def score_async(self, problem: Problem, response: str) -> Score:
        """The same, for a reward function that is `async def`."""
        with self._reporting(problem):
            value = await self._function(response, problem.answer)  # type: ignore[misc]
        return self._checked(value, problem)

    @contextmanager
    def _reporting(self, problem: Problem) -> Iterator[None]:
        """Turns an exception of the reward function into a RewardError that says where it happened."""
        try:
            yield
        except Exception as error:
            raise RewardError(
                f"The reward function {self._reward_name} raised {type(error).__name__}: {error}, on problem "
                f"{problem.id!r}. It must return a number for any text a model can write."
            ) from error

    def _checked(self, value: Any, problem: Problem) -> Score:
        if isinstance(value, Score):
            reward, is_correct, has_format = value.reward, value.is_correct, value.has_format
        else:
            reward, is_correct, has_format = value, isinstance(value, Real) and float(value) >= 1, True
        if not isinstance(reward, Real) or not math.isfinite(reward):
            kind = NotFiniteError if isinstance(reward, Real) else RewardError
            raise kind(
                f"The reward function {self._reward_name} returned {value!r} on problem {problem.id!r}, which is not "
                "a finite number; return a float, a bool or a Score."
            )
        return Score(float(reward), is_correct, has_format)

    def explanation(self, problem: Problem) -> str:
        """The answer of the row, as the reward function receives it."""
        answer = problem.answer
        return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, default=str)

    @property
    def has_demonstrations(self) -> bool:
        """Whether any row has a right response in the demonstration column."""
        return bool(self._demonstrations)

    def has_demonstration(self, problem: Problem) -> bool:
        """Whether the problem's row has one."""
        return problem.id in self._demonstrations

    def demonstration(self, problem: Problem) -> str:
        """The right response in the problem's row. Raises ValueError where it is missing."""
        if problem.id not in self._demonstrations:
            raise ValueError(
                f"Problem {problem.id!r} of {self.source} has no text in column {self.demonstration_column!r}; write a "
                "right response there, or request only problems that have one."
            )
        return self._demonstrations[problem.id]

    @cached_property
    def _demonstrations(self) -> dict[str, str]:
        """The right responses of the data, by problem."""
        found: dict[str, str] = {}
        no_text: list[str] = []
        for rows in self._tables.values():
            for index, row in enumerate(rows):
                text = row.get(self.demonstration_column)
                if not isinstance(text, str | None) and text == text:  # an empty cell of a table is NaN
                    no_text.append(f"row {index}, {str(text)[:60]} ({type(text).__name__})")
                if isinstance(text, str) and text.strip():
                    found.setdefault(self._problem(row, f"{self.source}, row {index},").id, text)
        if no_text:
            warnings.warn(
                f"{len(no_text)} rows of {self.source} have something other than text in column "
                f"{self.demonstration_column!r} and count as rows without a worked solution; the first is "
                f"{no_text[0]}. Write the text of a response.",
                LeftOutWarning,
                stacklevel=2,
            )
        return found

    @cached_property
    def _function(self) -> Reward:
        if not isinstance(self.reward, str):
            return self.reward
        function: Reward = import_object(self.reward, "function")
        if not callable(function):
            raise ValueError(f"reward {self.reward!r} is {type(function).__name__}; it must be a function.")
        return function

    @property
    def is_async(self) -> bool:
        """Whether the reward function is `async def`."""
        function = self._function
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004

    @property
    def _reward_name(self) -> str:
        return self.reward if isinstance(self.reward, str) else getattr(self.reward, "__qualname__", repr(self.reward))

    @cached_property
    def _tables(self) -> dict[str, list[Row]]:
        return read_tables(self.source, self.config)

    def _split(self, split: str) -> list[Problem]:
        """The distinct problems of one split, in the order of the data."""
        tables = self._tables
        hint = f" To use one of its tables ({', '.join(tables)}) as {split!r}, set splits={{{split!r}: ...}}."
        table, is_divided = table_of(split, tables, self.source, self.splits, hint)
        problems: dict[str, Problem] = {}
        kind: type | None = None
        for index, row in enumerate(tables[table]):
            where = f"{self.source}, row {index},"
            problem = self._problem(row, where)
            kind = kind or type(problem.prompt)
            if type(problem.prompt) is not kind:
                raise ValueError(
                    f"{where} has {_KINDS[type(problem.prompt)]} in column {self.prompt_column!r}, but the rows before "
                    f"it have {_KINDS[kind]}; use one kind in all rows, or set is_chat to true, which makes text a "
                    "user message."
                )
            if not is_divided or side(row[self.prompt_column], self.test_fraction) == split:
                problems.setdefault(problem.id, problem)
        return list(problems.values())

    def _problem(self, row: Row, where: str) -> Problem:
        prompt = column(row, self.prompt_column, _COLUMN.format("prompt_column"), where)
        answer = column(row, self.answer_column, _COLUMN.format("answer_column"), where)
        if isinstance(answer, float) and not math.isfinite(answer):
            raise ValueError(
                f"{where} has {answer} in column {self.answer_column!r}, which no response equals; fill it in or "
                "remove the row."
            )
        identity = f"{self.name}:{digest(prompt, answer):016x}"
        if prompt == "":
            raise ValueError(f"{where} is empty in column {self.prompt_column!r}; fill it in or remove the row.")
        if isinstance(prompt, str):
            prompt = [{"role": "user", "content": prompt}] if self.is_chat else prompt
        elif not _are_messages(prompt):
            raise ValueError(
                f"{where} has {type(prompt).__name__} in column {self.prompt_column!r}; a prompt must be text or "
                'messages [{"role": ..., "content": ...}].'
            )
        return Problem(identity, prompt, answer)


_COLUMN = """Set {0} to one of them, on the command line with --task-options '{{"{0}": "..."}}'."""
_KINDS: dict[type, str] = {str: "plain text", list: "chat messages"}


def _are_messages(prompt: Any) -> bool:
    return (
        isinstance(prompt, list)
        and len(prompt) > 0
        and all(
            isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))
            for message in prompt
        )
    )
