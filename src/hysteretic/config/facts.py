"""Facts about every setting: RunConfig's are with its fields, those of HPOConfig, TRL and transformers are here.

HPOConfig's facts are here too, because its metadata must be accepted by any TrlParser: users may pass it to one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hysteretic.config.run import UNSET, Facts, run_facts

OBJECTIVE, BATCH, SAMPLING, OPTIMISER = "objective", "batch", "sampling", "optimiser"
SPEED, ERRORS, MODEL, SAVING = "speed", "errors", "weights", "saving and reports"


def _translated(group: str = "", short: str = "", **more: Any) -> Facts:
    return Facts(group=group, short=short, verl=True, **more)


OWN: dict[str, Facts] = {
    **{
        name: _translated(OBJECTIVE)
        for name in (
            "algorithm",
            "alpha",
            "alpha_min",
            "shift",
            "ratio",
            "gate",
            "weight",
            "length",
            "scale",
            "focal_gamma",
        )
    },
    "entropy_below": _translated(OBJECTIVE),
    "alpha_ema": _translated(OBJECTIVE, "Decay of a moving average of alpha, 0 (off) to below 1.", verl_default=0.0),
    **{
        name: _translated(OBJECTIVE)
        for name in ("epsilon", "epsilon_high", "sapo_temperature_pos", "sapo_temperature_neg", "scale_rewards")
    },
    "sign_rewards": _translated(
        OBJECTIVE, "Reward functions that decide signs and silence, for alpha.", verl_default=None
    ),
    "loss_type": _translated(),
    "importance_sampling_level": _translated(),
    "drop_silent": Facts(
        SPEED,
        "Leave responses without an advantage out of the update.",
        verl="verl updates on silent responses too; the gradient is the same",
    ),
    "share_prompts": Facts(SPEED, verl="verl reads a prompt once per response"),
    "drop_finished": Facts(SPEED, verl="vLLM drops finished responses itself"),
    "tokens_per_micro_batch": _translated(SPEED, "Bound micro-batches by tokens instead of by rows."),
    "max_bad_updates": Facts(
        ERRORS,
        "Updates with a NaN or infinite loss or gradient to skip before the run stops.",
        resume=True,
        verl="verl skips every update whose gradient is not finite, with a line in the log, and continues",
    ),
    "max_unscored": Facts(
        ERRORS,
        "Responses without a reward (NaN, timed out, crashed) to tolerate before the run stops.",
        resume=True,
        verl="verl drops a rollout whose reward function fails, with a line in the log, and continues",
    ),
}
"""Facts about HPOConfig's own fields; a test asserts that none is missing."""

TRL: dict[str, Facts] = {
    "beta": _translated(OBJECTIVE, "KL penalty to the reference model; 0 for none."),
    "num_iterations": _translated(OBJECTIVE, "Passes over each rollout."),
    "num_generations": _translated(BATCH, "Responses per prompt: the group."),
    "per_device_train_batch_size": _translated(BATCH, "Responses per process in one forward and backward pass."),
    "gradient_accumulation_steps": _translated(BATCH, "Passes per update."),
    "steps_per_generation": _translated(BATCH, "Passes per rollout."),
    "generation_batch_size": _translated(BATCH, "Responses per rollout over all processes, instead of the above."),
    "max_steps": _translated(BATCH, "Updates.", resume=True, same_in_arms=True),
    "num_train_epochs": _translated(verl_default=1),
    "max_completion_length": _translated(SAMPLING, "Maximum response length in tokens."),
    "temperature": _translated(SAMPLING, "Sampling temperature; 1 samples from the policy itself."),
    "top_p": _translated(),
    "top_k": _translated(),
    "use_vllm": _translated(SAMPLING, "Generate with vLLM."),
    "vllm_mode": _translated(SAMPLING, "colocate (on the training GPUs) or server."),
    "vllm_gpu_memory_utilization": _translated(SAMPLING, "Fraction of a GPU's memory for colocated vLLM."),
    "vllm_max_model_length": _translated(SAMPLING, "Maximum length of prompt plus response in vLLM, in tokens."),
    "vllm_tensor_parallel_size": _translated(),
    "vllm_enable_sleep_mode": _translated(),
    "vllm_importance_sampling_correction": _translated(),
    "vllm_importance_sampling_mode": _translated(),
    "vllm_importance_sampling_clip_max": _translated(),
    "vllm_importance_sampling_clip_min": _translated(verl_default=None),
    "learning_rate": _translated(OPTIMISER, "Tune it for each algorithm."),
    "lr_scheduler_type": _translated(
        OPTIMISER, "constant, cosine, linear, or any other of transformers.", verl_default="constant"
    ),
    "warmup_steps": _translated(OPTIMISER, "Warm-up updates; below 1, a fraction of the run."),
    "weight_decay": _translated(),
    "adam_beta1": _translated(),
    "adam_beta2": _translated(),
    "max_grad_norm": _translated(OPTIMISER, "Clip gradients to this norm; 0 for no clipping."),
    "seed": _translated(OPTIMISER, "Seed of problem order, sampling and initial adapter.", per_run=True),
    "dtype": _translated(MODEL, "Data type of the loaded weights: float32, bfloat16 or auto."),
    "bf16": _translated(MODEL, "Compute in bf16 (autocast).", verl_default=True),
    "gradient_checkpointing": _translated(MODEL, "Recompute activations: less memory, more time."),
    "attn_implementation": _translated(),
    "use_peft": _translated(MODEL, "Train a LoRA adapter instead of all parameters."),
    "lora_r": _translated(MODEL, "Rank of the adapter."),
    "lora_alpha": _translated(MODEL, "Scaling of the adapter (lora_alpha / lora_r)."),
    "lora_dropout": _translated(MODEL, "Keep it at 0: dropout changes importance ratios.", verl_default=0.0),
    "lora_target_modules": _translated(MODEL, "Modules to adapt, such as all-linear.", verl_default=["all-linear"]),
    "save_steps": _translated(SAVING, "Updates between checkpoints.", resume=True, verl_default=500),
    "save_strategy": _translated(verl_default="no"),
    "save_total_limit": _translated(SAVING, "Checkpoints to keep.", resume=True),
    "report_to": _translated(
        SAVING, "tensorboard, trackio, wandb, ... besides metrics.jsonl.", resume=True, verl_default="none"
    ),
    "logging_steps": Facts(same_in_arms=True, verl="verl logs every step"),
    "disable_tqdm": Facts(resume=True, verl="verl has a progress bar of its own"),
    "dataloader_pin_memory": Facts(verl=""),
    "use_cpu": Facts(MODEL, "Run on the CPU.", verl=""),
    "config": Facts(per_run=True, of_call=True, verl=""),
}
"""Facts about the fields of TRL and transformers; others appear under --help-all only, without a verl counterpart."""


def facts() -> dict[str, Facts]:
    """The facts of every setting that has any, by name."""
    return {**run_facts(), **OWN, **TRL}


def named(is_so: Callable[[Facts], bool]) -> frozenset[str]:
    """The settings whose facts match: named(lambda facts: facts.resume)."""
    return frozenset(name for name, each in facts().items() if is_so(each))


def verl_defaults() -> dict[str, Any]:
    """What verl does instead of each setting that may be left out."""
    return {name: each.verl_default for name, each in facts().items() if each.verl_default is not UNSET}
