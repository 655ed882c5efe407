"""Countdown: combine given numbers into a target with + - * /. Prompts, problems and scores.

problem:   numbers 3, 5, 7 and target 26
response:  <think> 3 * 7 is 21, and 5 more is 26. </think> <answer>3 * 7 + 5</answer>
reward:    1 when the last answer uses each number exactly once and equals the target exactly, else 0
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from .countdown_expression import has_answer_format, verify
from .countdown_problems import (
    KNOWN_TOTALS,
    Numbers,
    candidates,
    hash64,
    is_admissible,
    multiset_count,
    problem_counts,
    problem_id,
    shown_order,
    split_of,
    with_guess_rates,
)
from .countdown_solver import expression_count, guess_rate, solve
from .countdown_source import SIZES, Source, read_source
from .countdown_worked import worked_solution
from .rows import LeftOutWarning
from .splits import SPLITS, check_split, number_of_problems
from .task import Problem, Score

__all__ = ["KNOWN_TOTALS", "SPLITS", "Countdown", "guess_rate", "problem_counts", "solve", "split_of", "verify"]

PROMPTS = ("chat", "plain", "terse")

_CHAT = """\
Numbers: {numbers}
Target: {target}

Write an arithmetic expression whose value is the target. Use every number exactly once and no other number. \
You may use + - * / and parentheses, in any order.

Work it out step by step between <think> and </think>. Then write the final expression alone, on one line, \
between <answer> and </answer>. For the numbers 5, 100, 200 and the target 20, a right ending \
is <answer>(200 - 100) / 5</answer>."""

_PLAIN = """\
A puzzle and its solution. The solver thinks aloud between <think> and </think>, checks the result, and then \
writes one arithmetic expression between <answer> and </answer>, such as <answer>(200 - 100) / 5</answer>.

Puzzle: use each of the numbers {numbers} exactly once, with + - * / and parentheses, to make {target}.
Solution: <think>"""


@dataclass(frozen=True)
class Countdown:
    """Countdown with a fixed number of numbers: reach the target with + - * /, using each number exactly once.

    Problems: all distinct solvable problems of the setting, in a uniformly random order set by the seed; a problem is a
    multiset of numbers and a target. The split is a hash of the problem (70 % train, 10 % validation, 20 % test), so
    that no seed, count or source puts a problem into two splits.
    Reward: 1 or 0, see `verify`. `Score.has_format` is independent of it, see `has_answer_format`.

    Args:
        size: how many numbers, 2 to 5.
        largest: numbers are 1..largest.
        largest_target: targets are 1..largest_target; None means 100.
        prompt: "chat", messages for an instruct model; "plain", text for a base model that ends with an opened <think>;
            "terse", `3,7,5=24:` for a tiny character model (thinking is then not part of the format).
        format_bonus: reward of a wrong answer in the right format (TinyZero: 0.1). The default, 0, adds nothing.
        guess_rate_below: keep only problems that a random expression solves less often than this (see `guess_rate`).
        source: take the problems from a data set with columns `nums` and `target` (a .jsonl, .ndjson, .json, .csv or
            .parquet file, or a hub id such as Jiayi-Pan/Countdown-Tasks-3to4): those that fit the settings above. A
            warning counts the others by reason, with the setting that admits them.
        config: the configuration of a hub data set that has several.

    Raises:
        ValueError: a setting is out of range; the message gives the allowed values.

    Example:
        >>> task = Countdown(size=4, prompt="terse")
        >>> [problem.prompt for problem in task.problems("test", seed=7, count=2)]
        ['99,92,65,23=81:', '47,26,44,99=18:']

    References:
        TinyZero, https://github.com/Jiayi-Pan/TinyZero: the task and its format bonus.
    """

    size: int = 3
    largest: int = 99
    largest_target: int | None = None
    prompt: str = "chat"
    format_bonus: float = 0.0
    guess_rate_below: float | None = None
    source: str | None = None
    config: str | None = None

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"size is {self.size}, but Countdown takes 2 to 5 numbers; set size to 3 or 4.")
        for field, value in (("largest", self.largest), ("largest_target", self.highest_target)):
            if value < 1:
                raise ValueError(f"{field} is {value}, but numbers and targets start at 1; set {field} >= 1.")
        if self.prompt not in PROMPTS:
            raise ValueError(f"prompt is {self.prompt!r}; choose one of {', '.join(PROMPTS)}.")
        if not (math.isfinite(self.format_bonus) and 0 <= self.format_bonus < 1):
            raise ValueError(
                f"format_bonus is {self.format_bonus}, but a wrong answer must earn at least 0 and less than a "
                "right one, which earns 1; set 0 <= format_bonus < 1."
            )
        if self.config is not None and self.source is None:
            raise ValueError(f"config is {self.config!r}, but there is no source; config belongs to a hub data set.")
        rarest = 1 / expression_count(self.size)
        if self.guess_rate_below is not None and not rarest < self.guess_rate_below:
            raise ValueError(
                f"guess_rate_below is {self.guess_rate_below}, but the lowest possible guess rate is one expression in "
                f"{expression_count(self.size)}; set it above {rarest:.6f} (0.06 is usual) or leave it None."
            )

    @property
    def is_chat(self) -> bool:
        """Whether prompts are chat messages: the option `prompt` decides."""
        return self.prompt == "chat"

    @property
    def name(self) -> str:
        return f"countdown-{self.size}"

    @property
    def highest_target(self) -> int:
        return 100 if self.largest_target is None else self.largest_target

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> tuple[Problem, ...]:
        """The first `count` problems of a split in the order of a seed; a smaller count gives a prefix of a larger one.

        count: None means 800 of train and 200 of the others, or as many as exist.
        Raises ValueError for an unknown split and when fewer than `count` problems exist, saying how many.
        """
        check_split(split, self.name)
        wanted = number_of_problems(split, count)
        every = multiset_count(self.size, self.largest) * self.highest_target
        if wanted > every:
            raise ValueError(
                f"{wanted} problems requested, but there are at most {every} with {self._setting}; request fewer."
            )
        found = tuple(islice(self.stream(split, seed), wanted))
        if len(found) < wanted and (count is not None or not found):
            raise ValueError(
                f"{wanted} problems of split {split!r} requested, but {len(found)} exist with {self._setting}; request "
                f"fewer, or widen the setting.{self._left_out(split)}"
            )
        return found

    def stream(self, split: str = "train", seed: int = 0) -> Iterator[Problem]:
        """All problems of a split in that order, one at a time. Raises ValueError for an unknown split."""
        check_split(split, self.name)
        return (self._problem(*pair) for pair in self._in_order(split, seed))

    def score(self, problem: Problem, response: str) -> Score:
        """Reward 1.0 for a right answer; for a wrong one format_bonus if the format is right, otherwise 0.0."""
        if not isinstance(problem.answer, dict) or not {"numbers", "target"} <= problem.answer.keys():
            raise TypeError(
                f"Problem {problem.id!r} has the answer {problem.answer!r}, but {self.name} needs "
                '{"numbers": [...], "target": n}; score problems made by this task only.'
            )
        is_correct = verify(response, problem.answer["numbers"], problem.answer["target"]) == 1.0
        has_format = has_answer_format(response, needs_thinking=self.prompt != "terse")
        return Score(1.0 if is_correct else self.format_bonus if has_format else 0.0, is_correct, has_format)

    def explanation(self, problem: Problem) -> str:
        """The target, the shortest solution, and how many there are."""
        assert isinstance(problem.answer, dict)
        numbers, target = problem.answer["numbers"], problem.answer["target"]
        listed = ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
        shortest, *others = solve(numbers, target)
        ways = (
            f"There are {len(others) + 1} solutions; this is the shortest" if others else "There is no other solution"
        )
        lines = [f"An expression of {listed} that equals {target}", f"{shortest} = {target}", ways]
        rate = 100 * guess_rate(numbers, target)
        return "\n".join([*lines, f"A random expression of these numbers is right {rate:.2g} % of the time"])

    def _left_out(self, split: str) -> str:
        """The rows of the data set that are in no split, and the problems of this one that are not admissible."""
        if self.source is None:
            return ""
        source = self._from_source
        left_out = Counter(source.left_out)
        for numbers, target in source.problems:
            if split_of(numbers, target) != split:
                left_out["in other splits (a hash of the problem decides)"] += 1
            elif not is_admissible(rate := guess_rate(numbers, target), self.guess_rate_below):
                left_out[self._why_inadmissible(rate)] += 1
        return " " + replace(source, left_out=left_out).summary() if left_out else ""

    def demonstration(self, problem: Problem) -> str:
        """A short search in writing, then a right answer, in the style of the prompt (see `countdown_worked.py`)."""
        assert isinstance(problem.answer, dict)
        return worked_solution(problem.answer["numbers"], problem.answer["target"], self.prompt, problem.id)

    @property
    def _setting(self) -> str:
        fields = f"size={self.size}, largest={self.largest}, largest_target={self.highest_target}"
        if self.guess_rate_below is not None:
            fields += f", guess_rate_below={self.guess_rate_below}"
        return fields + (f", source={self.source!r}" if self.source is not None else "")

    @cached_property
    def _from_source(self) -> Source:
        """The data set, read once, with a warning if it has rows that do not fit."""
        assert self.source is not None
        found = read_source(self.source, self.size, self.largest, self.highest_target, self.config)
        if found.left_out:
            warnings.warn(found.summary(), LeftOutWarning, stacklevel=2)
        return found

    def _in_order(self, split: str, seed: int) -> Iterator[tuple[Numbers, int]]:
        """Every admissible problem of a split, in the order of a seed."""
        pairs: Iterator[tuple[Numbers, int]]
        if self.source is None:
            pairs = candidates(self.size, self.largest, self.highest_target, f"seed {seed}")
        else:
            fitting = self._from_source.problems
            pairs = iter(sorted(fitting, key=lambda pair: hash64(f"seed {seed} of {problem_id(*pair)}")))
        unfit: Counter[str] = Counter()
        of_split = (pair for pair in pairs if split_of(*pair) == split)
        for numbers, target, rate in with_guess_rates(of_split, self.size):
            if is_admissible(rate, self.guess_rate_below):
                yield numbers, target
            elif self.source is not None:
                unfit[self._why_inadmissible(rate)] += 1
        if unfit:
            reasons = "; ".join(f"{count:,} {reason}" for reason, count in unfit.most_common())
            warnings.warn(
                f"Of the problems in {self.source} of split {split!r}, {unfit.total():,} left out: {reasons}.",
                LeftOutWarning,
                stacklevel=2,
            )

    def _why_inadmissible(self, rate: float) -> str:
        if not rate:
            return "without a solution"
        return f"guessed too easily (a higher guess_rate_below than {self.guess_rate_below} takes them)"

    def _problem(self, numbers: Numbers, target: int) -> Problem:
        shown = shown_order(numbers, target)
        answer = {"numbers": list(shown), "target": target}
        return Problem(problem_id(numbers, target), self._prompt(shown, target), answer)

    def _prompt(self, numbers: Numbers, target: int) -> str | list[dict[str, str]]:
        if self.prompt == "terse":
            return f"{','.join(map(str, numbers))}={target}:"
        listed = ", ".join(map(str, numbers))
        if self.prompt == "plain":
            return _PLAIN.format(numbers=listed, target=target)
        return [{"role": "user", "content": _CHAT.format(numbers=listed, target=target)}]
