"""Responses of a loaded model to problems: with our own decoding loop, which reads a prompt once, or transformers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.lean.decode import sample
from hysteretic.lean.support import why_not_decoded
from hysteretic.tasks.task import Problem

SECONDS = 10
"""Between two lines of progress."""


@dataclass(frozen=True)
class Generated:
    """Responses by problem, their lengths in tokens in the same order, and what generated them.

    fallback: why it was transformers; None for our own loop.
    """

    responses: list[list[str]]
    lengths: list[int]
    fallback: str | None

    @property
    def way(self) -> str:
        """The method of generation."""
        return "hysteretic.lean.decode" if self.fallback is None else "transformers"


def respond(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    samples: int,
    max_new_tokens: int,
    batch_rows: int = 128,
    seed: int = 0,
    temperature: float = 1.0,
    shows_progress: bool = False,
    template_options: Mapping[str, Any] | None = None,
) -> list[list[str]]:
    """Responses by problem: `samples` at the temperature, or one greedy response if samples is 0.

    template_options: keywords of the chat template. The seed applies to this call only; torch's global random state is
    restored. Raises UsageError for empty prompts, a missing chat template, and probabilities that are not finite;
    ValueError for a temperature of 0.
    """
    prompts = prompt_tokens(problems, tokenizer, template_options)
    how = (batch_rows, seed, temperature, shows_progress)
    return generate(model, tokenizer, prompts, samples, max_new_tokens, *how).responses


@torch.no_grad()
def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    samples: int,
    max_new_tokens: int,
    batch_rows: int = 128,
    seed: int = 0,
    temperature: float = 1.0,
    shows_progress: bool = False,
) -> Generated:
    """As `respond`, for the tokens of prompts. Both ways give the same responses for the same seed.

    batch_rows: responses in parallel, at least those of one prompt.
    """
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; sample above 0, or greedily with samples=0.")
    per_prompt, said = max(samples, 1), time.monotonic()
    at_once = max(batch_rows // per_prompt, 1)
    ends, heat = _end_tokens(model, tokenizer), temperature if samples else 0.0
    responses: list[list[str]] = []
    lengths: list[int] = []
    was_training = model.training
    model.eval()
    try:
        fallback = why_not_decoded(model, prompts)
        if fallback is not None and shows_progress:
            print(f"Generating with transformers: {fallback}.")
        with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
            torch.manual_seed(seed)
            for first in range(0, len(prompts), at_once):
                rows = [prompt for prompt in prompts[first : first + at_once] for _ in range(per_prompt)]
                if shows_progress and time.monotonic() - said >= SECONDS:
                    said = time.monotonic()
                    print(f"{len(responses)} of {len(prompts)} problems sampled", flush=True)
                if fallback is None:
                    tokens = sample(model, model.config, rows, max_new_tokens, ends, heat).tokens
                else:
                    tokens = _with_transformers(model, tokenizer, rows, max_new_tokens, ends, heat)
                texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
                responses += [texts[i : i + per_prompt] for i in range(0, len(texts), per_prompt)]
                lengths += map(len, tokens)
    except FloatingPointError as error:
        raise UsageError(f"{error} Or use another --dtype.") from error
    finally:
        model.train(was_training)
    return Generated(responses, lengths, fallback)


def _end_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Those of the generation config and the tokenizer's own, at which training stops too."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return sorted({end for end in [*listed, tokenizer.eos_token_id] if end is not None})


def _with_transformers(
    model: Any, tokenizer: Any, rows: list[list[int]], max_new_tokens: int, ends: list[int], temperature: float
) -> list[list[int]]:
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    width = max(map(len, rows))
    pad = 0 if padding is None else padding
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
    generation = GenerationConfig(
        **{"do_sample": False, **options},
        repetition_penalty=1.0,  # the policy itself, whatever the model's own generation config says
        max_new_tokens=max_new_tokens,
        pad_token_id=padding,
        eos_token_id=ends or None,
    )
    sequences = model.generate(input_ids=ids, attention_mask=mask, generation_config=generation)[:, width:].tolist()
    return [_until_end(sequence, ends) for sequence in sequences]


def _until_end(tokens: list[int], ends: Sequence[int]) -> list[int]:
    last = next((i for i, token in enumerate(tokens) if token in ends), len(tokens) - 1)
    return tokens[: last + 1]


def prompt_text(problem: Problem, tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any] | None = None) -> str:
    """The prompt as the model reads it. Raises ValueError for chat messages without a chat template that takes them.

    options: keywords of the chat template, such as enable_thinking.
    """
    if isinstance(problem.prompt, str):
        return problem.prompt
    if not tokenizer.chat_template:
        raise ValueError(
            f"Problem {problem.id} is a list of chat messages, but this model's tokenizer has no chat template; use an "
            "instruct model, "
            'or plain prompts (for Countdown: task_options {"prompt": "plain"}).'
        )
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            problem.prompt, tokenize=False, add_generation_prompt=True, **(options or {})
        )
    except TemplateError as error:  # such as a system message for a model that takes none
        raise ValueError(
            f"The chat template of this model's tokenizer fails on problem {problem.id}: {error}. Fix the messages, or "
            "chat_template in the tokenizer."
        ) from error
    return text


def prompt_tokens(
    problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any] | None = None
) -> list[list[int]]:
    """The prompts as token ids; options: keywords of the chat template.

    Raises UsageError for an empty prompt, and for chat messages without a chat template.
    """
    with usage_errors(kinds=ValueError):
        texts = [prompt_text(problem, tokenizer, options) for problem in problems]
    tokens = [
        tokenizer(text, add_special_tokens=isinstance(problem.prompt, str))["input_ids"]
        for problem, text in zip(problems, texts, strict=True)
    ]
    if not all(tokens):
        raise UsageError(f"The prompt of problem {problems[tokens.index([])].id!r} is empty; fix the data.")
    return tokens
