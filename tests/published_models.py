"""The published architectures of the recipes' models, as config.json files: the hub is out of reach of a test."""

import json

_COMMON = {"hidden_act": "silu", "rms_norm_eps": 1e-6, "initializer_range": 0.02, "num_hidden_layers": 28}
_QWEN = {**_COMMON, "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "max_position_embeddings": 32768}
_LLAMA = {**_COMMON, "model_type": "llama", "architectures": ["LlamaForCausalLM"], "max_position_embeddings": 131072}


def _widths(hidden, intermediate, heads, keys, vocabulary, tied):
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
    }


CONFIGS = {
    "qwen2.5-1.5b": _QWEN | _widths(1536, 8960, 12, 2, 151936, True),
    "llama-3.2-3b": _LLAMA | _widths(3072, 8192, 24, 8, 128256, True) | {"head_dim": 128},
    "qwen2.5-7b": _QWEN | _widths(3584, 18944, 28, 4, 152064, False),
}


def write_config(folder, name):
    """A folder with the config.json of a model, and nothing else; its path as text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[name]))
    return str(folder)
