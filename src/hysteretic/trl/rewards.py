"""What happens when a reward function misbehaves? It is named, with the row, before anything is trained on it.

raises, or returns no list of a reward a row      the run stops
NaN, infinity, or Unscored for some rows          the run stops, or, where max_unscored allows it, goes on: those
                                                  rows have no reward, and their groups no gradient
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

from hysteretic.tasks.scored import Unscored
from hysteretic.tasks.task import RewardError

LARGEST = 1e18
"""Beyond it the square of a reward, and with it a group's standard deviation, does not fit into float32."""


class RewardWatch:
    """Wraps reward functions; keeps the first failure of a batch instead of raising in the middle of a collective.

    A wrapped function that fails returns zeros, which are never used: the trainer asks every rank for `failure` and
    stops all of them before the batch is trained on.

    None is TRL's mark of "this reward does not apply to this row"; it is accepted when there are other functions.
    takes_unscored: whether single rows may be without a reward; they are in `unscored` then.
    """

    def __init__(self, takes_unscored: bool = False) -> None:
        self.failure: str | None = None
        self.cause: BaseException | None = None
        self._takes_unscored = takes_unscored
        self.unscored: dict[int, str] = {}

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
                except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again as RewardError on every rank
                    return self._failed(f"Reward function {name} raised {type(error).__name__}: {error}", inputs, error)

            return _named_as(function, name, watched_async)

        def watched(**inputs: Any) -> Sequence[float | None]:
            try:
                return self._checked(name, function(**inputs), len(inputs["prompts"]), allow_none)
            except RewardError as error:  # it says itself what and where
                return self._failed(str(error), inputs, error)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again as RewardError on every rank
                row = _row_that_raises(function, inputs)
                where = "on this batch" if row is None else f"on row {row}"
                return self._failed(
                    f"Reward function {name} raised {type(error).__name__} {where}: {error}", inputs, error
                )

        return _named_as(function, name, watched)

    def take(self) -> tuple[str | None, dict[int, str]]:
        """The failure of this batch, if any, and the rows without a reward, each with the reason; cleared."""
        taken = self.failure, self.unscored
        self.failure, self.unscored = None, {}
        return taken

    def _failed(self, message: str, inputs: dict[str, Any], cause: BaseException | None) -> list[float | None]:
        if self.failure is None:
            self.failure, self.cause = message, cause
        return [0.0] * len(inputs["prompts"])

    def _checked(self, name: str, rewards: Any, rows: int, allow_none: bool) -> Sequence[float | None]:
        problem = _problem(rewards, rows)
        if problem is None:
            flaws = {row: flaw for row, reward in enumerate(rewards) if (flaw := _flaw(reward, row, allow_none))}
            can_go_on = self._takes_unscored and not any(_is_mistake(rewards[row]) for row in flaws)
            if not flaws or can_go_on:
                self.unscored |= {row: f"Reward function {name} {flaw}" for row, flaw in flaws.items()}
                # 0 holds the place of a reward that is not known: the trainer puts the group's mean there.
                return [0.0 if row in flaws else None if one is None else float(one) for row, one in enumerate(rewards)]
            problem = next(iter(flaws.values()))
        return self._failed(f"Reward function {name} {problem}", {"prompts": range(rows)}, None)


def _problem(rewards: Any, rows: int) -> str | None:
    """What is wrong with what was returned for a batch of so many rows, in words; None when nothing is."""
    if rewards is None or isinstance(rewards, str | bytes) or not hasattr(rewards, "__len__"):
        return f"returned {type(rewards).__name__}; it must return a list of {rows} rewards, one a completion."
    if len(rewards) != rows:
        return f"returned {len(rewards)} rewards for {rows} completions; it must return one a completion."
    return None


def _flaw(reward: Any, row: int, allow_none: bool) -> str | None:
    """What is wrong with the reward of a row, in words; None when nothing is."""
    if reward is None:
        return (
            None
            if allow_none
            else f"returned None for row {row}, and no other function rewards that row; return a number."
        )
    if isinstance(reward, Unscored):
        return f"gave row {row} no reward: {reward.reason}"
    if not (isinstance(reward, numbers.Real) or getattr(reward, "shape", None) in ((), (1,))):
        return f"returned {type(reward).__name__} ({reward!r}) for row {row}; return a number."
    if not math.isfinite(float(reward)):
        return f"returned {float(reward)} for row {row}; rewards must be finite."
    if abs(float(reward)) > LARGEST:
        return f"returned {float(reward):g} for row {row}; rewards must lie within +-{LARGEST:g}."
    return None


def _is_mistake(reward: Any) -> bool:
    """Whether it is no number at all, but what a wrong function returns; another response would not mend it."""
    return reward is None or (not isinstance(reward, Unscored | numbers.Real) and not hasattr(reward, "shape"))


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
        except (Exception, SystemExit):  # noqa: BLE001 - only looking for the row; the first error is the one reported
            return row
    return None


def _named_as(function: Callable[..., Any], name: str, watched: Callable[..., Any]) -> Callable[..., Any]:
    functools.update_wrapper(watched, function, updated=())
    watched.__name__ = name
    return watched


__all__ = ["RewardError", "RewardWatch", "Unscored"]
