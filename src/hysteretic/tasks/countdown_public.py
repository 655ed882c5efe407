"""Countdown problems that others published: rows with the columns `nums` and `target`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .rows import column, read_tables

_HINT = "Countdown data sets have `nums` (a list of integers) and `target` (an integer); rename the columns."


def public_problems(source: str) -> Iterator[tuple[tuple[int, ...], int]]:
    """(numbers in increasing order, target) of every row of a data set, all its splits together.

    source: a local file or a hub id, as in `read_tables`, for example Jiayi-Pan/Countdown-Tasks-3to4.
    Raises ValueError for a missing column, and for numbers or a target that are not positive integers.
    """
    for split, rows in read_tables(source).items():
        for index, row in enumerate(rows):
            where = f"{source}, split {split!r}, row {index},"
            numbers, target = column(row, "nums", _HINT, where), column(row, "target", _HINT, where)
            if isinstance(numbers, str):  # a CSV field: "[3, 5, 7]"
                numbers = _from_text(numbers)
            if isinstance(target, str):
                target = _from_text(target)
            if not isinstance(numbers, list) or not numbers or not all(map(_is_positive, numbers)):
                raise ValueError(f"{where} has nums {row['nums']!r}; expected a list of positive integers.")
            if not _is_positive(target):
                raise ValueError(f"{where} has target {row['target']!r}; expected a positive integer.")
            yield tuple(sorted(numbers)), target


def _is_positive(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _from_text(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
