"""What does the tiny model of TeleLogs imitate? Short reports on compact drives, and a boxed root cause.

    careful    <think> speed 31 blocks 87 far 58</think>\\boxed{C2}
    careless   <think> speed 44 blocks 87</think>\\boxed{C5}

A careful writer reads off one figure a rule, in the order of the rules, and stops at the first that holds. A careless
one stops anywhere, misreads, and guesses the label. So what reinforcement has to find is there from the start,
seldom: to go on until a rule holds, to read well, and to name the cause that it shows.

What each figure is: see hysteretic/tasks/telelogs/reports.py.

The drives are drawn apart from those of the task: no train, validation or test problem is ever shown.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from hysteretic.tasks.telelogs import CAUSES, Difficulty, draw, root_cause
from hysteretic.tasks.telelogs.compact import SITES, compact
from hysteretic.tasks.telelogs.reports import ORDER, WORDS, figures, report

from .demonstrations import Demonstration

TOKENS = (
    *(f" {number:02d}" for number in range(100)),
    *(f" {site}{cell}" for site in SITES for cell in range(1, 5)),
    " --",
    *(f" {word}" for word in WORDS),
    "\\boxed{",
)
"""What the tokenizer has besides bytes and tags."""


@dataclass(frozen=True)
class ReportHabits:
    """How the two writers of reports write.

    careless_checks: relative frequency of 0, 1, 2, ... figures before a careless answer.
    misread: chance that a careless figure is another number.
    drives: how many drives there are to report on.
    """

    careless_checks: tuple[float, ...] = (2, 3, 3, 2, 2, 1, 1, 1)
    misread: float = 0.5
    drives: int = 24_000

    @property
    def tokens(self) -> tuple[str, ...]:
        return TOKENS

    def demonstrate(self, rng: random.Random, careful_share: float) -> Demonstration:
        """One demonstration on a random drive, careful with probability `careful_share`."""
        prompt, cause, figures = drive(rng.randrange(self.drives))
        if rng.random() < careful_share:
            read = figures[: ORDER.index(cause) + 1]
            return Demonstration(prompt, report(read, cause), True)
        count = rng.choices(range(len(self.careless_checks)), self.careless_checks)[0]
        read = tuple(f"{rng.randrange(100):02d}" if rng.random() < self.misread else f for f in figures[:count])
        return Demonstration(prompt, report(read, rng.choice(list(CAUSES))), False)


@cache
def drive(index: int) -> tuple[str, str, tuple[str, ...]]:
    """Prompt, cause and figures of one drive; the causes are equally frequent."""
    cause = list(CAUSES)[index % len(CAUSES)]
    scenario = draw(f"warm-up {index}", cause, Difficulty())
    return compact(scenario), root_cause(scenario).cause, figures(scenario)
