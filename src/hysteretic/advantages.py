"""From rewards to advantages, the groups without signal, and the adaptive alpha.

Everything here is about the whole generation batch: P prompts with G responses each, B = P*G rows; rows i*G to
(i+1)*G - 1 are the group of prompt i.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

import torch
import torch.distributed
from torch import Tensor

from hysteretic.scales import STD, Scale

TOLERANCE = 1e-6
"""Rewards of a group that differ by at most this fraction of the largest one count as equal."""


def check_part(name: str, part: object, example: str) -> None:
    """Raises TypeError for a class or a name where a part is expected."""
    if part is None or isinstance(part, type | str):
        raise TypeError(f"{name} is {part!r}; give a part, such as {example}.")


def check_fraction(name: str, value: float, usual: float) -> None:
    """Raises ValueError for a factor on negative advantages outside [0, 1]."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; set it within [0, 1] ({usual} is the default).")


def silent_groups(rewards: Tensor, group_size: int) -> Tensor:
    """Which zero-variance ("silent") groups there are: all their rewards are equal, so they carry no signal.

        silent_p = max_g r_pg - min_g r_pg <= 1e-6 * max_g |r_pg|

    This is decided on the rewards, never on advantages: in float32 eight rewards of 0.1 leave advantages of -7e-5,
    whose signs are noise.

    Args:
        rewards: [B], or [B, F] for F reward functions, all of which must be silent. Rows of a group are adjacent.
        group_size: G, responses per prompt, at least 2.

    Returns:
        bool [P].

    Raises:
        ValueError: As `group_advantages`.

    Example:
        >>> import torch
        >>> silent_groups(torch.tensor([0.1, 0.1, 0.0, 1.0]), group_size=2)
        tensor([ True, False])
    """
    rewards_PGF = _grouped(rewards, group_size)
    return (_spread(rewards_PGF) <= _tolerance(rewards_PGF)).all(dim=-1).flatten()


def neutral_responses(rewards: Tensor, group_size: int) -> Tensor:
    """Which responses have advantage exactly 0: those of silent groups, and those at their group's mean.

    The mean is met within the tolerance of `silent_groups`, so that (0.1, 0.2, 0.3) has a neutral middle, and within
    1/(2G) of the spread, so that a group which is not silent keeps a positive and a negative.

    Args:
        rewards: [B], rows of a group adjacent.
        group_size: G, responses per prompt, at least 2.

    Returns:
        bool [B].

    Raises:
        ValueError: As `group_advantages`.

    Example:
        >>> import torch
        >>> neutral_responses(torch.tensor([0.1, 0.2, 0.3]), group_size=3)
        tensor([False,  True, False])
    """
    rewards_PG = _one_per_response(rewards, group_size)
    tolerance, spread = _tolerance(rewards_PG), _spread(rewards_PG)
    distance_PG = (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)).abs()
    is_neutral = distance_PG <= torch.minimum(tolerance, spread / (2 * group_size))
    return (is_neutral | (spread <= tolerance)).flatten()


def group_advantages(rewards: Tensor, group_size: int, scale: Scale = STD) -> Tensor:
    """Advantage of each response over the others of its group. `Objective.advantages` picks the scale for you.

        A_i = (r_i - mean of its group) / scale(rewards of its group)

    Responses named by `neutral_responses` have exactly 0.

    Args:
        rewards: [B], rows of a group adjacent.
        group_size: G, responses per prompt, at least 2.
        scale: What to divide by: `StdScale` (GRPO), `NoScale` (Dr. GRPO), `MeanScale` (MaxRL), `RootScale` or
            `FocalScale`.

    Returns:
        [B], in the rewards' floating-point dtype (float32 for integers).

    Raises:
        ValueError: If rewards are not [B], group_size is below 2 or does not divide B, a reward is NaN or infinite
            (the row is named), or the scale needs rewards of 0 and 1 and finds others.
        TypeError: If scale is a name or a class instead of an object.

    Example:
        >>> import torch
        >>> from hysteretic import NoScale
        >>> group_advantages(torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]), group_size=4, scale=NoScale())
        tensor([ 0.7500, -0.2500, -0.2500, -0.2500,  0.0000,  0.0000,  0.0000,  0.0000])

    References:
        GRPO, arXiv 2402.03300, section 4.1; Dr. GRPO, arXiv 2503.20783.
    """
    check_part("scale", scale, "StdScale()")
    rewards_PG = _one_per_response(rewards, group_size)
    advantages = (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)) / scale(rewards_PG)
    dtype = rewards.dtype if rewards.is_floating_point() else torch.float32
    return advantages.flatten().masked_fill(neutral_responses(rewards, group_size), 0.0).to(dtype)


def adaptive_alpha(positives: int, negatives: int, alpha_min: float = 0.1) -> float:
    """Factor on negative advantages, from the signs in the whole batch.

        alpha = clip(n_pos / n_neg, alpha_min, 1)        1 when nothing is negative

    Without positives alpha is alpha_min. A group that is not silent has at least one of each sign, so without masked
    responses n_pos / n_neg >= 1 / (G - 1).

    Args:
        positives: Responses of the batch with advantage > 0, over all ranks.
        negatives: Responses of the batch with advantage < 0, over all ranks.
        alpha_min: Smallest alpha, within [0, 1].

    Returns:
        alpha, within [alpha_min, 1].

    Raises:
        ValueError: If a count is negative or alpha_min is outside [0, 1].

    Example:
        >>> adaptive_alpha(positives=8, negatives=32)
        0.25

    References:
        A-HPO, arXiv 2605.30201.
    """
    if positives < 0 or negatives < 0:
        raise ValueError(f"Counts cannot be negative: positives is {positives}, negatives is {negatives}.")
    check_fraction("alpha_min", alpha_min, usual=0.1)
    if negatives == 0:
        return 1.0
    return min(max(positives / negatives, alpha_min), 1.0)


@dataclass(frozen=True)
class BatchStatistics:
    """Counts over the whole generation batch; parts of it (micro-batches, ranks) are merged with +.

    Args:
        responses: Rows B, empty ones included.
        tokens: Trained tokens, B times the mean length.
        positives: Rows with at least one trained token and advantage > 0.
        negatives: Rows with at least one trained token and advantage < 0.

    Example:
        >>> import torch
        >>> advantages, mask = torch.tensor([1.0, -1.0]), torch.tensor([[1, 1, 0], [1, 1, 1]])
        >>> BatchStatistics.of(advantages, mask)
        BatchStatistics(responses=2, tokens=5, positives=1, negatives=1)
        >>> sum([BatchStatistics.of(advantages, mask), BatchStatistics.of(advantages, mask)]).tokens
        10
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
        """Count advantages [B] of responses with lengths [B], in trained tokens. Raises ValueError like `of`."""
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

    def across_ranks(self, device: torch.device | str | None = None) -> BatchStatistics:
        """The sum over all ranks of torch.distributed (32 bytes per rank); itself where that is not initialised.

        Args:
            device: Where to communicate. By default the current GPU with NCCL, and the CPU with any other backend.
        """
        if not torch.distributed.is_initialized():
            return self
        if device is None:
            has_nccl = torch.distributed.get_backend() == "nccl"
            device = torch.device("cuda", torch.cuda.current_device()) if has_nccl else "cpu"
        counts = torch.tensor(astuple(self), dtype=torch.int64, device=device)
        torch.distributed.all_reduce(counts)
        return BatchStatistics(*counts.tolist())


def _grouped(rewards: Tensor, group_size: int) -> Tensor:
    """Rewards as float64 [P, G, F], checked (float32 where the device has no float64)."""
    _check_tensor(rewards)
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
            "Fix the reward function, or drop the whole group before computing advantages."
        )
    exact = torch.float32 if rewards.device.type == "mps" else torch.float64
    functions = rewards.shape[1] if rewards.dim() == 2 else 1
    return rewards.to(exact).reshape(rewards.shape[0] // group_size, group_size, functions)


def _one_per_response(rewards: Tensor, group_size: int) -> Tensor:
    """Rewards [B] as float64 [P, G], checked."""
    _check_tensor(rewards)
    if rewards.dim() != 1:
        raise ValueError(
            f"rewards must be [B], one per response; found shape {list(rewards.shape)}. "
            "Add up the rewards of several functions first."
        )
    return _grouped(rewards, group_size).squeeze(2)


def _check_tensor(rewards: object) -> None:
    """Raises TypeError for rewards that are not a tensor, such as a list."""
    if not isinstance(rewards, Tensor):
        raise TypeError(
            f"rewards is a {type(rewards).__name__}; give a tensor of shape [B], such as torch.tensor([0.0, 1.0])."
        )


def _spread(rewards: Tensor) -> Tensor:
    return rewards.amax(dim=1, keepdim=True) - rewards.amin(dim=1, keepdim=True)


def _tolerance(rewards: Tensor) -> Tensor:
    return TOLERANCE * rewards.abs().amax(dim=1, keepdim=True)
