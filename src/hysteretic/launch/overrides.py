"""verl's overrides: keys, values in hydra's grammar, and which of them `--set KEY=VALUE` may change."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hysteretic.common.errors import UsageError

Overrides = dict[str, Any]
"""verl's keys and values; a key that verl's configuration does not have begins with +."""

ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))

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
"""Keys that we set for memory, speed and reports; --set may change them."""

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
"""Keys that determine the objective in verl, whether or not the translation sets them."""


def check_set(added: Sequence[str], overrides: Overrides) -> None:
    """Raises UsageError for words that are not KEY=VALUE, and for keys that the recipe determines; for all at once."""
    own = {key.lstrip("+"): value for key, value in overrides.items()}
    wrong = [found for word in added if (found := _why_not_set(word, own)) is not None]
    if wrong:
        raise UsageError("\n".join(wrong))


def _why_not_set(word: str, own: Mapping[str, Any]) -> str | None:
    """Why --set may not have a word; None if it may."""
    key, equals, value = word.partition("=")
    if not key.strip("+~ ") or not (equals or word.startswith("~")):
        return f"--set {word} is not an override; write --set KEY=VALUE, as on verl's command line."
    key = key.lstrip("+~").rpartition("@")[2].strip()  # group@where.it.goes
    decided = {*own, *MEANING} - FREE
    touched = next((name for name in sorted(decided) if _overlap(key, name)), None)
    if touched is None or (key in own and value == value_of(own[key])):
        return None
    return (
        f"--set {word} would change the recipe's objective or batch{_says(touched, own)}; "
        "use the recipe's settings instead (`hysteretic train --help`)."
    )


def _overlap(key: str, name: str) -> bool:
    """Whether the keys are equal or one contains the other."""
    return f"{key}.".startswith(f"{name}.") or f"{name}.".startswith(f"{key}.")


def _says(name: str, own: Mapping[str, object]) -> str:
    return f" ({name} is {own[name]})" if name in own else f" ({name} is determined by the recipe)"


PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/_.-]*")
"""Words that hydra reads as text, except the ones below."""

KEYWORDS = {"null", "true", "false", "inf", "nan"}


def hydra(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as command-line words, key=value in hydra's grammar."""
    return [f"{key}={value_of(value)}" for key, value in overrides.items()]


def value_of(value: Any) -> str:
    """A value in hydra's grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(map(value_of, value))}]"
    return _text(str(value))


def _text(text: str) -> str:
    """Quoted text; hydra halves the backslashes before a quote. Raises UsageError."""
    if PLAIN.fullmatch(text) and text.lower() not in KEYWORDS:
        return text
    if "${" in text:
        raise UsageError(f"{text!r} contains ${{, which hydra would interpolate; use another name.")
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f"'{escaped}'"
