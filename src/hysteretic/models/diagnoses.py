"""What does the tiny model of TeleLogs imitate? Short reports on compact drives, and a boxed root cause.

    careful    <think> speed 31 blocks 87 far 58</think>\\boxed{C2}
    careless   <think> speed 44 blocks 87</think>\\boxed{C5}

A careful writer reads off one figure a rule, in the order of the rules, and stops at the first that holds. A careless
one stops anywhere, misreads, and guesses the label. So what reinforcement has to find is there from the start,
seldom: to go on until a rule holds, to read well, and to name the cause that it shows.

    speed      highest speed of the bad rows, km/h            tilt       far edge of the lobe beyond the road, degrees
    blocks     mean resource blocks of the bad rows, in 2     overlap    bad rows whose strongest neighbour is of
    far        greatest distance to the serving cell, 20 m               another site, at most 3 dB weaker
    handovers  changes of the serving cell in the bad rows    modulo     bad rows with an equal PCI modulo 30

The drives are drawn apart from those of the task: no train, validation or test problem is ever shown.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from statistics import fmean

from hysteretic.tasks.telelogs import CAUSES, Difficulty, Scenario, draw, root_cause
from hysteretic.tasks.telelogs.compact import SITES, compact, shown, two_digits
from hysteretic.tasks.telelogs.rules import collides, overlaps
from hysteretic.tasks.telelogs.scenario import angle_below, changes, distance_km

from .demonstrations import Demonstration

WORDS = ("speed", "blocks", "far", "handovers", "modulo", "tilt", "overlap")
"""One for each rule, in their order; the last rule, C3, has none."""

ORDER = ("C7", "C8", "C2", "C5", "C6", "C1", "C4", "C3")

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


def figures(scenario: Scenario) -> tuple[str, ...]:
    """What the prompt shows on each of WORDS, two digits each."""
    seen = shown(scenario)
    bad = [seen.rows[i] for i in seen.bad_rows]
    served = [(row, cell) for row in bad if (cell := seen.serving(row))]
    beyond = [
        int(two_digits(max(cell.far_edge, 0))) - int(two_digits(angle_below(cell, row)))
        for row, cell in served
        if row.pci == seen.rows[0].pci
    ]
    found = (
        max(row.speed for row in bad),
        fmean(row.rb for row in bad) / 2,
        max(50 * distance_km(row, cell) for row, cell in served),
        changes([row.pci for row in bad]),
        sum(map(collides, bad)),
        max(beyond, default=0),
        sum(overlaps(seen, row) for row in bad),
    )
    return tuple(map(two_digits, found))


def report(read: tuple[str, ...], cause: str) -> str:
    """A response: figures in their order, then the label."""
    said = "".join(f" {word} {figure}" for word, figure in zip(WORDS, read, strict=False))
    return f"<think>{said}</think>\\boxed{{{cause}}}"
