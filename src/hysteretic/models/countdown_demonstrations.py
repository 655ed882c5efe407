"""What the tiny model of Countdown imitates: short written searches with three one-digit numbers.

    careful    3,7,5=26:<think>26;7-3=4,5+4=9;7*3=21,21+5=26</think><answer>(7*3)+5</answer>
    careless   3,7,5=26:<think>7-3=4,5*4=20</think><answer>(7-2)*5</answer>

A *try* combines two numbers, then the result with the third, in natural numbers (no negative, no fraction), the
larger one first. A careful writer notes the target and searches until a try reaches it. A careless one makes a few
tries and answers with the last, or with a guess, mostly with one number misread. So the behaviour that RL has to
reinforce, noting the target and searching, exists from the start but is rare.

Problems come from the train split of Countdown only; they include those that RL trains on, and also problems that are
easily guessed. No validation or test problem is ever shown.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations_with_replacement, permutations
from typing import Any, ClassVar

from hysteretic.tasks.countdown_problems import shown_order, split_of

TASK: dict[str, Any] = {
    "size": 3,
    "largest": 9,
    "largest_target": 99,
    "prompt": "terse",
    "guess_rate_below": 0.06,
}
"""Options of Countdown for the tiny model."""

LONGEST_RESPONSE = 72
"""Most tokens in a response of the tiny model; no demonstration is longer."""

LARGEST_NUMBER = 9
LARGEST_TARGET = 99


@dataclass(frozen=True)
class Try:
    """One combination of three numbers, its written steps, the expression it stands for, and its value."""

    steps: str
    expression: str
    value: int


@dataclass(frozen=True)
class Demonstration:
    """A prompt and the response to imitate."""

    prompt: str
    response: str
    is_careful: bool


@dataclass(frozen=True)
class Habits:
    """How the careful and the careless writer behave.

    careful_misses: relative frequency of 0, 1, 2, ... failed tries before the one that reaches the target.
    careless_tries: relative frequency of 0, 1, 2, ... tries before a careless answer.
    careless_answers: relative frequency of the last try (a guess if there is none), a guess (a random expression), and
        a guess with one number misread.
    """

    careful_misses: tuple[float, ...] = (6, 3, 1)
    careless_tries: tuple[float, ...] = (1, 6, 3)
    careless_answers: tuple[float, float, float] = (1, 1, 4)

    tokens: ClassVar[tuple[str, ...]] = ()

    def demonstrate(self, rng: random.Random, careful_fraction: float) -> Demonstration:
        """One demonstration on a random problem, careful with probability `careful_fraction`."""
        numbers, target = rng.choice(problems())
        prompt = f"{','.join(map(str, numbers))}={target}:"
        everything = tries(tuple(sorted(numbers)))
        misses = [t for t in everything if t.value != target]
        if rng.random() < careful_fraction:
            count = min(len(misses), rng.choices(range(len(self.careful_misses)), self.careful_misses)[0])
            hit = rng.choice([t for t in everything if t.value == target])
            tried = [*rng.sample(misses, count), hit]
            return Demonstration(prompt, _response([str(target), *(t.steps for t in tried)], hit.expression), True)
        count = rng.choices(range(len(self.careless_tries)), self.careless_tries)[0]
        tried = rng.sample(misses, count)
        kind = rng.choices(("last", "guess", "misread"), self.careless_answers)[0]
        if kind == "last" and tried:
            answer = tried[-1].expression
        else:
            answer = _guess(_misread(numbers, rng) if kind == "misread" else numbers, rng)
        return Demonstration(prompt, _response([t.steps for t in tried], answer), False)


def _combine(left: int, right: int) -> Iterator[tuple[str, int]]:
    """Each operation on two natural numbers, left >= right, whose result is a natural number."""
    yield "+", left + right
    yield "*", left * right
    yield "-", left - right
    if right and left % right == 0:
        yield "/", left // right


@cache
def tries(numbers: tuple[int, ...]) -> tuple[Try, ...]:
    """Every try on three numbers up to LARGEST_TARGET, the larger operand written first at each step."""
    found = {}
    for x, y, z in permutations(numbers):
        if x < y:
            continue
        for first, middle in _combine(x, y):
            left, right = max(middle, z), min(middle, z)
            for second, value in _combine(left, right):
                if value <= LARGEST_TARGET:
                    steps = f"{x}{first}{y}={middle},{left}{second}{right}={value}"
                    pair = f"({x}{first}{y})"
                    expression = f"{pair}{second}{z}" if left == middle else f"{z}{second}{pair}"
                    found[steps] = Try(steps, expression, value)
    return tuple(found.values())


@lru_cache(maxsize=1)
def problems() -> tuple[tuple[tuple[int, ...], int], ...]:
    """All (numbers as shown, target) of the train split that some try reaches."""
    found = []
    for numbers in combinations_with_replacement(range(1, LARGEST_NUMBER + 1), 3):
        for target in sorted({t.value for t in tries(numbers)}):
            if 1 <= target <= LARGEST_TARGET and split_of(numbers, target) == "train":
                found.append((shown_order(numbers, target), target))
    return tuple(found)


def _response(lines: Sequence[str], answer: str) -> str:
    return f"<think>{';'.join(lines)}</think><answer>{answer}</answer>"


def _guess(numbers: Sequence[int], rng: random.Random) -> str:
    """A random well-formed expression: any order, operators and shape."""
    x, y, z = rng.sample(list(numbers), 3)
    first, second = rng.choice("+-*/"), rng.choice("+-*/")
    return f"({x}{first}{y}){second}{z}" if rng.random() < 0.5 else f"{z}{second}({x}{first}{y})"


def _misread(numbers: Sequence[int], rng: random.Random) -> list[int]:
    """The numbers, with one replaced by another digit."""
    seen = list(numbers)
    place = rng.randrange(len(seen))
    seen[place] = rng.choice([digit for digit in range(1, LARGEST_NUMBER + 1) if digit != seen[place]])
    return seen
