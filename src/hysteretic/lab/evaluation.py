"""`hysteretic eval`: how good is this model, or these responses, on a task?"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hysteretic.tasks
from hysteretic.lab.errors import UsageError
from hysteretic.lab.run_folder import read_json
from hysteretic.tasks.task import Problem, RewardError, Score, Task


def main(arguments: Sequence[str]) -> int:
    """Print pass@1 with intervals, and save it where --output says."""
    options = _parser().parse_args(arguments)
    if (options.model is None) == (options.responses is None):
        raise UsageError("Give either --model NAME or --responses FILE.")
    if options.problems < 1:
        raise UsageError(f"--problems is {options.problems}; evaluate on at least one.")
    if options.output is not None and not Path(options.output).parent.is_dir():
        raise UsageError(f"There is no folder {Path(options.output).parent} for --output; make it, or give another.")
    task, problems = task_and_problems(options)
    try:
        if options.responses is not None:
            figures = _of_file(task, problems, Path(options.responses))
        else:
            figures = _of_model(task, problems, options)
    except RewardError as error:
        raise UsageError(f"{error} Mend the reward function; nothing was counted as 0.") from error
    for decoding, figure in figures.items():
        from hysteretic.lab.evaluate import Rate

        pass_at_1, has_format = Rate(**figure["pass@1"]), Rate(**figure["format"])
        print(f"{decoding:8}  pass@1 {pass_at_1}   right format {has_format}   {pass_at_1.problems} problems")
    if options.output is not None:
        content = {"task": options.task, "model": options.model, "responses": options.responses, **figures}
        Path(options.output).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


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
        prog="hysteretic eval", description="pass@1, greedy and sampled, with 95 %% intervals over problems."
    )
    parser.add_argument("--task", required=True, help="as for `hysteretic train`")
    parser.add_argument("--task-options", "--task_options", type=mapping, help="JSON mapping of the task's options")
    parser.add_argument("--reward", help="for a data file or hub data set: file.py:function")
    parser.add_argument("--model", help="'tiny', a hub name, or a folder")
    parser.add_argument(
        "--responses", help='JSONL of {"problem": id, "response": text}, several lines a problem allowed'
    )
    parser.add_argument("--split", default="test")
    parser.add_argument("--problems", type=int, default=200, help="how many (default 200)")
    parser.add_argument("--seed", type=int, default=0, help="which problems are drawn, and the sampling (default 0)")
    parser.add_argument("--samples", type=int, default=4, help="sampled responses a problem; 0 for greedy only")
    parser.add_argument("--max-completion-length", "--max_completion_length", type=int, help="tokens (default 1024)")
    parser.add_argument("--dtype", default="auto", help="of the weights (default: as saved)")
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    parser.add_argument("--output", help="JSON file for the figures")
    return parser


def task_and_problems(options: argparse.Namespace) -> tuple[Task, Sequence[Problem]]:
    """The task that --task, --task-options and --reward name, and its problems. Raises UsageError."""
    from hysteretic.lab.recipes import tiny_recipe

    chosen: dict[str, Any] = dict(options.task_options or {})
    if options.reward is not None:
        chosen["reward"] = options.reward
    if options.task_options is None and _is_tiny(options.model):
        recipe = tiny_recipe(options.task)
        chosen = {**recipe.get("task_options", {}), **chosen}
        options.max_completion_length = options.max_completion_length or recipe.get("max_completion_length")
    try:
        task = hysteretic.tasks.load(options.task, **chosen)
        problems = task.problems(options.split, seed=options.seed, count=options.problems)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    if not problems:
        raise UsageError(f"{task.name} gave no problems of split {options.split!r}; there is nothing to ask.")
    refuse_same_ids(task, problems)
    return task, problems


def refuse_same_ids(task: Task, problems: Sequence[Problem]) -> None:
    """Raises UsageError where two problems have one id: a response to one would be scored as the other's."""
    for name, count in Counter(problem.id for problem in problems).most_common(1):
        if count > 1:
            raise UsageError(f"{task.name} has {count} problems called {name!r}; give each problem an id of its own.")


def _is_tiny(model: str | None) -> bool:
    """The tiny model itself, or a run that began with it."""
    if model is None or model == "tiny":
        return model == "tiny"
    return (read_json(Path(model).parent / "run.json") or {}).get("model") == "tiny"


def _of_file(task: Task, problems: Sequence[Problem], path: Path) -> dict[str, Any]:
    """Figures of responses that were made elsewhere."""
    from hysteretic.lab.evaluate import report, score

    by_id = {problem.id: problem for problem in problems}
    scores: dict[str, list[Score]] = defaultdict(list)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    for number, line in enumerate(filter(str.strip, lines), start=1):
        try:
            row = json.loads(line)
            name, response = row["problem"], row["response"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UsageError(
                f'Line {number} of {path} is not {{"problem": id, "response": text}}: {type(error).__name__} {error}.'
            ) from error
        if name not in by_id:
            raise UsageError(
                f"Line {number} of {path} answers problem {name!r}, which is not among the {len(problems)} problems "
                f"chosen (the first is {problems[0].id!r}); give the same --seed, --split, --problems and options."
            )
        scores[name].append(score(task, by_id[name], str(response)))
    if not scores:
        raise UsageError(f"{path} holds no responses.")
    figures = report({"given": list(scores.values())})
    unanswered = len(problems) - len(scores)
    if unanswered:
        print(f"{unanswered} of {len(problems)} problems have no response in {path} and are left out.")
    return figures


def load_model(options: argparse.Namespace, has_weights: bool = True) -> tuple[Any, Any]:
    """The tokenizer and the model that --model, --dtype and --device name; no model where has_weights is False.

    Raises UsageError.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, logging

    from hysteretic.models import tiny_model

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    path = str(tiny_model()) if options.model == "tiny" else options.model
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


def _of_model(task: Task, problems: Sequence[Problem], options: argparse.Namespace) -> dict[str, Any]:
    from hysteretic.lab.evaluate import evaluate, prompt_text

    tokenizer, model = load_model(options)
    try:
        prompt_text(problems[0], tokenizer)
    except ValueError as error:  # chat messages, and no chat template
        raise UsageError(str(error)) from error
    figures, _ = evaluate(
        model, tokenizer, task, problems, options.samples, options.max_completion_length or 1024, seed=options.seed
    )
    return figures
