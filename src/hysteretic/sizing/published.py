"""Published configurations of the recipes' models, for use without access to the hub."""

from __future__ import annotations

from typing import Any

_COMMON = {"hidden_act": "silu", "initializer_range": 0.02, "num_hidden_layers": 28, "dtype": "bfloat16"}
_QWEN = {
    **_COMMON,
    "model_type": "qwen2",
    "architectures": ["Qwen2ForCausalLM"],
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
}
_LLAMA = {
    **_COMMON,
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5e5,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}


def _widths(hidden: int, intermediate: int, heads: int, keys: int, vocabulary: int, is_tied: bool) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "vocab_size": vocabulary,
        "tie_word_embeddings": is_tied,
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "qwen2.5-1.5b": _QWEN | _widths(1536, 8960, 12, 2, 151936, True),
    "llama-3.2-3b": _LLAMA | _widths(3072, 8192, 24, 8, 128256, True) | {"head_dim": 128},
    "qwen2.5-7b": _QWEN | _widths(3584, 18944, 28, 4, 152064, False),
}
"""The contents of config.json, by prefix of the model's name."""


def published_config(model: str) -> dict[str, Any] | None:
    """The configuration of a hub name such as Qwen/Qwen2.5-7B-Instruct; None for a model that is not listed here."""
    name = model.rpartition("/")[2].lower()
    return next((config for beginning, config in CONFIGS.items() if name.startswith(beginning)), None)
