"""The objectives again, as plain float64 loops with derivatives by hand: no torch, nothing of the package.

    J = (1/B) sum_i (1/Lbar) sum_t w_i min(rho_it A_i, clip(rho_it) A_i)          loss = -J

A spec says which formulas apply: ratio "token" | "sequence"; gate ("clip", low, high) | ("soft", tau of A > 0, tau of
A <= 0) | ("cap", c); weight ("fixed", alpha) | ("adaptive", alpha_min) |
("entropy", alpha_min, below, entropy) | ("shift", delta); length "response" |
"batch" | a constant number of tokens; scale "std" | "none" | "mean" | "root" | ("focal", gamma).
"""

import math
from typing import NamedTuple


class Spec(NamedTuple):
    ratio: str = "token"
    gate: tuple = ("clip", 0.2, 0.2)
    weight: tuple = ("fixed", 1.0)
    length: object = "batch"
    scale: object = "std"


MAX_LENGTH = 9

PRESETS = {
    "grpo": Spec(length="response"),
    "dr-grpo": Spec(length=MAX_LENGTH, scale="none"),
    "dapo": Spec(gate=("clip", 0.2, 0.28)),
    "gspo": Spec(ratio="sequence", gate=("clip", 3e-4, 4e-4), length="response"),
    "sapo": Spec(gate=("soft", 1.0, 1.05), length="response"),
    "cispo": Spec(gate=("cap", 5.0)),
    "positive-only": Spec(weight=("fixed", 0.0)),
    "asymre": Spec(weight=("shift", -0.1)),
    "maxrl": Spec(scale="mean"),
    "f-grpo": Spec(length="response", scale=("focal", 1.0)),
    "hpo": Spec(weight=("fixed", 0.6)),
    "a-hpo": Spec(weight=("adaptive", 0.1)),
    "adaptive-grpo": Spec(weight=("adaptive", 0.1), length="response"),
}


class Batch(NamedTuple):
    """What the loops find: loss, its gradient by log-prob [B][T], alpha, and the diagnostics as (total, count).

    size: sum of the loss terms' magnitudes, what rounding errors of the loss are relative to.
    """

    loss: float
    size: float
    gradient: list
    alpha: float
    diagnostics: dict


def advantages_of(rewards, group_size, scale="std", epsilon=1e-4):
    """(r - mean) / divisor in each group; exactly 0 where all rewards are equal, or at the mean.

    The divisor: std + epsilon, 1, the mean, its root, or (std + epsilon) / (1 - mean)^gamma.
    """
    result = []
    for start in range(0, len(rewards), group_size):
        group = rewards[start : start + group_size]
        mean = math.fsum(group) / group_size
        std = math.sqrt(math.fsum((r - mean) ** 2 for r in group) / (group_size - 1))
        largest = max(abs(r) for r in group)
        for r in group:
            if max(group) - min(group) <= 1e-6 * largest or abs(r - mean) <= 1e-12 * largest:
                result.append(0.0)
            else:
                if scale == "std":
                    divisor = std + epsilon
                elif scale == "none":
                    divisor = 1.0
                elif scale == "mean":
                    divisor = mean
                elif scale == "root":
                    divisor = math.sqrt(mean)
                else:
                    divisor = (std + epsilon) / (1 - mean) ** scale[1]
                result.append((r - mean) / divisor)
    return result


def alpha_of(weight, advantages, lengths):
    """The factor on negative advantages."""
    kind, value, *rest = weight
    if kind == "fixed":
        return value
    if kind == "shift":
        return 1.0
    positives = sum(1 for A, L in zip(advantages, lengths, strict=True) if L > 0 and A > 0)
    negatives = sum(1 for A, L in zip(advantages, lengths, strict=True) if L > 0 and A < 0)
    alpha = min(1.0, max(value, positives / negatives)) if negatives else 1.0
    if kind == "entropy":
        below, entropy = rest
        return alpha if entropy >= below else 1.0 - (1.0 - alpha) * entropy / below
    return alpha


def weigh(weight, advantages, lengths):
    alpha = alpha_of(weight, advantages, lengths)
    if weight[0] == "shift":
        return [A - weight[1] if A != 0 else 0.0 for A in advantages]
    return [alpha * A if A < 0 else A for A in advantages]


def gate_of(gate, A, rho, logp):
    """(surrogate, its derivative by log rho, its derivative by logp with rho held fixed)."""
    if gate[0] == "clip":
        low, high = 1 - gate[1], 1 + gate[2]
        is_stopped = (A > 0 and rho > high) or (A < 0 and rho < low)
        return min(rho * A, min(max(rho, low), high) * A), 0.0 if is_stopped else rho * A, 0.0
    if gate[0] == "soft":
        tau = gate[1] if A > 0 else gate[2]
        sigmoid = 1 / (1 + math.exp(-tau * (rho - 1)))
        return 4 / tau * sigmoid * A, 4 * sigmoid * (1 - sigmoid) * rho * A, 0.0
    factor = min(rho, gate[1]) * A
    return factor * logp, 0.0, factor


def is_clipped(gate, A, rho):
    """Whether the gate stops or caps the gradient of a token."""
    if gate[0] == "clip":
        return (A < 0 and rho < 1 - gate[1]) or (A > 0 and rho > 1 + gate[2])
    return gate[0] == "cap" and rho > gate[1]


def batch_of(spec, logp, old, rewards, mask, group_size):
    """Loss, gradient and diagnostics of a whole generation batch; all arguments nested lists of numbers."""
    B, T = len(logp), len(logp[0])
    lengths = [sum(1 for m in row if m) for row in mask]
    advantages = advantages_of(rewards, group_size, spec.scale)
    weighted = weigh(spec.weight, advantages, lengths)
    mean_length = sum(lengths) / B
    terms, gradient = [], [[0.0] * T for _ in range(B)]
    clip_low = clip_high = 0
    kl = []
    for i in range(B):
        trained = [t for t in range(T) if mask[i][t]]
        if not trained:
            continue
        A, L = weighted[i], len(trained)
        c = {"response": 1 / (B * L), "batch": 1 / (B * mean_length)}.get(spec.length)
        c = 1 / (B * spec.length) if c is None else c
        mean_log_ratio = math.fsum(logp[i][t] - old[i][t] for t in trained) / L
        for t in trained:
            log_ratio = logp[i][t] - old[i][t]
            kl.append(math.exp(log_ratio) - 1 - log_ratio)
            rho = math.exp(log_ratio if spec.ratio == "token" else mean_log_ratio)
            surrogate, by_log_rho, by_logp = gate_of(spec.gate, A, rho, logp[i][t])
            terms.append(c * surrogate)
            gradient[i][t] -= c * by_logp
            for s in [t] if spec.ratio == "token" else trained:
                gradient[i][s] -= c * by_log_rho * (1 if spec.ratio == "token" else 1 / L)
            clip_low += A < 0 and is_clipped(spec.gate, A, rho)
            clip_high += A > 0 and is_clipped(spec.gate, A, rho)
    mass = [math.fsum(abs(g) for g in row) for row in gradient]
    tokens = sum(lengths)
    diagnostics = {
        "clip_low": (clip_low, tokens),
        "clip_high": (clip_high, tokens),
        "positive_mass": (math.fsum(m for m, A in zip(mass, weighted, strict=True) if A > 0), math.fsum(mass)),
        "negative_mass": (math.fsum(m for m, A in zip(mass, weighted, strict=True) if A < 0), math.fsum(mass)),
        "kl": (math.fsum(kl), tokens),
    }
    size = math.fsum(abs(term) for term in terms)
    return Batch(-math.fsum(terms), size, gradient, alpha_of(spec.weight, advantages, lengths), diagnostics)
