"""Cases that `make test` leaves to `make test-thorough`: they repeat on other values what it has seen."""

from collections.abc import Iterable

import pytest

thorough = pytest.mark.thorough


def one_quick(cases: Iterable, quick: int = 1) -> list:
    """The cases for parametrize, all but the first marked as thorough. Several arguments of a test are a tuple."""
    return [
        case if place < quick else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=thorough)
        for place, case in enumerate(cases)
    ]
