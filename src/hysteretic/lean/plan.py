"""Plan micro-batches: which responses go through the model together, and on which rank.

A micro-batch is bounded by its rows or by its tokens. Responses to one prompt stay together where possible, since the
prompt is then read once for all of them; they are split when a bound or the balance between ranks requires it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_STREAM_FRACTION = 0.85
"""A stream with more than this fraction of the padded tokens is slower than padded rows: it attends in pieces."""

RowIndices = list[int]


@dataclass(frozen=True)
class Row:
    """A response and its prompt: `prompt` is equal for equal prompts, the rest counts tokens."""

    prompt: int
    prompt_tokens: int
    response_tokens: int


@dataclass(frozen=True)
class Budget:
    """The limits of a micro-batch. A row too long for max_tokens gets its own micro-batch.

    is_packed: rows are read as one stream with each prompt once (P - 1 tokens per prompt and L per response);
        otherwise as a padded rectangle (rows times longest P + longest L).
    """

    max_rows: int | None
    max_tokens: int | None
    is_packed: bool

    def __post_init__(self) -> None:
        for name in ("max_rows", "max_tokens"):
            bound = getattr(self, name)
            if bound is not None and bound < 1:
                raise ValueError(f"{name} is {bound}; set it to at least 1.")

    def tokens(self, rows: Sequence[Row]) -> int:
        """Tokens of these rows, as a stream or as a padded rectangle."""
        return _stream(rows) if self.is_packed else _rectangle(rows)

    def reads_stream(self, rows: Sequence[Row]) -> bool:
        """Whether these rows go through the model as a stream: if allowed, and if faster or needed to fit."""
        is_needed = self.max_tokens is not None and _rectangle(rows) > self.max_tokens
        return self.is_packed and (is_needed or _stream(rows) <= MAX_STREAM_FRACTION * _rectangle(rows))

    def forwarded(self, rows: Sequence[Row]) -> int:
        """Tokens that go through the model for these rows."""
        return _stream(rows) if self.reads_stream(rows) else _rectangle(rows)


def _stream(rows: Sequence[Row]) -> int:
    prompts = {row.prompt: row.prompt_tokens - 1 for row in rows}
    return sum(prompts.values()) + sum(row.response_tokens for row in rows)


def _rectangle(rows: Sequence[Row]) -> int:
    longest_prompt = max((row.prompt_tokens for row in rows), default=0)
    return len(rows) * (longest_prompt + max((row.response_tokens for row in rows), default=0))


def plan(rows: Sequence[Row], ranks: int, budget: Budget) -> list[list[RowIndices]]:
    """Micro-batches of every rank. Each row is in exactly one; ranks have equally many, padded with empty ones.

    Deterministic: every rank that knows the rows makes the same plan.
    """
    by_rank = _spread(rows, _units(rows, budget), ranks, budget)
    micro_batches = [_fill(rows, units, budget) for units in by_rank]
    most = max(map(len, micro_batches))
    return [one_rank + [[] for _ in range(most - len(one_rank))] for one_rank in micro_batches]


def _units(rows: Sequence[Row], budget: Budget) -> list[RowIndices]:
    """Rows that should stay together: those of a prompt if it is read once, cut to what the budget allows."""
    if not budget.is_packed:
        return [[i] for i in range(len(rows))]
    by_prompt: dict[int, RowIndices] = {}
    for i, row in enumerate(rows):
        by_prompt.setdefault(row.prompt, []).append(i)
    return [piece for unit in by_prompt.values() for piece in _cut(rows, unit, budget)]


def _cut(rows: Sequence[Row], unit: RowIndices, budget: Budget) -> list[RowIndices]:
    """The rows in order, split wherever the budget is used up."""
    pieces: list[RowIndices] = []
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


def _spread(rows: Sequence[Row], units: list[RowIndices], ranks: int, budget: Budget) -> list[list[RowIndices]]:
    """Units by rank, longest first to the least loaded; larger units are cut into pieces where that balances ranks."""
    if ranks == 1 or not units:
        return [units, *([] for _ in range(ranks - 1))]
    costs = [_cost(rows, unit, budget) for unit in units]
    largest = max(*costs, 1)
    best, least = None, 0
    for pieces in _piece_counts(ranks):
        cut = [
            unit[k::count]
            for unit, cost in zip(units, costs, strict=True)
            for count in [min(max(math.ceil(pieces * cost / largest), 1), len(unit))]
            for k in range(count)
        ]
        by_rank, loads = _longest_first(cut, [_cost(rows, unit, budget) for unit in cut], ranks)
        if best is None or max(loads) < least:
            best, least = by_rank, max(loads)
        if least <= 1.05 * sum(loads) / ranks:
            break
    assert best is not None
    return best


def _piece_counts(ranks: int) -> list[int]:
    """Numbers of pieces to try: 1 to 8, then powers of 2, and the number of ranks."""
    return sorted({n for n in [*range(1, 9), *(2**k for k in range(4, 20)), ranks] if n <= ranks})


def _longest_first(units: list[RowIndices], costs: list[int], bins: int) -> tuple[list[list[RowIndices]], list[int]]:
    by_rank: list[list[RowIndices]] = [[] for _ in range(bins)]
    least_loaded_first = [(0, b) for b in range(bins)]
    for i in sorted(range(len(units)), key=lambda i: -costs[i]):
        load, b = heapq.heappop(least_loaded_first)
        by_rank[b].append(units[i])
        heapq.heappush(least_loaded_first, (load + costs[i], b))
    return by_rank, [load for load, _ in least_loaded_first]


def _fill(rows: Sequence[Row], units: list[RowIndices], budget: Budget) -> list[RowIndices]:
    """As few micro-batches as first-fit finds, balanced by longest-first."""
    costs = {id(unit): _cost(rows, unit, budget) for unit in units}
    largest_first = sorted(units, key=lambda unit: -costs[id(unit)])
    if not budget.is_packed:  # one row a unit; by length, so that padding is least
        return _cut(rows, [i for unit in largest_first for i in unit], budget)
    max_tokens, max_rows = budget.max_tokens or math.inf, budget.max_rows or math.inf
    filled: list[RowIndices] = []
    tokens: list[int] = []
    for unit in largest_first:
        fitting = _fitting(unit, costs[id(unit)], filled, tokens, max_tokens, max_rows)
        if not fitting:
            filled.append([])
            tokens.append(0)
        into = fitting[0] if fitting else len(filled) - 1
        filled[into].extend(unit)
        tokens[into] += costs[id(unit)]
    even: list[RowIndices] = [[] for _ in filled]
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
    unit: RowIndices, cost: int, into: list[RowIndices], tokens: list[int], max_tokens: float, max_rows: float
) -> list[int]:
    """Indices of the micro-batches that are empty or have room for the unit."""
    return [
        b
        for b, held in enumerate(into)
        if not held or (tokens[b] + cost <= max_tokens and len(held) + len(unit) <= max_rows)
    ]


def _cost(rows: Sequence[Row], unit: RowIndices, budget: Budget) -> int:
    return budget.tokens([rows[i] for i in unit])
