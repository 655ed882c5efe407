"""How long are a run's prompts, as far as can be known without its model?"""

from __future__ import annotations

from typing import Any

import hysteretic.tasks
from hysteretic.config.settings import RunSpec
from hysteretic.tasks.task import Problem

LOOKED_AT = 64
"""Problems whose prompts are measured."""
SMALLEST = 64
"""Tokens of the smallest vocabulary to believe: transformers makes an empty tokenizer where a folder has none."""
CHARACTERS = 2.5
"""Assumed for a token where no tokenizer can be read; English prose has about 4, tables of numbers 2."""


def longest_prompt(request: RunSpec, path: str, given: int | None) -> tuple[int, str]:
    """Tokens of the longest prompt, and in words how that was found. Raises ValueError where nothing tells.

    The first that there is: given; the task's prompts through the model's tokenizer; vllm_max_model_length less
    max_completion_length; the prompts' characters.
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
        return room, "vllm_max_model_length less max_completion_length"
    if problems:
        characters = max(sum(len(text) for text in _texts(problem)) for problem in problems)
        return int(characters / CHARACTERS) + 32, f"guessed at {CHARACTERS} characters a token, for want of a tokenizer"
    raise ValueError(f"How long the prompts of {request.run.task!r} are cannot be told; give --prompt-tokens.")


def _problems(request: RunSpec) -> list[Problem]:
    """A few problems; none where the task's data is not here."""
    try:
        task = hysteretic.tasks.load(request.run.task, **request.run.load_options())
        return list(task.problems("train", seed=request.run.data_problem_seed, count=LOOKED_AT))
    except FileNotFoundError:
        return []
    except (ValueError, OSError, ImportError) as error:
        if request.run.task in hysteretic.tasks.TASKS and request.run.task_options is None:
            return []
        raise ValueError(str(error)) from error


def _tokenizer(path: str, revision: str | None) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path, revision=revision)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # transformers says many things about a folder without a tokenizer


def _length(tokenizer: Any, problem: Problem) -> int:
    if isinstance(problem.prompt, str) or not tokenizer.chat_template:
        return sum(len(tokenizer(text)["input_ids"]) for text in _texts(problem))
    text = tokenizer.apply_chat_template(problem.prompt, tokenize=False, add_generation_prompt=True)
    return len(tokenizer(text)["input_ids"])


def _texts(problem: Problem) -> list[str]:
    if isinstance(problem.prompt, str):
        return [problem.prompt]
    return [str(message.get("content", "")) for message in problem.prompt]
