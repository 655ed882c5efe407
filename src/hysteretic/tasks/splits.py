"""Which rows of a data set are a split, and in what order do its problems come?"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from typing import Any

from .task import Problem


def check_fraction(test_fraction: float) -> None:
    """Raises ValueError unless it is the share of a single table that becomes test."""
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction is {test_fraction}; it is a share between 0 and 1 (0.1 is usual).")


def side(content: Any, test_fraction: float) -> str:
    """The split of a row when a single table is divided, by a hash of its content: adding rows moves none."""
    return "test" if digest("side", content) < test_fraction * 2**64 else "train"


def in_order(
    problems: Collection[Problem],
    split: str,
    seed: int,
    count: int | None,
    source: str,
    key: Callable[[Problem], str] = lambda problem: problem.id,
) -> tuple[Problem, ...]:
    """The first `count` problems of a split in the order of a seed; None: all of them. key: what the order hangs on.

    Raises ValueError when there are none or fewer than `count`, saying how many.
    """
    if not problems:
        raise ValueError(f"{source} has no rows for split {split!r}; add rows or choose another split.")
    if count is not None and not 0 <= count <= len(problems):
        raise ValueError(
            f"{count} problems of split {split!r} asked, but {source} has {len(problems)}; ask for no more."
        )
    ordered: Sequence[Problem] = sorted(problems, key=lambda problem: digest(f"seed {seed}", key(problem)))
    return tuple(ordered[:count])


def digest(*content: Any) -> int:
    """64 bits from the content alone, the same on every machine."""
    text = json.dumps(content, sort_keys=True, default=str)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
