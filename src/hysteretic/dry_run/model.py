"""A small stand-in for a model of billions of parameters: the same class with random weights.

kept     the class; tied embeddings, biases, activation, norms; rotary positions and their scaling; queries per
         key head; hidden size over heads x head size; the kinds of layers; experts, up to four
reduced  layers, key heads, head size, widths, vocabulary
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from hysteretic.common.errors import UsageError, nearest
from hysteretic.sizing.architecture import read_config
from hysteretic.sizing.published import published_config

KEYS, QUERIES, LAYERS, EXPERTS = 2, 8, 2, 4
"""Upper limits: key heads, query heads per key head, layers, experts."""
ENDING = 4
"""One in this many tokens ends a response: otherwise random weights would never end one, and lengths should vary."""
SEED = 0
"""Seed of the random weights, the same on every rank."""


def config_of(path: str, revision: str | None) -> tuple[Any, str]:
    """A model's configuration and its source: a folder, the cache, this package, or the hub.

    Raises UsageError. Weights are never downloaded.
    """
    try:
        found = AutoConfig.from_pretrained(path, revision=revision, local_files_only=True)
        return found, "its folder" if Path(path).is_dir() else "the hub's cache"
    except (OSError, ValueError, KeyError) as error:
        if Path(path).is_dir():
            raise UsageError(f"Cannot read the configuration in {path}: {str(error).splitlines()[0]}") from error
    known = published_config(path)
    if known is not None:
        return AutoConfig.for_model(**known), "its published configuration, included in this package"
    try:
        return read_config(path, revision), "the hub"
    except ValueError as error:
        raise UsageError(str(error)) from error


def shrunk(config: Any, tokenizer: Any) -> Any:
    """The configuration of the small model, for a tokenizer's tokens. Raises UsageError for a multimodal model."""
    if config.get_text_config() is not config:
        raise UsageError(
            f"The model is multimodal ({config.model_type}); a dry run can only shrink a text-only language model."
        )
    small = copy.deepcopy(config)
    heads = config.num_attention_heads
    keys = getattr(config, "num_key_value_heads", None) or heads
    small_keys = min(keys, KEYS)
    small_heads = small_keys * min(heads // keys, QUERIES)
    rope = getattr(config, "rope_parameters", None) or {}
    head = _head_size(rope)
    before = heads * (getattr(config, "head_dim", None) or config.hidden_size // heads)
    hidden = max(2 * round(small_heads * head * config.hidden_size / before / 2), 4)
    kinds = list(dict.fromkeys(getattr(config, "layer_types", None) or []))
    layers = min(max(LAYERS, len(kinds)), config.num_hidden_layers)
    changes = {
        "hidden_size": hidden,
        "intermediate_size": hidden,
        "moe_intermediate_size": hidden,
        "shared_expert_intermediate_size": hidden,
        "num_attention_heads": small_heads,
        "num_key_value_heads": small_keys,
        "head_dim": head,
        "num_hidden_layers": layers,
        "layer_types": [kinds[i % len(kinds)] for i in range(layers)] if kinds else None,
        "num_experts": min(getattr(config, "num_experts", None) or 0, EXPERTS),
        "num_local_experts": min(getattr(config, "num_local_experts", None) or 0, EXPERTS),
        "num_experts_per_tok": min(getattr(config, "num_experts_per_tok", None) or 0, 2),
    }
    for name, value in changes.items():
        if getattr(config, name, None) is not None:
            setattr(small, name, value)
    small.vocab_size = len(tokenizer)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(small, name, getattr(tokenizer, name))
    if rope:
        small.rope_parameters = {
            key: value[: head // 2] if isinstance(value, list) else value for key, value in rope.items()
        }
    return small


def _head_size(rope: Any) -> int:
    """The smallest head size that leaves two dimensions to rotary embeddings that rotate only a part of it."""
    part = rope.get("partial_rotary_factor") or 1.0
    return 2 * math.ceil(1 / part)


def random_model(config: Any, dtype: Any = None) -> Any:
    """A model with random weights, the same on every rank. dtype: None for float32.

    Raises UsageError for a configuration that transformers cannot build.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            model = AutoModelForCausalLM.from_config(config, dtype=dtype or torch.float32)
    except (ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise UsageError(
            f"A small {config.model_type} cannot be built: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from error
    ends = {index for index in range(0, config.vocab_size, ENDING) if index != config.pad_token_id}
    model.generation_config.eos_token_id = sorted(ends | ({config.eos_token_id} - {None}))
    return model


def difference(config: Any, small: Any) -> str:
    """A description of what was reduced."""
    return (
        f"layers from {config.num_hidden_layers} to {small.num_hidden_layers}, hidden size from "
        f"{config.hidden_size:,} to {small.hidden_size}, vocabulary from {config.vocab_size:,} to {small.vocab_size}: "
        f"one token per byte, of which one in {ENDING} ends a response"
    )


def check_lora_targets(targets: Any, model: Any, name: str) -> None:
    """Raises UsageError for a lora_target_modules entry that the model does not have. name: of the model, in errors."""
    if not isinstance(targets, list):  # all-linear, a pattern, or none: peft decides
        targets = [targets] if isinstance(targets, str) and targets.isidentifier() else []
    modules = dict(model.named_modules())
    linear = {path.rpartition(".")[2] for path, one in modules.items() if isinstance(one, torch.nn.Linear)}
    for target in targets:
        if not any(path == target or path.endswith(f".{target}") for path in modules):
            raise UsageError(
                f"lora_target_modules names {target!r}, which is not a module of {name}.{nearest(target, linear)} Its "
                f"linear modules are {', '.join(sorted(linear))}; all-linear selects all but lm_head."
            )
