"""The demonstrations: right when careful, mostly wrong when careless, short, and of the train split alone."""

from __future__ import annotations

import random
import re
from statistics import mean

import pytest

from hysteretic.models import LONGEST_RESPONSE
from hysteretic.models.countdown_demonstrations import Demonstration, Habits, problems, tries
from hysteretic.models.tokenizer import TAGS
from hysteretic.tasks.countdown import guess_rate, split_of, verify

COUNT = 4000


def shown(careful_fraction: float) -> list[Demonstration]:
    rng = random.Random(7)
    return [Habits().demonstrate(rng, careful_fraction) for _ in range(COUNT)]


def problem_of(prompt: str) -> tuple[list[int], int]:
    numbers, target = prompt.removesuffix(":").split("=")
    return [int(number) for number in numbers.split(",")], int(target)


def reward(demonstration: Demonstration) -> float:
    return verify(demonstration.response, *problem_of(demonstration.prompt))


def test_every_careful_demonstration_is_right():
    """The verifier is independent of the generator: it parses the answer."""
    assert all(reward(one) == 1.0 for one in shown(1.0))


def test_careless_demonstrations_are_mostly_wrong_but_keep_the_format():
    """Otherwise rewards are not sparse. 4000 of them; a guess hits less than 1 in 20."""
    careless = shown(0.0)
    assert mean(reward(one) for one in careless) < 0.05
    assert all(re.fullmatch(r"<think>.*</think><answer>[-+*/()\d]+</answer>", one.response) for one in careless)


@pytest.mark.parametrize("careful_fraction", [0.0, 1.0])
def test_the_written_arithmetic_is_true(careful_fraction):
    """The arithmetic that the model learns must be right, whichever writer it imitates."""
    apply = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
    for one in shown(careful_fraction):
        for left, operator, right, value in re.findall(r"(\d+)([-+*/])(\d+)=(\d+)", one.response):
            assert apply[operator](int(left), int(right)) == int(value), one
            assert operator != "/" or int(left) % int(right) == 0, one


def test_a_demonstration_and_its_end_fit_the_length_limit():
    """A response that imitates one is never cut off. One token per tag and per character, one for the end."""
    saved = sum(len(tag) - 1 for tag in TAGS)
    longest = max(len(one.response) - saved + 1 for fraction in (0.0, 1.0) for one in shown(fraction))
    assert 40 < longest <= LONGEST_RESPONSE


def test_lengths_vary():
    """A model that always writes the same length shows nothing about lengths."""
    lengths = sorted(len(one.response) for one in shown(0.5))
    assert lengths[-COUNT // 10] - lengths[COUNT // 10] > 15


def test_problems_are_of_the_train_split_alone():
    """Held-out rates are honest only if no held-out problem was demonstrated."""
    assert len(problems()) > 1000
    assert {split_of(numbers, target) for numbers, target in problems()} == {"train"}
    assert {split_of(*problem_of(one.prompt)) for one in shown(0.5)} == {"train"}


def test_tries_reach_every_target_that_has_a_solution():
    """Natural numbers lose nothing: with three of 1..9 no target to 99 needs a fraction or a negative number."""
    for numbers in [(3, 5, 7), (1, 1, 1), (2, 2, 9), (6, 7, 8), (1, 5, 5), (9, 9, 9)]:
        reached = {t.value for t in tries(numbers)} - {0}
        assert reached == {target for target in range(1, 100) if guess_rate(numbers, target) > 0}


def test_the_same_seed_gives_the_same_demonstrations():
    """The weights depend on them."""
    assert shown(0.5) == shown(0.5)
