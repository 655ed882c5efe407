"""The length of a run's prompts, without loading its model."""

from __future__ import annotations

from typing import Any

import hysteretic.tasks
from hysteretic.config.settings import RunSpec
from hysteretic.tasks.task import Problem

LOOKED_AT = 64
"""Number of problems whose prompts are measured."""
SMALLEST = 64
"""The smallest credible vocabulary: transformers makes an empty tokenizer for a folder that has none."""
CHARACTERS = 2.5
"""Assumed characters per token without a tokenizer; English prose has about 4, tables of numbers 2."""


def longest_prompt(request: RunSpec, path: str, given: int | None) -> tuple[int, str]:
    """Tokens of the longest prompt, and a phrase that says how they were counted.

    The first that is available: the given length; the task's prompts, tokenized; vllm_max_model_length minus
    max_completion_length; an estimate from the prompts' characters. Raises ValueError if none is.
    """
    if given is not None:
        return given, "given"
    problems = _problems(request)
    tokenizer = _tokenizer(path, request.model.model_revision) if problems else None
    if tokenizer is not None and len(tokenizer) > SMALLEST:
        return max(_length(tokenizer, problem) for problem in problems), f"longest of {len(problems)} prompts"
    training = request.training
    room = (training.vllm_max_model_length or 0) - training.max_completion_length
    if room > 0:
        return room, "vllm_max_model_length minus max_completion_length"
    if problems:
        characters = max(sum(len(text) for text in _texts(problem)) for problem in problems)
        return int(characters / CHARACTERS) + 32, f"estimated at {CHARACTERS} characters per token; no tokenizer found"
    raise ValueError(f"The prompt length of {request.run.task!r} is unknown; give --prompt-tokens.")


def _problems(request: RunSpec) -> list[Problem]:
    """A few problems; none if the task's data is not available here."""
    try:
        task = hysteretic.tasks.load(request.run.task, **request.run.load_options())
        return list(task.problems("train", seed=request.run.data_problem_seed, count=LOOKED_AT))
    except FileNotFoundError:
        return []
    except (ValueError, OSError, ImportError) as error:
        if request.run.task in hysteretic.tasks.names() and request.run.task_options is None:
            return []
        raise ValueError(str(error)) from error


def _tokenizer(path: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, revision=revision)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # transformers raises many errors for a folder without one


def _length(tokenizer: Any, problem: Problem) -> int:
    if isinstance(problem.prompt, str) or not tokenizer.chat_template:
        return sum(len(tokenizer(text)["input_ids"]) for text in _texts(problem))
    text = tokenizer.apply_chat_template(problem.prompt, tokenize=False, add_generation_prompt=True)
    return len(tokenizer(text)["input_ids"])


def _texts(problem: Problem) -> list[str]:
    if isinstance(problem.prompt, str):
        return [problem.prompt]
    return [str(message.get("content", "")) for message in problem.prompt]
