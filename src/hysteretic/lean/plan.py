"""Which responses go through the model together, and on which rank?

A micro-batch is bounded by its rows or by its tokens. Responses to one prompt stay together where they can, since the
prompt is then read once for all of them; they are parted when a bound or an idle rank asks for it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

WORTH = 0.85
"""A stream with more than this share of the padded rows' tokens is slower than they are, for it attends in pieces."""

Numbers = list[int]
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
        a padded rectangle (rows times longest P + longest L).
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
        """Tokens of these rows: of their stream, or of the rectangle."""
        return _stream(rows) if self.is_packed else _rectangle(rows)

    def reads_stream(self, rows: Sequence[Row]) -> bool:
        """Whether these rows go through the model as a stream: if allowed, and it is worth it or needed to fit."""
        is_needed = self.max_tokens is not None and _rectangle(rows) > self.max_tokens
        return self.is_packed and (is_needed or _stream(rows) <= WORTH * _rectangle(rows))

    def forwarded(self, rows: Sequence[Row]) -> int:
        """Tokens that go through the model for these rows."""
        return _stream(rows) if self.reads_stream(rows) else _rectangle(rows)


def _stream(rows: Sequence[Row]) -> int:
    prompts = {row.prompt: row.prompt_tokens - 1 for row in rows}
    return sum(prompts.values()) + sum(row.response_tokens for row in rows)


def _rectangle(rows: Sequence[Row]) -> int:
    longest_prompt = max((row.prompt_tokens for row in rows), default=0)
    return len(rows) * (longest_prompt + max((row.response_tokens for row in rows), default=0))


def plan(rows: Sequence[Row], ranks: int, budget: Budget) -> list[list[Numbers]]:
    """Micro-batches of every rank: each row in exactly one; as many on every rank, the missing ones empty.

    Deterministic: every rank that knows the rows makes the same plan.
    """
    shares = _spread(rows, _units(rows, budget), ranks, budget)
    micro_batches = [_fill(rows, units, budget) for units in shares]
    most = max(map(len, micro_batches))
    return [share + [[] for _ in range(most - len(share))] for share in micro_batches]


def _units(rows: Sequence[Row], budget: Budget) -> list[Numbers]:
    """Rows that gain from staying together: those of a prompt when it is read once; cut to what a budget allows."""
    if not budget.is_packed:
        return [[i] for i in range(len(rows))]
    by_prompt: dict[int, Numbers] = {}
    for i, row in enumerate(rows):
        by_prompt.setdefault(row.prompt, []).append(i)
    return [piece for unit in by_prompt.values() for piece in _cut(rows, unit, budget)]


def _cut(rows: Sequence[Row], unit: Numbers, budget: Budget) -> list[Numbers]:
    """The rows in order, parted wherever the budget is used up."""
    pieces: list[Numbers] = []
    prompt = response = total = 0
    for i in unit:
        row = rows[i]
        prompt, response = max(prompt, row.prompt_tokens), max(response, row.response_tokens)
        total += row.response_tokens
        count = len(pieces[-1]) + 1 if pieces else 1
        tokens = prompt - 1 + total if budget.is_packed else count * (prompt + response)
        is_over = count > (budget.max_rows or count) or tokens > (budget.max_tokens or tokens)
        if not pieces or is_over:
            pieces.append([])
            prompt, response, total = row.prompt_tokens, row.response_tokens, row.response_tokens
        pieces[-1].append(i)
    return pieces


def _spread(rows: Sequence[Row], units: list[Numbers], ranks: int, budget: Budget) -> list[list[Numbers]]:
    """Units to ranks, longest first to the idlest; the larger ones cut in as many pieces as make ranks most equal."""
    if ranks == 1 or not units:
        return [units, *([] for _ in range(ranks - 1))]
    costs = [_cost(rows, unit, budget) for unit in units]
    largest = max(*costs, 1)
    best, least = None, 0
    for pieces in _some_up_to(ranks):
        cut = [
            unit[k::count]
            for unit, cost in zip(units, costs, strict=True)
            for count in [min(max(math.ceil(pieces * cost / largest), 1), len(unit))]
            for k in range(count)
        ]
        shares, loads = _longest_first(cut, [_cost(rows, unit, budget) for unit in cut], ranks)
        if best is None or max(loads) < least:
            best, least = shares, max(loads)
        if least <= 1.05 * sum(loads) / ranks:
            break
    assert best is not None
    return best


def _some_up_to(ranks: int) -> list[int]:
    """1 to 8, then powers of 2, and ranks itself."""
    return sorted({n for n in [*range(1, 9), *(2**k for k in range(4, 20)), ranks] if n <= ranks})


def _longest_first(units: list[Numbers], costs: list[int], bins: int) -> tuple[list[list[Numbers]], list[int]]:
    shares: list[list[Numbers]] = [[] for _ in range(bins)]
    idlest_first = [(0, b) for b in range(bins)]
    for i in sorted(range(len(units)), key=lambda i: -costs[i]):
        load, b = heapq.heappop(idlest_first)
        shares[b].append(units[i])
        heapq.heappush(idlest_first, (load + costs[i], b))
    return shares, [load for load, _ in idlest_first]


def _fill(rows: Sequence[Row], units: list[Numbers], budget: Budget) -> list[Numbers]:
    """As few micro-batches as first-fit finds, then as equal as longest-first makes them."""
    costs = {id(unit): _cost(rows, unit, budget) for unit in units}
    largest_first = sorted(units, key=lambda unit: -costs[id(unit)])
    if not budget.is_packed:  # one row a unit; by length, so that padding is least
        return _cut(rows, [i for unit in largest_first for i in unit], budget)
    max_tokens, max_rows = budget.max_tokens or math.inf, budget.max_rows or math.inf
    filled: list[Numbers] = []
    tokens: list[int] = []
    for unit in largest_first:
        fitting = _fitting(unit, costs[id(unit)], filled, tokens, max_tokens, max_rows)
        if not fitting:
            filled.append([])
            tokens.append(0)
        into = fitting[0] if fitting else len(filled) - 1
        filled[into].extend(unit)
        tokens[into] += costs[id(unit)]
    even: list[Numbers] = [[] for _ in filled]
    tokens = [0] * len(even)
    for unit in largest_first:
        fitting = _fitting(unit, costs[id(unit)], even, tokens, max_tokens, max_rows)
        if not fitting:
            return filled
        into = min(fitting, key=tokens.__getitem__)
        even[into].extend(unit)
        tokens[into] += costs[id(unit)]
    return even


def _fitting(
    unit: Numbers, cost: int, into: list[Numbers], tokens: list[int], max_tokens: float, max_rows: float
) -> list[int]:
    """Numbers of the micro-batches that are empty or have room for the unit."""
    return [
        b
        for b, held in enumerate(into)
        if not held or (tokens[b] + cost <= max_tokens and len(held) + len(unit) <= max_rows)
    ]


def _cost(rows: Sequence[Row], unit: Numbers, budget: Budget) -> int:
    return budget.tokens([rows[i] for i in unit])
