"""When packed updates must fall back to TRL's own code: each `why_not_*` returns the reason, or None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper
from trl import GRPOConfig, GRPOTrainer

from hysteretic.lean.attention import UnsupportedAttentionError, packed_attention
from hysteretic.lean.decode import SHORT_PROMPT, sample
from hysteretic.lean.packed import Packed
from hysteretic.trl.config import HPOConfig
from hysteretic.trl.mapping import LOSSES
from hysteretic.trl.sharding import is_sharded, why_not_accumulated

SAMPLING = {"temperature", "top_k", "top_p", "min_p", "max_new_tokens"}
"""Generation settings that hysteretic.lean.decode supports."""
HARMLESS = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "repetition_penalty", "max_length"),
    *("transformers_version", "use_cache", "_from_model_config", "cache_implementation", "disable_compile"),
}
"""Entries of a model's own generation config that TRL always overrides, or that change no probability."""


def setting(args: GRPOConfig | None, name: str) -> Any:
    """A field of HPOConfig; its default where args is a plain GRPOConfig (a mixin alone on GRPOTrainer)."""
    return getattr(args, name, getattr(HPOConfig, name))


def base_model(model: nn.Module) -> Any:
    """The transformers model within adapters."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def why_unsupported(trainer: GRPOTrainer) -> str | None:
    """Why nothing can be packed or planned."""
    reason = why_not_accumulated(trainer.accelerator)
    if reason is not None:
        return reason
    if getattr(trainer, "is_distributed_loading_by_transformers", False):
        return "transformers shards the model as it loads it (distributed_config)"
    if getattr(trainer.args, "parallelism_config", None) is not None:
        return "the model or its sequences are split over devices (parallelism_config)"
    if trainer._is_vlm:
        return "the model reads images"
    if trainer.aux_loss_enabled:
        return "the load-balancing loss of experts counts every token of every micro-batch"
    config = base_model(trainer.accelerator.unwrap_model(trainer.model)).config.get_text_config()
    rope = str(getattr(config, "rope_parameters", None)) + str(getattr(config, "rope_scaling", None))
    for kind in ("dynamic", "longrope", "llama_4_scaling"):
        if kind in rope:
            return f"its positions ({kind}) depend on the length of the longest row beside it"
    return None


def why_not_planned(trainer: GRPOTrainer) -> str | None:
    """Why the micro-batches of an optimiser step cannot be cut anew, and so no response can be left out of it."""
    if trainer._entropy_bonus_enabled or trainer.top_entropy_quantile < 1.0:
        return "the entropy bonus and top_entropy_quantile look at each micro-batch as TRL cuts it"
    if LOSSES[trainer.loss_type].divides_by == "own tokens":
        return f"loss_type {trainer.loss_type!r} divides by the tokens of each micro-batch as TRL cuts it"
    if "lomo" in str(trainer.args.optim):
        return "LOMO updates within the backward pass"
    return why_unsupported(trainer)


def why_not_packed(trainer: GRPOTrainer, model: nn.Module) -> str | None:
    """Why rows cannot be read as one packed stream. Compares log-probs of a few made-up rows, packed and padded."""
    reason = why_unsupported(trainer)
    if reason is not None:
        return reason
    base = base_model(model)
    config = base.config.get_text_config()
    if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
        return "the adapter adds virtual tokens to every row"
    if not getattr(base, "_supports_attention_backend", False):
        return f"{type(base).__name__} does not let its attention be replaced"
    if set(getattr(config, "layer_types", None) or []) - {"full_attention"}:
        return f"not all layers of {type(base).__name__} attend to the whole text"
    if len(set(getattr(base, "hf_device_map", {}).values())) > 1:
        return "the layers lie on several devices"
    if trainer.args.torch_compile:
        return "torch_compile wants inputs of one shape"
    return _disagreement(trainer, model)


def _tolerates(trainer: GRPOTrainer, model: nn.Module, ours: Tensor, theirs: Tensor, scale: Tensor) -> bool:
    """Tolerate differences up to 1e-3 in float32, and in half precision a mean of a tenth of the values' spread."""
    difference = (ours - theirs).abs()
    if trainer.accelerator.mixed_precision == "no" and next(model.parameters()).dtype == torch.float32:
        return bool(difference.max() <= 1e-3)
    return bool(difference.mean() <= 0.1 * scale)


@torch.no_grad()
def _disagreement(trainer: GRPOTrainer, model: nn.Module) -> str | None:
    """Why log-probs of a packed stream differ from those of padded rows, on a few made-up rows."""
    config = base_model(model).config
    device = next(model.parameters()).device
    generator = torch.Generator().manual_seed(0)
    vocabulary = min(config.get_text_config().vocab_size, 1000)
    ids = torch.randint(vocabulary, (6, 17), generator=generator).to(device)
    ids[1:3, :9], ids[3:, :9] = ids[0, :9], ids[3, :9]
    mask = torch.ones_like(ids)
    mask[:3, :4] = 0
    mask[1, 12:], mask[4, 16:] = 0, 0
    prompts, completions = slice(None, 9), slice(9, None)
    training, _ = model.training, model.eval()
    try:
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 8:-1].float()
        plain = logits.log_softmax(-1).gather(2, ids[:, completions, None]).squeeze(2) * mask[:, completions]
        packed = Packed.of(ids[:, prompts], mask[:, prompts], ids[:, completions], mask[:, completions])
        with packed_attention(config):
            stream = model(
                input_ids=packed.input_ids,
                position_ids=packed.position_ids,
                stream_attention=packed.attention,
                use_cache=False,
            ).logits.float()
    except UnsupportedAttentionError as error:
        return f"{type(base_model(model)).__name__} cannot attend within a stream: {error}"
    finally:
        model.train(training)
    labels = packed.labels.clamp(min=0)
    ours = packed.rows(stream.log_softmax(-1).gather(2, labels[..., None]).squeeze(2))
    if not _tolerates(trainer, model, ours, plain, logits.std()):
        difference = float((ours - plain).abs().max())
        return f"log-probabilities within a stream differ from those of padded rows by {difference:.1g}"
    return None


@torch.no_grad()
def _sampling_disagreement(trainer: GRPOTrainer, model: nn.Module) -> str | None:
    """Why decoding token by token differs from a forward pass over the whole text, by entropies of a few tokens.

    Checked with short prompts and with a long one, since the two are attended to differently.
    """
    config = base_model(model).config
    vocabulary = min(config.get_text_config().vocab_size, 1000)
    made_up = torch.Generator().manual_seed(0)
    device = next(model.parameters()).device
    training, _ = model.training, model.eval()
    ours, whole = [], []
    try:
        for lengths in ((7, 4), (SHORT_PROMPT + 5, 4)):
            prompts = [torch.randint(vocabulary, (length,), generator=made_up).tolist() for length in lengths] * 2
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                sampled = sample(model, config, prompts, 4, [])
            ours += sampled.entropy
            for prompt, tokens in zip(prompts, sampled.tokens, strict=True):
                ids = torch.tensor([prompt + tokens], device=device)
                logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
                whole.append(torch.special.entr(logits.softmax(dim=-1)).sum())
    except (RuntimeError, UnsupportedAttentionError) as error:
        return f"{type(base_model(model)).__name__} cannot be decoded token by token: {str(error).splitlines()[0]}"
    finally:
        model.train(training)
    if not _tolerates(trainer, model, torch.tensor(ours), torch.stack(whole).cpu(), torch.tensor(4.0)):
        return "the entropies of tokens decoded one by one differ from those of whole forward passes"
    return None


def why_not_sampled(trainer: GRPOTrainer, model: nn.Module) -> str | None:
    """Why our own loop cannot sample as `generate` does. (vLLM and other engines are the user's choice.)"""
    if is_sharded(trainer.accelerator):
        return "the model is sharded, so all ranks must decode equally many tokens"
    if trainer.repetition_penalty != 1.0:
        return f"repetition_penalty is {trainer.repetition_penalty}"
    given = trainer.args.generation_kwargs or {}
    unknown = {name for name, value in given.items() if name not in SAMPLING or value is None}
    if unknown:
        return f"generation_kwargs sets {', '.join(sorted(unknown))}"
    if trainer.args.cache_implementation is not None:
        return f"cache_implementation is {trainer.args.cache_implementation!r}"
    own = base_model(model).generation_config.to_diff_dict()
    ours = trainer.generation_config
    for name, default in (("top_k", ", which is 50 by default"), ("top_p", ""), ("max_new_tokens", "")):
        if getattr(ours, name) is None:
            setting_name = "max_completion_length" if name == "max_new_tokens" else name
            return f"{setting_name} is None, so the model's generation config or transformers decides it{default}"
    overruled = {name for name in SAMPLING if getattr(ours, name, None) is not None}
    unknown = {name for name, value in own.items() if value} - HARMLESS - overruled
    if unknown:
        return f"the model's generation config sets {', '.join(sorted(unknown))}"
    return _sampling_disagreement(trainer, model)


def warpers(config: Any) -> Callable[[Tensor], Tensor]:
    """Top-k, top-p and min-p of a generation config as one function of scores, in the order of `generate`."""
    chosen: list[Any] = []
    if config.top_k:
        chosen.append(TopKLogitsWarper(config.top_k))
    if config.top_p is not None and config.top_p < 1.0:
        chosen.append(TopPLogitsWarper(config.top_p))
    if config.min_p is not None:
        chosen.append(MinPLogitsWarper(config.min_p))

    def warp(scores: Tensor) -> Tensor:
        for warper in chosen:
            scores = warper(None, scores)
        return scores

    return warp
