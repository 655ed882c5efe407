"""Which of verl's keys say what a recipe's parts and numbers say?"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hysteretic.lab.errors import UsageError
from hysteretic.lab.settings import Request
from hysteretic.objective import Objective
from hysteretic.parts import Adaptive, BatchMean, Cap, Clip, Constant, Fixed, SoftGate, TokenRatio

Overrides = dict[str, Any]
"""verl's keys and values; a key that verl's configuration does not have begins with +."""

ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))

NO_DUAL_CLIP = 1e9
"""clip_ratio_c: verl also caps what a negative may cost, at 3 times its advantage; TRL and HPO do not."""

ATTENTION = "sdpa"
"""What torch has by itself; verl's own default, flash_attention_2, is a package that its vllm extra does not install."""

LOGGERS = ("wandb", "tensorboard", "mlflow", "trackio", "swanlab", "clearml")


@dataclass(frozen=True)
class Cluster:
    """nodes, gpus: of each. processes: how many the recipe is written for; they multiply its batch."""

    nodes: int = 1
    gpus: int = 1
    processes: int = 1


@dataclass(frozen=True)
class Batch:
    """prompts: of a rollout. updates: optimiser steps a rollout, over num_iterations passes. rows: of an update."""

    prompts: int
    rows: int
    updates: int


def of_objective(objective: Objective, beta: float) -> Overrides:
    """The four parts, as estimator, loss and length."""
    gate, length, weight = objective.gate, objective.length, objective.weight
    found: Overrides = {"algorithm.adv_estimator": "a_hpo" if isinstance(weight, Adaptive) else "hpo"}
    if isinstance(weight, Adaptive):
        found["+algorithm.hpo.alpha_min"] = weight.alpha_min
    else:
        found["+algorithm.hpo.alpha"] = weight.value if isinstance(weight, Fixed) else 1.0
    found["algorithm.norm_adv_by_std_in_grpo"] = objective.scale == "std"
    if isinstance(gate, SoftGate):
        found |= {f"{ACTOR}.policy_loss.loss_mode": "sapo"}
        found |= {f"{ACTOR}.tau_pos": gate.tau_positive, f"{ACTOR}.tau_neg": gate.tau_negative}
    elif isinstance(gate, Cap):
        found |= {f"{ACTOR}.policy_loss.loss_mode": "cispo"}
        found |= {f"{ACTOR}.clip_ratio_low": 1.0, f"{ACTOR}.clip_ratio_high": gate.cap - 1}  # clamp(rho, 0, cap)
    elif isinstance(gate, Clip):
        found |= {f"{ACTOR}.policy_loss.loss_mode": "vanilla" if isinstance(objective.ratio, TokenRatio) else "gspo"}
        found |= {f"{ACTOR}.clip_ratio": gate.low, f"{ACTOR}.clip_ratio_low": gate.low}
        found |= {f"{ACTOR}.clip_ratio_high": gate.high, f"{ACTOR}.clip_ratio_c": NO_DUAL_CLIP}
    if isinstance(length, BatchMean):
        found[f"{ACTOR}.loss_agg_mode"] = "token-mean"
    elif isinstance(length, Constant):
        found |= {f"{ACTOR}.loss_agg_mode": "seq-mean-token-sum-norm", f"{ACTOR}.loss_scale_factor": length.max_length}
        found["+algorithm.hpo.length"] = "constant"
    else:
        found |= {f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean", "+algorithm.hpo.length": "response"}
    if beta:  # TRL's estimate of KL is verl's low_var_kl
        found |= {f"{ACTOR}.use_kl_loss": True, f"{ACTOR}.kl_loss_coef": beta, f"{ACTOR}.kl_loss_type": "low_var_kl"}
    return found


def of_batch(request: Request, batch: Batch, cluster: Cluster, max_prompt_length: int | None) -> Overrides:
    """Sizes and steps. Raises UsageError where the longest prompt is unknown."""
    training = request.training
    updates_a_pass = batch.updates // training.num_iterations
    micro_batch = math.gcd(training.per_device_train_batch_size, batch.rows // (cluster.nodes * cluster.gpus))
    found: Overrides = {
        "data.train_batch_size": batch.prompts,
        "data.max_prompt_length": _prompt_length(training, max_prompt_length),
        "data.max_response_length": training.max_completion_length,
        "data.truncation": "error",
        f"{ACTOR}.ppo_mini_batch_size": batch.rows // training.num_generations,
        f"{ACTOR}.ppo_epochs": training.num_iterations,
        f"{ACTOR}.shuffle": updates_a_pass > 1,
        f"{ACTOR}.ppo_micro_batch_size_per_gpu": micro_batch,
        f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu": micro_batch,
        "trainer.nnodes": cluster.nodes,
        "trainer.n_gpus_per_node": cluster.gpus,
    }
    if training.beta:
        found["actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu"] = micro_batch
    if training.tokens_per_micro_batch is not None:
        found |= {f"{ACTOR}.use_dynamic_bsz": True}
        found |= {f"{ACTOR}.ppo_max_token_len_per_gpu": training.tokens_per_micro_batch}
    if training.max_steps > 0:
        # Epochs must not end the run first.
        found["trainer.total_training_steps"] = math.ceil(training.max_steps / batch.updates)
        found["trainer.total_epochs"] = 1_000_000
    else:
        found["trainer.total_epochs"] = math.ceil(training.num_train_epochs)
    return found


def _prompt_length(training: Any, asked: int | None) -> int:
    if asked is not None:
        return asked
    whole = training.vllm_max_model_length
    if whole is None or whole <= training.max_completion_length:
        raise UsageError(
            "verl needs the longest prompt in tokens, which TRL does not; give --max-prompt-length (countdown: 256, "
            "telelogs: 4096), or vllm_max_model_length above max_completion_length in the recipe."
        )
    return int(whole - training.max_completion_length)


def of_training(request: Request, batch: Batch) -> Overrides:
    """Optimiser, model, checkpoints and logs. Raises UsageError for a logger that verl does not have."""
    training, model = request.training, request.model
    schedule = getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type)
    saves = str(getattr(training.save_strategy, "value", training.save_strategy)) == "steps"
    found: Overrides = {
        f"{ACTOR}.optim.lr": training.learning_rate,
        f"{ACTOR}.optim.lr_scheduler_type": schedule,
        f"{ACTOR}.optim.lr_warmup_steps": _warmup(training, batch),
        f"{ACTOR}.optim.weight_decay": training.weight_decay,
        f"{ACTOR}.optim.betas": [training.adam_beta1, training.adam_beta2],
        f"{ACTOR}.optim.clip_grad": training.max_grad_norm,
        f"{ACTOR}.grad_clip": training.max_grad_norm,
        f"{ACTOR}.fsdp_config.model_dtype": "bf16" if model.dtype == "bfloat16" else "fp32",
        f"{ACTOR}.fsdp_config.seed": training.seed,
        f"{ACTOR}.data_loader_seed": training.seed,
        f"{ROLLOUT}.seed": training.seed,
        "data.seed": training.seed,
        f"{MODEL}.path": request.run.model,
        f"{MODEL}.enable_gradient_checkpointing": bool(training.gradient_checkpointing),
        "trainer.save_freq": max(1, round(training.save_steps / batch.updates)) if saves else -1,
        "trainer.resume_mode": "auto" if request.run.resume else "disable",
        "trainer.logger": ["console", *_loggers(training.report_to)],
    }
    if training.save_total_limit is not None:
        found["trainer.max_actor_ckpt_to_keep"] = training.save_total_limit
    if model.use_peft:
        modules = model.lora_target_modules
        whole = modules is None or modules in ("all-linear", ["all-linear"])
        found |= {f"{MODEL}.lora_rank": model.lora_r, f"{MODEL}.lora_alpha": model.lora_alpha}
        found |= {f"{MODEL}.target_modules": "all-linear" if whole else modules}
        found |= {f"{ROLLOUT}.load_format": "safetensors"}  # vLLM needs the frozen weights, not only the adapter
    return found


def _warmup(training: Any, batch: Batch) -> int:
    """In rollouts: verl moves the learning rate once a rollout, TRL once an update."""
    steps = training.warmup_steps
    if 0 < steps < 1:
        steps = math.ceil(steps * max(training.max_steps, 0))
    return math.ceil(steps / batch.updates) if steps else -1


def _loggers(report_to: Any) -> list[str]:
    names = [report_to] if isinstance(report_to, str) else list(report_to or [])
    names = [name for name in names if name != "none"]
    for name in names:
        if name not in LOGGERS:
            raise UsageError(f"report_to is {name!r}; verl reports to {', '.join(LOGGERS)}.")
    return names


def of_sampling(request: Request, given: Collection[str]) -> Overrides:
    """How responses are drawn."""
    training = request.training
    found: Overrides = {
        f"{ROLLOUT}.name": "vllm",
        f"{ROLLOUT}.n": training.num_generations,
        f"{ROLLOUT}.temperature": training.temperature,
        f"{ROLLOUT}.top_p": training.top_p,
        f"{ROLLOUT}.top_k": training.top_k or -1,
        f"{ROLLOUT}.tensor_model_parallel_size": training.vllm_tensor_parallel_size,
    }
    if "vllm_gpu_memory_utilization" in given:
        found[f"{ROLLOUT}.gpu_memory_utilization"] = training.vllm_gpu_memory_utilization
    if "vllm_enable_sleep_mode" in given:
        found[f"{ROLLOUT}.free_cache_engine"] = bool(training.vllm_enable_sleep_mode)
    return found


def hydra(overrides: Mapping[str, Any]) -> list[str]:
    """As words of a command line, key=value in hydra's grammar."""
    return [f"{key}={_value(value)}" for key, value in overrides.items()]


def _value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_value, value))}]"
    text = str(value)
    if text and all(character.isalnum() or character in "/-_.+@:" for character in text) and text[0] not in "+@:":
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
