"""Four parts of an objective: ratio, gate, weight and length, which combine freely (the fifth: hysteretic.scales).

B responses, T tokens. rho is the importance ratio pi / pi_old, A the advantage (weighted, from `Objective.weigh`), m
the mask of trained tokens, L_i the number of trained tokens of response i. A part of your own is any object with the
methods of its protocol; it need not be a dataclass, frozen or hashable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from hysteretic.advantages import BatchStatistics, adaptive_alpha, check_fraction

MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped to +-20 before exp (verl's value), so that one broken log-prob cannot make a loss infinite."""


# ── ratio: how far has the policy moved? ──────────────────────────────────────────────────────────────────────────


class Ratio(Protocol):
    def __call__(self, log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Importance ratios, [B, T] or [B, 1], of log_ratio = logp - logp_old (0 where masked)."""
        ...


@dataclass(frozen=True)
class TokenRatio:
    """One importance ratio per token.

        rho_it = exp(logp_it - logp_old_it)

    Example:
        >>> import torch
        >>> TokenRatio()(torch.tensor([[0.0, 0.5]]), torch.ones(1, 2))
        tensor([[1.0000, 1.6487]])

    References:
        PPO, arXiv 1707.06347; GRPO, arXiv 2402.03300.
    """

    def __call__(self, log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return log_ratio_BT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


@dataclass(frozen=True)
class SequenceRatio:
    """One importance ratio per response, from its mean log-ratio.

        s_i = exp((1/L_i) sum_t m_it (logp_it - logp_old_it))

    Example:
        >>> import torch
        >>> SequenceRatio()(torch.tensor([[0.0, 0.5]]), torch.ones(1, 2))
        tensor([[1.2840]])

    References:
        GSPO, arXiv 2507.18071, equation 7.
    """

    def __call__(self, log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
        length_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        mean_B1 = (log_ratio_BT * mask_BT).sum(dim=1, keepdim=True) / length_B1
        return mean_B1.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


# ── gate: how much of a move is still rewarded? ───────────────────────────────────────────────────────────────────


class Gate(Protocol):
    def __call__(self, ratio: Tensor, advantages_B1: Tensor, logprobs_BT: Tensor) -> Tensor:
        """The surrogate to maximise, per token: [B, T] or [B, 1]."""
        ...

    def clipped(self, ratio: Tensor, advantages_B1: Tensor) -> Tensor:
        """Where the gate stops or caps the gradient: bool, of the surrogate's shape. For metrics only."""
        ...


@dataclass(frozen=True)
class ClipGate:
    """PPO's clip: no gradient once a token has moved far enough in the direction of its advantage.

        min(rho A, clip(rho, 1 - low, 1 + high) A)

    Args:
        low: How far below 1 the ratio of a negative may go, within (0, 1].
        high: How far above 1 the ratio of a positive may go, above 0. DAPO has 0.28.

    Raises:
        ValueError: If low or high is out of its range.

    Example:
        >>> import torch
        >>> ratio, advantages = torch.tensor([[0.5, 1.0, 1.5]]), torch.tensor([[2.0]])
        >>> ClipGate()(ratio, advantages, torch.zeros(1, 3))
        tensor([[1.0000, 2.0000, 2.4000]])
        >>> ClipGate().clipped(ratio, advantages)
        tensor([[False, False,  True]])

    References:
        PPO, arXiv 1707.06347, equation 7; DAPO, arXiv 2503.14476.
    """

    low: float = 0.2
    high: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.low <= 1 or not self.high > 0:
            raise ValueError(
                f"clip is ({self.low}, {self.high}); set 0 < low <= 1 and high > 0 (0.2 and 0.2 are usual)."
            )

    def __call__(self, ratio: Tensor, advantages_B1: Tensor, logprobs_BT: Tensor) -> Tensor:
        bounded = ratio.clamp(1 - self.low, 1 + self.high)
        return torch.minimum(ratio * advantages_B1, bounded * advantages_B1)

    def clipped(self, ratio: Tensor, advantages_B1: Tensor) -> Tensor:
        too_low = (ratio < 1 - self.low) & (advantages_B1 < 0)
        return too_low | ((ratio > 1 + self.high) & (advantages_B1 > 0))


@dataclass(frozen=True)
class SoftGate:
    """A smooth gate in place of the clip.

        (4/tau) sigmoid(tau (rho - 1)) A        tau by the sign of A

    Its slope is 1 at rho = 1 for every tau, so on-policy it has the gradient of `ClipGate`. No token is clipped.

    Args:
        tau_positive: Temperature for A > 0, above 0; the larger, the sooner the gradient fades.
        tau_negative: Temperature for A <= 0, above 0.

    Raises:
        ValueError: If a temperature is not above 0.

    Example:
        >>> import torch
        >>> SoftGate()(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0]]), torch.zeros(1, 2))
        tensor([[2.0000, 2.9242]])

    References:
        SAPO, arXiv 2511.20347, equation 5.
    """

    tau_positive: float = 1.0
    tau_negative: float = 1.05

    def __post_init__(self) -> None:
        if not (self.tau_positive > 0 and self.tau_negative > 0):
            raise ValueError(f"Temperatures are {self.tau_positive} and {self.tau_negative}; both must be above 0.")

    def __call__(self, ratio: Tensor, advantages_B1: Tensor, logprobs_BT: Tensor) -> Tensor:
        tau_B1 = torch.full_like(advantages_B1, self.tau_negative).masked_fill(advantages_B1 > 0, self.tau_positive)
        return 4 / tau_B1 * torch.sigmoid(tau_B1 * (ratio - 1)) * advantages_B1

    def clipped(self, ratio: Tensor, advantages_B1: Tensor) -> Tensor:
        return torch.zeros_like(ratio, dtype=torch.bool)


@dataclass(frozen=True)
class CapGate:
    """REINFORCE with a capped importance ratio as a constant factor: every token keeps a gradient.

        stop_gradient(min(rho, cap)) A logp

    A token counts as clipped where its ratio is above the cap, whatever the sign of its advantage.

    Args:
        cap: The largest importance ratio itself, at least 1.

    Raises:
        ValueError: If cap is below 1.

    Example:
        >>> import torch
        >>> CapGate()(torch.tensor([[1.0, 8.0]]), torch.tensor([[1.0]]), torch.tensor([[-0.5, -0.5]]))
        tensor([[-0.5000, -2.5000]])

    References:
        CISPO, arXiv 2506.13585, equation 4; the cap of 5 is ScaleRL's, arXiv 2510.13786.
    """

    cap: float = 5.0

    def __post_init__(self) -> None:
        if not self.cap >= 1:
            raise ValueError(f"cap is {self.cap}; it is the largest importance ratio itself, at least 1 (5 is usual).")

    def __call__(self, ratio: Tensor, advantages_B1: Tensor, logprobs_BT: Tensor) -> Tensor:
        return ratio.clamp(max=self.cap).detach() * advantages_B1 * logprobs_BT

    def clipped(self, ratio: Tensor, advantages_B1: Tensor) -> Tensor:
        return ratio > self.cap


# ── weight: how much do failures count? ───────────────────────────────────────────────────────────────────────────


class Weight(Protocol):
    """A weight that scales negatives by one factor may say so with `alpha_for(statistics)`; see `HasAlpha`.

    One that follows the policy's entropy may have `with_entropy(fraction)`; see `EntropyWeight`.
    """

    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        """Advantages [B] as the loss should see them; an advantage of 0 stays 0.

        The rows may be a part of the batch (TRL: those of one rank), so each is weighted by itself and the counts.
        """
        ...


@runtime_checkable
class HasAlpha(Protocol):
    """A weight whose factor on negative advantages is one number per batch, which is then logged as alpha."""

    def alpha_for(self, statistics: BatchStatistics) -> float:
        """The factor on negative advantages in this batch."""
        ...


def alpha_of(weight: Weight, statistics: BatchStatistics) -> float | None:
    """The factor on negative advantages in this batch; None where the weight has none."""
    return weight.alpha_for(statistics) if isinstance(weight, HasAlpha) else None


@dataclass(frozen=True)
class UniformWeight:
    """w = 1: positives and negatives count alike.

    Example:
        >>> import torch
        >>> UniformWeight()(torch.tensor([1.0, -1.0]), BatchStatistics())
        tensor([ 1., -1.])
    """

    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return advantages_B

    def alpha_for(self, statistics: BatchStatistics) -> float:
        return 1.0


@dataclass(frozen=True)
class FixedWeight:
    """w = 1 for A > 0, alpha for A < 0.

    Args:
        alpha: Factor on negative advantages, within [0, 1]. 0.6 is the best fixed value that the paper reports.

    Raises:
        ValueError: If alpha is outside [0, 1].

    Example:
        >>> import torch
        >>> FixedWeight(0.5)(torch.tensor([1.0, -1.0]), BatchStatistics())
        tensor([ 1.0000, -0.5000])

    References:
        HPO, arXiv 2605.30201.
    """

    alpha: float = 0.6

    def __post_init__(self) -> None:
        check_fraction("alpha", self.alpha, usual=0.6)

    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return torch.where(advantages_B < 0, advantages_B * self.alpha, advantages_B)

    def alpha_for(self, statistics: BatchStatistics) -> float:
        return self.alpha


@dataclass(frozen=True)
class AdaptiveWeight:
    """w = 1 for A > 0, clip(n_pos / n_neg, alpha_min, 1) for A < 0, with the counts of the whole batch.

    Args:
        alpha_min: Smallest factor on negative advantages, within [0, 1]. The paper's value is not known to this
            project; 0.1 is its own default.

    Raises:
        ValueError: If alpha_min is outside [0, 1].

    Example:
        >>> import torch
        >>> statistics = BatchStatistics(responses=8, tokens=80, positives=2, negatives=4)
        >>> AdaptiveWeight()(torch.tensor([1.0, -1.0]), statistics)
        tensor([ 1.0000, -0.5000])

    References:
        A-HPO, arXiv 2605.30201.
    """

    alpha_min: float = 0.1

    def __post_init__(self) -> None:
        check_fraction("alpha_min", self.alpha_min, usual=0.1)

    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return FixedWeight(self.alpha_for(statistics))(advantages_B, statistics)

    def alpha_for(self, statistics: BatchStatistics) -> float:
        return adaptive_alpha(statistics.positives, statistics.negatives, self.alpha_min)


@dataclass(frozen=True)
class EntropyWeight(AdaptiveWeight):
    """As `AdaptiveWeight` while the policy explores; alpha rises to 1 as its entropy falls.

        alpha = a + (1 - a) max(0, 1 - entropy / below)      a: the alpha of AdaptiveWeight

    Weak negatives make a policy commit early; full ones keep alternatives alive once it has committed.

    Args:
        alpha_min: Smallest factor on negative advantages, within [0, 1].
        below: From which entropy on alpha rises, as a fraction of the entropy at the start, within (0, 1].
        entropy: The policy's entropy per token over that at the start; an engine sets it by `with_entropy`.

    Raises:
        ValueError: If a value is out of its range.

    Example:
        >>> statistics = BatchStatistics(responses=8, tokens=80, positives=2, negatives=4)
        >>> [EntropyWeight().with_entropy(entropy).alpha_for(statistics) for entropy in (1.0, 0.5, 0.25, 0.0)]
        [0.5, 0.5, 0.75, 1.0]

    References:
        The adaptive part is A-HPO's, arXiv 2605.30201; FADE, arXiv 2607.01490, reports that entropy collapses when
        negatives are weakened. The formula is this project's own.
    """

    below: float = 0.5
    entropy: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.below <= 1:
            raise ValueError(f"below is {self.below}; set it within (0, 1] (0.5 is the default).")
        if not self.entropy >= 0:
            raise ValueError(f"entropy is {self.entropy}; it is a ratio of entropies, at least 0.")

    def alpha_for(self, statistics: BatchStatistics) -> float:
        alpha = super().alpha_for(statistics)
        return alpha + (1 - alpha) * max(0.0, 1 - self.entropy / self.below)

    def with_entropy(self, entropy: float) -> EntropyWeight:
        """The same weight for a policy with this fraction of its entropy left."""
        return EntropyWeight(self.alpha_min, self.below, entropy)


@dataclass(frozen=True)
class ShiftedBaseline:
    """A - shift with shift <= 0: a baseline below the group's mean. It has no alpha.

    Unlike the paper, advantages of exactly 0 stay 0: a group in which everything failed is not pushed up.

    Args:
        shift: Added to the baseline, at most 0, in units of the advantages (of the reward where those are not divided
            by a standard deviation).

    Raises:
        ValueError: If shift is above 0.

    Example:
        >>> import torch
        >>> ShiftedBaseline(-0.5)(torch.tensor([1.0, 0.0, -1.0]), BatchStatistics())
        tensor([ 1.5000,  0.0000, -0.5000])

    References:
        AsymRE, arXiv 2506.20520.
    """

    shift: float = -0.1

    def __post_init__(self) -> None:
        if not self.shift <= 0:
            raise ValueError(f"shift is {self.shift}; a baseline below the mean needs shift <= 0 (-0.1 is usual).")

    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return torch.where(advantages_B == 0, advantages_B, advantages_B - self.shift)


# ── length: what is a token divided by? ───────────────────────────────────────────────────────────────────────────


class Length(Protocol):
    """A length that depends on the longest response an engine allows may have `with_max_length(tokens)`."""

    def __call__(self, lengths_B: Tensor, statistics: BatchStatistics) -> Tensor:
        """The factor on each token of each response, [B], from its number of trained tokens [B]."""
        ...


@dataclass(frozen=True)
class PerResponseLength:
    """1 / (B L_i): the mean over responses of each one's mean over tokens.

    Example:
        >>> import torch
        >>> PerResponseLength()(torch.tensor([2.0, 4.0]), BatchStatistics(responses=2, tokens=6))
        tensor([0.2500, 0.1250])

    References:
        GRPO, arXiv 2402.03300.
    """

    def __call__(self, lengths_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return 1 / (lengths_B.clamp(min=1) * max(statistics.responses, 1))


@dataclass(frozen=True)
class BatchMeanLength:
    """1 / (B Lbar) = 1 / (trained tokens of the batch): the token mean of DAPO, and HPO's mean length.

    Example:
        >>> import torch
        >>> BatchMeanLength()(torch.tensor([2.0, 6.0]), BatchStatistics(responses=2, tokens=8))
        tensor([0.1250, 0.1250])

    References:
        DAPO, arXiv 2503.14476; HPO, arXiv 2605.30201.
    """

    def __call__(self, lengths_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return torch.ones_like(lengths_B) / max(statistics.tokens, 1)


@dataclass(frozen=True)
class ConstantLength:
    """1 / (B max_length): the same for every batch.

    Args:
        max_length: The longest response in tokens, above 0. None takes it from the engine (`Objective.with_max_length`;
            TRL's max_completion_length).

    Raises:
        ValueError: If max_length is not above 0, or is still None when the loss is computed.

    Example:
        >>> import torch
        >>> ConstantLength(10)(torch.tensor([2.0, 6.0]), BatchStatistics(responses=2, tokens=8))
        tensor([0.0500, 0.0500])

    References:
        Dr. GRPO, arXiv 2503.20783.
    """

    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.max_length is not None and not self.max_length > 0:
            raise ValueError(f"max_length is {self.max_length}; give the longest response in tokens, above 0.")

    def __call__(self, lengths_B: Tensor, statistics: BatchStatistics) -> Tensor:
        if self.max_length is None:
            raise ValueError(
                "ConstantLength has no max_length; give the longest response in tokens, as in "
                "dr_grpo(max_length=1024) or objective.with_max_length(1024)."
            )
        return torch.ones_like(lengths_B) / (self.max_length * max(statistics.responses, 1))

    def with_max_length(self, tokens: int) -> ConstantLength:
        """Itself where max_length is set, otherwise with that many tokens."""
        return self if self.max_length is not None else ConstantLength(tokens)
