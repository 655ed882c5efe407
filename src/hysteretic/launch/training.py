"""Which of verl's keys say how a recipe's model is trained, saved and reported on?"""

from __future__ import annotations

import math
from typing import Any

from hysteretic.config.settings import RunSpec
from hysteretic.launch.keys import ACTOR, MODEL, NEVER, ROLLOUT, Batch, Overrides

ATTENTION = "sdpa"
"""What torch has by itself; verl's own default, flash_attention_2, is a package that its vllm extra leaves out."""

LAST_STEP_ONLY = 1_000_000
"""save_freq: verl also saves at the last step, unless this is -1."""


def of_training(request: RunSpec, batch: Batch) -> Overrides:
    """Optimiser, model, checkpoints and logs."""
    training, model = request.training, request.model
    found: Overrides = {
        f"{ACTOR}.optim.lr": training.learning_rate,
        **_schedule(training, batch),
        f"{ACTOR}.optim.weight_decay": training.weight_decay,
        f"{ACTOR}.optim.betas": [training.adam_beta1, training.adam_beta2],
        # 0 is no bound in TRL; in verl every gradient would be scaled to 0.
        f"{ACTOR}.optim.clip_grad": training.max_grad_norm or NEVER,
        f"{ACTOR}.grad_clip": training.max_grad_norm or NEVER,
        # Of the weights that the optimiser changes; FSDP computes in bf16 by itself. In bf16, small updates are lost.
        f"{ACTOR}.fsdp_config.model_dtype": "fp32",
        f"{ACTOR}.fsdp_config.seed": training.seed,
        f"{ACTOR}.data_loader_seed": training.seed,
        f"{ROLLOUT}.seed": training.seed,
        "data.seed": training.seed,
        f"{MODEL}.path": request.run.model,
        f"+{MODEL}.override_config.attn_implementation": model.attn_implementation or ATTENTION,
        f"{MODEL}.enable_gradient_checkpointing": bool(training.gradient_checkpointing),
        "trainer.save_freq": _save_freq(training, batch),
        "trainer.resume_mode": "auto" if request.run.resume else "disable",
        "trainer.logger": ["console", *loggers(training.report_to)],
    }
    if training.save_total_limit is not None:
        found["trainer.max_actor_ckpt_to_keep"] = training.save_total_limit
    if model.use_peft:
        modules = model.lora_target_modules
        found |= {f"{MODEL}.lora_rank": model.lora_r, f"{MODEL}.lora_alpha": model.lora_alpha}
        found |= {f"{MODEL}.target_modules": "all-linear" if modules == ["all-linear"] else modules}
        found |= {f"{ROLLOUT}.load_format": "safetensors"}  # vLLM needs the frozen weights, not only the adapter
    return found


def name_of(choice: Any) -> str:
    """The text of a choice, which transformers makes an enum."""
    return str(getattr(choice, "value", choice))


def _schedule(training: Any, batch: Batch) -> Overrides:
    """verl moves the learning rate once a rollout, TRL once an update. TRL's "constant" has no warm-up."""
    kind, steps, ratio = name_of(training.lr_scheduler_type), training.warmup_steps, 0.0
    if kind == "constant":
        steps = 0
    if 0 < steps < 1 and training.max_steps > 0:
        steps = math.ceil(steps * training.max_steps)
    elif 0 < steps < 1:
        steps, ratio = 0, steps
    return {
        f"{ACTOR}.optim.lr_scheduler_type": "cosine" if kind == "cosine" else "constant",
        f"{ACTOR}.optim.lr_warmup_steps": math.ceil(steps / batch.updates) if steps else -1,  # -1: by the ratio
        f"{ACTOR}.optim.lr_warmup_steps_ratio": ratio,
    }


def _save_freq(training: Any, batch: Batch) -> int:
    """In rollouts. With save_strategy "no" the trained model is saved all the same, as `hysteretic train` does."""
    if name_of(training.save_strategy) == "no":
        return LAST_STEP_ONLY
    steps = training.save_steps
    if steps < 1:  # a share of the run
        steps = math.ceil(steps * training.max_steps)
    return max(1, round(steps / batch.updates))


def loggers(report_to: Any) -> list[str]:
    """Where a run reports to."""
    names = [report_to] if isinstance(report_to, str) else list(report_to or [])
    return [name for name in names if name != "none"]
