"""The algorithms by name. Each is one line of parts, and its docstring's first line says what it is for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from hysteretic.common.errors import algorithm_name, nearest
from hysteretic.objective import Objective
from hysteretic.parts import (
    AdaptiveWeight,
    BatchMeanLength,
    CapGate,
    ClipGate,
    ConstantLength,
    FixedWeight,
    PerResponseLength,
    SequenceRatio,
    ShiftedBaseline,
    SoftGate,
    TokenRatio,
    UniformWeight,
)
from hysteretic.scales import FocalScale, MeanScale, NoScale


def adaptive_grpo(alpha_min: float = 0.1) -> Objective:
    """GRPO's loss with A-HPO's adaptive weight: the recommended start when successes are rare.

    Args:
        alpha_min: Smallest factor on negative advantages, within [0, 1].

    Raises:
        ValueError: If alpha_min is outside [0, 1].

    Example:
        >>> adaptive_grpo() == grpo().replace(weight=AdaptiveWeight())
        True

    References:
        The weight is A-HPO's, arXiv 2605.30201; the loss GRPO's, arXiv 2402.03300.
    """
    return grpo().replace(weight=AdaptiveWeight(alpha_min))


def a_hpo(alpha_min: float = 0.1) -> Objective:
    """A-HPO: the token mean (TRL's and verl's default loss) with the adaptive weight, as in the paper.

    Args:
        alpha_min: Smallest factor on negative advantages, within [0, 1].

    Raises:
        ValueError: If alpha_min is outside [0, 1].

    Example:
        >>> import hysteretic as hy
        >>> a_hpo().alpha(hy.BatchStatistics(responses=64, tokens=640, positives=8, negatives=32))
        0.25

    References:
        arXiv 2605.30201.
    """
    return Objective(TokenRatio(), ClipGate(0.2, 0.2), AdaptiveWeight(alpha_min), BatchMeanLength())


def hpo(alpha: float = 0.6) -> Objective:
    """HPO: as a-hpo, with a fixed factor on negatives; to measure what adapting it is worth.

    Args:
        alpha: Factor on negative advantages, within [0, 1].

    Raises:
        ValueError: If alpha is outside [0, 1].

    Example:
        >>> hpo(alpha=0.3).weight
        FixedWeight(alpha=0.3)

    References:
        arXiv 2605.30201.
    """
    return Objective(TokenRatio(), ClipGate(0.2, 0.2), FixedWeight(alpha), BatchMeanLength())


def positive_only() -> Objective:
    """Learn from successes alone (HPO with alpha 0); the extreme case, for comparison.

    Example:
        >>> positive_only() == hpo(alpha=0.0)
        True
    """
    return hpo(alpha=0.0)


def grpo() -> Objective:
    """GRPO: clipped token ratio, each response's own mean; the usual baseline.

    Example:
        >>> grpo().length
        PerResponseLength()

    References:
        arXiv 2402.03300.
    """
    return Objective(TokenRatio(), ClipGate(0.2, 0.2), UniformWeight(), PerResponseLength())


def dr_grpo(max_length: int | None = None) -> Objective:
    """Dr. GRPO: no division by the standard deviation, a constant length; against a bias towards long failures.

    Args:
        max_length: The longest response in tokens. None takes it from the engine (`Objective.with_max_length`).

    Raises:
        ValueError: If max_length is not above 0.

    Example:
        >>> dr_grpo().with_max_length(1024) == dr_grpo(max_length=1024)
        True

    References:
        arXiv 2503.20783.
    """
    return Objective(TokenRatio(), ClipGate(0.2, 0.2), UniformWeight(), ConstantLength(max_length), NoScale())


def dapo() -> Objective:
    """DAPO's loss: the token mean with a wider upper clip, against a collapse of entropy.

    Its dynamic sampling and overlong penalty are not part of it. TRL's default loss_type "dapo" has the upper clip at
    0.2 instead of 0.28.

    Example:
        >>> dapo().gate
        ClipGate(low=0.2, high=0.28)

    References:
        arXiv 2503.14476.
    """
    return Objective(TokenRatio(), ClipGate(0.2, 0.28), UniformWeight(), BatchMeanLength())


def gspo() -> Objective:
    """GSPO: clipped sequence ratio; for mixture-of-experts models and long responses.

    Example:
        >>> gspo().ratio
        SequenceRatio()

    References:
        arXiv 2507.18071, section 5.1 for the clip.
    """
    return Objective(SequenceRatio(), ClipGate(3e-4, 4e-4), UniformWeight(), PerResponseLength())


def sapo() -> Objective:
    """SAPO: a soft gate in place of the clip, so that tokens fade out instead of being cut off.

    Example:
        >>> sapo().gate
        SoftGate(tau_positive=1.0, tau_negative=1.05)

    References:
        arXiv 2511.20347.
    """
    return Objective(TokenRatio(), SoftGate(1.0, 1.05), UniformWeight(), PerResponseLength())


def cispo() -> Objective:
    """CISPO: a capped ratio as a constant factor, so that no token loses its gradient.

    Example:
        >>> cispo().gate
        CapGate(cap=5.0)

    References:
        arXiv 2506.13585.
    """
    return Objective(TokenRatio(), CapGate(5.0), UniformWeight(), BatchMeanLength())


def asymre(shift: float = -0.1) -> Objective:
    """AsymRE: a baseline shifted below the mean, on the clipped loss; the nearest relative of HPO.

    Args:
        shift: Added to the baseline, at most 0, in units of the advantages.

    Raises:
        ValueError: If shift is above 0.

    Example:
        >>> asymre(shift=-0.2).weight
        ShiftedBaseline(shift=-0.2)

    References:
        arXiv 2506.20520.
    """
    return Objective(TokenRatio(), ClipGate(0.2, 0.2), ShiftedBaseline(shift), BatchMeanLength())


def maxrl() -> Objective:
    """MaxRL: advantages over the success rate, so that rare successes count most; for rewards of 0 and 1.

    Its advantages on the token mean and clip of A-HPO, so that only the scale differs from TRL's default loss.

    Example:
        >>> maxrl().scale
        MeanScale()

    References:
        arXiv 2602.02710.
    """
    return Objective(TokenRatio(), ClipGate(0.2, 0.2), UniformWeight(), BatchMeanLength(), MeanScale())


def f_grpo(gamma: float = 1.0) -> Objective:
    """F-GRPO: GRPO with prompts that mostly succeed turned down; for rewards of 0 and 1.

    Args:
        gamma: How fast, at least 0.

    Raises:
        ValueError: If gamma is negative.

    Example:
        >>> f_grpo(gamma=0.5).scale
        FocalScale(gamma=0.5)

    References:
        arXiv 2602.06717.
    """
    return grpo().replace(scale=FocalScale(gamma))


ALGORITHMS: dict[str, Callable[..., Objective]] = {
    "grpo": grpo,
    "dr-grpo": dr_grpo,
    "dapo": dapo,
    "gspo": gspo,
    "sapo": sapo,
    "cispo": cispo,
    "positive-only": positive_only,
    "asymre": asymre,
    "maxrl": maxrl,
    "f-grpo": f_grpo,
    "hpo": hpo,
    "a-hpo": a_hpo,
    "adaptive-grpo": adaptive_grpo,
}
"""The presets by the names that configurations and commands use."""


def make(name: str, **arguments: Any) -> Objective:
    """The preset of that name.

    Args:
        name: One of `ALGORITHMS`; case and underscores do not matter ("A_HPO" is "a-hpo").
        arguments: The preset's own, such as alpha_min.

    Raises:
        ValueError: If no algorithm has that name (the nearest is suggested), the preset lacks such an argument (its
            own are named), or a value is out of range or no number.

    Example:
        >>> make("a-hpo", alpha_min=0.2).weight
        AdaptiveWeight(alpha_min=0.2)
    """
    key = algorithm_name(str(name))
    if key not in ALGORITHMS:
        raise ValueError(f"No algorithm is named {name!r}.{nearest(key, ALGORITHMS)} Known: {', '.join(ALGORITHMS)}.")
    known = list(inspect.signature(ALGORITHMS[key]).parameters)
    for argument in arguments:
        if argument not in known:
            takes = f"Its arguments are {', '.join(known)}." if known else "It takes no arguments."
            raise ValueError(f"{key} has no argument {argument!r}.{nearest(argument, known)} {takes}")
    try:
        return ALGORITHMS[key](**arguments)
    except TypeError as error:
        listed = ", ".join(f"{argument}={value!r}" for argument, value in arguments.items())
        raise ValueError(f"{key} cannot be made with {listed}: {error}.") from error


def summaries() -> dict[str, str]:
    """What each algorithm is and what it is for, in one line.

    Example:
        >>> summaries()["grpo"]
        "GRPO: clipped token ratio, each response's own mean; the usual baseline."
    """
    return {name: (preset.__doc__ or "").splitlines()[0] for name, preset in ALGORITHMS.items()}
