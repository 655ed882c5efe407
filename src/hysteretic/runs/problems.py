"""Draw and check the training and held-out problems of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.common.files import read_json
from hysteretic.config.recipes import tiny_recipe
from hysteretic.config.settings import RunSpec
from hysteretic.evals.generate import prompt_text
from hysteretic.tasks.checked import check_labelled, draw
from hysteretic.tasks.task import Problem, Task


def draw_problems(task: Task, request: RunSpec) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """Training problems, and held-out problems of the test split. Raises UsageError if they overlap."""
    run = request.run
    check_labelled(task)
    advice = " (Training problems: --train_problems; held-out problems: --eval_problems, 0 for none.)"
    problems = draw(task, "train", run.data_problem_seed, run.train_problems, advice=advice)
    if not run.eval_problems:
        return problems, []
    is_required = "eval_problems" in request.asked
    held_out = draw(task, "test", run.data_problem_seed, run.eval_problems, is_required, advice)
    shared = {problem.id for problem in problems} & {problem.id for problem in held_out}
    if shared:
        raise UsageError(
            f"{len(shared)} held-out problems of {task.name} are also training problems (the first: {min(shared)}); "
            "make the task's splits disjoint, or set eval_problems to 0."
        )
    return problems, held_out


def check_enough_problems(problems: Sequence[Problem], request: RunSpec) -> None:
    """Raises UsageError if the problems do not fill one rollout: TRL would silently make no update."""
    needed = request.training.generation_batch_size // request.training.num_generations
    if len(problems) < needed:
        raise UsageError(
            f"There are {len(problems)} training problems, but a rollout needs {needed} (generation_batch_size "
            f"{request.training.generation_batch_size} / num_generations {request.training.num_generations}); give "
            "more problems, or a smaller per_device_train_batch_size or steps_per_generation."
        )


def check_engine_length(problems: Sequence[Problem], request: RunSpec, tokenizer: Any) -> None:
    """Raises UsageError if vllm_max_model_length would cut responses before max_completion_length."""
    training = request.training
    limit, whole = training.max_completion_length or 0, training.vllm_max_model_length
    if not training.use_vllm or whole is None:
        return
    options = training.chat_template_kwargs or {}
    with usage_errors(kinds=ValueError):  # chat messages without a chat template
        texts = [prompt_text(problem, tokenizer, options) for problem in problems]
    is_plain = isinstance(problems[0].prompt, str)
    lengths = [len(ids) for ids in tokenizer(texts, add_special_tokens=is_plain)["input_ids"]]
    longest, cut = max(lengths), sum(length + limit > whole for length in lengths)
    if cut:
        lower = f", or max_completion_length to at most {whole - longest}" if longest < whole else ""
        raise UsageError(
            f"vllm_max_model_length is {whole}, but {cut} of {len(problems)} prompts and max_completion_length "
            f"({limit}) need more: vLLM would cut responses early, and they would count as wrong. The longest prompt "
            f"has {longest} tokens; set vllm_max_model_length to {longest + limit} or more{lower}, or leave out longer "
            "prompts."
        )


def template_options_of_model(model: str | None) -> dict[str, Any] | None:
    """The chat template's options of the run that trained the model in a folder, if its record is beside it."""
    record = read_json(Path(model).parent / "run.json") if model is not None and Path(model).is_dir() else None
    options = ((record or {}).get("settings") or {}).get("chat_template_kwargs")
    return options if isinstance(options, dict) else None


def recipe_of_model(model: str | None, task: str) -> dict[str, Any]:
    """The tiny model's settings for a task, if the model is the tiny one or was trained from it; otherwise {}."""
    if model is None:
        return {}
    is_tiny = model == "tiny" or (read_json(Path(model).parent / "run.json") or {}).get("model") == "tiny"
    return tiny_recipe(task) if is_tiny else {}
