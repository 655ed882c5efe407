"""Which responses go through the model together, and on which rank?

A micro-batch is bounded by its rows or by its tokens. Responses to one prompt stay together where they can, since the
prompt is then read once for all of them; they are parted when a bound or an idle rank asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MicroBatch = list[int]
"""Numbers of rows."""


@dataclass(frozen=True)
class Row:
    """A response and its prompt: `prompt` is equal for equal prompts, the rest counts tokens."""

    prompt: int
    prompt_tokens: int
    response_tokens: int


@dataclass(frozen=True)
class Budget:
    """What one micro-batch may hold. A row too long for max_tokens gets a micro-batch of its own.

    is_packed: rows are read as one stream with each prompt once (its tokens: P - 1 a prompt and L a response); else as
        a padded rectangle (rows times the longest P + L).
    """

    max_rows: int | None
    max_tokens: int | None
    is_packed: bool

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_tokens"):
            bound = getattr(self, name)
            if bound is not None and bound < 1:
                raise ValueError(f"{name} is {bound}; a micro-batch holds 1 or more.")

    def tokens(self, rows: Sequence[Row]) -> int:
        """Tokens that go through the model for these rows."""
        if self.is_packed:
            prompts = {row.prompt: row.prompt_tokens - 1 for row in rows}
            return sum(prompts.values()) + sum(row.response_tokens for row in rows)
        return len(rows) * max((row.prompt_tokens + row.response_tokens for row in rows), default=0)

    def allows(self, rows: Sequence[Row]) -> bool:
        """Whether these rows may share a micro-batch."""
        if len(rows) <= 1:
            return True
        if self.max_rows is not None and len(rows) > self.max_rows:
            return False
        return self.max_tokens is None or self.tokens(rows) <= self.max_tokens


def plan(rows: Sequence[Row], ranks: int, budget: Budget) -> list[list[MicroBatch]]:
    """Micro-batches of every rank: each row in exactly one; as many on every rank, the missing ones empty.

    Deterministic: every rank that knows the rows makes the same plan.
    """
    shares = _spread(rows, _units(rows, budget), ranks, budget)
    micro_batches = [_fill(rows, units, budget) for units in shares]
    most = max(map(len, micro_batches))
    return [share + [[] for _ in range(most - len(share))] for share in micro_batches]


def _units(rows: Sequence[Row], budget: Budget) -> list[MicroBatch]:
    """Rows that gain from staying together: those of a prompt when it is read once; cut to what a budget allows."""
    if not budget.is_packed:
        return [[i] for i in range(len(rows))]
    by_prompt: dict[int, MicroBatch] = {}
    for i, row in enumerate(rows):
        by_prompt.setdefault(row.prompt, []).append(i)
    return [piece for unit in by_prompt.values() for piece in _cut(rows, unit, budget)]


def _cut(rows: Sequence[Row], unit: MicroBatch, budget: Budget) -> list[MicroBatch]:
    pieces: list[MicroBatch] = [[]]
    for i in unit:
        if not budget.allows([rows[j] for j in [*pieces[-1], i]]):
            pieces.append([])
        pieces[-1].append(i)
    return pieces


def _spread(rows: Sequence[Row], units: list[MicroBatch], ranks: int, budget: Budget) -> list[list[MicroBatch]]:
    """Units to ranks, longest first to the idlest; the busiest rank's largest unit is halved while that helps."""
    if ranks == 1:
        return [units]
    cost = {id(unit): _cost(rows, unit, budget) for unit in units}
    shares, most = _longest_first(units, cost, ranks)
    while True:
        busiest = max(shares, key=lambda share: sum(cost[id(unit)] for unit in share))
        largest = max(busiest, key=lambda unit: (len(unit) > 1, cost[id(unit)]), default=[])
        if len(largest) < 2:
            return shares
        halves = [largest[::2], largest[1::2]]
        cost |= {id(half): _cost(rows, half, budget) for half in halves}
        units = [unit for unit in units if unit is not largest] + halves
        better, less = _longest_first(units, cost, ranks)
        if less >= most:
            return shares
        shares, most = better, less


def _longest_first(units: list[MicroBatch], cost: dict[int, int], bins: int) -> tuple[list[list[MicroBatch]], int]:
    shares: list[list[MicroBatch]] = [[] for _ in range(bins)]
    loads = [0] * bins
    for unit in sorted(units, key=lambda unit: -cost[id(unit)]):
        idlest = loads.index(min(loads))
        shares[idlest].append(unit)
        loads[idlest] += cost[id(unit)]
    return shares, max(loads)


def _fill(rows: Sequence[Row], units: list[MicroBatch], budget: Budget) -> list[MicroBatch]:
    """As few micro-batches as first-fit finds, then as equal as longest-first makes them."""
    largest_first = sorted(units, key=lambda unit: -_cost(rows, unit, budget))
    filled: list[MicroBatch] = []
    for unit in largest_first:
        into = next((b for b in filled if budget.allows([rows[i] for i in [*b, *unit]])), None)
        if into is None:
            filled.append(list(unit))
        else:
            into.extend(unit)
    if not budget.is_packed:
        return filled  # by length, so that padding is least
    even: list[MicroBatch] = [[] for _ in filled]
    for unit in largest_first:
        fitting = [b for b in even if not b or budget.allows([rows[i] for i in [*b, *unit]])]
        if not fitting:
            return filled
        min(fitting, key=lambda b: _cost(rows, b, budget)).extend(unit)
    return even


def _cost(rows: Sequence[Row], unit: MicroBatch, budget: Budget) -> int:
    return budget.tokens([rows[i] for i in unit])
