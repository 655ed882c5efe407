"""Which algorithms are there by name? Each is one line of parts."""

from __future__ import annotations

from collections.abc import Callable

from hysteretic.common.errors import algorithm_name, nearest
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


def grpo() -> Objective:
    """GRPO: clipped token ratio, each response's mean (arXiv 2402.03300)."""
    return Objective(TokenRatio(), Clip(0.2, 0.2), Uniform(), PerResponse())


def dr_grpo(max_length: int) -> Objective:
    """Dr. GRPO: no division by std, a constant length (arXiv 2503.20783)."""
    return Objective(TokenRatio(), Clip(0.2, 0.2), Uniform(), Constant(max_length), scale="none")


def dapo() -> Objective:
    """DAPO's loss: clip-higher, global token mean (arXiv 2503.14476)."""
    return Objective(TokenRatio(), Clip(0.2, 0.28), Uniform(), BatchMean())


def gspo() -> Objective:
    """GSPO: clipped sequence ratio (arXiv 2507.18071, section 5.1 for the clip)."""
    return Objective(SequenceRatio(), Clip(3e-4, 4e-4), Uniform(), PerResponse())


def sapo() -> Objective:
    """SAPO: a soft gate in place of the clip (arXiv 2511.20347)."""
    return Objective(TokenRatio(), SoftGate(1.0, 1.05), Uniform(), PerResponse())


def cispo() -> Objective:
    """CISPO: capped ratio as a constant factor on log-probabilities (arXiv 2506.13585)."""
    return Objective(TokenRatio(), Cap(5.0), Uniform(), BatchMean())


def positive_only() -> Objective:
    """Learn from successes alone: HPO with alpha = 0."""
    return hpo(alpha=0.0)


def asymre(delta: float = -0.1) -> Objective:
    """AsymRE: a baseline shifted below the mean, on the clipped loss (arXiv 2506.20520)."""
    return Objective(TokenRatio(), Clip(0.2, 0.2), Shift(delta), BatchMean())


def hpo(alpha: float = 0.6) -> Objective:
    """HPO: negative advantages times a fixed alpha, mean length of the batch (arXiv 2605.30201)."""
    return Objective(TokenRatio(), Clip(0.2, 0.2), Fixed(alpha), BatchMean())


def a_hpo(alpha_min: float = 0.1) -> Objective:
    """A-HPO: alpha from the batch's signs, mean length of the batch (arXiv 2605.30201)."""
    return Objective(TokenRatio(), Clip(0.2, 0.2), Adaptive(alpha_min), BatchMean())


ALGORITHMS: dict[str, Callable[..., Objective]] = {
    "grpo": grpo,
    "dr-grpo": dr_grpo,
    "dapo": dapo,
    "gspo": gspo,
    "sapo": sapo,
    "cispo": cispo,
    "positive-only": positive_only,
    "asymre": asymre,
    "hpo": hpo,
    "a-hpo": a_hpo,
}
"""The presets by the names that configurations and commands use."""


def algorithm(name: str) -> Callable[..., Objective]:
    """The preset of that name ("a-hpo", "A_HPO"). Raises ValueError with the valid names and the nearest one."""
    key = algorithm_name(name)
    if key not in ALGORITHMS:
        raise ValueError(f"No algorithm is named {name!r}.{nearest(key, ALGORITHMS)} Known: {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[key]
