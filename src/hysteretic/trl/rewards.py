"""From the rewards of a batch to one value for the whole of it.

Every column of TRL's reward matrix is checked before anything is trained on, and one that is wrong is named, with the
row. Functions, `get_reward` of environments included, are wrapped (RewardWatch); reward models are checked in the
gathered matrix (`flaws_of_models`).

    it raises, or does not return one reward per row      the run stops
    it gives NaN, infinity, or Unscored for some rows     the run stops, or continues where max_unscored tolerates it:
                                                          those rows have no reward, and their groups no gradient

Past this file "no reward" has one form: NaN in a reward matrix, and the mask of excluded responses in GroupRewards.
"""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl.trainer.utils import is_async_callable

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
        have the mean of their group (`with_group_means`).
    is_excluded: [B], responses of groups in which a response has no reward.
    is_silent: [B], responses of zero-variance groups, and the excluded ones.
    is_neutral: [B], responses whose advantage is exactly 0: the silent ones, and those at the mean of their group.
    total: [B], the weighted sum of the rewards; 0 in groups in which a response has no reward.
    """

    rewards: Tensor
    is_excluded: Tensor
    is_silent: Tensor
    is_neutral: Tensor
    total: Tensor

    @classmethod
    def of(cls, rewards_BF: Tensor, group_size: int, weights_F: Tensor, normalizes_first: bool) -> GroupRewards:
        """From TRL's gathered matrix, in which a row without any reward is NaN throughout.

        weights_F: TRL's reward_weights. normalizes_first: advantages are sums of advantages per function
        (multi_objective_aggregation "normalize_then_sum") instead of the advantage of summed rewards.
        """
        G, weights_F = group_size, weights_F.to(rewards_BF.device)
        is_missing_B = rewards_BF.isnan().all(dim=1)
        filled_BF = with_group_means(rewards_BF, G)
        is_excluded_B = is_missing_B.view(-1, G).any(dim=1).repeat_interleave(G)
        rewards_B = (filled_BF * weights_F).nansum(dim=1)
        if normalizes_first:  # a None changes no group's mean or spread
            complete_BF = torch.where(filled_BF.isnan(), _means_of_groups(filled_BF, G).nan_to_num(), filled_BF)
            is_silent_B = silent_groups(complete_BF[:, weights_F != 0], G).repeat_interleave(G)
            is_neutral_B = is_silent_B
        else:
            is_silent_B = silent_groups(rewards_B, G).repeat_interleave(G)
            # With scale_rewards="batch" the standard deviation is that of the batch; the mean is still the group's.
            is_neutral_B = neutral_responses(rewards_B, G)
        total_B = rewards_B.masked_fill(is_excluded_B, 0.0)
        return cls(filled_BF, is_excluded_B, is_silent_B | is_excluded_B, is_neutral_B | is_excluded_B, total_B)


def with_group_means(rewards_BF: Tensor, group_size: int) -> Tensor:
    """The rewards, with the mean of its group in every row that has none, so that the row moves no mean.

    NaN stays where a function applies to no row of the group, and in groups without any reward.
    """
    is_missing_B = rewards_BF.isnan().all(dim=1)
    return torch.where(is_missing_B[:, None], _means_of_groups(rewards_BF, group_size), rewards_BF)


def _means_of_groups(rewards_BF: Tensor, group_size: int) -> Tensor:
    """Each row's mean over its group and function, without NaN; NaN where nothing is left."""
    groups_PGF = rewards_BF.view(-1, group_size, rewards_BF.shape[1])
    return groups_PGF.nanmean(dim=1, keepdim=True).expand_as(groups_PGF).reshape_as(rewards_BF)


@dataclass(frozen=True)
class Signs:
    """The signs of a generation batch by some of its reward functions (HPOConfig's sign_rewards), over all ranks.

    With s_i the sum of the named functions' rewards of response i (reward_weights do not matter, None counts as 0):

        sign_i = sign(s_i - mean of its group)        0 in a group whose s_i are all equal, which is silent

    A group in which a response has no reward of a named function is silent.
    """

    of_responses: Tensor
    is_silent: Tensor

    @classmethod
    def of(cls, named_BF: Tensor, group_size: int) -> Signs:
        """From the named columns of TRL's gathered matrix."""
        named = GroupRewards.of(named_BF, group_size, named_BF.new_ones(named_BF.shape[1]), normalizes_first=False)
        sums_PG = named.rewards.nansum(dim=1).view(-1, group_size)
        signs_B = (sums_PG - sums_PG.mean(dim=1, keepdim=True)).sign().flatten()
        return cls(signs_B.masked_fill(named.is_neutral, 0.0), named.is_silent)


def hidden_groups(rewards_BF: Tensor, is_silent_B: Tensor, group_size: int) -> Tensor:
    """The fraction of groups in which a function gave every response the same reward, at most 0, while the sum of all
    functions is not silent: [F]. High where graded rewards hide that almost nothing is right."""
    groups_PGF = rewards_BF.view(-1, group_size, rewards_BF.shape[1])
    low_PF, high_PF = groups_PGF.amin(dim=1), groups_PGF.amax(dim=1)  # NaN where a function does not apply
    is_informative_P = ~is_silent_B.view(-1, group_size).all(dim=1)
    return ((low_PF == high_PF) & (high_PF <= 0) & is_informative_P[:, None]).float().mean(dim=0)


def flaws_of_models(rewards_BF: Tensor, models: Mapping[int, str]) -> dict[int, str]:
    """What is wrong with the rewards of reward models, by row of the gathered matrix.

    models: their columns and names. A model always applies, so NaN is as wrong as infinity.
    """
    flaws: dict[int, str] = {}
    for column, name in models.items():
        rewards_B = rewards_BF[:, column]
        for row in (~(rewards_B.abs() <= LARGEST)).nonzero().flatten().tolist():
            flaws.setdefault(row, f"Reward model {name} gave {float(rewards_B[row]):g} for row {row}")
    return flaws


class RewardWatch:
    """Wraps reward functions; keeps the first failure of a batch instead of raising in the middle of a collective.

    A wrapped function that fails returns WITHHELD for every row. The trainer finds that in the gathered rewards, asks
    every rank for `failure`, and stops all of them before the batch is trained on.

    None is TRL's mark for "this reward does not apply to this row"; it is accepted when there are other columns.
    tolerates_unscored: whether single rows may be without a reward; they are WITHHELD, and the reasons in `unscored`.
    """

    def __init__(self, tolerates_unscored: bool = False) -> None:
        self.failure: str | None = None
        self.cause: BaseException | None = None
        self._tolerates_unscored = tolerates_unscored
        self.unscored: dict[int, str] = {}

    def wrap(self, function: Callable[..., Any], name: str, allow_none: bool) -> Callable[..., Any]:
        """The same reward function, sync or async as TRL decides, watched. name: its column's."""
        if is_async_callable(function):

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

    def note(self, failure: str, cause: BaseException | None) -> None:
        """Keep a failure of this batch, unless there is one already."""
        if self.failure is None:
            self.failure, self.cause = failure, cause

    def _failed(self, message: str, inputs: dict[str, Any], cause: BaseException | None) -> list[float | None]:
        self.note(message, cause)
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


def distinct(names: Sequence[str]) -> list[str]:
    """The names of reward functions, with _2, _3, ... after those that TRL would mix up: two lambdas, two partials."""
    found: list[str] = []
    for name in names:
        same = (name, *(f"{name}_{number}" for number in range(2, len(names) + 2)))
        found.append(next(each for each in same if each not in found))
    return found


__all__ = [
    "GroupRewards",
    "RewardError",
    "RewardWatch",
    "Signs",
    "Unscored",
    "distinct",
    "flaws_of_models",
    "hidden_groups",
    "with_group_means",
]
