"""What happens when a reward function misbehaves? It is named, with the row, before anything is trained on it."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

from hysteretic.tasks.task import RewardError


class RewardWatch:
    """Wraps reward functions; keeps the first failure of a batch instead of raising in the middle of a collective.

    A wrapped function that fails returns zeros, which are never used: the trainer asks every rank for `failure` and
    stops all of them before the batch is trained on.

    None is TRL's mark of "this reward does not apply to this row"; it is accepted when there are other functions.
    """

    def __init__(self) -> None:
        self.failure: str | None = None
        self.cause: BaseException | None = None

    def wrap(self, function: Callable[..., Any], allow_none: bool) -> Callable[..., Any]:
        """The same reward function, sync or async, watched. Raises TypeError when it is not callable."""
        if not callable(function):
            raise TypeError(f"A reward function must be callable; found {function!r}.")
        name = getattr(function, "__name__", type(function).__name__)
        is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004
        )
        if is_async:

            async def watched_async(**inputs: Any) -> Sequence[float | None]:
                try:
                    return self._checked(name, await function(**inputs), len(inputs["prompts"]), allow_none)
                except RewardError as error:
                    return self._failed(str(error), inputs, error)
                except Exception as error:  # noqa: BLE001 - raised again as RewardError on every rank
                    return self._failed(f"Reward function {name} raised {type(error).__name__}: {error}", inputs, error)

            return _named_as(function, name, watched_async)

        def watched(**inputs: Any) -> Sequence[float | None]:
            try:
                return self._checked(name, function(**inputs), len(inputs["prompts"]), allow_none)
            except RewardError as error:  # it says itself what and where
                return self._failed(str(error), inputs, error)
            except Exception as error:  # noqa: BLE001 - raised again as RewardError on every rank
                row = _row_that_raises(function, inputs)
                where = "on this batch" if row is None else f"on row {row}"
                return self._failed(
                    f"Reward function {name} raised {type(error).__name__} {where}: {error}", inputs, error
                )

        return _named_as(function, name, watched)

    def take(self) -> str | None:
        """The failure of this batch, if any; cleared."""
        failure, self.failure = self.failure, None
        return failure

    def _failed(self, message: str, inputs: dict[str, Any], cause: BaseException | None) -> list[float | None]:
        if self.failure is None:
            self.failure, self.cause = message, cause
        return [0.0] * len(inputs["prompts"])

    def _checked(self, name: str, rewards: Any, rows: int, allow_none: bool) -> Sequence[float | None]:
        problem = _problem(rewards, rows, allow_none)
        if problem is None:
            return [None if reward is None else float(reward) for reward in rewards]
        return self._failed(f"Reward function {name} {problem}", {"prompts": range(rows)}, None)


def _problem(rewards: Any, rows: int, allow_none: bool) -> str | None:
    """What is wrong with the rewards of a batch of so many rows, in words; None when nothing is."""
    if rewards is None or isinstance(rewards, str | bytes) or not hasattr(rewards, "__len__"):
        return f"returned {type(rewards).__name__}; it must return a list of {rows} rewards, one a completion."
    if len(rewards) != rows:
        return f"returned {len(rewards)} rewards for {rows} completions; it must return one a completion."
    for row, reward in enumerate(rewards):
        if reward is None:
            if not allow_none:
                return f"returned None for row {row}, and no other function rewards that row; return a number."
        elif not (isinstance(reward, numbers.Real) or getattr(reward, "shape", None) in ((), (1,))):
            return f"returned {type(reward).__name__} ({reward!r}) for row {row}; return a number."
        elif not math.isfinite(float(reward)):
            return f"returned {float(reward)} for row {row}; rewards must be finite."
    return None


def _row_that_raises(function: Callable[..., Any], inputs: dict[str, Any]) -> int | None:
    """The first row on which the function raises when called with that row alone."""
    rows = len(inputs["prompts"])
    for row in range(rows):
        alone = {
            key: [value[row]] if isinstance(value, list) and len(value) == rows else value
            for key, value in inputs.items()
        }
        try:
            function(**alone)
        except Exception:  # noqa: BLE001 - only looking for the row; the first error is the one reported
            return row
    return None


def _named_as(function: Callable[..., Any], name: str, watched: Callable[..., Any]) -> Callable[..., Any]:
    functools.update_wrapper(watched, function, updated=())
    watched.__name__ = name
    return watched


__all__ = ["RewardError", "RewardWatch"]
