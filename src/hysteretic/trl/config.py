"""How is an algorithm chosen in TRL? HPOConfig: GRPOConfig plus a name, and keys for parts."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from hysteretic.common.errors import nearest
from hysteretic.objective import Objective
from hysteretic.parts import (
    Adaptive,
    BatchMean,
    Cap,
    Clip,
    Constant,
    Fixed,
    PerResponse,
    SequenceRatio,
    Shift,
    SoftGate,
    TokenRatio,
    Uniform,
)
from hysteretic.presets import algorithm, dr_grpo
from hysteretic.trl.mapping import trl_settings

PARTS: dict[str, dict[str, type]] = {
    "ratio": {"token": TokenRatio, "sequence": SequenceRatio},
    "gate": {"clip": Clip, "soft": SoftGate, "cap": Cap},
    "weight": {"uniform": Uniform, "fixed": Fixed, "adaptive": Adaptive, "shift": Shift},
    "length": {"response": PerResponse, "batch": BatchMean, "constant": Constant},
}
"""What the keys ratio, gate, weight and length may say."""


def _setting(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class HPOConfig(GRPOConfig):
    """GRPOConfig with the objective named, so that one line switches it: HPOConfig(algorithm="a-hpo").

    `algorithm` names a preset of hysteretic.presets; `ratio`, `gate`, `weight` and `length` exchange one of its parts
    each: HPOConfig(algorithm="grpo", weight="adaptive") is GRPO's per-response length with A-HPO's weight. TRL's own
    fields for the same things (loss_type, epsilon, ..., scale_rewards) default to what the algorithm says; epsilon,
    epsilon_high, the SAPO temperatures and scale_rewards may be set and change the algorithm's parts; a loss_type or
    importance_sampling_level that contradicts it is refused.

    Raises ValueError for an unknown name (the nearest is shown) or a contradiction (with the mend).
    """

    algorithm: str = _setting(
        "Objective: grpo, dr-grpo, dapo, gspo, sapo, cispo, positive-only, asymre, hpo or a-hpo.", "a-hpo"
    )
    alpha: float | None = _setting("Fixed weight of negative advantages, 0 to 1 (weight 'fixed'; hpo's 0.6).")
    alpha_min: float | None = _setting("Floor of the adaptive weight, 0 to 1 (weight 'adaptive'; 0.1).")
    alpha_ema: float = _setting(
        "Decay of an exponential moving average of alpha over generation batches, 0 (off) to below 1; kept in "
        "checkpoints.",
        0.0,
    )
    baseline_shift: float | None = _setting("AsymRE's shift of the baseline, at most 0 (weight 'shift'; -0.1).")
    ratio: str | None = _setting("Replace the algorithm's importance ratio: 'token' or 'sequence'.")
    gate: str | None = _setting("Replace the algorithm's gate: 'clip', 'soft' (SAPO) or 'cap' (CISPO).")
    weight: str | None = _setting("Replace the advantage weight: 'uniform', 'fixed', 'adaptive' or 'shift'.")
    length: str | None = _setting(
        "Replace the length normaliser: 'response' (each its own), 'batch' (mean of the batch) or 'constant' "
        "(max_completion_length)."
    )

    # Where compute goes (hysteretic.trl.packing); none of these changes a gradient.
    drop_silent: bool = _setting(
        "Keep responses whose weighted advantage is 0 out of the update and the old-log-prob pass (where no KL or "
        "entropy term needs them).",
        True,
    )
    share_prompts: bool = _setting("Read a prompt once for all its responses, in generation and in the update.", True)
    drop_finished: bool = _setting("Leave finished responses out of the later steps of generation (not vLLM's).", True)
    tokens_per_micro_batch: int | None = _setting(
        "Bound a micro-batch by the tokens that go through the model, instead of by per_device_train_batch_size rows; "
        "a response that is longer, with its prompt, goes alone."
    )

    # What happens to bad numbers (hysteretic.trl.guard and .rewards).
    max_bad_updates: int = _setting(
        "How many updates with a NaN or infinite loss or gradient are left out, in the whole run, before it stops; 0 "
        "stops at the first. Their batches are in bad-updates/.",
        0,
    )
    max_unscored: int = _setting(
        "How many responses without a reward (NaN, or timed out or crashed with reward_processes) are put up with, in "
        "the whole run, before it stops; 0 stops at the first. Their groups have no gradient.",
        0,
    )

    # TRL's own fields for the parts: unset means what the algorithm says.
    loss_type: str | None = _setting("Set from the algorithm; only the value that computes it is accepted.")
    importance_sampling_level: str | None = _setting("Set from the algorithm's ratio.")
    epsilon: float | None = _setting("Lower clip of gate 'clip' (grpo and hpo 0.2, gspo 3e-4).")
    epsilon_high: float | None = _setting("Upper clip of gate 'clip', or the cap of gate 'cap' (cispo 5).")
    sapo_temperature_pos: float | None = _setting("Temperature of gate 'soft' for positive advantages (sapo 1.0).")
    sapo_temperature_neg: float | None = _setting("Temperature of gate 'soft' for negative advantages (sapo 1.05).")
    scale_rewards: str | None = _setting(
        "Divide advantages by the standard deviation of the 'group' or 'batch', or 'none' (dr-grpo)."
    )

    def __post_init__(self) -> None:
        if not 0 <= self.alpha_ema < 1:
            raise ValueError(f"alpha_ema is {self.alpha_ema}; set it within [0, 1) (0 switches the average off).")
        if self.tokens_per_micro_batch is not None and self.tokens_per_micro_batch < 1:
            raise ValueError(
                f"tokens_per_micro_batch is {self.tokens_per_micro_batch}; set it to the tokens that fit in memory, at "
                "least those of one prompt and response, or leave it out."
            )
        for name in ("max_bad_updates", "max_unscored"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; set it to 0 or more.")
        objective = self._compose()
        self._settle(trl_settings(objective, self.max_completion_length))
        if self.scale_rewards is None:
            self.scale_rewards = "group" if objective.scale == "std" else "none"
        super().__post_init__()
        self._check_accumulation()

    def objective(self) -> Objective:
        """The objective that algorithm, parts and their parameters describe."""
        return self._compose()

    def updates_per_rollout(self) -> int:
        """Optimiser steps taken on each generation batch."""
        return self.steps_per_generation * self.num_iterations // self.gradient_accumulation_steps

    def _compose(self) -> Objective:
        preset = algorithm(self.algorithm)
        base = dr_grpo(self.max_completion_length) if preset is dr_grpo else preset()
        kinds = {key: self._part(key, base) for key in PARTS}
        parameters: dict[type, dict[str, Any]] = {
            Clip: {"low": self.epsilon, "high": self.epsilon_high},
            SoftGate: {"tau_positive": self.sapo_temperature_pos, "tau_negative": self.sapo_temperature_neg},
            Cap: {"cap": self.epsilon_high},
            Fixed: {"value": self.alpha},
            Adaptive: {"alpha_min": self.alpha_min},
            Shift: {"delta": self.baseline_shift},
            Constant: {"max_length": self.max_completion_length},
        }
        if kinds["gate"] is Clip and self.epsilon is not None and self.epsilon_high is None:
            parameters[Clip]["high"] = self.epsilon  # as in TRL
        parts: dict[str, Any] = {}
        for key, kind in kinds.items():
            given = {name: value for name, value in parameters.get(kind, {}).items() if value is not None}
            own = getattr(base, key)
            parts[key] = own.__class__(**{**vars(own), **given}) if isinstance(own, kind) else kind(**given)
        self._check_parameters_used(kinds["weight"])
        scale = base.scale if self.scale_rewards is None else "none" if self.scale_rewards == "none" else "std"
        return Objective(**parts, scale=scale)

    def _part(self, key: str, base: Objective) -> type:
        name = getattr(self, key)
        if name is None:
            return type(getattr(base, key))
        if name not in PARTS[key]:
            raise ValueError(f"{key} is {name!r}.{nearest(str(name), PARTS[key])} Known: {', '.join(PARTS[key])}.")
        return PARTS[key][name]

    def _check_parameters_used(self, weight: type) -> None:
        """A parameter that the chosen weight would ignore in silence is a mistake."""
        for name, kind, mend in [
            ("alpha", Fixed, "algorithm='hpo' or weight='fixed'"),
            ("alpha_min", Adaptive, "algorithm='a-hpo' or weight='adaptive'"),
            ("baseline_shift", Shift, "algorithm='asymre' or weight='shift'"),
        ]:
            if getattr(self, name) is not None and weight is not kind:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but algorithm={self.algorithm!r} uses the weight "
                    f"{weight.__name__} and would ignore it; set {mend}, or drop {name}."
                )
        if self.alpha_ema and weight is not Adaptive:
            raise ValueError(
                f"alpha_ema is {self.alpha_ema}, but the weight {weight.__name__} has nothing to average; "
                "set weight='adaptive', or drop alpha_ema."
            )

    def _settle(self, settings: dict[str, Any]) -> None:
        """Take over the fields that compute the objective; refuse the two that would compute another."""
        mends = {
            "loss_type": "drop loss_type, or change the parts with gate=... and length=...",
            "importance_sampling_level": "drop importance_sampling_level, or set ratio='token' or 'sequence'",
        }
        for name, mend in mends.items():
            if getattr(self, name) not in (None, settings[name]):
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, but algorithm={self.algorithm!r} with these parts is computed "
                    f"by {name}={settings[name]!r}; {mend}."
                )
        trl_defaults = {"epsilon": 0.2, "sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05}
        for name, value in {**trl_defaults, **settings}.items():
            if name in settings or getattr(self, name) is None:
                setattr(self, name, value)

    def _check_accumulation(self) -> None:
        if self.steps_per_generation % self.gradient_accumulation_steps:
            raise ValueError(
                f"gradient_accumulation_steps ({self.gradient_accumulation_steps}) does not divide "
                f"steps_per_generation ({self.steps_per_generation}), so one optimiser step would mix "
                "generation batches with different counts and lengths; set steps_per_generation to a multiple of "
                "gradient_accumulation_steps (or generation_batch_size to one of per_device_train_batch_size * "
                "processes * gradient_accumulation_steps)."
            )
        updates = self.updates_per_rollout()
        if str(self.save_strategy) in ("steps", "SaveStrategy.STEPS") and self.save_steps % updates:
            warnings.warn(
                f"save_steps is {self.save_steps}, but a rollout feeds {updates} optimiser steps; a run resumed from a "
                f"checkpoint inside a rollout generates it anew. Set save_steps to a multiple of {updates}.",
                stacklevel=3,
            )
