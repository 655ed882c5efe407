"""`hysteretic eval`: how good is this model, or these responses, on a task?"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hysteretic.tasks
from hysteretic.common.errors import UsageError
from hysteretic.runs.folder import read_json
from hysteretic.tasks.task import Problem, RewardError, Task, up_to

USUAL_PROBLEMS = 200


def main(arguments: Sequence[str]) -> int:
    """Print the figures with intervals; save them where --output says, and a page where --page says."""
    options = _parser().parse_args(arguments)
    page = _check(options)
    if page is not None:  # a package that it needs and that is missing is told before the model is asked
        from hysteretic.evals.page import save_page
    task, problems = task_and_problems(options)
    from hysteretic.evals.summary import as_text, describe
    from hysteretic.evals.variants import of_file, of_model, variants

    found = variants(task, problems, options)
    try:
        judged = of_model(found, options) if options.responses is None else of_file(found, Path(options.responses))
    except RewardError as error:
        raise UsageError(f"{error} Mend the reward function; nothing was counted as 0.") from error
    record = {
        **{key: getattr(options, key) for key in ("task", "model", "responses", "split", "seed")},
        **describe(found, judged),
    }
    print(as_text(record))
    if options.output is not None:
        try:
            Path(options.output).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageError(f"Cannot write {options.output} ({error.strerror}); give another --output.") from error
    if page is not None:
        save_page(record, found, judged, page)
        print(f"\nThe page is {page}")
    return 0


def _check(options: argparse.Namespace) -> Path | None:
    """Where the page goes. Raises UsageError, before any work, for what cannot be done."""
    if (options.model is None) == (options.responses is None):
        raise UsageError("Give either --model NAME or --responses FILE.")
    if options.problems is not None and options.problems < 1:
        raise UsageError(f"--problems is {options.problems}; evaluate on at least one.")
    if options.samples < 0:
        raise UsageError(f"--samples is {options.samples}; give 0 for greedy responses alone, 4 is usual.")
    if options.max_completion_length is not None and options.max_completion_length < 1:
        raise UsageError(f"--max-completion-length is {options.max_completion_length}; give at least 1 token.")
    if options.output is not None and not Path(options.output).parent.is_dir():
        raise UsageError(f"There is no folder {Path(options.output).parent} for --output; make it, or give another.")
    return None if options.page is None else page_path(options.page, "--page")


def page_path(text: str, flag: str) -> Path:
    """Where a page goes. Raises UsageError before any work."""
    path = Path(text)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{flag} is {text}; a page is a file that ends in .html.")
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for {flag}; make it, or give another.")
    return path


def mapping(text: str) -> dict[str, Any]:
    """The value of a --task-options flag. Raises argparse.ArgumentTypeError."""
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no JSON ({error}); write it as '{{\"largest\": 30}}'."
        ) from error
    if not isinstance(options, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is no mapping; write it as '{{\"largest\": 30}}'.")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hysteretic eval",
        description="pass@1, greedy and sampled, and what the task allows beyond (majority votes, confusions, the same "
        "problems in another variant), with 95 %% intervals over problems.",
    )
    parser.add_argument("--task", required=True, help="as for `hysteretic train`")
    parser.add_argument("--task-options", "--task_options", type=mapping, help="JSON mapping of the task's options")
    parser.add_argument("--reward", help="for a data file or hub data set: file.py:function")
    parser.add_argument("--model", help="'tiny', a hub name, or a folder")
    parser.add_argument(
        "--responses",
        help='JSONL of {"problem": id, "response": text}, several lines a problem allowed, of either variant',
    )
    parser.add_argument("--split", default="test")
    parser.add_argument("--problems", type=int, help="how many (default 200, or all there are)")
    parser.add_argument("--seed", type=int, default=0, help="which problems are drawn, and the sampling (default 0)")
    parser.add_argument("--samples", type=int, default=4, help="sampled responses a problem; 0 for greedy only")
    parser.add_argument("--max-completion-length", "--max_completion_length", type=int, help="tokens (default 1024)")
    parser.add_argument("--dtype", default="auto", help="of the weights (default: as saved)")
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    parser.add_argument("--plain-only", action="store_true", help="leave out the task's randomised counterpart")
    parser.add_argument("--output", help="JSON file for the figures")
    parser.add_argument("--page", help="HTML file for the figures, the confusions and a few wrong answers")
    return parser


def load_task(options: argparse.Namespace, **more: Any) -> Task:
    """The task that --task, --task-options and --reward name. more: options that these two overrule.

    Raises UsageError.
    """
    chosen: dict[str, Any] = {**more, **(options.task_options or {})}
    if options.reward is not None:
        chosen["reward"] = options.reward
    try:
        return hysteretic.tasks.load(options.task, **chosen)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error


def task_and_problems(options: argparse.Namespace) -> tuple[Task, Sequence[Problem]]:
    """The task, with the tiny model's options where it is asked, and its problems. Raises UsageError."""
    from hysteretic.config.recipes import tiny_recipe

    of_recipe: dict[str, Any] = {}
    if options.task_options is None and _is_tiny(options.model):
        recipe = tiny_recipe(options.task)
        of_recipe = recipe.get("task_options", {})
        options.max_completion_length = options.max_completion_length or recipe.get("max_completion_length")
    task = load_task(options, **of_recipe)
    try:
        problems = up_to(task, options.split, options.seed, options.problems or USUAL_PROBLEMS, bool(options.problems))
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    if not problems:
        raise UsageError(f"{task.name} gave no problems of split {options.split!r}; there is nothing to ask.")
    check_unique_ids(task, problems)
    return task, problems


def check_unique_ids(task: Task, problems: Sequence[Problem]) -> None:
    """Raises UsageError where two problems have one id: a response to one would be scored as the other's."""
    for name, count in Counter(problem.id for problem in problems).most_common(1):
        if count > 1:
            raise UsageError(f"{task.name} has {count} problems called {name!r}; give each problem an id of its own.")


def _is_tiny(model: str | None) -> bool:
    """The tiny model itself, or a run that began with it."""
    if model is None or model == "tiny":
        return model == "tiny"
    return (read_json(Path(model).parent / "run.json") or {}).get("model") == "tiny"


def load_model(options: argparse.Namespace, has_weights: bool = True) -> tuple[Any, Any]:
    """The tokenizer and the model that --model, --dtype and --device name; no model where has_weights is False.

    Raises UsageError.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    from hysteretic.models import model_path

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    path = model_path(options.model, options.task)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModelForCausalLM.from_pretrained(path, dtype=options.dtype).to(device) if has_weights else None
    except (OSError, ValueError, AttributeError, RuntimeError, AssertionError) as error:
        # AttributeError, RuntimeError: an unknown dtype or device; AssertionError: a torch without that device
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(" .")
        raise UsageError(
            f"Cannot load the model {options.model!r}: {said}. Give 'tiny', a folder with a saved model, or a hub name "
            "you have access to (and --dtype and --device that there are)."
        ) from error
    return tokenizer, model
