"""A recipe's objective, batch, sampling and training settings as verl's keys."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from hysteretic.common.errors import UsageError
from hysteretic.config.settings import RunSpec
from hysteretic.launch.overrides import ACTOR, MODEL, ROLLOUT, Overrides
from hysteretic.objective import Objective
from hysteretic.parts import (
    AdaptiveWeight,
    BatchMeanLength,
    CapGate,
    ClipGate,
    ConstantLength,
    FixedWeight,
    SoftGate,
    TokenRatio,
)
from hysteretic.scales import SCALES, STD, FocalScale
from hysteretic.trl.mapping import is_trls

ATTENTION = "sdpa"
"""torch's own attention; verl's default, flash_attention_2, needs a package that its vllm extra lacks."""

LAST_STEP_ONLY = 1_000_000
"""save_freq: verl also saves at the last step, unless this is -1."""

NO_DUAL_CLIP = 1e9
"""clip_ratio_c: verl also caps the loss of a negative at 3 times its advantage; TRL and HPO do not."""

NEVER = 1e9
"""A bound that is never reached: verl's importance ratios lie between e^-20 and e^20."""


@dataclass(frozen=True)
class Cluster:
    """nodes: machines. gpus: per machine. processes: the number that the batch sizes are written for."""

    nodes: int = 1
    gpus: int = 1
    processes: int = 1


@dataclass(frozen=True)
class Batch:
    """prompts: per rollout. rows: responses per update. updates: per rollout, over num_iterations passes."""

    prompts: int
    rows: int
    updates: int


def of_objective(objective: Objective, beta: float) -> Overrides:
    """The objective's parts as estimator, loss and length."""
    gate, length, weight = objective.gate, objective.length, objective.weight
    found: Overrides = {"algorithm.adv_estimator": "a_hpo" if isinstance(weight, AdaptiveWeight) else "hpo"}
    if isinstance(weight, AdaptiveWeight):
        found["+algorithm.hpo.alpha_min"] = weight.alpha_min
    else:
        found["+algorithm.hpo.alpha"] = weight.alpha if isinstance(weight, FixedWeight) else 1.0
    found["algorithm.norm_adv_by_std_in_grpo"] = objective.scale == STD
    if not is_trls(objective.scale):
        name = next(name for name, kind in SCALES.items() if type(objective.scale) is kind)
        found["+algorithm.hpo.scale"] = name
        found |= {"+algorithm.hpo.gamma": objective.scale.gamma} if isinstance(objective.scale, FocalScale) else {}
    if isinstance(gate, SoftGate):
        found |= {f"{ACTOR}.policy_loss.loss_mode": "sapo"}
        found |= {f"{ACTOR}.tau_pos": gate.tau_positive, f"{ACTOR}.tau_neg": gate.tau_negative}
    elif isinstance(gate, CapGate):
        found |= {f"{ACTOR}.policy_loss.loss_mode": "cispo"}
        found |= {f"{ACTOR}.clip_ratio_low": 1.0, f"{ACTOR}.clip_ratio_high": gate.cap - 1}  # clamp(rho, 0, cap)
    elif isinstance(gate, ClipGate):
        found |= {f"{ACTOR}.policy_loss.loss_mode": "vanilla" if isinstance(objective.ratio, TokenRatio) else "gspo"}
        found |= {f"{ACTOR}.clip_ratio": gate.low, f"{ACTOR}.clip_ratio_low": gate.low}
        found |= {f"{ACTOR}.clip_ratio_high": gate.high, f"{ACTOR}.clip_ratio_c": NO_DUAL_CLIP}
    if isinstance(length, BatchMeanLength):
        found[f"{ACTOR}.loss_agg_mode"] = "token-mean"
    elif isinstance(length, ConstantLength):
        found |= {f"{ACTOR}.loss_agg_mode": "seq-mean-token-sum-norm", f"{ACTOR}.loss_scale_factor": length.max_length}
        found["+algorithm.hpo.length"] = "constant"
    else:
        found |= {f"{ACTOR}.loss_agg_mode": "seq-mean-token-mean", "+algorithm.hpo.length": "response"}
    if beta:  # TRL's estimate of KL is verl's low_var_kl
        found |= {f"{ACTOR}.use_kl_loss": True, f"{ACTOR}.kl_loss_coef": beta, f"{ACTOR}.kl_loss_type": "low_var_kl"}
    return found


def of_batch(request: RunSpec, batch: Batch, cluster: Cluster, max_prompt_length: int | None) -> Overrides:
    """Batch sizes and steps. Raises UsageError where the longest prompt is unknown."""
    training = request.training
    updates_a_pass = batch.updates // training.num_iterations
    micro_batch = math.gcd(training.per_device_train_batch_size, batch.rows // (cluster.nodes * cluster.gpus))
    found: Overrides = {
        "data.train_batch_size": batch.prompts,
        "data.max_prompt_length": prompt_length(training, max_prompt_length),
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
    if (
        training.tokens_per_micro_batch is not None
    ):  # verl fails on a row that does not fit; our TRL trainer gives it a micro-batch of its own
        longest = found["data.max_prompt_length"] + training.max_completion_length
        found |= {f"{ACTOR}.use_dynamic_bsz": True}
        found |= {f"{ACTOR}.ppo_max_token_len_per_gpu": max(training.tokens_per_micro_batch, longest)}
    if training.max_steps > 0:
        # Epochs must not end the run first.
        found["trainer.total_training_steps"] = math.ceil(training.max_steps / batch.updates)
        found["trainer.total_epochs"] = 1_000_000
    else:
        found["trainer.total_epochs"] = int(training.num_train_epochs)
    return found


def prompt_length(training: Any, asked: int | None) -> int:
    """The longest prompt in tokens. Raises UsageError where neither a flag nor the recipe says it."""
    if asked is not None:
        return asked
    whole = training.vllm_max_model_length
    if whole is None or whole <= training.max_completion_length:
        raise UsageError(
            "verl needs the longest prompt in tokens, unlike TRL; give --max-prompt-length (countdown: 256, "
            "telelogs: 3072), or vllm_max_model_length above max_completion_length in the recipe."
        )
    return int(whole - training.max_completion_length)


def of_sampling(request: RunSpec, given: Collection[str]) -> Overrides:
    """How responses are sampled."""
    training = request.training
    found: Overrides = {
        f"{ROLLOUT}.name": "vllm",
        f"{ROLLOUT}.n": training.num_generations,
        f"{ROLLOUT}.temperature": training.temperature,
        f"{ROLLOUT}.top_p": training.top_p,
        f"{ROLLOUT}.top_k": training.top_k or -1,
        f"{ROLLOUT}.tensor_model_parallel_size": training.vllm_tensor_parallel_size,
    }
    found |= of_correction(training)
    if "vllm_gpu_memory_utilization" in given:
        found[f"{ROLLOUT}.gpu_memory_utilization"] = training.vllm_gpu_memory_utilization
    if "vllm_enable_sleep_mode" in given:
        found[f"{ROLLOUT}.free_cache_engine"] = bool(training.vllm_enable_sleep_mode)
    return found


def of_correction(training: Any) -> Overrides:
    """The correction for the difference between vLLM's probabilities and the model's; on by default in TRL.

        weight = pi_old / pi_vLLM, of a token or of a whole response; above clip_max (and below clip_min) it is 0
        ("mask") or the bound itself ("truncate"). It multiplies the loss of a token before any mean.

    verl computes the same: with one bound it truncates, with "lower_upper" it masks.
    """
    prefix = "algorithm.rollout_correction"
    if not (training.use_vllm and training.vllm_importance_sampling_correction):
        return {f"{prefix}.rollout_is": None}
    level, _, bound = training.vllm_importance_sampling_mode.partition("_")
    lower, upper = training.vllm_importance_sampling_clip_min, training.vllm_importance_sampling_clip_max
    upper = NEVER if upper is None else upper
    threshold = float(upper) if bound == "truncate" else f"{float(lower or 1 / NEVER)}_{float(upper)}"
    # verl's own metrics of it, and the weights, need the probabilities that vLLM gave.
    return {
        f"{prefix}.rollout_is": level,
        f"{prefix}.rollout_is_threshold": threshold,
        f"{ROLLOUT}.calculate_log_probs": True,
    }


def computes_in_fp32(training: Any, given: Collection[str]) -> bool:
    """Whether bf16 is switched off by the recipe or a flag; verl computes in bf16 by itself."""
    return "bf16" in given and not training.bf16


def of_training(request: RunSpec, batch: Batch, given: Collection[str]) -> Overrides:
    """Optimiser, model, checkpoints and logging."""
    training, model = request.training, request.model
    found: Overrides = {
        f"{ACTOR}.optim.lr": training.learning_rate,
        **_schedule(training, batch),
        f"{ACTOR}.optim.weight_decay": training.weight_decay,
        f"{ACTOR}.optim.betas": [training.adam_beta1, training.adam_beta2],
        # 0 means no bound in TRL; verl would scale every gradient to 0.
        f"{ACTOR}.optim.clip_grad": training.max_grad_norm or NEVER,
        f"{ACTOR}.grad_clip": training.max_grad_norm or NEVER,
        # Data type of the optimised weights, not of the computation. In bf16, small updates would be lost.
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
    if computes_in_fp32(training, given):
        found[f"+{ACTOR}.fsdp_config.mixed_precision.param_dtype"] = "fp32"
        if training.beta:
            found["+actor_rollout_ref.ref.fsdp_config.mixed_precision.param_dtype"] = "fp32"
    if training.save_total_limit is not None:
        found["trainer.max_actor_ckpt_to_keep"] = training.save_total_limit
    if model.use_peft:
        modules = model.lora_target_modules
        found |= {f"{MODEL}.lora_rank": model.lora_r, f"{MODEL}.lora_alpha": model.lora_alpha}
        found |= {f"{MODEL}.target_modules": "all-linear" if modules == ["all-linear"] else modules}
        found |= {f"{ROLLOUT}.load_format": "safetensors"}  # vLLM needs the frozen weights, not only the adapter
    return found


def name_of(choice: Any) -> str:
    """The text of a choice, which may be one of transformers' enums."""
    return str(getattr(choice, "value", choice))


def _schedule(training: Any, batch: Batch) -> Overrides:
    """verl steps the schedule once per rollout, TRL once per update. TRL's "constant" has no warm-up."""
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
    """In rollouts. With save_strategy "no" the trained model is still saved, as in `hysteretic train`."""
    if name_of(training.save_strategy) == "no":
        return LAST_STEP_ONLY
    steps = training.save_steps
    if steps < 1:  # a fraction of the run
        steps = math.ceil(steps * training.max_steps)
    return max(1, round(steps / batch.updates))


def loggers(report_to: Any) -> list[str]:
    """verl's loggers for report_to."""
    names = [report_to] if isinstance(report_to, str) else list(report_to or [])
    return [name for name in names if name != "none"]
