"""Whether a model can be decoded by our own loop, found out by trying it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from hysteretic.lean.attention import UnsupportedAttentionError
from hysteretic.lean.decode import sample


@torch.no_grad()
def why_not_decoded(model: Any, prompts: Sequence[list[int]]) -> str | None:
    """Why `hysteretic.lean.decode` does not sample from this model's distribution; None if it does.

    Samples a few tokens after the shortest and the longest prompt, and compares their entropies with those of full
    forward passes.
    """
    name, config = type(model).__name__, model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        return f"{name} does not support replacing its attention"
    if set(getattr(config, "layer_types", None) or []) - {"full_attention"}:
        return f"some layers of {name} do not attend to the whole context"
    adapter = getattr(model, "active_peft_config", None)
    if adapter is not None and adapter.is_prompt_learning:
        return "the adapter adds virtual tokens to every row"
    rope = str(getattr(config, "rope_parameters", None))
    if any(kind in rope for kind in ("dynamic", "longrope", "llama_4_scaling")):
        return "its position encoding depends on the sequence length"
    short, long = min(prompts, key=len), max(prompts, key=len)
    differences = []
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        for rows in ([short] * 2, [long, short] * 2):
            try:
                sampled = sample(model, model.config, rows, 4, [])
            except (RuntimeError, UnsupportedAttentionError) as error:
                return f"{name} cannot be decoded token by token: {str(error).splitlines()[0]}"
            for prompt, tokens, entropy in zip(rows, sampled.tokens, sampled.entropy, strict=True):
                ids = torch.tensor([prompt + tokens], device=model.device)
                logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
                differences.append(abs(float(torch.special.entr(logits.softmax(dim=-1)).sum()) - entropy))
    is_exact = model.dtype == torch.float32
    if not (max(differences) <= 1e-3 if is_exact else float(np.mean(differences)) <= 0.4):
        return "the entropies of tokens decoded one by one differ from those of full forward passes"
    return None
