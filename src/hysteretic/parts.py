"""What is an objective made of? Ratio, gate, weight, length: four kinds of small parts, freely combined.

B responses, T tokens. rho is the importance ratio pi / pi_old, A the advantage (weighted, from `weigh`), m the mask
of trained tokens, L_i the number of trained tokens of response i.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hysteretic.advantages import BatchStatistics, adaptive_alpha

MAX_LOG_RATIO = 20.0
"""Log-ratios are clamped to +-20 before exp (verl's value), so that one broken log-prob cannot make a loss infinite."""


# ── ratio: how far has the policy moved? ──────────────────────────────────────────────────────────────────────────


class Ratio(Protocol):
    def __call__(self, log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Importance ratios, [B, T] or [B, 1], of log_ratio = logp - logp_old (0 where masked)."""
        ...


@dataclass(frozen=True)
class TokenRatio:
    """rho_it = exp(logp_it - logp_old_it), one ratio a token (PPO; GRPO, arXiv 2402.03300)."""

    def __call__(self, log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
        return log_ratio_BT.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


@dataclass(frozen=True)
class SequenceRatio:
    """s_i = exp((1/L_i) sum_t m_it (logp_it - logp_old_it)), one ratio a response (GSPO, arXiv 2507.18071, eq. 7)."""

    def __call__(self, log_ratio_BT: Tensor, mask_BT: Tensor) -> Tensor:
        length_B1 = mask_BT.sum(dim=1, keepdim=True).clamp(min=1)
        mean_B1 = (log_ratio_BT * mask_BT).sum(dim=1, keepdim=True) / length_B1
        return mean_B1.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


# ── gate: how much of a move is still rewarded? ───────────────────────────────────────────────────────────────────


class Gate(Protocol):
    def __call__(self, ratio: Tensor, advantages_B1: Tensor, logprobs_BT: Tensor) -> Tensor:
        """The surrogate to maximise, per token: [B, T] or [B, 1]."""
        ...

    def bounds(self) -> tuple[float, float]:
        """Ratios at which the gradient of a negative, of a positive advantage vanishes (or is capped)."""
        ...


@dataclass(frozen=True)
class Clip:
    """min(rho A, clip(rho, 1 - low, 1 + high) A)  (PPO; low = high = 0.2 in GRPO; high = 0.28 in DAPO, 2503.14476)."""

    low: float = 0.2
    high: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.low <= 1 or not self.high > 0:
            raise ValueError(
                f"clip is ({self.low}, {self.high}); set 0 < low <= 1 and high > 0 (0.2 and 0.2 are usual)."
            )

    def __call__(self, ratio: Tensor, advantages_B1: Tensor, logprobs_BT: Tensor) -> Tensor:
        clipped = ratio.clamp(1 - self.low, 1 + self.high)
        return torch.minimum(ratio * advantages_B1, clipped * advantages_B1)

    def bounds(self) -> tuple[float, float]:
        return 1 - self.low, 1 + self.high


@dataclass(frozen=True)
class SoftGate:
    """(4/tau) sigmoid(tau (rho - 1)) A, tau by the sign of A (SAPO, arXiv 2511.20347, eq. 5).

    Its slope is 1 at rho = 1 for every tau, so on-policy it has the gradient of `Clip`.
    """

    tau_positive: float = 1.0
    tau_negative: float = 1.05

    def __post_init__(self) -> None:
        if not (self.tau_positive > 0 and self.tau_negative > 0):
            raise ValueError(f"Temperatures are {self.tau_positive} and {self.tau_negative}; both must be above 0.")

    def __call__(self, ratio: Tensor, advantages_B1: Tensor, logprobs_BT: Tensor) -> Tensor:
        tau_B1 = torch.full_like(advantages_B1, self.tau_negative).masked_fill(advantages_B1 > 0, self.tau_positive)
        return 4 / tau_B1 * torch.sigmoid(tau_B1 * (ratio - 1)) * advantages_B1

    def bounds(self) -> tuple[float, float]:
        return 0.0, float("inf")


@dataclass(frozen=True)
class Cap:
    """stop_gradient(min(rho, cap)) A logp (CISPO, arXiv 2506.13585, eq. 4; cap 5 from ScaleRL, 2510.13786)."""

    cap: float = 5.0

    def __post_init__(self) -> None:
        if not self.cap >= 1:
            raise ValueError(f"cap is {self.cap}; it is the largest importance ratio itself, at least 1 (5 is usual).")

    def __call__(self, ratio: Tensor, advantages_B1: Tensor, logprobs_BT: Tensor) -> Tensor:
        return ratio.clamp(max=self.cap).detach() * advantages_B1 * logprobs_BT

    def bounds(self) -> tuple[float, float]:
        return 0.0, self.cap


# ── weight: how much do failures count? ───────────────────────────────────────────────────────────────────────────


class Weight(Protocol):
    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        """Advantages [B] as the loss should see them; an advantage of 0 stays 0."""
        ...

    def alpha(self, statistics: BatchStatistics) -> float:
        """The factor on negative advantages in this batch (1 where the part scales none)."""
        ...


@dataclass(frozen=True)
class Uniform:
    """w = 1: positives and negatives count alike."""

    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return advantages_B

    def alpha(self, statistics: BatchStatistics) -> float:
        return 1.0


@dataclass(frozen=True)
class Fixed:
    """w = 1 for A > 0, alpha for A < 0 (HPO, arXiv 2605.30201; 0.6 is the best fixed value it reports)."""

    value: float = 0.6

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1:
            raise ValueError(f"alpha is {self.value}; set it within [0, 1] (0 ignores failures, 1 is unweighted).")

    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return torch.where(advantages_B < 0, advantages_B * self.alpha(statistics), advantages_B)

    def alpha(self, statistics: BatchStatistics) -> float:
        return self.value


@dataclass(frozen=True)
class Adaptive:
    """w = 1 for A > 0, clip(n_pos / n_neg, alpha_min, 1) for A < 0 (A-HPO, arXiv 2605.30201).

    alpha_min is not stated in what was read of the article; 0.1 is this project's default.
    """

    alpha_min: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.alpha_min <= 1:
            raise ValueError(f"alpha_min is {self.alpha_min}; set it within [0, 1] (0.1 is the default).")

    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return Fixed(self.alpha(statistics))(advantages_B, statistics)

    def alpha(self, statistics: BatchStatistics) -> float:
        return adaptive_alpha(statistics.positives, statistics.negatives, self.alpha_min)


@dataclass(frozen=True)
class Shift:
    """A - delta with delta <= 0: a baseline below the group's mean (AsymRE, arXiv 2506.20520).

    delta is in units of the advantages (of the reward when they are not divided by a standard deviation). Unlike the
    article, advantages of exactly 0 stay 0: a group in which everything failed is not pushed up.
    """

    delta: float = -0.1

    def __post_init__(self) -> None:
        if not self.delta <= 0:
            raise ValueError(f"delta is {self.delta}; a baseline below the mean needs delta <= 0 (-0.1 is usual).")

    def __call__(self, advantages_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return torch.where(advantages_B == 0, advantages_B, advantages_B - self.delta)

    def alpha(self, statistics: BatchStatistics) -> float:
        return 1.0


# ── length: what is a token divided by? ───────────────────────────────────────────────────────────────────────────


class Length(Protocol):
    def __call__(self, lengths_B: Tensor, statistics: BatchStatistics) -> Tensor:
        """The factor on each token of each response, [B], from its number of trained tokens [B]."""
        ...


@dataclass(frozen=True)
class PerResponse:
    """1 / (B L_i): the mean over responses of each one's mean over tokens (GRPO)."""

    def __call__(self, lengths_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return 1 / (lengths_B.clamp(min=1) * max(statistics.responses, 1))


@dataclass(frozen=True)
class BatchMean:
    """1 / (B Lbar) = 1 / (trained tokens of the batch): DAPO's global token mean, and HPO's mean length."""

    def __call__(self, lengths_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return torch.ones_like(lengths_B) / max(statistics.tokens, 1)


@dataclass(frozen=True)
class Constant:
    """1 / (B max_length): the same for every batch (Dr. GRPO, arXiv 2503.20783)."""

    max_length: int

    def __post_init__(self) -> None:
        if not self.max_length > 0:
            raise ValueError(f"max_length is {self.max_length}; give the longest response in tokens, above 0.")

    def __call__(self, lengths_B: Tensor, statistics: BatchStatistics) -> Tensor:
        return torch.ones_like(lengths_B) / (self.max_length * max(statistics.responses, 1))
