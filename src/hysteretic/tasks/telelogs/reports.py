"""How does one report on a compact drive? One figure a rule, in the order of the rules, and a boxed root cause.

<think> speed 31 blocks 87 far 58</think>\\boxed{C2}

speed      highest speed of the bad rows, km/h            tilt       far edge of the lobe beyond the road, degrees
blocks     mean resource blocks of the bad rows, in 2     overlap    bad rows whose strongest neighbour is of
far        greatest distance to the serving cell, 20 m               another site, at most 3 dB weaker
handovers  changes of the serving cell in the bad rows    modulo     bad rows with an equal PCI modulo 30
"""

from __future__ import annotations

from statistics import fmean

from .compact import shown, two_digits
from .rules import collides, overlaps, root_cause
from .scenario import Scenario, angle_below, changes, distance_km

WORDS = ("speed", "blocks", "far", "handovers", "modulo", "tilt", "overlap")
"""One for each rule, in their order; the last rule, C3, has none."""

ORDER = ("C7", "C8", "C2", "C5", "C6", "C1", "C4", "C3")


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


def careful_report(scenario: Scenario) -> str:
    """The figures up to the first rule that holds, and its cause."""
    cause = root_cause(scenario).cause
    return report(figures(scenario)[: ORDER.index(cause) + 1], cause)
