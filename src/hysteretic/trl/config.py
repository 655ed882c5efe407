"""HPOConfig: GRPOConfig plus the name of an algorithm, or the weight alone on the loss that you have."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any, get_args, get_type_hints

from trl import GRPOConfig

from hysteretic.common.errors import SettingWarning, algorithm_name, nearest
from hysteretic.objective import Objective
from hysteretic.parts import AdaptiveWeight, CapGate, ClipGate
from hysteretic.presets import ALGORITHMS, make
from hysteretic.scales import SCALES, NoScale
from hysteretic.trl.mapping import (
    LEVELS,
    LOSSES,
    PARAMETERS,
    PARTS,
    TrlOnly,
    check_aggregation,
    is_trls,
    trl_objective,
    trl_scale,
    trl_settings,
    with_max_length,
)

TRL_DEFAULTS: dict[str, Any] = {each.name: each.default for each in fields(GRPOConfig)}
"""What TRL's own fields are where they are unset."""

AT_LEAST_1 = (
    *("num_generations", "num_generations_eval", "max_completion_length", "num_iterations"),
    *("per_device_train_batch_size", "per_device_eval_batch_size"),
    *("gradient_accumulation_steps", "steps_per_generation", "generation_batch_size"),
)
"""Counts of TRL's that are divided by, or that nothing can be 0 of."""

SAMPLING_DEFAULTS = ("top_k", "top_p", "repetition_penalty")
"""Fields in which TRL takes None, against their type: the model's generation config or transformers then decides."""


@cache
def never_none() -> dict[str, Any]:
    """TRL's and transformers' fields in which None cannot work, with their defaults."""
    hints = get_type_hints(GRPOConfig)
    defaults = {
        each.name: each.default if each.default_factory is MISSING else each.default_factory()
        for each in fields(GRPOConfig)
        if type(None) not in get_args(hints[each.name]) and each.name not in SAMPLING_DEFAULTS
    }
    return {name: default for name, default in defaults.items() if default is not None} | {
        "num_generations": TRL_DEFAULTS["num_generations"]
    }


def _setting(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class HPOConfig(GRPOConfig):
    """GRPOConfig with the objective named, or with the adaptive weight on TRL's loss.

    None means unset in every field: the library's default. In `top_k`, `top_p`, `min_p` and `repetition_penalty` that
    is what `generate` of transformers makes of it, as in TRL: the model's own generation config, else transformers'
    default (top_k 50). `max_completion_length=None` leaves the length to the engine, as in TRL.

    - `algorithm` names a preset: HPOConfig(algorithm="adaptive-grpo"). A loss_type or importance_sampling_level that
      contradicts it is an error.
    - Without `algorithm`, a loss_type or importance_sampling_level keeps that loss of TRL's, whichever it is, with
      TRL's own defaults, and puts the adaptive weight on it. So a script for GRPOConfig keeps its loss when the two
      class names are changed.
    - With none of the three the algorithm is a-hpo: TRL's default loss (loss_type "dapo", clip 0.2) plus the adaptive
      weight. The rule is the same as above, so that adding TRL's default explicitly changes nothing.

    `ratio`, `gate`, `weight`, `length` and `scale` exchange one part each: HPOConfig(algorithm="gspo",
    weight="adaptive"). epsilon, epsilon_high, the SAPO temperatures and scale_rewards change the parts and default to
    the algorithm's.

    Raises:
        ValueError: For an unknown name (the nearest is suggested) or a contradiction (with what to do).

    Example:
        >>> options = {"output_dir": "out", "bf16": False, "report_to": "none"}
        >>> HPOConfig(algorithm="grpo", weight="adaptive", **options).objective_name()
        'adaptive-grpo'
        >>> HPOConfig(loss_type="bnpo", **options).objective().weight
        AdaptiveWeight(alpha_min=0.1)

    References:
        HPO, arXiv 2605.30201.
    """

    algorithm: str | None = _setting(
        f"Objective: {', '.join(ALGORITHMS)}. Unset: the adaptive weight on TRL's loss_type (by default a-hpo)."
    )
    alpha: float | None = _setting("Fixed weight of negative advantages, 0 to 1 (weight 'fixed'; hpo's 0.6).")
    alpha_min: float | None = _setting("Smallest adaptive weight, 0 to 1 (weight 'adaptive'; 0.1).")
    alpha_ema: float = _setting(
        "Decay of an exponential moving average of alpha over generation batches, 0 (off) to below 1; kept in "
        "checkpoints.",
        0.0,
    )
    entropy_below: float | None = _setting(
        "From which fraction of its first entropy on alpha rises to 1, above 0 to 1 (weight 'entropy'; 0.5)."
    )
    shift: float | None = _setting("AsymRE's shift of the baseline, at most 0 (weight 'shift'; -0.1).")
    ratio: str | None = _setting("Replace the importance ratio: 'token' or 'sequence'.")
    gate: str | None = _setting("Replace the gate: 'clip', 'soft' (SAPO) or 'cap' (CISPO).")
    weight: str | None = _setting(
        "Replace the advantage weight: 'uniform', 'fixed', 'adaptive', 'entropy' (adaptive, and rising to 1 as entropy "
        "falls) or 'shift'."
    )
    length: str | None = _setting(
        "Replace the length normaliser: 'response' (each its own), 'batch' (mean of the batch) or 'constant' "
        "(max_completion_length)."
    )
    scale: str | None = _setting(
        "Replace what advantages are divided by: 'std', 'none', or for rewards of 0 and 1 the success rate 'mean' "
        "(MaxRL), its 'root', or 'focal' (F-GRPO)."
    )
    focal_gamma: float | None = _setting("Exponent of scale 'focal', at least 0 (f-grpo's 1).")

    sign_rewards: list[str] | None = _setting(  # noqa: RUF009
        "Names of the reward functions that decide which responses are positive, negative or silent, for alpha and "
        "hpo/silent_share; all rewards still make the advantages. Set it where a graded reward (length, format) shapes "
        "a sparse one. Unset: all of them decide."
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
        "How many updates with a NaN or infinite loss or gradient are left out in the whole run before it stops; 0 "
        "stops at the first. Their batches are in bad-updates/.",
        0,
    )
    max_unscored: int = _setting(
        "How many responses without a reward (NaN, or timed out or crashed with reward_processes) are tolerated in the "
        "whole run before it stops; 0 stops at the first. Their groups have no gradient.",
        0,
    )

    # TRL's own fields for the parts: unset means what the algorithm says.
    loss_type: str | None = _setting(
        f"TRL's loss, kept with the weight on top: {', '.join(LOSSES)}. Leave unset with `algorithm`, which decides it."
    )
    importance_sampling_level: str | None = _setting(
        "'token' or 'sequence', kept like loss_type. Leave unset with `algorithm`, which decides it."
    )
    epsilon: float | None = _setting("Lower clip of gate 'clip' (grpo and hpo 0.2, gspo 3e-4).")
    epsilon_high: float | None = _setting("Upper clip of gate 'clip', or the cap of gate 'cap' (cispo 5).")
    sapo_temperature_pos: float | None = _setting("Temperature of gate 'soft' for positive advantages (sapo 1.0).")
    sapo_temperature_neg: float | None = _setting("Temperature of gate 'soft' for negative advantages (sapo 1.05).")
    scale_rewards: str | None = _setting(
        "Divide advantages by the standard deviation of the 'group' or 'batch', or 'none' (dr-grpo)."
    )

    def __post_init__(self) -> None:
        for name, default in never_none().items():
            if getattr(self, name) is None and getattr(HPOConfig, name, default) is not None:
                setattr(self, name, default)
        for each in fields(HPOConfig):
            if each.name not in TRL_DEFAULTS and getattr(self, each.name) is None:
                setattr(self, each.name, each.default)
        self._check_numbers()
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
        if self.algorithm is None and self.loss_type is None and self.importance_sampling_level is None:
            self.algorithm = "a-hpo"
        self._check_choices()
        objective = self.objective()
        check_aggregation(self.multi_objective_aggregation, objective.scale)
        self._settle(objective)
        if self.scale_rewards is None:
            self.scale_rewards = trl_scale(objective.scale)
        super().__post_init__()
        self._check_accumulation()

    def _check_numbers(self) -> None:
        """Raises ValueError for a number that would fail in arithmetic later, or in the middle of a run."""
        for name in AT_LEAST_1:
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                default = TRL_DEFAULTS[name]
                leave = "leave it out" if default is None else f"leave it out for TRL's default, {default}"
                raise ValueError(f"{name} is {value!r}; set it to a whole number of at least 1, or {leave}.")
        if not self.temperature > 0:
            raise ValueError(
                f"temperature is {self.temperature}, but responses to one prompt must differ; set it above 0 (1.0 "
                "samples from the policy itself)."
            )
        if self.top_k is not None and self.top_k < 0 and not self.use_vllm:
            raise ValueError(f"top_k is {self.top_k}; set it to 0 for all tokens, or to a number of tokens.")
        if isinstance(self.sign_rewards, str):
            self.sign_rewards = [self.sign_rewards]
        if self.sign_rewards is not None and (
            not self.sign_rewards or len(set(self.sign_rewards)) < len(self.sign_rewards)
        ):
            raise ValueError(
                f"sign_rewards is {self.sign_rewards}; name each reward function that decides signs once, or leave it "
                "out."
            )

    def objective(self) -> Objective:
        """The objective that the algorithm (or TRL's loss), parts and their parameters describe."""
        base = self._base()
        kinds = {key: self._part(key, base) for key in PARTS}
        self._check_parameters_used(kinds)
        parts = {key: self._made(key, kind, getattr(base, key)) for key, kind in kinds.items()}
        return with_max_length(Objective(**parts), self.max_completion_length)

    def _made(self, key: str, kind: type, own: Any) -> Any:
        """A part with the parameters that are set; else with those of `own`, the algorithm's, if it is of the kind."""
        values = {
            field: (name, getattr(self, field))
            for field, (part, taker, name, _) in PARAMETERS.items()
            if part == key and issubclass(kind, taker) and getattr(self, field) is not None
        }
        if kind is CapGate and self.epsilon_high is not None:
            values["epsilon_high"] = ("cap", self.epsilon_high)
        if kind is ClipGate and "epsilon" in values:
            values.setdefault("epsilon_high", ("high", self.epsilon))  # as in TRL
        given = dict(values.values())
        try:
            return own.__class__(**{**vars(own), **given}) if isinstance(own, kind) else kind(**given)
        except ValueError as error:
            renamed = [field for field, (name, _) in values.items() if field != name]
            raise ValueError(f"{', '.join(renamed)}: {error}" if renamed else str(error)) from error

    def objective_name(self) -> str:
        """A short name of the objective, for folders: a preset's where one has these parts.

        adaptive-grpo for algorithm="grpo" with weight="adaptive"; gspo-adaptive where the combination is no preset;
        bnpo-adaptive for TRL's loss under the weight. Parameters, such as alpha_min, are left out.
        """
        base = self._base()
        exchanged = {key: kind for key in PARTS if (kind := self._part(key, base)) is not type(getattr(base, key))}
        resolved = base.replace(**{key: kind() for key, kind in exchanged.items()})
        own = algorithm_name(self.algorithm or str(self.loss_type))
        extras = [getattr(self, key) for key in exchanged]
        if self.algorithm is None:
            extras = [*(extras if "weight" in exchanged else ["adaptive", *extras])]
            extras += ["sequence"] if self.importance_sampling_level == "sequence" else []
        elif not exchanged:
            return own
        presets = [name for name, preset in ALGORITHMS.items() if preset() == resolved]
        return presets[0] if presets else "-".join([own, *extras])

    def updates_per_rollout(self) -> int:
        """Optimiser steps taken on each generation batch."""
        return self.steps_per_generation * self.num_iterations // self.gradient_accumulation_steps

    def _base(self) -> Objective:
        """The objective before any part is exchanged, with default parameters."""
        if self.algorithm is not None:
            return make(self.algorithm)
        return trl_objective(
            self.loss_type or TRL_DEFAULTS["loss_type"],
            self.importance_sampling_level or TRL_DEFAULTS["importance_sampling_level"],
            cap=self.epsilon_high or self.epsilon or TRL_DEFAULTS["epsilon"],  # as in TRL
        )

    def _part(self, key: str, base: Objective) -> type:
        name = getattr(self, key)
        if key == "scale" and self.scale_rewards is not None:
            return self._scale(name, base)
        return type(getattr(base, key)) if name is None else PARTS[key][name]

    def _scale(self, name: str | None, base: Objective) -> type:
        """The scale, where TRL's scale_rewards is set as well. Raises ValueError where they contradict each other."""
        kind = type(base.scale) if name is None else SCALES[name]
        is_free = name is None and is_trls(base.scale)
        if is_free:
            return NoScale if self.scale_rewards == "none" else SCALES["std"]
        if (self.scale_rewards != "none") != (kind is SCALES["std"]):
            found = f"scale_rewards is {self.scale_rewards!r}, but"
            if name is not None:
                raise ValueError(f"{found} scale is {name!r}; drop one of them.")
            raise ValueError(
                f"{found} the algorithm divides by {kind.__name__}; drop scale_rewards, or set scale to 'std' or "
                "'none'."
            )
        return kind

    def _check_choices(self) -> None:
        """Raises ValueError for a name that does not exist."""
        if isinstance(self.scale_rewards, bool):  # as in TRL
            self.scale_rewards = "group" if self.scale_rewards else "none"
        choices: dict[str, Collection[str]] = {
            **PARTS,
            "loss_type": LOSSES,
            "importance_sampling_level": LEVELS,
            "scale_rewards": ("group", "batch", "none"),
            "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
            "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
        }
        for key, known in choices.items():
            value = getattr(self, key)
            if value is not None and value not in known:
                raise ValueError(f"{key} is {value!r}.{nearest(str(value), known)} Known: {', '.join(known)}.")

    def _check_parameters_used(self, kinds: Mapping[str, type]) -> None:
        """A parameter that the chosen parts would silently ignore is a mistake."""
        for name, (part, kind, _, fix) in PARAMETERS.items():
            if fix and getattr(self, name) is not None and not issubclass(kinds[part], kind):
                raise ValueError(
                    f"{name} is {getattr(self, name)}, but the {part} is {kinds[part].__name__}, which would ignore "
                    f"it; set {fix}, or drop {name}."
                )
        if self.alpha_ema and not issubclass(kinds["weight"], AdaptiveWeight):
            raise ValueError(
                f"alpha_ema is {self.alpha_ema}, but the weight {kinds['weight'].__name__} has nothing to average; "
                "set weight='adaptive', or drop alpha_ema."
            )

    def _settle(self, objective: Objective) -> None:
        """Set TRL's fields to what computes the objective. Raises ValueError where two of them say otherwise."""
        settings = trl_settings(objective, self.max_completion_length, self.loss_type)
        for name, fix in [
            ("loss_type", "to change the loss, use gate=... and length=..."),
            ("importance_sampling_level", "to change the ratio, use ratio='token' or 'sequence'"),
        ]:
            value = getattr(self, name)
            if value not in (None, settings[name]):
                asked = "this choice of parts" if self.algorithm is None else f"algorithm={self.algorithm!r}"
                keep = "" if self.algorithm is None else f"drop algorithm to keep {name}={value!r} under the weight; "
                raise ValueError(
                    f"{name} is {value!r}, but {asked} is computed by {name}={settings[name]!r}. "
                    f"Drop {name}; {keep}{fix}."
                )
        if isinstance(objective.gate, TrlOnly) and objective.gate.loss_type == "cispo":
            warnings.warn(
                f"loss_type is 'cispo' and epsilon_high is {self.epsilon_high}, so TRL caps importance ratios below 1. "
                "Set epsilon_high to 5.0, which is usual.",
                SettingWarning,
                stacklevel=4,
            )
        gates = ("epsilon", "sapo_temperature_pos", "sapo_temperature_neg")
        for name, value in {**{gate: TRL_DEFAULTS[gate] for gate in gates}, **settings}.items():
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
        updates, steps = self.updates_per_rollout(), self.save_steps
        if (
            steps < 1
        ):  # a fraction of the run, as in transformers; of a run whose length is not known yet, nothing is said
            steps = math.ceil(self.max_steps * steps) if self.max_steps > 0 else 0
        if str(self.save_strategy) in ("steps", "SaveStrategy.STEPS") and steps % updates:
            found = (
                f"{self.save_steps}" if steps == self.save_steps else f"{self.save_steps} ({steps} of {self.max_steps})"
            )
            warnings.warn(
                f"save_steps is {found}, but a rollout feeds {updates} optimiser steps; a run resumed from a "
                f"checkpoint inside a rollout generates it anew. Set save_steps to a multiple of {updates}.",
                SettingWarning,
                stacklevel=3,
            )
