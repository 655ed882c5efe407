"""How do log-probabilities and advantages become a loss whose parts add up?

    J = sum_i c_i sum_t m_it gate(rho_it, w_i A_i)          loss = -J

rho from the ratio, w from the weight, c_i from the length (PerResponse 1/(B L_i), BatchMean 1/(sum of L), Constant
1/(B max_length)). B, the lengths' sum and the signs behind w are those of the whole generation batch, so the loss of
the batch is the sum of the shares of its micro-batches on all ranks, however it is cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hysteretic.advantages import BatchStatistics, Scale
from hysteretic.parts import MAX_LOG_RATIO, Gate, Length, Ratio, Weight


@dataclass(frozen=True)
class Tally:
    """A mean still in parts: add tallies of micro-batches and ranks first, divide once."""

    total: Tensor | float
    count: Tensor | float

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.total + other.total, self.count + other.count)

    def __radd__(self, other: object) -> Tally:
        if other == 0:  # so that sum() works
            return self
        return NotImplemented

    @property
    def mean(self) -> float:
        """total / count, 0 when nothing was counted."""
        count = float(self.count)
        return float(self.total) / count if count else 0.0


@dataclass(frozen=True)
class LossShare:
    """What one micro-batch adds to the batch's loss, and to the diagnostics.

    loss: 0-dim tensor with gradient; the batch's loss is the sum of its shares.
    diagnostics (all without gradient):
      clip_low, clip_high  trained tokens whose ratio lies below (negatives) or above (positives) the gate's bounds,
                           of all trained tokens
      positive_mass, negative_mass
                           sum of |d loss / d logp| over tokens with A > 0, A < 0, of the sum over all tokens; empty
                           when logprobs carry no gradient
      kl                   sum of rho - 1 - log rho (an estimate of KL(pi_old || pi)), of all trained tokens
    """

    loss: Tensor
    diagnostics: dict[str, Tally] = field(default_factory=dict)

    def __add__(self, other: LossShare) -> LossShare:
        merged = {name: tally + other.diagnostics[name] for name, tally in self.diagnostics.items()}
        return LossShare(self.loss + other.loss, merged)

    def __radd__(self, other: object) -> LossShare:
        if other == 0:  # so that sum() works
            return self
        return NotImplemented

    def __float__(self) -> float:
        return float(self.loss.detach())

    def item(self) -> float:
        """The loss as a number."""
        return float(self)

    def backward(self, *arguments: Any, **options: Any) -> None:
        """Add this share's gradient to the parameters (torch.Tensor.backward)."""
        self.loss.backward(*arguments, **options)


@dataclass(frozen=True)
class Objective:
    """A policy-gradient objective: four parts of `hysteretic.parts`, and whether advantages are divided by std.

    scale is not used in the loss: it is what to hand to `group_advantages`, so that a preset says all of its paper.
    """

    ratio: Ratio
    gate: Gate
    weight: Weight
    length: Length
    scale: Scale = "std"

    def replace(self, **parts: Any) -> Objective:
        """The same objective with some parts exchanged: gspo().replace(weight=Adaptive())."""
        return replace(self, **parts)

    def alpha(self, statistics: BatchStatistics) -> float:
        """The factor on negative advantages in this batch."""
        return self.weight.alpha(statistics)

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
    ) -> LossShare:
        """The share of one micro-batch (b rows of the batch's B) in the batch's loss, to be minimised.

        logprobs, old_logprobs: [b, T], natural logarithms of the sampled tokens' probabilities under the policy being
        trained and the one that sampled; None: they are the same (on-policy). weighted: [b], from `weigh`. mask:
        [b, T], non-zero for trained tokens; what stands elsewhere, NaN included, is ignored. statistics: of the whole
        batch. When a batch feeds K optimiser steps, multiply each step's share by K.

        Computed in float32 or better. A row without trained tokens, or a micro-batch of such rows, has loss 0 and a
        finite zero gradient; log-ratios beyond +-20 count as +-20, without gradient.
        Raises ValueError for shapes that do not fit.
        """
        _check_shapes(logprobs, old_logprobs, weighted, mask)
        mask_BT = (mask != 0).to(_precise(logprobs))
        is_trained_BT = mask_BT > 0
        new_BT = torch.where(is_trained_BT, logprobs, 0.0).to(mask_BT.dtype)
        old_BT = new_BT.detach() if old_logprobs is None else torch.where(is_trained_BT, old_logprobs, 0.0)
        log_ratio_BT = new_BT - old_BT.to(mask_BT.dtype)
        advantages_B1 = weighted.to(mask_BT.dtype).unsqueeze(1)

        ratio = self.ratio(log_ratio_BT, mask_BT)
        surrogate = self.gate(ratio, advantages_B1, new_BT) * mask_BT
        token_share_B = self.length(mask_BT.sum(dim=1), statistics)
        loss = -(token_share_B * surrogate.sum(dim=1)).sum()
        return LossShare(loss, self._diagnose(loss, new_BT, log_ratio_BT, ratio, advantages_B1, mask_BT))

    def _diagnose(
        self,
        loss: Tensor,
        new_BT: Tensor,
        log_ratio_BT: Tensor,
        ratio: Tensor,
        advantages_B1: Tensor,
        mask_BT: Tensor,
    ) -> dict[str, Tally]:
        mass_BT = torch.zeros_like(mask_BT)
        if new_BT.requires_grad:
            mass_BT = torch.autograd.grad(loss, new_BT, retain_graph=True)[0].abs()
        low, high = self.gate.bounds()
        with torch.no_grad():
            tokens, mass = mask_BT.sum(), mass_BT.sum()
            bounded = log_ratio_BT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
            return {
                "clip_low": Tally(((ratio < low) & (advantages_B1 < 0)).mul(mask_BT).sum(), tokens),
                "clip_high": Tally(((ratio > high) & (advantages_B1 > 0)).mul(mask_BT).sum(), tokens),
                "positive_mass": Tally((mass_BT * (advantages_B1 > 0)).sum(), mass),
                "negative_mass": Tally((mass_BT * (advantages_B1 < 0)).sum(), mass),
                "kl": Tally((bounded.exp() - 1 - bounded).mul(mask_BT).sum(), tokens),
            }

    def on_policy_mass(self, weighted: Tensor, lengths: Tensor, statistics: BatchStatistics) -> tuple[float, float]:
        """Gradient mass of positives and of negatives at rho = 1, before the batch's first update.

            mass = sum_i c_i L_i |w_i A_i|        over A > 0, over A < 0

        For every gate and ratio here the slope at rho = 1 is 1, so this is sum of |d loss / d logp|.
        weighted, lengths: [B] of the batch (or of a part of it; masses of parts add up).
        """
        weighted = weighted.to(_precise(weighted))
        lengths = lengths.to(weighted.dtype)
        mass_B = self.length(lengths, statistics) * lengths * weighted.abs()
        positive, negative = torch.stack([mass_B[weighted > 0].sum(), mass_B[weighted < 0].sum()]).tolist()
        return positive, negative


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
