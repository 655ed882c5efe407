"""A model's parameters, counted on the meta device from its configuration, without its weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM


@dataclass(frozen=True)
class Architecture:
    """A dense decoder. Counts are exact, including the adapter's, which is 0 if all parameters are trained.

    parameters: without the adapter. block_parameters: of one layer. linear_parameters: of the matrices in all layers,
        which multiply every token. has_tied_head: the LM head is the embedding.
    attention, keys: widths of the queries and of the keys (heads times head size).
    adapter_inputs: summed widths of what the adapted matrices of one layer read.
    """

    name: str
    parameters: int
    block_parameters: int
    linear_parameters: int
    has_tied_head: bool
    layers: int
    hidden: int
    attention: int
    keys: int
    intermediate: int
    vocabulary: int
    longest: int | None
    weight_scale: float
    adapter: int = 0
    adapter_inputs: int = 0

    @property
    def head_parameters(self) -> int:
        """Of the LM head, tied or not."""
        return self.vocabulary * self.hidden

    def cache_bytes(self, item: float) -> float:
        """Keys and values of one token in all layers: 2 L K items."""
        return 2 * self.layers * self.keys * item


def read_config(path: str, revision: str | None = None) -> Any:
    """The configuration in a folder or on the hub. Raises ValueError with what to do."""
    try:
        return AutoConfig.from_pretrained(path, revision=revision)
    except (OSError, ValueError, KeyError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise ValueError(
            f"Cannot read the configuration of the model {path!r}: {first} Give 'tiny', a hub name (after "
            "`hf auth login` where it is gated), or a folder that holds its config.json: --model FOLDER."
        ) from error


def architecture(config: Any, name: str, peft_config: Any = None) -> Architecture:
    """The architecture of a configuration, with the adapter that a peft_config (one of LoRA) would add.

    Raises ValueError for anything but a dense causal language model of transformers.
    """
    text = config.get_text_config()
    if text is not config or getattr(text, "num_experts", None) or getattr(text, "num_local_experts", None):
        what = "reads more than text" if text is not config else "is a mixture of experts"
        raise ValueError(f"{name} ({config.model_type}) {what}; plan's formulas are for dense text models only.")
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
        layers, hidden, heads = text.num_hidden_layers, text.hidden_size, text.num_attention_heads
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{name} ({config.model_type}) cannot be built: {str(error).splitlines()[0]} Give a causal language model."
        ) from error
    block = _layers(model, layers)[0]
    size = getattr(text, "head_dim", None) or hidden // heads
    inputs, adapter = (0, 0) if peft_config is None else _adapter(model, peft_config, layers)
    return Architecture(
        name=name,
        parameters=sum(parameter.numel() for parameter in model.parameters()) - adapter,
        block_parameters=_block_count(block),
        linear_parameters=layers * _matrices(block),
        has_tied_head=bool(getattr(text, "tie_word_embeddings", False)),
        layers=layers,
        hidden=hidden,
        attention=heads * size,
        keys=(getattr(text, "num_key_value_heads", None) or heads) * size,
        intermediate=getattr(text, "intermediate_size", None) or 4 * hidden,
        vocabulary=text.vocab_size,
        longest=getattr(text, "max_position_embeddings", None),
        weight_scale=getattr(text, "initializer_range", None) or 0.02,
        adapter=adapter,
        adapter_inputs=inputs,
    )


def _layers(model: nn.Module, count: int) -> nn.ModuleList:
    """The list of the decoder's layers: the longest one, of `count`."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if not lists:
        raise ValueError(f"{type(model).__name__} has no list of {count} layers; plan cannot tell what a layer is.")
    return max(lists, key=lambda module: sum(parameter.numel() for parameter in module.parameters()))


def _block_count(block: nn.Module) -> int:
    return sum(p.numel() for name, p in block.named_parameters() if "lora_" not in name)


def _matrices(block: nn.Module) -> int:
    return sum(p.numel() for name, p in block.named_parameters() if p.ndim == 2 and "lora_" not in name)


def _adapter(model: nn.Module, peft_config: Any, layers: int) -> tuple[int, int]:
    """Input widths of a layer's adapted matrices, and the adapter's parameters, which are added to the model."""
    from peft import get_peft_model

    adapted = get_peft_model(model, peft_config)
    parameters = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    read = [p.shape[1] for name, p in adapted.named_parameters() if "lora_A" in name]
    return math.ceil(sum(read) / layers), parameters
