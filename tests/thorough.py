"""What `make test` leaves to `make test-thorough`: further cases of what it has seen, and a few long tests.

Marked as a whole are those whose subject `make test` checks in another way, or which take a minute.
"""

from collections.abc import Iterable

import pytest

thorough = pytest.mark.thorough


def one_quick(cases: Iterable, quick: int = 1) -> list:
    """The cases for parametrize, all but the first marked as thorough. Several arguments of a test are a tuple."""
    return [
        case if place < quick else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=thorough)
        for place, case in enumerate(cases)
    ]
