"""Draw and check the training and held-out problems of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hysteretic.common.errors import UsageError
from hysteretic.common.files import read_json
from hysteretic.config.recipes import tiny_recipe
from hysteretic.config.settings import RunSpec
from hysteretic.tasks.checked import draw
from hysteretic.tasks.task import Problem, Task


def draw_problems(task: Task, request: RunSpec) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """Training problems, and held-out problems of the test split. Raises UsageError if they overlap."""
    run = request.run
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


def recipe_of_model(model: str | None, task: str) -> dict[str, Any]:
    """The tiny model's settings for a task, if the model is the tiny one or was trained from it; otherwise {}."""
    if model is None:
        return {}
    is_tiny = model == "tiny" or (read_json(Path(model).parent / "run.json") or {}).get("model") == "tiny"
    return tiny_recipe(task) if is_tiny else {}
