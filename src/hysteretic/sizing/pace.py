"""Tokens and seconds of a step.

A rollout has R responses of T tokens (the mean; at most L) to prompts of P tokens. It is generated, read once more
for the old log-probabilities if TRL needs them, and followed by its updates. Each stage takes as long as the slowest
of compute, memory and communication, each at an assumed fraction of its specification:

    COMPUTE    fraction of the specified TFLOP/s, in forward and backward passes
    BANDWIDTH  fraction of the specified memory bandwidth, in decoding
    LINK       fraction of the specified link bandwidth

Not counted: loading, reward functions, weight transfer to vLLM, checkpoints, evaluations. Not calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass

from hysteretic.sizing.architecture import Architecture
from hysteretic.sizing.gpus import GPU
from hysteretic.sizing.memory import memory
from hysteretic.sizing.work import Work

COMPUTE, BANDWIDTH, LINK = 0.35, 0.6, 0.7
LAUNCH = 1e-3
"""Seconds of overhead per layer and token when transformers decodes (Python and kernel launches)."""


@dataclass(frozen=True)
class Pace:
    """Seconds of each stage of a rollout: generation, old log-probabilities, and one update."""

    generation: float
    old_log_probs: float
    update: float
    updates_a_rollout: int

    @property
    def rollout(self) -> float:
        return self.generation + self.old_log_probs + self.updates_a_rollout * self.update

    @property
    def step(self) -> float:
        """One update with its part of the rollout."""
        return self.rollout / self.updates_a_rollout


def pace(model: Architecture, work: Work, way: str, gpu: GPU) -> Pace | None:
    """The pace of a run; None if the GPU's speed is unknown, or a response does not fit vLLM's KV cache."""
    if gpu.compute is None or gpu.bandwidth is None or gpu.link is None:
        return None
    held = memory(model, work, way, gpu)
    if held.is_engine_too_small:
        return None
    flops, read = COMPUTE * 1e12 * gpu.compute, BANDWIDTH * 1e9 * gpu.bandwidth
    return Pace(
        generation=_generation(model, work, flops, read, held.engine_cache),
        old_log_probs=_reading(model, work, way, flops) if work.needs_old_log_probs else 0.0,
        update=max(_update_flops(model, work, way) / flops, _sent(model, work, way) / (LINK * 1e9 * gpu.link)),
        updates_a_rollout=work.updates_a_rollout,
    )


def _forward_flops(model: Architecture, tokens: float, answered: float, context: float) -> tuple[float, float]:
    """FLOPs of the layers and of the LM head: 2 per token and matrix parameter, plus attention.

    2 M n + 4 L a n c        M parameters of matrices, n tokens, a attention width, c mean context
    2 V h n'                 for n' response tokens
    """
    layers = 2.0 * model.linear_parameters * tokens + 4.0 * model.layers * model.attention * tokens * context
    return layers, 2.0 * model.head_parameters * answered


def _context(work: Work) -> float:
    """Mean number of keys that a token attends to."""
    return (work.prompt + work.mean_response) / 2


def _update_flops(model: Architecture, work: Work, way: str) -> float:
    """FLOPs per GPU and update: a forward pass, a backward pass (twice that; once if matrices are frozen), and with
    checkpointing the layers' forward pass again; for the LM head two forward passes and one or two backward."""
    tokens, answered = work.forwarded()
    layers, head = _forward_flops(model, tokens / work.gpus, answered / work.gpus, _context(work))
    back = 1 if work.is_lora else 2
    return layers * (1 + back + work.is_checkpointed) + head * (2 + back)


def _reading(model: Architecture, work: Work, way: str, flops: float) -> float:
    """Seconds to compute the old log-probabilities of a rollout, and the reference's if there is a KL term."""
    per_update = work.updates_a_rollout / work.iterations
    tokens, answered = (per_update * count / work.gpus for count in work.forwarded())
    passes = 2 if work.beta else 1
    return passes * sum(_forward_flops(model, tokens, answered, _context(work))) / flops


def _sent(model: Architecture, work: Work, way: str) -> float:
    """Bytes that a GPU sends in one update of m micro-batches (w bytes per parameter).

    ddp     2 w T           gradients, all-reduced
    zero2   m w T + w T     gradients reduce-scattered per micro-batch, parameters gathered
    zero3   m (2 w P + w T) parameters gathered in forward and backward;  fsdp2: the same
    """
    N, trained = work.gpus, model.adapter if work.is_lora else model.parameters
    if N == 1:
        return 0.0
    share, m = (N - 1) / N, work.accumulation
    if way == "ddp":
        return share * 2 * (4 if work.is_lora else work.weight) * trained
    if way == "zero2":
        return share * 2 * (m + 1) * trained
    return share * m * 2 * (2 * model.parameters + trained)


def _generation(model: Architecture, work: Work, flops: float, read: float, cache: float | None) -> float:
    """Seconds to sample a rollout; each GPU samples its part.

    prompts     2 M Q P / flops                          each prompt once (vLLM's prefix cache, share_prompts)
    decoding    max(W s + K, 2 M R T / flops)            s steps read the weights W; K bytes of KV cache are read
    s           L; more if the cache does not hold all responses at once
    K           R T (P + T / 2) times the bytes of one token's keys and values
    """
    R, Q = work.responses / work.gpus, work.prompts / work.gpus
    T, P = work.mean_response, work.prompt
    is_engine = work.engine is not None or work.has_server
    item = 2 if is_engine else work.weight
    turns = 1.0 if cache is None else max((Q * P + R * T) / cache, 1.0)
    steps = max(work.response, T * turns)
    weights, keys = item * model.parameters, R * T * (P + T / 2) * model.cache_bytes(item)
    products = 2.0 * (model.linear_parameters + model.head_parameters)
    reading = (weights * steps + keys) / read
    launching = 0.0 if is_engine else LAUNCH * model.layers * steps
    first = 2.0 * model.linear_parameters * Q * P / flops
    return first + max(reading, launching, products * R * T / flops)
