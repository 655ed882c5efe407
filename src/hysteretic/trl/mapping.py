"""Which of TRL's own losses computes an objective?

Every ratio and gate of ours is one of TRL's. The weight acts on the advantages before TRL sees them, and so does a
length that TRL does not pair with that gate: c_i enters the loss as a factor on response i, and so do advantages.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hysteretic.advantages import BatchStatistics
from hysteretic.objective import Objective
from hysteretic.parts import (
    BatchMean,
    Cap,
    Clip,
    Constant,
    Length,
    PerResponse,
    SequenceRatio,
    SoftGate,
    TokenRatio,
)


def trl_settings(objective: Objective, max_completion_length: int) -> dict[str, Any]:
    """The GRPOConfig fields that make TRL compute this objective's ratio and gate, and its length where it can.

    Raises TypeError for a ratio or gate that is none of hysteretic.parts (a weight or a length of your own is fine).
    """
    gate = objective.gate
    if isinstance(gate, Clip):
        lengths = {PerResponse(): "grpo", BatchMean(): "dapo", Constant(max_completion_length): "dr_grpo"}
        fields = {"loss_type": lengths.get(objective.length, "grpo"), "epsilon": gate.low, "epsilon_high": gate.high}
    elif isinstance(gate, SoftGate):
        fields = {
            "loss_type": "sapo",
            "sapo_temperature_pos": gate.tau_positive,
            "sapo_temperature_neg": gate.tau_negative,
        }
    elif isinstance(gate, Cap):
        fields = {"loss_type": "cispo", "epsilon_high": gate.cap}
    else:
        raise TypeError(
            f"TRL has no loss for the gate {gate!r}; use Clip, SoftGate or Cap of hysteretic.parts here, "
            "or your own loop (examples/own_loop.py)."
        )
    levels = {TokenRatio(): "token", SequenceRatio(): "sequence"}
    if objective.ratio not in levels:
        raise TypeError(
            f"TRL has no importance ratio {objective.ratio!r}; use TokenRatio or SequenceRatio of hysteretic.parts."
        )
    return {**fields, "importance_sampling_level": levels[objective.ratio]}


def length_of(loss_type: str, max_completion_length: int) -> Length:
    """How TRL's loss of that type normalises."""
    lengths: dict[str, Length] = {
        "grpo": PerResponse(),
        "sapo": PerResponse(),
        "dapo": BatchMean(),
        "cispo": BatchMean(),
        "dr_grpo": Constant(max_completion_length),
    }
    return lengths[loss_type]


def row_factor(length: Length, trl_length: Length, lengths: Tensor, statistics: BatchStatistics) -> Tensor | float:
    """c_i(length) / c_i(trl_length), [B]: what advantages must be multiplied by so that TRL normalises by length.

    lengths: trained tokens of each response, [B], floating.
    """
    if length == trl_length:
        return 1.0
    return length(lengths, statistics) / trl_length(lengths, statistics)
