"""How do rewards become advantages, which groups say nothing, and what is alpha?

Everything here is about the whole generation batch: P prompts with G responses each, B = P*G rows, row i*G to
(i+1)*G - 1 being the group of prompt i.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Literal

import torch
import torch.distributed
from torch import Tensor

Scale = Literal["std", "none"]

EPSILON = 1e-4
"""Added to a group's standard deviation; TRL's value."""

TOLERANCE = 1e-6
"""Rewards of a group that differ by at most this fraction of the largest one count as equal."""


def silent_groups(rewards: Tensor, group_size: int) -> Tensor:
    """Which groups carry no signal: all their rewards are equal.

        silent_p = max_g r_pg - min_g r_pg <= 1e-6 * max_g |r_pg|

    Decided on the rewards, never on advantages: in float32 eight rewards of 0.1 leave advantages of -7e-5, whose
    signs are noise.

    rewards: [B] or [B, F] for F reward functions, of which all must be silent. Returns bool [P].
    Raises ValueError as `group_advantages` does.
    """
    rewards_PGF = _grouped(rewards, group_size)
    return (_spread(rewards_PGF) <= _tolerance(rewards_PGF)).all(dim=-1).flatten()


def neutral_responses(rewards: Tensor, group_size: int) -> Tensor:
    """Which responses have advantage exactly 0: those of silent groups, and those at their group's mean.

    The mean is met within the tolerance of `silent_groups`, so that (0.1, 0.2, 0.3) has a neutral middle, and within
    a 2G-th of the spread, so that a group which is not silent keeps a positive and a negative.

    rewards: [B]. Returns bool [B]. Raises ValueError as `group_advantages` does.
    """
    rewards_PG = _one_per_response(rewards, group_size)
    tolerance, spread = _tolerance(rewards_PG), _spread(rewards_PG)
    distance_PG = (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)).abs()
    is_neutral = distance_PG <= torch.minimum(tolerance, spread / (2 * group_size))
    return (is_neutral | (spread <= tolerance)).flatten()


def group_advantages(rewards: Tensor, group_size: int, scale: Scale = "std", epsilon: float = EPSILON) -> Tensor:
    """Advantage of each response over the others of its group (GRPO, arXiv 2402.03300, section 4.1).

        A_i = (r_i - mean of its group) / (std of its group + epsilon)      scale="std"
        A_i =  r_i - mean of its group                                      scale="none" (Dr. GRPO, 2503.20783)

    The standard deviation is the unbiased one, as in TRL. A response that `neutral_responses` names has exactly 0.

    rewards: [B], rows of a group adjacent. Returns [B], in the rewards' floating type (float32 for integers).
    Raises ValueError when rewards are not [B], group_size is below 2 or does not divide B, a reward is NaN or
    infinite (the row is named), or scale is unknown.
    """
    if scale not in ("std", "none"):
        raise ValueError(f"scale is {scale!r}; use 'std' (divide by the group's standard deviation) or 'none'.")
    rewards_PG = _one_per_response(rewards, group_size)
    advantages = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    if scale == "std":
        std_P1 = (advantages.square().sum(dim=1, keepdim=True) / (group_size - 1)).sqrt()
        advantages = advantages / (std_P1 + epsilon)
    dtype = rewards.dtype if rewards.is_floating_point() else torch.float32
    return advantages.flatten().masked_fill(neutral_responses(rewards, group_size), 0.0).to(dtype)


def adaptive_alpha(positives: int, negatives: int, floor: float = 0.1) -> float:
    """Weight of negative advantages, from the signs in the whole batch (A-HPO, arXiv 2605.30201).

        alpha = clip(n_pos / n_neg, floor, 1)        1 when nothing is negative

    positives, negatives: responses of the batch with advantage > 0, < 0 (counts over all ranks). With no positive
    and some negatives alpha is the floor. A group that is not silent has at least one of each, so without masked
    responses n_pos / n_neg >= 1 / (G - 1).
    Raises ValueError when a count is negative or floor is outside [0, 1].
    """
    if positives < 0 or negatives < 0:
        raise ValueError(f"Counts cannot be negative: positives is {positives}, negatives is {negatives}.")
    if not 0 <= floor <= 1:
        raise ValueError(f"The floor of alpha is {floor}; set it within [0, 1] (0.1 is the default).")
    if negatives == 0:
        return 1.0
    return min(max(positives / negatives, floor), 1.0)


@dataclass(frozen=True)
class BatchStatistics:
    """Counts over the whole generation batch; parts of it (micro-batches, ranks) merge by addition.

    responses: rows B, empty ones included. tokens: trained tokens, B times the mean length.
    positives, negatives: rows with at least one trained token and advantage > 0, < 0.
    """

    responses: int = 0
    tokens: int = 0
    positives: int = 0
    negatives: int = 0

    @classmethod
    def of(cls, advantages: Tensor, mask: Tensor) -> BatchStatistics:
        """Count advantages [B] under mask [B, T] (1 for trained tokens). Raises ValueError for other shapes."""
        if mask.dim() != 2 or advantages.shape != mask.shape[:1]:
            raise ValueError(
                f"advantages must be [B] and mask [B, T]; found {list(advantages.shape)} and {list(mask.shape)}."
            )
        return cls.of_lengths(advantages, (mask != 0).sum(dim=1))

    @classmethod
    def of_lengths(cls, advantages: Tensor, lengths: Tensor) -> BatchStatistics:
        """Count advantages [B] of responses with so many trained tokens, lengths [B]. Raises ValueError as `of`."""
        if advantages.dim() != 1 or advantages.shape != lengths.shape:
            raise ValueError(
                f"advantages and lengths must be [B]; found {list(advantages.shape)} and {list(lengths.shape)}."
            )
        is_trained = lengths > 0
        counts = torch.stack(
            [
                lengths.sum(dtype=torch.int64),  # exact: float32 cannot count past 2^24 tokens
                ((advantages > 0) & is_trained).sum(),
                ((advantages < 0) & is_trained).sum(),
            ]
        )
        tokens, positives, negatives = (int(count) for count in counts.tolist())
        return cls(advantages.numel(), tokens, positives, negatives)

    @property
    def mean_length(self) -> float:
        """Mean response length of the batch in tokens, 0 for an empty batch."""
        return self.tokens / self.responses if self.responses else 0.0

    def __add__(self, other: BatchStatistics) -> BatchStatistics:
        return BatchStatistics(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    def __radd__(self, other: object) -> BatchStatistics:
        if other == 0:  # so that sum() works
            return self
        return NotImplemented

    def across_ranks(self, device: torch.device | str = "cpu") -> BatchStatistics:
        """The sum over all ranks of torch.distributed (32 bytes a rank); itself when it is not initialised.

        device: where the backend communicates ("cuda" for NCCL).
        """
        if not torch.distributed.is_initialized():
            return self
        counts = torch.tensor(astuple(self), dtype=torch.int64, device=device)
        torch.distributed.all_reduce(counts)
        return BatchStatistics(*counts.tolist())


def _grouped(rewards: Tensor, group_size: int) -> Tensor:
    """Rewards as float64 [P, G, F], checked (float32 where the device has no float64)."""
    if group_size < 2:
        raise ValueError(
            f"group_size is {group_size}, but advantages need a group to compare with; "
            "set group_size >= 2 (8 is usual)."
        )
    if rewards.dim() not in (1, 2) or rewards.shape[0] % group_size:
        raise ValueError(
            f"rewards must be [B] with B a multiple of group_size={group_size}; found shape {list(rewards.shape)}."
        )
    is_finite = torch.isfinite(rewards)
    if not bool(is_finite.all()):
        row = int((~is_finite).reshape(rewards.shape[0], -1).any(dim=1).nonzero()[0])
        raise ValueError(
            f"The reward of row {row} is {rewards[row].tolist()}; every reward must be finite. "
            "Mend the reward function, or drop the whole group before computing advantages."
        )
    exact = torch.float32 if rewards.device.type == "mps" else torch.float64
    functions = rewards.shape[1] if rewards.dim() == 2 else 1
    return rewards.to(exact).reshape(rewards.shape[0] // group_size, group_size, functions)


def _one_per_response(rewards: Tensor, group_size: int) -> Tensor:
    """Rewards [B] as float64 [P, G], checked."""
    if rewards.dim() != 1:
        raise ValueError(
            f"rewards must be [B], one a response; found shape {list(rewards.shape)}. "
            "Add up the rewards of several functions first."
        )
    return _grouped(rewards, group_size).squeeze(2)


def _spread(rewards: Tensor) -> Tensor:
    return rewards.amax(dim=1, keepdim=True) - rewards.amin(dim=1, keepdim=True)


def _tolerance(rewards: Tensor) -> Tensor:
    return TOLERANCE * rewards.abs().amax(dim=1, keepdim=True)
