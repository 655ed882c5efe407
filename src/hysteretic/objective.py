"""From log-probabilities and advantages to a loss whose parts add up.

    J = sum_i c_i sum_t m_it gate(rho_it, w_i A_i)          loss = -J

rho comes from the ratio, w from the weight and c_i from the length (PerResponseLength 1/(B L_i), BatchMeanLength
1/(sum of L), ConstantLength 1/(B max_length)). B, the sum of lengths and the signs behind w are those of the whole
generation batch, so the loss of the batch is the sum over its micro-batches on all ranks, however it is cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hysteretic.advantages import BatchStatistics, check_part, group_advantages
from hysteretic.parts import MAX_LOG_RATIO, Gate, Length, Ratio, Weight, alpha_of
from hysteretic.scales import STD, Scale


@dataclass(frozen=True)
class Tally:
    """A mean still in two parts: add the tallies of micro-batches and ranks first, then divide once.

    Args:
        total: Sum of the values.
        count: Sum of their weights.

    Example:
        >>> (Tally(1.0, 2) + Tally(3.0, 10)).mean  # 4/12, not the mean of 1/2 and 3/10
        0.3333333333333333
    """

    total: Tensor | float
    count: Tensor | float

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.total + other.total, self.count + other.count)

    @property
    def mean(self) -> float:
        """total / count, 0 when nothing was counted."""
        count = float(self.count)
        return float(self.total) / count if count else 0.0


class Metrics(dict[str, Tally]):
    """Tallies by name, without gradient. They add up: `sum(metrics of micro-batches)` is the batch's.

    clip_low, clip_high: trained tokens that the gate clipped, with A < 0 and with A > 0, of all trained tokens.
    kl: sum of rho - 1 - log rho (an estimate of KL(pi_old || pi)), of all trained tokens.
    positive_mass, negative_mass: sum of |d loss / d logp| over tokens with A > 0, with A < 0, of that over all tokens.

    Example:
        >>> parts = [Metrics(kl=Tally(0.5, 10)), Metrics(kl=Tally(0.1, 20))]
        >>> sum(parts).means()
        {'kl': 0.02}
    """

    def __add__(self, other: Metrics) -> Metrics:
        return Metrics({**self, **other, **{name: self[name] + other[name] for name in self.keys() & other.keys()}})

    def __radd__(self, other: object) -> Metrics:
        if other == 0:  # so that sum() works
            return self
        return NotImplemented

    def means(self) -> dict[str, float]:
        """Each tally's mean."""
        return {name: tally.mean for name, tally in self.items()}


@dataclass(frozen=True)
class LossOutput:
    """What one micro-batch contributes to the batch.

    Args:
        loss: 0-dim tensor with gradient; the batch's loss is the sum over its micro-batches.
        metrics: Sums and counts of the micro-batch, to be added up as well.
    """

    loss: Tensor
    metrics: Metrics


@dataclass(frozen=True)
class Objective:
    """A policy-gradient objective of five parts.

    Args:
        ratio: How far the policy has moved: `TokenRatio` or `SequenceRatio`.
        gate: How much of a move is still rewarded: `ClipGate`, `SoftGate` or `CapGate`.
        weight: How much failures count: `UniformWeight`, `FixedWeight`, `AdaptiveWeight` or `ShiftedBaseline`.
        length: What a token is divided by: `PerResponseLength`, `BatchMeanLength` or `ConstantLength`.
        scale: What advantages are divided by: `StdScale`, `NoScale`, `MeanScale`, `RootScale` or `FocalScale`.

    Raises:
        TypeError: If a part is a class or a name instead of an object.

    Example:
        From rewards to gradients, with two micro-batches:

        >>> import torch, hysteretic as hy
        >>> rewards, mask = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.ones(4, 3)
        >>> logprobs, old_logprobs = torch.full((4, 3), -1.0, requires_grad=True), torch.full((4, 3), -1.0)
        >>> objective = hy.make("adaptive-grpo")
        >>> advantages = objective.advantages(rewards, group_size=4)
        >>> statistics = hy.BatchStatistics.of(advantages, mask)
        >>> weighted = objective.weigh(advantages, statistics)
        >>> for rows in torch.arange(4).split(2):
        ...     output = objective.loss(logprobs[rows], old_logprobs[rows], weighted[rows], mask[rows], statistics)
        ...     output.loss.backward()
        >>> logprobs.grad[:, 0]
        tensor([-0.1250,  0.0139,  0.0139,  0.0139])

    References:
        HPO, arXiv 2605.30201.
    """

    ratio: Ratio
    gate: Gate
    weight: Weight
    length: Length
    scale: Scale = STD

    def __post_init__(self) -> None:
        for name in ("ratio", "gate", "weight", "length"):
            check_part(name, getattr(self, name), "one of hysteretic.parts: AdaptiveWeight()")
        check_part("scale", self.scale, "one of hysteretic.scales: StdScale()")

    def replace(self, **parts: Any) -> Objective:
        """The same objective with some parts exchanged: gspo().replace(weight=AdaptiveWeight())."""
        return replace(self, **parts)

    def with_max_length(self, tokens: int) -> Objective:
        """The same objective for responses of at most so many tokens; engines call it with their own setting.

        It reaches a length that asks for it (`ConstantLength` without a max_length) and changes nothing else.
        """
        bind = getattr(self.length, "with_max_length", None)
        return self if bind is None else self.replace(length=bind(tokens))

    def advantages(self, rewards: Tensor, group_size: int) -> Tensor:
        """`group_advantages` with this objective's scale: rewards [B], rows of a group adjacent, to advantages [B]."""
        return group_advantages(rewards, group_size, self.scale)

    def alpha(self, statistics: BatchStatistics) -> float | None:
        """The factor on negative advantages in this batch; None where the weight has none."""
        return alpha_of(self.weight, statistics)

    def weigh(self, advantages: Tensor, statistics: BatchStatistics) -> Tensor:
        """w_i A_i, [B]; once per generation batch, with the counts of all of it.

        Since w >= 0 commutes with the clip, w min(rho A, clip(rho) A) = min(rho wA, clip(rho) wA), this is all that
        hysteresis is.
        """
        return self.weight(advantages, statistics)

    def loss(
        self,
        logprobs: Tensor,
        old_logprobs: Tensor | None,
        weighted: Tensor,
        mask: Tensor,
        statistics: BatchStatistics,
        *,
        updates: int = 1,
        gradient_mass: bool = False,
    ) -> LossOutput:
        """What one micro-batch (b rows of the batch's B) contributes to the batch's loss, to be minimised.

        Computed in float32 or better. A row without trained tokens, or a micro-batch of such rows, has loss 0 and a
        finite zero gradient; log-ratios beyond +-20 count as +-20, without gradient.

        Args:
            logprobs: [b, T], natural logarithms of the sampled tokens' probabilities under the policy being trained.
            old_logprobs: [b, T], the same under the policy that sampled, taken as constant; None where that is the
                policy being trained (on-policy).
            weighted: [b], from `weigh`, taken as constant.
            mask: [b, T], non-zero for trained tokens; what stands elsewhere, NaN included, is ignored.
            statistics: Counts of the whole batch, not of the micro-batch.
            updates: K, into how many optimiser steps the batch is cut. Each then has the size of a step on the whole.
            gradient_mass: Also measure positive_mass and negative_mass, which costs a backward pass to logprobs.

        Returns:
            The loss, and the metrics as sums and counts; both add up over micro-batches.

        Raises:
            ValueError: If shapes do not fit, updates is below 1, or gradient_mass is asked for without a gradient.
        """
        _check_shapes(logprobs, old_logprobs, weighted, mask)
        if not updates >= 1:
            raise ValueError(f"updates is {updates}; give the optimiser steps per batch, at least 1.")
        mask_BT = (mask != 0).to(_precise(logprobs))
        is_trained_BT = mask_BT > 0
        new_BT = torch.where(is_trained_BT, logprobs, 0.0).to(mask_BT.dtype)
        old_BT = new_BT if old_logprobs is None else torch.where(is_trained_BT, old_logprobs, 0.0).to(mask_BT.dtype)
        log_ratio_BT = new_BT - old_BT.detach()
        advantages_B1 = weighted.detach().to(mask_BT.dtype).unsqueeze(1)

        ratio = self.ratio(log_ratio_BT, mask_BT)
        surrogate = self.gate(ratio, advantages_B1, new_BT) * mask_BT
        token_factor_B = self.length(mask_BT.sum(dim=1), statistics) * updates
        loss = -(token_factor_B * surrogate.sum(dim=1)).sum()

        metrics = self._metrics(log_ratio_BT, ratio, advantages_B1, mask_BT)
        if gradient_mass:
            metrics |= _gradient_mass(loss, new_BT, advantages_B1)
        return LossOutput(loss, metrics)

    @torch.no_grad()
    def _metrics(self, log_ratio_BT: Tensor, ratio: Tensor, advantages_B1: Tensor, mask_BT: Tensor) -> Metrics:
        clipped_BT = self.gate.clipped(ratio, advantages_B1) * mask_BT
        bounded_BT = log_ratio_BT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        tokens = mask_BT.sum()
        return Metrics(
            clip_low=Tally((clipped_BT * (advantages_B1 < 0)).sum(), tokens),
            clip_high=Tally((clipped_BT * (advantages_B1 > 0)).sum(), tokens),
            kl=Tally((bounded_BT.exp() - 1 - bounded_BT).mul(mask_BT).sum(), tokens),
        )

    def on_policy_mass(self, weighted: Tensor, lengths: Tensor, statistics: BatchStatistics) -> tuple[float, float]:
        """Gradient mass of positives and of negatives at rho = 1, before the batch's first update.

            mass = sum_i c_i L_i |w_i A_i|        over A > 0, over A < 0

        The slope of every gate here is 1 at rho = 1, so this is the sum of |d loss / d logp|, without a backward pass.

        Args:
            weighted: [B] of the batch, or of a part of it; masses of parts add up.
            lengths: [B], trained tokens of each response.
            statistics: Counts of the whole batch.
        """
        weighted = weighted.to(_precise(weighted))
        lengths = lengths.to(weighted.dtype)
        mass_B = self.length(lengths, statistics) * lengths * weighted.abs()
        positive, negative = torch.stack([mass_B[weighted > 0].sum(), mass_B[weighted < 0].sum()]).tolist()
        return positive, negative


def _gradient_mass(loss: Tensor, logprobs_BT: Tensor, advantages_B1: Tensor) -> Metrics:
    if not logprobs_BT.requires_grad:
        raise ValueError("gradient_mass needs logprobs that carry a gradient; leave it out under torch.no_grad().")
    mass_BT = torch.autograd.grad(loss, logprobs_BT, retain_graph=True)[0].abs()
    mass = mass_BT.sum()
    return Metrics(
        positive_mass=Tally((mass_BT * (advantages_B1 > 0)).sum(), mass),
        negative_mass=Tally((mass_BT * (advantages_B1 < 0)).sum(), mass),
    )


def _precise(values: Tensor) -> torch.dtype:
    return torch.promote_types(values.dtype, torch.float32)


def _check_shapes(logprobs: Tensor, old_logprobs: Tensor | None, weighted: Tensor, mask: Tensor) -> None:
    shapes = {
        "old_logprobs": logprobs.shape if old_logprobs is None else old_logprobs.shape,
        "mask": mask.shape,
    }
    wrong = [f"{name} is {list(shape)}" for name, shape in shapes.items() if shape != logprobs.shape]
    if logprobs.dim() != 2:
        wrong.append(f"logprobs is {list(logprobs.shape)}")
    if weighted.shape != logprobs.shape[:1]:
        wrong.append(f"weighted is {list(weighted.shape)}")
    if wrong:
        raise ValueError(
            f"logprobs, old_logprobs and mask must be [b, T], weighted [b]; with logprobs {list(logprobs.shape)}, "
            f"{', '.join(wrong)}."
        )
