"""Load models and tokenizers for commands, with errors that say what to give instead."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from hysteretic.common.errors import UsageError
from hysteretic.models import model_path
from hysteretic.tasks.task import ChoosesPrompts, Problem, Task


def quieten() -> None:
    """Silence libraries' weight-loading bars, verbose logs and deprecation warnings."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    warnings.filterwarnings("ignore", message="'pin_memory' argument is set as true but no accelerator")  # on any CPU


def model_arguments(model: Any, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Keywords for `from_pretrained`. model: TRL's ModelConfig. given: model_init_kwargs, which take precedence."""
    loading = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(given or {}),
    }
    return {key: value for key, value in loading.items() if value is not None}


def check_vllm(asked: str, instead: str) -> None:
    """Raises UsageError if vLLM is missing, or is a version that TRL does not support.

    asked: the setting that needs it. instead: how to do without.
    """
    if not has_vllm():
        raise UsageError(f"{asked}, but vLLM is not installed here; run: {INSTALL_VLLM}. Or do without: {instead}.")
    from trl.import_utils import is_vllm_available

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        is_vllm_available()
    for warning in said:
        if "supports vLLM" in str(warning.message):  # TRL knows its own range
            found = str(warning.message).split(" We recommend")[0].rstrip(".")
            raise UsageError(f"{asked}. {found}; run: {INSTALL_VLLM}. Or do without: {instead}.")


def has_vllm() -> bool:
    """Whether vLLM is installed, whichever distribution it comes from. Does not import it."""
    return find_spec("vllm") is not None


INSTALL_VLLM = 'pip install "trl[vllm]"'


def load_model(
    name: str, task: str, dtype: str = "auto", device: str | None = None, has_weights: bool = True
) -> tuple[Any, Any]:
    """The tokenizer and the model for evaluation.

    Args:
        name: as the user gave it: "tiny", a folder, or a hub name.
        task: the task's name, which decides which tiny model is meant.
        dtype: of the weights; "auto" keeps the type they were saved in.
        device: None for a GPU if there is one.
        has_weights: False loads the tokenizer only and returns None as the model.

    Raises:
        UsageError: if either cannot be loaded.
    """
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    path = model_path(name, task)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype).to(device) if has_weights else None
    except (OSError, ValueError, AttributeError, RuntimeError, AssertionError) as error:
        # AttributeError, RuntimeError: an unknown dtype or device; AssertionError: torch was built without the device
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(" .")
        raise UsageError(
            f"Cannot load the model {name!r}: {said}. Give 'tiny', a folder with a saved model, or a hub name that you "
            "have access to; and check --dtype and --device."
        ) from error
    return tokenizer, model


def load_tokenizer(
    name: str, task: str, problem: Problem | None = None, revision: str | None = None, side: str = "left"
) -> Any:
    """The tokenizer of a model for a task's problems.

    Args:
        name: as the user gave it: "tiny", a folder, or a hub name.
        problem: any problem of the task, to check for a chat template if it has messages; None skips the check.
        side: the padding side.

    Raises:
        UsageError: without a tokenizer, without a chat template for chat messages, or for the folder of an adapter.
    """
    path = model_path(name, task)
    if (Path(path) / "adapter_config.json").is_file() and not (Path(path) / "config.json").is_file():
        raise UsageError(
            f"{name} holds an adapter, and training starts from a whole model. Merge it first: "
            f"peft.AutoPeftModelForCausalLM.from_pretrained({name!r}).merge_and_unload().save_pretrained(FOLDER), and "
            "copy the tokenizer's files; then give that folder."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, padding_side=side)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a tokenizer for the model {name!r}: {str(error).splitlines()[0]} Give 'tiny', a folder with "
            "a saved model, or a hub name that you have access to."
        ) from error
    if problem is not None:
        check_template(tokenizer, problem, name, task)
    return tokenizer


def warn_plain_prompts(tokenizer: Any, problem: Problem, task: Task, name: str, is_assumed: bool = False) -> str:
    """Warn, on stderr, of plain prompts for a model with a chat template; returns the warning, or "" if there is none.

    Whether the user wants the template cannot be known: base models have one too. So nothing is wrapped by itself, and
    a task whose `is_chat` is set (see ChoosesPrompts) is left alone.

    Args:
        problem: any problem of the task.
        name: the model as the user gave it.
        is_assumed: the tokenizer is a stand-in for one that is not available.
    """
    is_chosen = isinstance(task, ChoosesPrompts) and task.is_chat is not None
    if not isinstance(problem.prompt, str) or not tokenizer.chat_template or is_chosen:
        return ""
    has = "is not available here, and may have" if is_assumed else "has"
    if isinstance(task, ChoosesPrompts):
        advice = """For an instruct model set is_chat to true (--task-options '{"is_chat": true}'); false"""
    else:
        advice = (
            'For an instruct model make each prompt messages, [{"role": "user", "content": ...}]; is_chat = False on '
            "the task"
        )
    words = (
        f"The prompts of {task.name} are plain text, but the tokenizer of {name} {has} a chat template. An instruct "
        f"model may answer plain text with nothing, or go on writing it. {advice} keeps plain text without a warning."
    )
    print(f"hysteretic: warning: {words}", file=sys.stderr, flush=True)
    return words


def check_template(tokenizer: Any, problem: Problem, name: str, task: str) -> None:
    """Raises UsageError if a problem is a list of chat messages and the tokenizer has no chat template."""
    if isinstance(problem.prompt, list) and not tokenizer.chat_template:
        raise UsageError(
            f"The prompts of {task} are chat messages, but the tokenizer of {name} has no chat template; use an "
            'instruct model, or plain prompts (task_options {"prompt": "plain"} of Countdown and telelogs-synthetic, '
            '{"is_chat": false} of telelogs and data files).'
        )
