"""Sample the responses of a probe: with our own decoding loop, transformers or vLLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from hysteretic.common.errors import UsageError
from hysteretic.evals.evaluate import prompt_tokens, respond, score_all
from hysteretic.evals.vllm import engine, sampled
from hysteretic.lean.attention import UnsupportedAttentionError
from hysteretic.lean.decode import sample
from hysteretic.models import model_path
from hysteretic.models.loading import load_model
from hysteretic.tasks.task import Problem, Score, Task

ROWS = 256
"""Responses sampled in parallel."""


@dataclass(frozen=True)
class ProbeSettings:
    """The settings of a probe.

    task, task_options, reward, model, dtype, device: as for `hysteretic train`.
    samples: responses per problem. group_sizes: the sizes to judge. prompts_per_batch: prompts in a rollout.
    informative: target fraction of groups that are not silent. split, seed: of the problems, and of sampling.
    """

    task: str
    model: str
    task_options: dict[str, Any] | None = None
    reward: str | None = None
    split: str = "train"
    samples: int = 16
    group_sizes: Sequence[int] = field(default_factory=lambda: [4, 8, 16, 32, 64])
    prompts_per_batch: int = 32
    informative: float = 0.5
    temperature: float = 1.0
    max_completion_length: int = 1024
    seed: int = 0
    dtype: str = "auto"
    device: str | None = None
    vllm: bool = False


@dataclass(frozen=True)
class Sampled:
    """Responses and scores by problem; mean tokens of a prompt and of a response. way: the method of generation."""

    responses: list[list[str]]
    scores: list[list[Score]]
    prompt_tokens: float
    response_tokens: float
    way: str


def sample_task(task: Task, problems: Sequence[Problem], settings: ProbeSettings) -> Sampled:
    """Responses sampled as in training, and scored. Raises UsageError, RewardError."""
    tokenizer, model = load_model(
        settings.model, settings.task, settings.dtype, settings.device, has_weights=not settings.vllm
    )
    prompts = prompt_tokens(problems, tokenizer)
    print(f"Sampling {settings.samples} responses to each of {len(problems)} problems …", flush=True)
    if model is None:
        longest = max(map(len, prompts)) + settings.max_completion_length
        with engine(model_path(settings.model, settings.task), settings.dtype, settings.seed, longest) as llm:
            limit = settings.max_completion_length
            found = sampled(llm, tokenizer, prompts, settings.samples, limit, settings.temperature)
        responses = [[text for text, _ in row] for row in found]
        lengths = [length for row in found for _, length in row]
        way = "vLLM"
    else:
        model.eval()
        reason = against_own_loop(model, prompts)
        if reason is None:
            responses, lengths = _with_own_loop(model, tokenizer, prompts, settings)
            way = "hysteretic.lean.decode"
        else:
            print(f"Generating with transformers: {reason}.")
            limit = settings.max_completion_length
            responses = respond(
                model, tokenizer, problems, settings.samples, limit, ROWS, settings.seed, settings.temperature
            )
            lengths = [  # of the text, and the end token
                min(len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1, limit)
                for row in responses
                for text in row
            ]
            way = "transformers"
    scores = score_all(task, problems, responses)
    return Sampled(responses, scores, float(np.mean([len(p) for p in prompts])), float(np.mean(lengths)), way)


def _with_own_loop(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], settings: ProbeSettings
) -> tuple[list[list[str]], list[int]]:
    ends = model.generation_config.eos_token_id
    ends = tokenizer.eos_token_id if ends is None else ends
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    responses: list[list[str]] = []
    lengths: list[int] = []
    at_once = max(ROWS // settings.samples, 1)
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        for first in range(0, len(prompts), at_once):
            rows = [prompt for prompt in prompts[first : first + at_once] for _ in range(settings.samples)]
            try:
                tokens = sample(model, model.config, rows, settings.max_completion_length, ends, settings.temperature)
            except FloatingPointError as error:
                raise UsageError(f"{error} Or use another --dtype.") from error
            texts = tokenizer.batch_decode(tokens.tokens, skip_special_tokens=True)
            responses += [texts[i : i + settings.samples] for i in range(0, len(texts), settings.samples)]
            lengths += [len(row) for row in tokens.tokens]
    return responses, lengths


@torch.no_grad()
def against_own_loop(model: Any, prompts: Sequence[list[int]]) -> str | None:
    """Why `hysteretic.lean.decode` would not sample from this model's distribution; None if it does.

    Samples a few tokens after the shortest and the longest prompt, and compares their entropies with those of full
    forward passes.
    """
    name, config = type(model).__name__, model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        return f"{name} does not support replacing its attention"
    if set(getattr(config, "layer_types", None) or []) - {"full_attention"}:
        return f"some layers of {name} do not attend to the whole context"
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
