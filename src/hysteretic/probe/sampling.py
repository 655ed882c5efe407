"""Sample the responses of a probe: with our own decoding loop, transformers or vLLM."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hysteretic.evals.context import warn_context
from hysteretic.evals.evaluate import score_all
from hysteretic.evals.generate import generate, prompt_tokens
from hysteretic.evals.vllm import engine, sampled
from hysteretic.models import model_path
from hysteretic.models.loading import load_model, warn_plain_prompts
from hysteretic.tasks.task import Problem, Score, Task

ROWS = 256
"""Responses sampled in parallel."""


@dataclass(frozen=True)
class ProbeSettings:
    """The settings of a probe.

    task, task_options, reward, model, dtype, device: as for `hysteretic train`.
    samples: responses per problem. group_sizes: the sizes to judge. prompts_per_batch: prompts in a rollout.
    informative: target fraction of groups that are not silent. split, seed: of the problems, and of sampling.
    chat_template_kwargs: options of the chat template.
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
    chat_template_kwargs: dict[str, Any] | None = None


MOST_CUT = 0.25
"""The fraction of cut responses above which there is a warning."""


@dataclass(frozen=True)
class Sampled:
    """Responses and scores by problem; mean tokens of a prompt and of a response.

    way: the method of generation. warnings: what may make the responses worse than the model's. cut: how many responses
    have the most tokens allowed.
    """

    responses: list[list[str]]
    scores: list[list[Score]]
    prompt_tokens: float
    response_tokens: float
    way: str
    warnings: Sequence[str] = ()
    cut: int = 0


def sample_task(task: Task, problems: Sequence[Problem], settings: ProbeSettings) -> Sampled:
    """Responses sampled as in training, and scored. Raises UsageError, RewardError."""
    tokenizer, model = load_model(
        settings.model, settings.task, settings.dtype, settings.device, has_weights=not settings.vllm
    )
    limit, template = settings.max_completion_length, settings.chat_template_kwargs
    warnings = [
        warn_plain_prompts(tokenizer, problems[0], task, settings.model),
    ]
    if model is not None:  # vLLM refuses what is too long
        warnings.append(warn_context(model.config, settings.model, tokenizer, problems, limit, template))
    prompts = prompt_tokens(problems, tokenizer, template)
    print(f"Sampling {settings.samples} responses to each of {len(problems)} problems …", flush=True)
    if model is None:
        longest = max(map(len, prompts)) + limit
        with engine(model_path(settings.model, settings.task), settings.dtype, settings.seed, longest) as llm:
            found = sampled(llm, tokenizer, prompts, settings.samples, limit, settings.temperature)
        responses = [[text for text, _ in row] for row in found]
        lengths = [length for row in found for _, length in row]
        way = "vLLM"
    else:
        generated = generate(
            model,
            tokenizer,
            prompts,
            settings.samples,
            limit,
            ROWS,
            settings.seed,
            settings.temperature,
            shows_progress=True,
        )
        responses, lengths, way = generated.responses, generated.lengths, generated.way
    cut = sum(length >= limit for length in lengths)
    warnings.append(_warn_cut(cut, len(lengths), limit))
    scores = score_all(task, problems, responses)
    mean_prompt, mean_response = float(np.mean([len(p) for p in prompts])), float(np.mean(lengths))
    return Sampled(responses, scores, mean_prompt, mean_response, way, [words for words in warnings if words], cut)


def _warn_cut(cut: int, count: int, limit: int) -> str:
    """Warn, on stderr, where so many responses were cut that it can be why they fail; returns the warning, or ""."""
    if cut <= MOST_CUT * count:
        return ""
    words = (
        f"{cut} of {count} responses have --max-completion-length tokens ({limit}), so they were cut, mostly before "
        "their answer. Give a larger --max-completion-length, such as that of the training run."
    )
    print(f"hysteretic: warning: {words}", file=sys.stderr, flush=True)
    return words
