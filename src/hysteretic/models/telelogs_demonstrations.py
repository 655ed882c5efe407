"""What the tiny model of TeleLogs imitates: short reports on compact drives, with a boxed root cause.

    careful    <think> speed 31 blocks 87 far 58</think>\\boxed{C2}
    careless   <think> speed 44 blocks 87</think>\\boxed{C5}

A careful writer reads one measurement per rule, in the order of the rules, and stops at the first rule that holds. A
careless one stops anywhere, misreads, and guesses the label. So the behaviour that RL has to reinforce, reading
correctly until a rule holds and naming its cause, exists from the start but is rare.

What each measurement is: see hysteretic/tasks/telelogs/compact.py.

The drives are not those of the task: no train, validation or test problem is ever shown.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from hysteretic.tasks.telelogs import CAUSES, Difficulty, draw, root_cause
from hysteretic.tasks.telelogs.compact import ORDER, SITES, WORDS, compact, measurements, report
from hysteretic.tasks.telelogs.difficulty import COMPACT

from .countdown_demonstrations import Demonstration

TOKENS = (
    *(f" {number:02d}" for number in range(100)),
    *(f" {site}{cell}" for site in SITES for cell in range(1, 5)),
    " --",
    *(f" {word}" for word in WORDS),
    "\\boxed{",
)
"""Tokens besides bytes and tags."""


@dataclass(frozen=True)
class ReportHabits:
    """How the careful and the careless writer behave.

    careless_checks: relative frequency of 0, 1, 2, ... measurements before a careless answer.
    misread: probability that a careless writer misreads a measurement.
    drives: how many drives there are to report on.
    """

    careless_checks: tuple[float, ...] = (2, 3, 3, 2, 2, 1, 1, 1)
    misread: float = 0.5
    drives: int = 24_000

    @property
    def tokens(self) -> tuple[str, ...]:
        return TOKENS

    def demonstrate(self, rng: random.Random, careful_fraction: float) -> Demonstration:
        """One demonstration on a random drive, careful with probability `careful_fraction`."""
        prompt, cause, measured = drive(rng.randrange(self.drives))
        if rng.random() < careful_fraction:
            read = measured[: ORDER.index(cause) + 1]
            return Demonstration(prompt, report(read, cause), True)
        count = rng.choices(range(len(self.careless_checks)), self.careless_checks)[0]
        read = tuple(f"{rng.randrange(100):02d}" if rng.random() < self.misread else one for one in measured[:count])
        return Demonstration(prompt, report(read, rng.choice(list(CAUSES))), False)


@cache
def drive(index: int) -> tuple[str, str, tuple[str, ...]]:
    """Prompt, cause and measurements of one drive; all causes are equally frequent."""
    cause = list(CAUSES)[index % len(CAUSES)]
    scenario = draw(f"warm-up {index}", cause, Difficulty(ranges=COMPACT))
    return compact(scenario), root_cause(scenario).cause, measurements(scenario)
