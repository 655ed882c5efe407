"""How is the model of a command loaded? What TRL's ModelConfig says of it, and the tokenizer that goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import AutoTokenizer

from hysteretic.common.errors import UsageError
from hysteretic.models import model_path
from hysteretic.tasks.task import Problem


def model_arguments(model: Any, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Keywords of `from_pretrained`. model: TRL's ModelConfig; given: model_init_kwargs, which win."""
    loading = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(given or {}),
    }
    return {key: value for key, value in loading.items() if value is not None}


def load_tokenizer(
    name: str, task: str, problem: Problem | None = None, revision: str | None = None, side: str = "left"
) -> Any:
    """The tokenizer of a model for a task's problems. Raises UsageError where there is none, or no template for chats.

    name: as the user gave it, "tiny" among them. problem: any of the task's; None asks for no template. side: where
    batches are padded.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_path(name, task), revision=revision, padding_side=side)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a tokenizer for the model {name!r}: {str(error).splitlines()[0]} Give 'tiny', a folder with "
            "a saved model, or a hub name you have access to."
        ) from error
    if problem is not None:
        check_template(tokenizer, problem, name, task)
    return tokenizer


def check_template(tokenizer: Any, problem: Problem, name: str, task: str) -> None:
    """Raises UsageError where a problem is chat messages and the tokenizer has no template for them."""
    if isinstance(problem.prompt, list) and not tokenizer.chat_template:
        raise UsageError(
            f"{task} asks with chat messages, but the tokenizer of {name} has no chat template; use an instruct model, "
            'or plain prompts (task_options {"prompt": "plain"} of Countdown and telelogs-synthetic, '
            '{"is_chat": false} of telelogs and data files).'
        )
