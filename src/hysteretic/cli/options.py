"""Arguments that several commands share, their types, and the task and problems that they name."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hysteretic.common.errors import UsageError
from hysteretic.tasks.checked import draw, load_task
from hysteretic.tasks.task import Problem, Task

USUAL_PROBLEMS = 200
"""The default number of problems to evaluate on; fewer if the task has fewer."""


def add_task(parser: argparse.ArgumentParser) -> None:
    """--task, --task-options and --reward."""
    parser.add_argument(
        "--task", required=True, help="a task (see `hysteretic list`), file.py:MyTask, a data file, or a hub data set"
    )
    parser.add_argument(
        "--task-options",
        "--task_options",
        type=mapping,
        metavar="JSON",
        help="options of the task, such as '{\"largest\": 30}'; for a data file and an instruct model "
        "'{\"is_chat\": true}', which makes each prompt a user message",
    )
    parser.add_argument(
        "--reward", metavar="FILE.py:FUNCTION", help="the reward function of a data file or hub data set"
    )


def add_problems(parser: argparse.ArgumentParser, split: str) -> None:
    """--split, --problems and --seed."""
    parser.add_argument("--split", default=split, help=f"the task's split (default: {split})")
    parser.add_argument(
        "--problems", type=int, metavar="N", help=f"number of problems (default: {USUAL_PROBLEMS}, or all if fewer)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of problem selection and sampling (default: 0)")


def add_model(parser: argparse.ArgumentParser, required: bool) -> None:
    """--model, --vllm, --dtype, --device, --chat-template-kwargs and --max-completion-length."""
    parser.add_argument("--model", required=required, help="'tiny', a hub name, or a folder with a saved model")
    parser.add_argument("--vllm", action="store_true", help="generate with vLLM, which must be installed")
    parser.add_argument("--dtype", default="auto", help="data type of the weights (default: as saved)")
    parser.add_argument("--device", help="cuda, mps or cpu (default: a GPU if there is one; vLLM chooses by itself)")
    parser.add_argument(
        "--chat-template-kwargs",
        "--chat_template_kwargs",
        type=mapping,
        metavar="JSON",
        help="options of the chat template, such as '{\"enable_thinking\": false}' (default: those of the run that "
        "trained the model)",
    )
    parser.add_argument(
        "--max-completion-length",
        "--max_completion_length",
        type=int,
        metavar="TOKENS",
        help="maximum response length in tokens (default: 1024)",
    )


def mapping(text: str) -> dict[str, Any]:
    """The value of --task-options or --chat-template-kwargs. Raises argparse.ArgumentTypeError."""
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not valid JSON ({error}); write it as '{{\"largest\": 30}}'."
        ) from error
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a mapping; write it as '{{\"largest\": 30}}'.")
    return options


def page_path(text: str, flag: str) -> Path:
    """The path of an HTML page to write. Raises UsageError, before any work, where it cannot be written."""
    path = Path(text)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{flag} is {text}; give a file name that ends in .html.")
    return output_path(text, flag)


def output_path(text: str, flag: str) -> Path:
    """The path of a file to write. Raises UsageError where its folder does not exist."""
    path = Path(text)
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give a file for {flag}.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for {flag}; create it, or give another.")
    return path


def check_least(options: argparse.Namespace, limits: Iterable[tuple[str, int, str]]) -> None:
    """Raises UsageError for a number below its minimum. limits: name, minimum, and what to do about it."""
    for name, least, advice in limits:
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} is {value:g}; {advice}.")


def task_of(options: argparse.Namespace, **defaults: Any) -> Task:
    """The task that --task, --task-options and --reward name.

    defaults: task options that the command line overrides. Raises UsageError.
    """
    chosen = {**defaults, **(options.task_options or {})}
    if options.reward is not None:
        chosen["reward"] = options.reward
    return load_task(options.task, **chosen)


def task_and_problems(options: argparse.Namespace) -> tuple[Task, Sequence[Problem]]:
    """The task and the problems to evaluate on. Raises UsageError.

    The tiny model's recipe provides the task's options and the longest response if they are not given;
    `options.max_completion_length` and `options.chat_template_kwargs` are filled in.
    """
    from hysteretic.runs.problems import recipe_of_model, template_options_of_model

    if options.chat_template_kwargs is None:
        options.chat_template_kwargs = template_options_of_model(options.model)
    recipe = recipe_of_model(options.model, options.task)
    options.max_completion_length = options.max_completion_length or recipe.get("max_completion_length", 1024)
    usual = recipe.get("task_options", {}) if options.task_options is None else {}
    task = task_of(options, **usual)
    count = options.problems or (None if getattr(options, "submission", None) else USUAL_PROBLEMS)
    problems = draw(task, options.split, options.seed, count, is_required=options.problems is not None)
    if not problems:
        raise UsageError(f"{task.name} has no problems in split {options.split!r}.")
    return task, problems
