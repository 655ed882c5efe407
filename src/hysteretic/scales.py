"""Scales: what the advantages of a group are divided by, as a function of how often the group succeeds.

For rewards of 0 and 1, one update on-policy moves a prompt of success rate p by c(p) times the difference between the
mean gradient of its successes and that of its failures:

    scale        divides by                 c(p)                         c(p) over GRPO's as p -> 0
    none         1                          p (1-p)                      -> 0: rare successes count least
    std          sqrt(p (1-p))              sqrt(p (1-p))                1
    focal        sqrt(p (1-p)) / (1-p)^g    sqrt(p (1-p)) (1-p)^g        1, easy prompts weaker
    root         sqrt(p)                    sqrt(p) (1-p)                1
    mean         p                          1-p                          -> infinity: rare successes count most

Hysteresis does not change c(p) as p -> 0, so a scale and a weight are remedies that add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

EPSILON = 1e-4
"""Added to a group's standard deviation; TRL's value."""


class Scale(Protocol):
    def __call__(self, rewards_PG: Tensor) -> Tensor:
        """What the centred rewards of each group are divided by, [P, 1], above 0 for every group that is not silent.

        The rewards are finite and floating; raises ValueError for rewards that the scale cannot judge.
        """
        ...


@dataclass(frozen=True)
class StdScale:
    """The group's standard deviation (the unbiased one, as in TRL) plus epsilon.

    Args:
        epsilon: In units of the reward, at least 0.

    Raises:
        ValueError: If epsilon is negative.

    Example:
        >>> import torch
        >>> StdScale()(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
        tensor([[0.5001]])

    References:
        GRPO, arXiv 2402.03300, section 4.1.
    """

    epsilon: float = EPSILON

    def __post_init__(self) -> None:
        if not self.epsilon >= 0:
            raise ValueError(f"epsilon is {self.epsilon}; set it to 0 or more ({EPSILON} is usual).")

    def __call__(self, rewards_PG: Tensor) -> Tensor:
        centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
        variance_P1 = centred_PG.square().sum(dim=1, keepdim=True) / (rewards_PG.shape[1] - 1)
        return variance_P1.sqrt() + self.epsilon


STD = StdScale()
"""The default of objectives."""


@dataclass(frozen=True)
class NoScale:
    """1: advantages stay in units of the reward.

    Example:
        >>> import torch
        >>> NoScale()(torch.tensor([[1.0, 0.0]]))
        tensor([[1.]])

    References:
        Dr. GRPO, arXiv 2503.20783.
    """

    def __call__(self, rewards_PG: Tensor) -> Tensor:
        return torch.ones_like(rewards_PG[:, :1])


@dataclass(frozen=True)
class MeanScale:
    """The group's success rate, so that the rarer a success, the more it counts. For rewards of 0 and 1.

        A_i = (r_i - p) / p

    Raises:
        ValueError: When called, for rewards other than 0 and 1: the mean of other rewards is no success rate.

    Example:
        >>> import torch
        >>> MeanScale()(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
        tensor([[0.2500]])

    References:
        MaxRL, arXiv 2602.02710.
    """

    def __call__(self, rewards_PG: Tensor) -> Tensor:
        return _positive(_success_rate(rewards_PG, self))


@dataclass(frozen=True)
class RootScale:
    """The square root of the group's success rate, between `StdScale` and `MeanScale`. For rewards of 0 and 1.

    Raises:
        ValueError: When called, for rewards other than 0 and 1.

    Example:
        >>> import torch
        >>> RootScale()(torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
        tensor([[0.5000]])
    """

    def __call__(self, rewards_PG: Tensor) -> Tensor:
        return _positive(_success_rate(rewards_PG, self).sqrt())


@dataclass(frozen=True)
class FocalScale:
    """The standard deviation over (1-p)^gamma: prompts that mostly succeed are turned down. For rewards of 0 and 1.

    Args:
        gamma: How fast, at least 0; 0 is `StdScale`. 1 is this project's own default.

    Raises:
        ValueError: If gamma is negative, and when called, for rewards other than 0 and 1.

    Example:
        >>> import torch
        >>> FocalScale(gamma=1.0)(torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
        tensor([[2.0004]])

    References:
        F-GRPO, arXiv 2602.06717.
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < float("inf"):
            raise ValueError(f"gamma is {self.gamma}; set it to a number of at least 0 (1 is the default).")

    def __call__(self, rewards_PG: Tensor) -> Tensor:
        return StdScale()(rewards_PG) / _positive((1 - _success_rate(rewards_PG, self)) ** self.gamma)


SCALES: dict[str, type[StdScale | NoScale | MeanScale | RootScale | FocalScale]] = {
    "std": StdScale,
    "none": NoScale,
    "mean": MeanScale,
    "root": RootScale,
    "focal": FocalScale,
}
"""The scales by the names that configurations use."""


def _success_rate(rewards_PG: Tensor, scale: object) -> Tensor:
    is_binary = (rewards_PG == 0) | (rewards_PG == 1)
    if not bool(is_binary.all()):
        group, response = (~is_binary).nonzero()[0].tolist()
        raise ValueError(
            f"{type(scale).__name__} divides by the success rate of a group, so rewards must be 0 or 1, but that of "
            f"response {response} of group {group} is {rewards_PG[group, response].item():g}; use StdScale for graded "
            "rewards, or a reward of 0 and 1."
        )
    return rewards_PG.mean(dim=1, keepdim=True)


def _positive(divisor_P1: Tensor) -> Tensor:
    """1 in place of 0, which only silent groups have; their advantages are 0 whatever divides them."""
    return torch.where(divisor_P1 > 0, divisor_P1, 1.0)
