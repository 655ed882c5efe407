"""Which Countdown problems exist, their order under a seed, and their split. The same on every machine.

A problem is a multiset of numbers and a target. All candidates (every multiset of `size` numbers in 1..largest
with every target in 1..largest_target) are numbered, and a seed gives a permutation of these numbers: each
candidate comes up exactly once, so problems are distinct without keeping track, and the end of the list is exact.

The split is a hash of the problem alone, so train and evaluation problems are disjoint whatever the seeds, sizes or
sources. Randomness is BLAKE2b of text, never `random`, whose algorithms may change.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations_with_replacement, islice
from math import comb
from typing import Any

from .countdown_solver import expression_count, hits_of_each, value_counts
from .rows import column, read_tables
from .splits import SPLITS

_TENTHS = {"train": range(7), "validation": range(7, 8), "test": range(8, 10)}

KNOWN_TOTALS = {3: 648_371, 4: 60_426_882}
"""Distinct solvable problems by size, with numbers to 99 and targets to 100, all splits together."""

Numbers = tuple[int, ...]


def hash64(text: str) -> int:
    """64 bits that depend on the text alone."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def problem_id(numbers: Sequence[int], target: int) -> str:
    """`countdown:3,5,7=24`: identifies the problem, whatever the order of its numbers."""
    return f"countdown:{','.join(map(str, sorted(numbers)))}={target}"


def split_of(numbers: Sequence[int], target: int) -> str:
    """The split of a problem: 70 % train, 10 % validation, 20 % test, by a hash of `problem_id`."""
    tenth = hash64("split of " + problem_id(numbers, target)) % 10
    return next(split for split in SPLITS if tenth in _TENTHS[split])


def shown_order(numbers: Sequence[int], target: int) -> Numbers:
    """The numbers in the order the prompt shows them: shuffled, but always the same for a problem."""
    name = problem_id(numbers, target)
    places = sorted(range(len(numbers)), key=lambda place: hash64(f"place {place} of {name}"))
    ordered = sorted(numbers)
    return tuple(ordered[place] for place in places)


def is_admissible(rate: float, guess_rate_below: float | None = None) -> bool:
    """Solvable and, if a bound is given, solved by a random expression less often than the bound."""
    return rate > 0 and (guess_rate_below is None or rate < guess_rate_below)


def with_guess_rates(problems: Iterable[tuple[Numbers, int]], size: int) -> Iterator[tuple[Numbers, int, float]]:
    """Each problem and its guess rate, computed in growing blocks: the first ones come at once, thousands fast."""
    source, block = iter(problems), 64
    while found := list(islice(source, block)):
        for (numbers, target), count in zip(found, hits_of_each(found), strict=True):
            yield numbers, target, count / expression_count(size)
        block = min(2 * block, 4096)


def multiset_count(size: int, largest: int) -> int:
    """Number of multisets of `size` numbers in 1..largest."""
    return comb(largest + size - 1, size)


@lru_cache(maxsize=64)
def _binomials(i: int, length: int) -> list[int]:
    return [comb(place, i) for place in range(length)]


def multiset_at(rank: int, size: int, largest: int) -> Numbers:
    """The multiset with this rank, by the combinatorial number system: rank = comb(c_1, 1) + comb(c_2, 2) + ...

    with 0 <= c_1 < c_2 < ... < largest + size - 1, and c_i - i + 2 the i-th smallest number.
    """
    numbers = []
    for i in range(size, 0, -1):
        binomials = _binomials(i, largest + size - 1)
        place = bisect_right(binomials, rank) - 1
        rank -= binomials[place]
        numbers.append(place - i + 2)
    return tuple(reversed(numbers))


def permuted(index: int, length: int, key: str) -> int:
    """The index-th entry of a pseudorandom permutation of range(length), without storing it.

    Four Feistel rounds on the next even number of bits; results outside the range go through again.
    """
    half = ((length - 1).bit_length() + 1) // 2
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(4):
            left, right = right, left ^ (hash64(f"{key}/{turn}/{right}") & mask)
        index = left << half | right
        if index < length:
            return index


def candidates(size: int, largest: int, largest_target: int, key: str) -> Iterator[tuple[Numbers, int]]:
    """Every (numbers, target) of the setting exactly once, in the order of a key."""
    length = multiset_count(size, largest) * largest_target
    for index in range(length):
        rank, target = divmod(permuted(index, length, key), largest_target)
        yield multiset_at(rank, size, largest), target + 1


def problem_counts(
    size: int, largest: int, largest_target: int, guess_rate_below: float | None = None
) -> dict[str, int]:
    """Number of distinct problems per split, by enumerating every multiset of numbers.

    Takes a second for three numbers up to 30, half a minute up to 99; hours for four numbers up to 99. `KNOWN_TOTALS`
    has some totals (all splits, targets 1..100, no bound on the guess rate).
    """
    counts = dict.fromkeys(SPLITS, 0)
    every = expression_count(size)
    for numbers in combinations_with_replacement(range(1, largest + 1), size):
        for (target, below), found in value_counts(numbers).items():
            is_target = below == 1 and 1 <= target <= largest_target
            if is_target and (guess_rate_below is None or found / every < guess_rate_below):
                counts[split_of(numbers, target)] += 1
    return counts


def public_problems(source: str, config: str | None = None) -> Iterator[tuple[Numbers, int]]:
    """(numbers in increasing order, target) of every row of a published data set, all splits together.

    source: a local file or a hub id, as in `read_tables`, for example Jiayi-Pan/Countdown-Tasks-3to4. config: its
        configuration, if a hub data set has several.
    Raises ValueError for a missing column, and for numbers or a target that are not positive integers.
    """
    hint = "Countdown data sets have `nums` (a list of integers) and `target` (an integer); rename the columns."
    for split, rows in read_tables(source, config).items():
        for index, row in enumerate(rows):
            where = f"{source}, split {split!r}, row {index},"
            numbers, target = (_from_text(column(row, name, hint, where)) for name in ("nums", "target"))
            if not isinstance(numbers, list) or not numbers or not all(map(_is_positive, numbers)):
                raise ValueError(f"{where} has nums {row['nums']!r}; expected a list of positive integers.")
            if not _is_positive(target):
                raise ValueError(f"{where} has target {row['target']!r}; expected a positive integer.")
            yield tuple(sorted(numbers)), target


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _from_text(value: Any) -> Any:
    """The value of a CSV field such as "[3, 5, 7]"; other values unchanged."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except json.JSONDecodeError:
        return None
