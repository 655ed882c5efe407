"""The tokens that a model was made for, and a warning where prompt and response need more."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from hysteretic.common.errors import usage_errors
from hysteretic.evals.generate import prompt_text
from hysteretic.tasks.task import Problem

TRIED = 64
"""Prompts whose tokens are counted: the longest in characters."""


def context_of(config: Any) -> int | None:
    """The most tokens of a sequence, by the model's configuration; None where it does not say."""
    text = config.get_text_config()
    most = getattr(text, "max_position_embeddings", None)
    rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    if isinstance(most, int) and rope.get("rope_type") in ("linear", "dynamic", "yarn"):
        return int(most * max(rope.get("factor") or 1, 1))
    return most if isinstance(most, int) and most > 0 else None


def longest_prompt(problems: Sequence[Problem], tokenizer: Any, options: Mapping[str, Any] | None = None) -> int:
    """Tokens of the longest prompt, among those with the most characters."""
    longest = sorted(problems, key=lambda problem: len(str(problem.prompt)), reverse=True)[:TRIED]
    texts = [prompt_text(problem, tokenizer, options) for problem in longest]
    is_plain = isinstance(problems[0].prompt, str)
    return max(map(len, tokenizer(texts, add_special_tokens=is_plain)["input_ids"]))


def warn_context(
    config: Any,
    name: str,
    tokenizer: Any,
    problems: Sequence[Problem],
    limit: int,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Warn, on stderr, where the longest prompt and response exceed the model's context; returns the warning, or "".

    Args:
        config: of the model. name: as the user gave it.
        limit: tokens of the longest response.
        options: keywords of the chat template.

    Raises:
        UsageError: for chat messages that the tokenizer's template does not take.
    """
    most = context_of(config)
    with usage_errors(kinds=ValueError):
        longest = longest_prompt(problems, tokenizer, options)
    if most is None or longest + limit <= most:
        return ""
    words = (
        f"The longest prompt has {longest} tokens and a response up to {limit}, but {name} was made for {most} in all: "
        "beyond them responses are poor, and vLLM cuts them. Shorten the prompts or max_completion_length, or take a "
        "model with a longer context."
    )
    print(f"hysteretic: warning: {words}", file=sys.stderr, flush=True)
    return words
