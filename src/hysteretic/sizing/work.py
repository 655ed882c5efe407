"""The settings of a run that cost memory or time, in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 2, None: 4}
"""Bytes per weight by `dtype`; without one TRL loads float32."""

OPTIMISERS = {"sgd": 0.0, "adafactor": 0.0, "lion": 1.0}
"""Optimiser states per parameter, in units of its size; others have AdamW's two. 8-bit states take a byte each."""


@dataclass(frozen=True)
class Engine:
    """vLLM on the same GPUs. share: fraction of the GPU's memory. sleeps: it frees the GPU during updates."""

    share: float
    sleeps: bool
    ranks: int = 1
    longest: int | None = None


@dataclass(frozen=True)
class Work:
    """The settings that determine what a run costs.

    gpus, rows: per_device_train_batch_size on each of `gpus`. accumulation, rounds, iterations: TRL's
        gradient_accumulation_steps, steps_per_generation, num_iterations. group: responses per prompt.
    prompt, response: the longest, in tokens; mean_response: the expected mean. silent: fraction of silent responses.
    weight: bytes per loaded weight; quantised: bytes per weight of a layer's matrices, if quantised.
    is_mixed: bf16 (or fp16) autocast, or DeepSpeed's. lean: what hysteretic.trl.packing may do.
    engine: vLLM on these GPUs; has_server: vLLM elsewhere.
    """

    gpus: int
    rows: int
    accumulation: int
    rounds: int
    iterations: int
    group: int
    prompt: int
    response: int
    mean_response: float
    weight: int
    is_mixed: bool
    is_checkpointed: bool
    is_lora: bool
    beta: float
    learning_rate: float
    updates: int
    shares_prompts: bool
    drops_silent: bool
    tokens_per_micro_batch: int | None
    optimiser: str
    corrects: bool = True
    silent: float = 0.0
    quantised: float | None = None
    engine: Engine | None = None
    has_server: bool = False

    @property
    def responses(self) -> int:
        """Per rollout, over all GPUs."""
        return self.gpus * self.rows * self.rounds

    @property
    def prompts(self) -> int:
        """Per rollout, over all GPUs."""
        return -(-self.responses // self.group)

    @property
    def updates_a_rollout(self) -> int:
        return self.rounds * self.iterations // self.accumulation

    @property
    def needs_old_log_probs(self) -> bool:
        """As TRL decides: several updates per rollout, or vLLM's probabilities to correct."""
        samples_elsewhere = self.engine is not None or self.has_server
        return self.accumulation % (self.rounds * self.iterations) != 0 or (samples_elsewhere and self.corrects)

    def state_bytes(self, item: int) -> float:
        """Bytes of optimiser states per parameter. item: bytes of a parameter."""
        name = self.optimiser.lower()
        if "8bit" in name:
            return 2.0
        return item * next((count for key, count in OPTIMISERS.items() if key in name), 2.0)

    def micro_batch(self) -> tuple[float, float, float]:
        """Size of the largest micro-batch: tokens that are read, tokens of its responses, and keys attended to.

        As rows:     B (P + L)
        As a stream: U (P - 1) + B L, with each of U prompts once. U = ceil(B / G) where a rollout is one
                     update; else B, since an update's rows are drawn from the rollout and prompts may occur once.
                     Keys: B (P + L), since each response attends to its prompt's.
        tokens_per_micro_batch bounds either, but never below one response and its prompt.
        """
        P, L, B = self.prompt, self.response, float(self.rows)
        is_one_update = self.accumulation == self.rounds
        a_prompt = min(self.group, B) if self.shares_prompts and is_one_update else 1
        row = (P - 1 if self.shares_prompts else P) / a_prompt + L
        if self.tokens_per_micro_batch is not None:
            B = max(self.tokens_per_micro_batch / row, 1.0)
        else:
            row = math.ceil(B / a_prompt) * (row - L) * a_prompt / B + L
        return max(B * row, P - 1 + L), B * L, B * (P + L)

    def forwarded(self) -> tuple[float, float]:
        """Expected tokens that one update reads, and how many of them belong to responses.

            U (P - 1) + S L as streams, S (P + L) as rows; S responses per update, without the silent ones
            U = Q (1 - (1 - q)^G)      for Q prompts per rollout, each response in this update with probability q

        L is the expected length here; padding of rows of unequal length is not counted.
        """
        share = self.accumulation / self.rounds
        kept = 1 - self.silent if self.drops_silent else 1.0
        responses = kept * self.responses * share
        prompts = kept * self.prompts * (1 - (1 - min(share, 1.0)) ** self.group)
        answered = responses * self.mean_response
        if self.shares_prompts:
            return prompts * (self.prompt - 1) + answered, answered
        return responses * self.prompt + answered, answered


def work_of(request: Any, gpus: int, prompt: int, mean_response: float | None = None, silent: float = 0.0) -> Work:
    """The work of a parsed run (hysteretic.config.settings.RunSpec), whose batch sizes are for `gpus` processes."""
    training, model = request.training, request.model
    dtype = (training.model_init_kwargs or {}).get("dtype", model.dtype)
    dtype = str(dtype).removeprefix("torch.") if dtype is not None else None
    quantised = 0.5625 if model.load_in_4bit else 1.0 if model.load_in_8bit else None
    is_colocated = training.use_vllm and training.vllm_mode == "colocate"
    engine = Engine(
        training.vllm_gpu_memory_utilization,
        training.vllm_enable_sleep_mode,
        training.vllm_tensor_parallel_size,
        training.vllm_max_model_length,
    )
    is_lean = "lomo" not in str(training.optim) and not training.entropy_coef and training.top_entropy_quantile == 1.0
    return Work(
        gpus=gpus,
        rows=training.per_device_train_batch_size,
        accumulation=training.gradient_accumulation_steps,
        rounds=training.steps_per_generation,
        iterations=training.num_iterations,
        group=training.num_generations,
        prompt=prompt,
        response=training.max_completion_length,
        mean_response=training.max_completion_length / 2 if mean_response is None else mean_response,
        weight=BYTES.get(dtype, 4),
        is_mixed=bool(training.bf16 or training.fp16),
        is_checkpointed=bool(training.gradient_checkpointing),
        is_lora=bool(model.use_peft),
        beta=float(training.beta),
        learning_rate=float(training.learning_rate),
        updates=int(training.max_steps),
        shares_prompts=training.share_prompts,
        drops_silent=training.drop_silent and is_lean and not training.beta,
        tokens_per_micro_batch=training.tokens_per_micro_batch if is_lean else None,
        optimiser=str(getattr(training.optim, "value", training.optim)),
        corrects=training.vllm_importance_sampling_correction,
        silent=silent,
        quantised=quantised,
        engine=engine if is_colocated else None,
        has_server=training.use_vllm and not is_colocated,
    )
