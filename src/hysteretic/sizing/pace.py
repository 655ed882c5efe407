"""How many tokens does a step take, and about how many seconds?

A rollout of R responses of T tokens (mean; the longest L) to prompts of P tokens is generated, read once more for the
old log-probabilities where TRL needs them, and followed by its updates. Every stage is the slower of computing,
reading memory and communicating, at an assumed share of what the GPU's maker states:

    COMPUTE    of stated TFLOP/s that training and reading reach
    BANDWIDTH  of stated memory bandwidth that decoding reaches
    LINK       of stated link bandwidth

Loading, reward functions, weights handed to vLLM, checkpoints and evaluations are not counted. Not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from hysteretic.sizing.architecture import Architecture
from hysteretic.sizing.gpus import GPU
from hysteretic.sizing.memory import memory
from hysteretic.sizing.work import Work

COMPUTE, BANDWIDTH, LINK = 0.35, 0.6, 0.7
LAUNCH = 1e-3
"""Seconds a layer and token that transformers' decoding takes whatever the model, for Python and launches."""


@dataclass(frozen=True)
class Pace:
    """Seconds of a rollout's stages over all GPUs: generation, old log-probs, and one update."""

    generation: float
    old_log_probs: float
    update: float
    updates_a_rollout: int

    @property
    def rollout(self) -> float:
        return self.generation + self.old_log_probs + self.updates_a_rollout * self.update

    @property
    def step(self) -> float:
        """An optimiser step with its part of the rollout."""
        return self.rollout / self.updates_a_rollout


def pace(model: Architecture, work: Work, way: str, gpu: GPU) -> Pace | None:
    """None where the GPU's speed is not known, or the run fits no cache of vLLM's."""
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
    """Of the layers and of the LM head: 2 for each parameter of a matrix and token, and attention.

    2 M n + 4 L a n c        M parameters of matrices, n tokens, a attention width, c mean keys seen
    2 V h n'                 of n' tokens of responses
    """
    layers = 2.0 * model.linear_parameters * tokens + 4.0 * model.layers * model.attention * tokens * context
    return layers, 2.0 * model.head_parameters * answered


def _context(work: Work) -> float:
    """Keys that a token sees, in the mean."""
    return (work.prompt + work.mean_response) / 2


def _update_flops(model: Architecture, work: Work, way: str) -> float:
    """Of a GPU in one update: forward, backward (twice that; once, where matrices are frozen), with checkpointing the
    forward of the layers again; of the head forward, again, and one or two products back."""
    tokens, answered = work.forwarded(way != "ddp")
    layers, head = _forward_flops(model, tokens / work.gpus, answered / work.gpus, _context(work))
    back = 1 if work.is_lora else 2
    return layers * (1 + back + work.is_checkpointed) + head * (2 + back)


def _reading(model: Architecture, work: Work, way: str, flops: float) -> float:
    """Seconds of a forward pass over the rollout: old log-probabilities, and the reference's where there is a KL."""
    per_update = work.updates_a_rollout / work.iterations
    tokens, answered = (per_update * count / work.gpus for count in work.forwarded(way != "ddp"))
    passes = 2 if work.beta else 1
    return passes * sum(_forward_flops(model, tokens, answered, _context(work))) / flops


def _sent(model: Architecture, work: Work, way: str) -> float:
    """Bytes that a GPU sends in one update of m micro-batches, w of a parameter:

    ddp     2 w T           gradients, reduced and spread
    zero2   m w T + w T     gradients reduced to their owners at each micro-batch, parameters gathered
    zero3   m (2 w P + w T) parameters gathered forward and backward;  fsdp2: the same
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
    """Seconds to sample a rollout, on each GPU its part of it.

    prompts     2 M Q P / flops                          each once (vLLM's prefix cache, share_prompts)
    decoding    max(W s + K, 2 M R T / flops)            s steps read the weights W, K bytes of keys are read
    s           L; more where the cache holds less than all responses: they take turns
    K           R T (P + T / 2) bytes of a token's keys and values
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
