"""May these settings of verl's own (`--set KEY=VALUE`) be added to a recipe's? Not where they would train another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hysteretic.common.errors import UsageError
from hysteretic.launch.hydra import value_of
from hysteretic.launch.keys import ACTOR, MODEL, ROLLOUT, Overrides

FREE = {
    f"{ACTOR}.ppo_micro_batch_size_per_gpu",
    f"{ACTOR}.use_dynamic_bsz",
    f"{ACTOR}.ppo_max_token_len_per_gpu",
    f"{ROLLOUT}.name",
    f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu",
    f"{ROLLOUT}.gpu_memory_utilization",
    f"{ROLLOUT}.free_cache_engine",
    f"{ROLLOUT}.tensor_model_parallel_size",
    f"{ROLLOUT}.load_format",
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu",
    f"{MODEL}.override_config.attn_implementation",
    f"{MODEL}.enable_gradient_checkpointing",
    "data.max_prompt_length",
    "trainer.logger",
    "trainer.project_name",
    "trainer.experiment_name",
    "trainer.save_freq",
    "trainer.test_freq",
    "trainer.val_before_train",
    "trainer.max_actor_ckpt_to_keep",
    "trainer.v1.trainer_mode",
}
"""Settings of ours about memory, speed and reports; --set may change them."""

MEANING = {
    f"{ACTOR}.clip_ratio_c",
    f"{ACTOR}.clip_ratio",
    f"{ACTOR}.clip_ratio_low",
    f"{ACTOR}.clip_ratio_high",
    f"{ACTOR}.loss_scale_factor",
    f"{ACTOR}.policy_loss",
    f"{ACTOR}.entropy_coeff",
    f"{ACTOR}.use_kl_loss",
    f"{ACTOR}.kl_loss_coef",
    f"{ACTOR}.kl_loss_type",
    f"{ACTOR}.tau_pos",
    f"{ACTOR}.tau_neg",
    "algorithm",
    "trainer.use_v1",
    "critic",
}
"""What decides about the objective in verl, whether or not a recipe has it translated."""


def check_objective(added: Sequence[str], overrides: Overrides) -> None:
    """Raises UsageError for words that are no KEY=VALUE, and for keys that the recipe decides about."""
    own = {key.lstrip("+"): value for key, value in overrides.items()}
    decided = {*own, *MEANING} - FREE
    for word in added:
        key, equals, value = word.partition("=")
        if not key.strip("+~ ") or not (equals or word.startswith("~")):
            raise UsageError(f"--set {word} is no setting; write --set KEY=VALUE, as verl's own command takes them.")
        key = key.lstrip("+~").rpartition("@")[2].strip()  # group@where.it.goes
        touched = next((name for name in sorted(decided) if _overlap(key, name)), None)
        if touched is not None and not (key in own and value == value_of(own[key])):
            raise UsageError(
                f"--set {word} would train another objective or batch than the recipe says{_says(touched, own)}; "
                "change it with the recipe's own settings (`hysteretic train --help`)."
            )


def _overlap(key: str, name: str) -> bool:
    """Whether one is the other, or a part of it."""
    return f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.")


def _says(name: str, own: Mapping[str, object]) -> str:
    return f" ({name} is {own[name]})" if name in own else f" ({name} is the recipe's)"
