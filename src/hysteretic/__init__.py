"""Hysteretic Policy Optimization (HPO and adaptive A-HPO) for language models with sparse, verifiable rewards.

The names below are the whole method; they need torch and nothing else. They are loaded on first use, so that
``hysteretic --help`` does not wait for torch. ``hysteretic.trl`` holds the trainer for TRL, ``hysteretic.tasks`` the
problems.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hysteretic.advantages import (
        BatchStatistics,
        adaptive_alpha,
        group_advantages,
        neutral_responses,
        silent_groups,
    )
    from hysteretic.objective import (
        LossOutput,
        Metrics,
        Objective,
        Tally,
    )
    from hysteretic.parts import (
        AdaptiveWeight,
        BatchMeanLength,
        CapGate,
        ClipGate,
        ConstantLength,
        EntropyWeight,
        FixedWeight,
        PerResponseLength,
        SequenceRatio,
        ShiftedBaseline,
        SoftGate,
        TokenRatio,
        UniformWeight,
    )
    from hysteretic.presets import (
        ALGORITHMS,
        a_hpo,
        adaptive_grpo,
        asymre,
        cispo,
        dapo,
        dr_grpo,
        f_grpo,
        grpo,
        gspo,
        hpo,
        make,
        maxrl,
        positive_only,
        sapo,
    )
    from hysteretic.scales import (
        FocalScale,
        MeanScale,
        NoScale,
        RootScale,
        StdScale,
    )

__version__ = "0.1.0"

__all__ = [
    "ALGORITHMS",
    "AdaptiveWeight",
    "BatchMeanLength",
    "BatchStatistics",
    "CapGate",
    "ClipGate",
    "ConstantLength",
    "EntropyWeight",
    "FixedWeight",
    "FocalScale",
    "LossOutput",
    "MeanScale",
    "Metrics",
    "NoScale",
    "Objective",
    "PerResponseLength",
    "RootScale",
    "SequenceRatio",
    "ShiftedBaseline",
    "SoftGate",
    "StdScale",
    "Tally",
    "TokenRatio",
    "UniformWeight",
    "a_hpo",
    "adaptive_alpha",
    "adaptive_grpo",
    "asymre",
    "cispo",
    "dapo",
    "dr_grpo",
    "f_grpo",
    "group_advantages",
    "grpo",
    "gspo",
    "hpo",
    "make",
    "maxrl",
    "neutral_responses",
    "positive_only",
    "sapo",
    "silent_groups",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        modules = [
            import_module(f"hysteretic.{part}") for part in ("scales", "advantages", "parts", "objective", "presets")
        ]
        return next(getattr(module, name) for module in modules if hasattr(module, name))
    raise AttributeError(f"module 'hysteretic' has no attribute {name!r}; it offers {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
