"""Attention within one packed stream of tokens, in any transformers model whose attention can be replaced.

transformers registers attention functions by name, and passes them whatever keywords the model's forward was given.
So a stream [1, N] goes through an ordinary forward pass, gradient checkpointing and adapters included, and only the
attention knows which tokens see each other: an object with a method `attend`, in the keyword `stream_attention`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor
from transformers import AttentionInterface, PretrainedConfig

NAME = "hysteretic_packed"


class StreamAttention(Protocol):
    """Attention over a packed stream."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float) -> Tensor:
        """[1, H, N, d] queries and [1, K, N, d] keys and values (K divides H) to [1, N, H, d]."""
        ...


class UnsupportedAttentionError(ValueError):
    """The model attends in a way that a packed stream cannot reproduce."""


def _packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    stream_attention: StreamAttention | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    special = {name for name in ("sliding_window", "softcap", "s_aux") if options.get(name) is not None}
    if stream_attention is None or special:
        what = f"it uses {', '.join(sorted(special))}" if special else "its layers drop unknown keywords"
        raise UnsupportedAttentionError(what)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return stream_attention.attend(module.layer_idx, query, key, value, scale, dropout), None


AttentionInterface.register(NAME, _packed_attention)


@contextmanager
def packed_attention(config: PretrainedConfig) -> Iterator[None]:
    """Make models of this config use `stream_attention`; keep it open for backward passes that recompute."""
    before = config._attn_implementation
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = before
