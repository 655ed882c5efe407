"""Which of verl's keys say what a recipe's objective, batch and sampling say? `verl_training` has the optimiser's."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from hysteretic.common.errors import UsageError
from hysteretic.config.settings import RunSpec
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

Overrides = dict[str, Any]
"""verl's keys and values; a key that verl's configuration does not have begins with +."""

ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))

NO_DUAL_CLIP = 1e9
"""clip_ratio_c: verl also caps what a negative may cost, at 3 times its advantage; TRL and HPO do not."""

NEVER = 1e9
"""A bound that nothing reaches: importance ratios of verl are from e^-20 to e^20."""


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
    found: Overrides = {"algorithm.adv_estimator": "a_hpo" if isinstance(weight, AdaptiveWeight) else "hpo"}
    if isinstance(weight, AdaptiveWeight):
        found["+algorithm.hpo.alpha_min"] = weight.alpha_min
    else:
        found["+algorithm.hpo.alpha"] = weight.alpha if isinstance(weight, FixedWeight) else 1.0
    found["algorithm.norm_adv_by_std_in_grpo"] = objective.scale == "std"
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
    if training.tokens_per_micro_batch is not None:  # verl stops at a row that does not fit; here it would go alone
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


def _prompt_length(training: Any, asked: int | None) -> int:
    if asked is not None:
        return asked
    whole = training.vllm_max_model_length
    if whole is None or whole <= training.max_completion_length:
        raise UsageError(
            "verl needs the longest prompt in tokens, which TRL does not; give --max-prompt-length (countdown: 256, "
            "telelogs: 3072), or vllm_max_model_length above max_completion_length in the recipe."
        )
    return int(whole - training.max_completion_length)


def of_sampling(request: RunSpec, given: Collection[str]) -> Overrides:
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
    found |= of_correction(training)
    if "vllm_gpu_memory_utilization" in given:
        found[f"{ROLLOUT}.gpu_memory_utilization"] = training.vllm_gpu_memory_utilization
    if "vllm_enable_sleep_mode" in given:
        found[f"{ROLLOUT}.free_cache_engine"] = bool(training.vllm_enable_sleep_mode)
    return found


def of_correction(training: Any) -> Overrides:
    """What is done about vLLM's probabilities being a little other than the model's: in TRL a correction, by default.

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
    # verl's own figures on it, and the weights, need the probabilities that vLLM gave.
    return {
        f"{prefix}.rollout_is": level,
        f"{prefix}.rollout_is_threshold": threshold,
        f"{ROLLOUT}.calculate_log_probs": True,
    }
