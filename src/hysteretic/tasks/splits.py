"""Splits: which problems are train, validation or test, and in what order a seed puts them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from hashlib import blake2b
from typing import Any

from .task import Problem

SPLITS = ("train", "validation", "test")
"""The splits of tasks that generate their problems."""

DEFAULT_COUNTS = {"train": 800, "validation": 200, "test": 200}


def check_split(split: str, name: str) -> None:
    """Raises ValueError unless a task that generates its problems has the split."""
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, but {name} has {', '.join(SPLITS)}; choose one of them.")


def number_of_problems(split: str, count: int | None) -> int:
    """`count`, or the default of the split for None. Raises ValueError for a negative count."""
    wanted = DEFAULT_COUNTS[split] if count is None else count
    if wanted < 0:
        raise ValueError(f"count is {wanted}; it must be 0 or more.")
    return wanted


def check_fraction(test_fraction: float) -> None:
    """Raises ValueError unless test_fraction lies strictly between 0 and 1."""
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction is {test_fraction}; it must be between 0 and 1 (0.1 is usual).")


def table_of(
    split: str, tables: Collection[str], source: str, splits: Mapping[str, str] | None = None, hint: str = ""
) -> tuple[str, bool]:
    """The table that holds a split, and whether that table has to be divided into train and test first.

    splits: which table serves as which split; if None, a single table is divided, and several are used by name.
    hint: appended to the message when the split does not exist.
    """
    is_divided = len(tables) == 1 and splits is None
    named = dict.fromkeys(("train", "test"), *tables) if is_divided else splits or {table: table for table in tables}
    if split not in named:
        raise ValueError(f"{source} has no split {split!r}; it has {', '.join(named)}.{hint}")
    if named[split] not in tables:
        raise ValueError(f"splits names {named[split]!r}, but {source} has {', '.join(tables)}; choose one of these.")
    return named[split], is_divided


def side(content: Any, test_fraction: float) -> str:
    """The split of a row when a single table is divided: a hash of its content, so that adding rows moves none."""
    return "test" if digest("side", content) < test_fraction * 2**64 else "train"


def in_order(
    problems: Collection[Problem],
    split: str,
    seed: int,
    count: int | None,
    source: str,
    key: Callable[[Problem], str] = lambda problem: problem.id,
) -> tuple[Problem, ...]:
    """The first `count` problems of a split in the order of a seed; None: all of them. The order depends on `key`.

    Raises ValueError when there are none or fewer than `count`, saying how many.
    """
    if not problems:
        raise ValueError(f"{source} has no rows for split {split!r}; add rows or choose another split.")
    if count is not None and not 0 <= count <= len(problems):
        raise ValueError(
            f"{count} problems of split {split!r} requested, but {source} has {len(problems)}; request fewer."
        )
    return tuple(sorted(problems, key=lambda problem: digest(f"seed {seed}", key(problem)))[:count])


def digest(*content: Any) -> int:
    """64 bits that depend on the content alone, the same on every machine."""
    text = json.dumps(content, sort_keys=True, default=str)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
