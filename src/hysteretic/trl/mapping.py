"""Between objectives and TRL's losses: what each `loss_type` computes, and which one computes an objective.

Every ratio and gate of ours is one of TRL's. The weight acts on the advantages before TRL sees them, and so does a
length that TRL does not pair with that gate: c_i enters the loss as a factor on response i, and so do advantages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor

from hysteretic.advantages import BatchStatistics
from hysteretic.objective import Objective
from hysteretic.parts import (
    AdaptiveWeight,
    BatchMeanLength,
    CapGate,
    ClipGate,
    ConstantLength,
    EntropyWeight,
    FixedWeight,
    Length,
    PerResponseLength,
    SequenceRatio,
    ShiftedBaseline,
    SoftGate,
    TokenRatio,
    UniformWeight,
)
from hysteretic.scales import SCALES, STD, FocalScale, NoScale, Scale


@dataclass(frozen=True)
class TrlOnly:
    """A gate or length that only TRL's own loss of that type computes. Weights need not know it."""

    loss_type: str

    def __call__(self, *_: Any, **__: Any) -> Tensor:
        raise NotImplementedError(f"Only TRL computes this part of its loss_type {self.loss_type!r}.")

    def clipped(self, ratio: Tensor, advantages_B1: Tensor) -> Tensor:
        """Not known here."""
        return self(ratio, advantages_B1)


class TrlLoss(NamedTuple):
    """What a loss_type of TRL is made of.

    divides_by: rows of the micro-batch, trained tokens of the whole batch, or those of the micro-batch as TRL cuts it.
    """

    gate: type
    length: Length
    divides_by: Literal["rows", "batch tokens", "own tokens"]


LOSSES = {
    "grpo": TrlLoss(ClipGate, PerResponseLength(), "rows"),
    "dapo": TrlLoss(ClipGate, BatchMeanLength(), "batch tokens"),
    "dr_grpo": TrlLoss(ClipGate, ConstantLength(), "rows"),
    "bnpo": TrlLoss(ClipGate, TrlOnly("bnpo"), "own tokens"),
    "luspo": TrlLoss(ClipGate, ConstantLength(1), "rows"),
    "sapo": TrlLoss(SoftGate, PerResponseLength(), "rows"),
    "cispo": TrlLoss(CapGate, BatchMeanLength(), "batch tokens"),
    "vespo": TrlLoss(TrlOnly, BatchMeanLength(), "batch tokens"),
}
"""TRL's values of loss_type. Where several compute a gate, the first is used for lengths that none of them has."""

LEVELS: dict[str, type[TokenRatio] | type[SequenceRatio]] = {"token": TokenRatio, "sequence": SequenceRatio}
"""TRL's values of importance_sampling_level."""

PARTS: dict[str, Mapping[str, type]] = {
    "ratio": LEVELS,
    "gate": {"clip": ClipGate, "soft": SoftGate, "cap": CapGate},
    "weight": {
        "uniform": UniformWeight,
        "fixed": FixedWeight,
        "adaptive": AdaptiveWeight,
        "entropy": EntropyWeight,
        "shift": ShiftedBaseline,
    },
    "length": {"response": PerResponseLength, "batch": BatchMeanLength, "constant": ConstantLength},
    "scale": SCALES,
}
"""What the keys ratio, gate, weight, length and scale may say."""

PARAMETERS: dict[str, tuple[str, type, str, str]] = {
    "epsilon": ("gate", ClipGate, "low", ""),
    "epsilon_high": ("gate", ClipGate, "high", ""),
    "sapo_temperature_pos": ("gate", SoftGate, "tau_positive", ""),
    "sapo_temperature_neg": ("gate", SoftGate, "tau_negative", ""),
    "alpha": ("weight", FixedWeight, "alpha", "algorithm='hpo' or weight='fixed'"),
    "alpha_min": ("weight", AdaptiveWeight, "alpha_min", "algorithm='a-hpo' or weight='adaptive'"),
    "entropy_below": ("weight", EntropyWeight, "below", "weight='entropy'"),
    "shift": ("weight", ShiftedBaseline, "shift", "algorithm='asymre' or weight='shift'"),
    "focal_gamma": ("scale", FocalScale, "gamma", "algorithm='f-grpo' or scale='focal'"),
}
"""Fields that are a parameter of a part: the part's key, class and name for it, and what takes it (empty for a field of
TRL's, which has a default and may be left unused)."""


def trl_settings(
    objective: Objective, max_completion_length: int | None, loss_type: str | None = None
) -> dict[str, Any]:
    """The GRPOConfig fields that make TRL compute this objective's ratio and gate, and its length where it can.

    Args:
        objective: Its weight may be any, and so may a length that depends on the row and the batch alone.
        max_completion_length: In tokens; None where the engine bounds responses.
        loss_type: Preferred where it computes the objective.

    Raises:
        TypeError: For a ratio or gate that is none of hysteretic.parts.
    """
    gate, length = objective.gate, with_max_length(objective, max_completion_length).length
    levels = [level for level, ratio in LEVELS.items() if isinstance(objective.ratio, ratio)]
    if not levels:
        raise TypeError(
            f"TRL has no importance ratio {objective.ratio!r}; use TokenRatio or SequenceRatio of hysteretic.parts."
        )
    if isinstance(gate, TrlOnly):
        fields: dict[str, Any] = {"loss_type": gate.loss_type}
    else:
        with_gate = [name for name, loss in LOSSES.items() if isinstance(gate, loss.gate)]
        if not with_gate:
            raise TypeError(
                f"TRL has no loss for the gate {gate!r}; use ClipGate, SoftGate or CapGate of hysteretic.parts here, "
                "or your own loop (examples/own_loop.py)."
            )
        exact = [name for name in with_gate if length_of(name, max_completion_length) == length]
        fields = {"loss_type": loss_type if loss_type in exact else [*exact, *with_gate][0]}
    if isinstance(gate, ClipGate):
        fields |= {"epsilon": gate.low, "epsilon_high": gate.high}
    elif isinstance(gate, SoftGate):
        fields |= {"sapo_temperature_pos": gate.tau_positive, "sapo_temperature_neg": gate.tau_negative}
    elif isinstance(gate, CapGate):
        fields |= {"epsilon_high": gate.cap}
    return {**fields, "importance_sampling_level": levels[0]}


def trl_scale(scale: Scale) -> str:
    """The value of scale_rewards by which TRL divides like this scale, or "none" for one that TRL lacks."""
    return "group" if scale == STD else "none"


def is_trls(scale: Scale) -> bool:
    """Whether TRL itself divides like this; otherwise its centred rewards are divided afterwards."""
    return scale == STD or isinstance(scale, NoScale)


def check_aggregation(aggregation: str, scale: Scale) -> None:
    """Raises ValueError for a scale that TRL lacks where TRL normalises each reward function by itself."""
    if aggregation == "normalize_then_sum" and not is_trls(scale):
        raise ValueError(
            "multi_objective_aggregation is 'normalize_then_sum', which divides each reward by its own standard "
            f"deviation, but the scale is {scale!r}; set 'sum_then_normalize', or drop the scale."
        )


def trl_objective(loss_type: str, level: str, cap: float) -> Objective:
    """TRL's loss with the adaptive weight on top, and default parameters. cap: what TRL's cispo caps ratios at."""
    loss = LOSSES[loss_type]
    is_unknown = loss.gate is TrlOnly or (loss.gate is CapGate and cap < 1)
    gate = TrlOnly(loss_type) if is_unknown else loss.gate()
    return Objective(LEVELS[level](), gate, AdaptiveWeight(), loss.length)


def with_max_length(objective: Objective, max_completion_length: int | None) -> Objective:
    """The objective for responses of at most so many tokens; None where the engine bounds them, as TRL allows.

    Raises ValueError where a constant length needs the number.
    """
    if max_completion_length is not None:
        return objective.with_max_length(max_completion_length)
    if isinstance(objective.length, ConstantLength) and objective.length.max_length is None:
        raise ValueError(
            "max_completion_length is None, but the length 'constant' (dr-grpo, TRL's dr_grpo) divides by it; set it "
            "to the longest response in tokens."
        )
    return objective


def length_of(loss_type: str, max_completion_length: int | None) -> Length:
    """How TRL's loss of that type normalises."""
    length = LOSSES[loss_type].length
    if not isinstance(length, ConstantLength) or max_completion_length is None:
        return length
    return length.with_max_length(max_completion_length)


def row_factor(length: Length, trl_length: Length, lengths: Tensor, statistics: BatchStatistics) -> Tensor | float:
    """c_i(length) / c_i(trl_length), [B]: what advantages must be multiplied by so that TRL normalises by length.

    lengths: trained tokens of each response, [B], floating.
    """
    if length == trl_length:
        return 1.0
    return length(lengths, statistics) / trl_length(lengths, statistics)


def has_known_mass(objective: Objective) -> bool:
    """Whether `Objective.on_policy_mass` knows the objective: not with a gate or length of TRL's alone."""
    return not isinstance(objective.gate, TrlOnly) and not isinstance(objective.length, TrlOnly)
