"""The settings that a dry run changes: sizes are shrunk, and what needs a GPU is replaced."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hysteretic.config.settings import RunSpec

RESPONSE = 8
"""The longest response, in tokens."""
RANK = 8
"""The largest rank of an adapter."""
LEARNING_RATE = 1e-2
"""Large enough that one step changes weights of any precision."""
ALWAYS: dict[str, Any] = {
    "model_revision": None,
    "use_cpu": True,
    "max_steps": 1,
    "num_train_epochs": 1,
    "logging_strategy": "steps",
    "logging_steps": 1,
    "learning_rate": LEARNING_RATE,
    "lr_scheduler_type": "constant",
    "lr_scheduler_kwargs": None,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
    "push_to_hub": False,
    "report_to": "none",
}
"""Settings of every dry run."""
ON_CPU = ("adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop")
"""Optimisers that run on a CPU without further packages."""


def changed(request: RunSpec, folder: Path, processes: int) -> tuple[dict[str, Any], list[str], list[str]]:
    """The settings of a dry run, and notes on what is shrunk and what is replaced, one line each.

    folder: has the small model in model/; the run goes to run/.
    """
    settings = {
        key: value
        for key, value in request.asked.items()
        if key not in ("generation_batch_size", "resume", "processes")
    }
    sizes, shrunk = _sizes(request, processes)
    elsewhere, replaced = _replacements(request)
    training = request.training
    always = ALWAYS | {"model": str(folder / "model"), "output": str(folder / "run")}
    if _word(training.save_strategy) != "no":
        always |= {"save_strategy": "steps", "save_steps": 1}
    shrunk.append(f"one update, at a learning rate of {LEARNING_RATE:g}, so that it changes weights of any precision")
    return {**settings, **sizes, **elsewhere, **always}, shrunk, replaced


def _sizes(request: RunSpec, processes: int) -> tuple[dict[str, Any], list[str]]:
    """Small sizes that keep at least two groups per rollout, and accumulation and several updates per rollout where the
    run has them."""
    training, run = request.training, request.run
    group = training.num_generations
    accumulation = min(training.gradient_accumulation_steps, 2)
    rounds = accumulation * min(training.steps_per_generation // training.gradient_accumulation_steps, 2)
    least = math.ceil(2 * group / (processes * rounds))
    rows = next(rows for rows in range(least, least + group) if rows * processes * rounds % group == 0)
    prompts = rows * processes * rounds // group
    sizes = {
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulation,
        "steps_per_generation": rounds,
        "max_completion_length": min(training.max_completion_length, RESPONSE),
        "train_problems": prompts,
        "eval_problems": min(run.eval_problems, 2),
        "eval_samples": min(run.eval_samples, 1),
    }
    told = [
        f"a rollout (of {processes} process{'es' * (processes > 1)}) from {training.generation_batch_size // group} "
        f"prompts x {group} responses to {prompts} x {group}, of at most {sizes['max_completion_length']} instead of "
        f"{training.max_completion_length} tokens"
    ]
    if accumulation < training.gradient_accumulation_steps:
        told.append(f"gradient accumulation from {training.gradient_accumulation_steps} to {accumulation}")
    if request.model.use_peft and request.model.lora_r > RANK:
        sizes["lora_r"] = RANK
        told.append(f"the adapter's rank from {request.model.lora_r} to {RANK}")
    return sizes, told


def _replacements(request: RunSpec) -> tuple[dict[str, Any], list[str]]:
    training, model = request.training, request.model
    instead: dict[str, Any] = {}
    told = []

    def replace(what: str, by: str, settings: Mapping[str, Any]) -> None:
        instead.update(settings)
        told.append(f"{what} with {by}")

    if request.run.reward_processes:
        replace("scoring processes", "scoring in this process", {"reward_processes": 0})
    if training.use_vllm:
        replace(f"vLLM ({training.vllm_mode})", "generation in this process", {"use_vllm": False})
    if training.use_transformers_continuous_batching:
        replace("continuous batching", "plain generation", {"use_transformers_continuous_batching": False})
    for bits in (4, 8):
        if getattr(model, f"load_in_{bits}bit"):
            replace(f"weights in {bits} bits (bitsandbytes)", "unquantised ones", {f"load_in_{bits}bit": False})
    attention = model.attn_implementation
    if attention not in (None, "eager", "sdpa"):
        replace(f"the attention implementation {attention}", "sdpa", {"attn_implementation": "sdpa"})
    if training.fp16:
        replace("fp16 (not available on CPUs)", "bf16", {"fp16": False, "bf16": True})
    if training.torch_compile:
        replace("torch_compile", "eager execution", {"torch_compile": False})
    if training.use_liger_kernel:
        replace("Liger's kernels", "torch's own", {"use_liger_kernel": False})
    optimiser = _word(training.optim)
    if optimiser not in ON_CPU:
        replace(f"the optimiser {optimiser}", "adamw_torch", {"optim": "adamw_torch"})
    if training.deepspeed is not None:
        replace("DeepSpeed", "one full model per process", {"deepspeed": None})
    return instead, told


def _word(value: Any) -> str:
    """A setting as text, also where it is an enumeration."""
    return str(getattr(value, "value", value))
