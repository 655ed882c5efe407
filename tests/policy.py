"""A random two-layer Qwen2 and a dataset of four-character prompts: the smallest thing that TRL trains."""

import os

import torch
from datasets import Dataset
from transformers import Qwen2Config, Qwen2ForCausalLM

from hysteretic.models.tokenizer import build_tokenizer

if os.environ.get("PLAIN_LOGPROBS"):  # set by oldest_trl.sh
    import plain_logprobs  # noqa: F401


def random_policy(seed=0, width=16):
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=128,
        initializer_range=0.4,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Qwen2ForCausalLM(config), tokenizer


def prompts(count=32):
    return Dataset.from_dict({"prompt": [f"{i:03d}:" for i in range(count)]})


def settings(folder, **changes):
    """HPOConfig fields of a run of one rollout: 8 prompts of 4 responses in micro-batches of 8 rows."""
    defaults = {
        "output_dir": str(folder),
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 4,
        "max_completion_length": 10,
        "max_steps": 1,
        "learning_rate": 0.0,
        "logging_steps": 1,
        "gradient_checkpointing": False,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "disable_tqdm": True,
        "save_strategy": "no",
        "max_grad_norm": 1e9,
        "generation_kwargs": {"top_k": 0},
    }
    return {**defaults, **changes}


def low_first_byte(prompts, completion_ids, **_):
    """1 for responses whose first token has a small id: about a sixth of them, and varying within groups."""
    return [float(ids[0] < 45) for ids in completion_ids]


def flat(tensors):
    """One vector of all tensors; sharded ones are gathered, so every rank must ask."""
    whole = (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor for tensor in tensors)
    return torch.cat([tensor.detach().flatten() for tensor in whole])
