"""From verl's rewards to HPO's advantages: three estimators, called once per step with the whole sampled batch.

    rewards, uid -> groups -> advantages (silence decided on rewards) -> counts -> alpha -> weighted advantages

The maths is `hysteretic.advantages` and the weights of `hysteretic.parts`; here rows are put into groups and back.
verl's vanilla loss does the rest, with loss_agg_mode=token-mean (B times the mean length) for hpo and a_hpo, and with
seq-mean-token-mean for adaptive_grpo.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from hysteretic.advantages import BatchStatistics, group_advantages, silent_groups
from hysteretic.common import metric_names as names
from hysteretic.parts import Weight, alpha_of
from hysteretic.scales import STD, Scale
from hysteretic.verl.settings import check_run, rollout_n, root_of, scale_of, weight_of

logger = logging.getLogger(__name__)

_watcher: ContextVar[dict[str, float] | None] = ContextVar("_watcher", default=None)

_said: set[str] = set()
"""What was already logged, once per process."""


def register() -> None:
    """Register the estimators with verl. Idempotent. Raises ValueError if a name is taken."""
    from verl.trainer.ppo.core_algos import register_adv_est

    for estimator in (hpo, a_hpo, adaptive_grpo):
        register_adv_est(estimator.__name__)(estimator)


def hpo(
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: Sequence[Any] | None = None,
    config: Mapping[str, Any] | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """HPO: negative advantages times +algorithm.hpo.alpha (0.6). Arguments and errors as for `estimate`."""
    return _estimate("hpo", token_level_rewards, response_mask, index, config)


def a_hpo(
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: Sequence[Any] | None = None,
    config: Mapping[str, Any] | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """A-HPO: negative advantages times clip(n_pos / n_neg, +algorithm.hpo.alpha_min, 1). Otherwise as `hpo`."""
    return _estimate("a_hpo", token_level_rewards, response_mask, index, config)


def adaptive_grpo(
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: Sequence[Any] | None = None,
    config: Mapping[str, Any] | None = None,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """As `a_hpo`, for GRPO's loss: actor.loss_agg_mode=seq-mean-token-mean, each response's own length."""
    return _estimate("adaptive_grpo", token_level_rewards, response_mask, index, config)


def _estimate(
    name: str,
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: Sequence[Any] | None,
    config: Mapping[str, Any] | None,
) -> tuple[Tensor, Tensor]:
    """The function that verl calls: reads settings from `config` (its algorithm.*) and calls `estimate`."""
    weight = weight_of(name, config)
    root = root_of(config)
    if root is not None:
        for note in check_run(root):
            say_once(note)
    if index is None:
        raise ValueError(
            f"algorithm.adv_estimator={name} compares the responses of a prompt, but the batch has no uid."
        )
    return estimate(token_level_rewards, response_mask, index, weight, scale_of(config), rollout_n(root))


def estimate(
    token_level_rewards: Tensor,
    response_mask: Tensor,
    index: Sequence[Any],
    weight: Weight,
    scale: Scale = STD,
    group_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Weighted advantages and, as verl's `returns`, the unweighted ones; both [B, T], 0 where the mask is.

    With `returns` in verl's metrics, alpha is critic/advantages/min over critic/returns/min.

    token_level_rewards, response_mask: [B, T]. index: [B], equal for the responses of a prompt, in any order.
    weight: any of hysteretic.parts, or of your own. group_size: rollouts per prompt (rollout.n), None where unknown.

    verl's padding rows (a group in which nothing is trained) are left out. A response without trained tokens belongs
    to its group, but its sign is not counted. A group that lost responses to failed rollouts consists of the
    remaining ones; a single remaining response has an advantage of 0.
    Raises ValueError when no group has two responses, when a group is larger than group_size (rows of one rollout
    are not distinguishable from rollouts), for a reward that is not finite, or so large that an
    advantage is not.
    """
    rewards = token_level_rewards.sum(dim=-1, dtype=torch.float64)  # equal rewards stay equal: silence depends on it
    lengths = (response_mask != 0).sum(dim=-1, dtype=torch.int32)  # a third of the time of int64
    _check_shapes(rewards, lengths, index)
    group = _numbered(index, rewards.device)
    is_real = _has_trained_tokens(group, lengths)[group]
    _check_finite(rewards, is_real, index)

    advantages = torch.zeros_like(rewards)
    sizes = torch.bincount(group[is_real])
    sizes = sizes[sizes > 0]
    _check_sizes(sizes, group_size)
    rows = torch.arange(len(group), device=group.device)[is_real]
    rows = rows[torch.argsort(group[is_real], stable=True)]  # groups adjacent
    size_of_row = sizes.repeat_interleave(sizes)
    silent = int((sizes == 1).sum())
    for size in torch.unique(sizes).tolist():
        if size > 1:
            own = rows[size_of_row == size]
            advantages[own] = group_advantages(rewards[own], size, scale)
            silent += size * int(silent_groups(rewards[own], size).sum())

    statistics = BatchStatistics.of_lengths(advantages[is_real], lengths[is_real])
    _report(statistics, weight, silent)
    kind = token_level_rewards.dtype if token_level_rewards.is_floating_point() else torch.float32
    _check_reward_size(advantages.to(kind), index)
    mask = response_mask.to(kind)
    return _over_tokens(weight(advantages, statistics), mask), _over_tokens(advantages, mask)


@contextmanager
def watched() -> Iterator[dict[str, float]]:
    """The statistics of the estimators called within, under the names that hysteretic.trl logs: hpo/alpha, ...

    Empty if another estimator was called.
    """
    seen: dict[str, float] = {}
    token = _watcher.set(seen)
    try:
        yield seen
    finally:
        _watcher.reset(token)


def _report(statistics: BatchStatistics, weight: Weight, silent: int) -> None:
    seen = _watcher.get()
    if seen is None:
        return
    responses = max(statistics.responses, 1)
    alpha = alpha_of(weight, statistics)
    seen |= {} if alpha is None else {names.ALPHA: alpha}
    seen |= {
        names.POSITIVE_SHARE: statistics.positives / responses,
        names.NEGATIVE_SHARE: statistics.negatives / responses,
        names.SILENT_SHARE: silent / responses,
        names.MEAN_LENGTH: statistics.mean_length,
    }


def _over_tokens(values: Tensor, mask_BT: Tensor) -> Tensor:
    return values.to(mask_BT.dtype).unsqueeze(-1) * mask_BT


def _numbered(index: Sequence[Any], device: torch.device) -> Tensor:
    """The number of each distinct entry: 0, 1, ... in order of appearance."""
    numbers: dict[Any, int] = {}
    return torch.tensor([numbers.setdefault(entry, len(numbers)) for entry in index], device=device)


def _has_trained_tokens(group: Tensor, lengths: Tensor) -> Tensor:
    """For each group, whether any of its rows has a trained token."""
    tokens = torch.zeros(int(group.max()) + 1 if len(group) else 0, dtype=lengths.dtype, device=group.device)
    return tokens.index_add(0, group, lengths) > 0


def _check_shapes(rewards: Tensor, lengths: Tensor, index: Sequence[Any]) -> None:
    if not rewards.dim() == 1 or not rewards.shape == lengths.shape == (len(index),):
        raise ValueError(
            f"token_level_rewards and response_mask must be [B, T] and uid [B]; found {len(rewards)}, {len(lengths)} "
            f"and {len(index)} rows."
        )


def _check_finite(rewards: Tensor, is_real: Tensor, index: Sequence[Any]) -> None:
    bad = (~torch.isfinite(rewards) & is_real).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"The reward of row {bad[0]} (uid {index[bad[0]]}) is {rewards[bad[0]].item()}; every reward must be "
            "finite. Fix the reward function."
        )


def _check_reward_size(advantages: Tensor, index: Sequence[Any]) -> None:
    bad = (~torch.isfinite(advantages)).nonzero().flatten().tolist()
    if bad:
        raise ValueError(
            f"The advantage of row {bad[0]} (uid {index[bad[0]]}) overflows {advantages.dtype}: its group's rewards "
            "are too far apart. Bound the reward function."
        )


def _check_sizes(sizes: Tensor, group_size: int | None) -> None:
    if not len(sizes):  # nothing but padding
        return
    largest = int(sizes.max())
    if largest < 2:
        raise ValueError(
            "Every prompt has one response, but advantages need a group to compare with; set "
            "actor_rollout_ref.rollout.n >= 2 (8 is usual)."
        )
    if group_size is not None and largest > group_size:
        raise ValueError(
            f"A prompt has {largest} rows, but actor_rollout_ref.rollout.n is {group_size}: its agent loop gives "
            "several rows per rollout, and verl does not say which belong together, so they would be "
            "counted as responses. Use an agent loop of one row per rollout (single_turn_agent, tool_agent), or verl's "
            "own grpo."
        )
    single = int((sizes == 1).sum())
    if single:
        say_once(
            f"{single} of {len(sizes)} prompts have one response left (failed rollouts); with nothing to compare it "
            "with, its advantage is 0. Logged once; hpo/silent_share counts such responses.",
            "one response left",
        )


def say_once(text: str, about: str | None = None) -> None:
    """Log a warning once. about: identifies it, if the numbers in its text may change."""
    if (about or text) not in _said:
        _said.add(about or text)
        logger.warning("hysteretic: %s", text)
