"""From what reward functions return to one value for the whole batch.

Reward functions are watched (RewardWatch): one that misbehaves is named, with the row, before anything is trained on.

    it raises, or does not return one reward per row      the run stops
    it returns NaN, infinity, or Unscored for some rows   the run stops, or continues where max_unscored tolerates it:
                                                          those rows have no reward, and their groups no gradient

Past this file "no reward" has one form: NaN in a reward matrix, and the mask of excluded responses in GroupRewards.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hysteretic.advantages import neutral_responses, silent_groups
from hysteretic.tasks.scored import Unscored
from hysteretic.tasks.task import RewardError

LARGEST = 1e18
"""Beyond it the square of a reward, and with it a group's standard deviation, overflows float32."""

WITHHELD = math.inf
"""Stands for a reward that was rejected until TRL has gathered the rewards: so every rank learns of it without a
gather of our own, and asks for the reasons only then. An accepted reward is finite."""


@dataclass(frozen=True)
class GroupRewards:
    """The rewards of a generation batch over all ranks, and which of its B responses can have no advantage.

    rewards: [B, F] for F reward functions. NaN where a function does not apply to a row; rows without any reward
        have the mean of their group, so that they move no mean.
    is_excluded: [B], responses of groups in which a response has no reward.
    is_silent: [B], responses of zero-variance groups, and the excluded ones.
    is_neutral: [B], responses whose advantage is exactly 0: the silent ones, and those at the mean of their group.
    """

    rewards: Tensor
    is_excluded: Tensor
    is_silent: Tensor
    is_neutral: Tensor

    @classmethod
    def of(cls, rewards_BF: Tensor, group_size: int, weights_F: Tensor, normalizes_first: bool) -> GroupRewards:
        """From TRL's gathered matrix, in which a row without any reward is NaN throughout.

        weights_F: TRL's reward_weights. normalizes_first: advantages are sums of advantages per function
        (multi_objective_aggregation "normalize_then_sum") instead of the advantage of summed rewards.
        """
        G, weights_F = group_size, weights_F.to(rewards_BF.device)
        is_missing_B = rewards_BF.isnan().all(dim=1)
        means_BF = _means_of_groups(rewards_BF, G)
        filled_BF = torch.where(is_missing_B[:, None], means_BF, rewards_BF)
        is_excluded_B = is_missing_B.view(-1, G).any(dim=1).repeat_interleave(G)
        if normalizes_first:  # a None changes no group's mean or spread
            complete_BF = torch.where(filled_BF.isnan(), _means_of_groups(filled_BF, G), filled_BF)
            is_silent_B = silent_groups(complete_BF[:, weights_F != 0], G).repeat_interleave(G)
            is_neutral_B = is_silent_B
        else:
            rewards_B = (filled_BF * weights_F).nansum(dim=1)
            is_silent_B = silent_groups(rewards_B, G).repeat_interleave(G)
            # With scale_rewards="batch" the standard deviation is that of the batch; the mean is still the group's.
            is_neutral_B = neutral_responses(rewards_B, G)
        return cls(filled_BF, is_excluded_B, is_silent_B | is_excluded_B, is_neutral_B | is_excluded_B)


def _means_of_groups(rewards_BF: Tensor, group_size: int) -> Tensor:
    """Each row's mean over its group and function, without NaN; 0 where nothing is left."""
    groups_PGF = rewards_BF.view(-1, group_size, rewards_BF.shape[1])
    return groups_PGF.nanmean(dim=1, keepdim=True).nan_to_num().expand_as(groups_PGF).reshape_as(rewards_BF)


class RewardWatch:
    """Wraps reward functions; keeps the first failure of a batch instead of raising in the middle of a collective.

    A wrapped function that fails returns WITHHELD for every row. The trainer finds that in the gathered rewards, asks
    every rank for `failure`, and stops all of them before the batch is trained on.

    None is TRL's mark for "this reward does not apply to this row"; it is accepted when there are other functions.
    tolerates_unscored: whether single rows may be without a reward; they are WITHHELD, and the reasons in `unscored`.
    """

    def __init__(self, tolerates_unscored: bool = False) -> None:
        self.failure: str | None = None
        self.cause: BaseException | None = None
        self._tolerates_unscored = tolerates_unscored
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
            except RewardError as error:  # its message already says what and where
                return self._failed(str(error), inputs, error)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again as RewardError on every rank
                row = _row_that_raises(function, inputs)
                where = "on this batch" if row is None else f"on row {row}"
                return self._failed(
                    f"Reward function {name} raised {type(error).__name__} {where}: {error}", inputs, error
                )

        return _named_as(function, name, watched)

    def take(self) -> tuple[str | None, dict[int, str]]:
        """Return and clear the failure of this batch, if any, and the rows without a reward, each with the reason."""
        taken = self.failure, self.unscored
        self.failure, self.unscored = None, {}
        return taken

    def _failed(self, message: str, inputs: dict[str, Any], cause: BaseException | None) -> list[float | None]:
        if self.failure is None:
            self.failure, self.cause = message, cause
        return [WITHHELD] * len(inputs["prompts"])

    def _checked(self, name: str, rewards: Any, rows: int, allow_none: bool) -> Sequence[float | None]:
        problem = _problem(rewards, rows)
        if problem is None:
            flaws = {row: flaw for row, reward in enumerate(rewards) if (flaw := _flaw(reward, row, allow_none))}
            is_tolerated = self._tolerates_unscored and not any(_is_mistake(rewards[row]) for row in flaws)
            if not flaws or is_tolerated:
                self.unscored |= {row: f"Reward function {name} {flaw}" for row, flaw in flaws.items()}
                return [
                    WITHHELD if row in flaws else None if one is None else float(one) for row, one in enumerate(rewards)
                ]
            problem = next(iter(flaws.values()))
        return self._failed(f"Reward function {name} {problem}", {"prompts": range(rows)}, None)


def _problem(rewards: Any, rows: int) -> str | None:
    """What is wrong with the return value for a batch of so many rows, in words; None when nothing is."""
    if rewards is None or isinstance(rewards, str | bytes) or not hasattr(rewards, "__len__"):
        return f"returned {type(rewards).__name__}; it must return a list of {rows} rewards, one per completion."
    if len(rewards) != rows:
        return f"returned {len(rewards)} rewards for {rows} completions; it must return one per completion."
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
    """Whether it is not a number at all: the function is wrong, and another response would not fix it."""
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


__all__ = ["GroupRewards", "RewardError", "RewardWatch", "Unscored"]
