"""Rows of exported problems, and scoring a response from its row alone.

A row names its task (`data_source`), the task's options and the problem's answer, so that `compute_score` needs neither
the problems nor the process that drew them. Loads no torch.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from .rows import lone_surrogate
from .scored import score
from .task import Problem, RewardError, Task


def exported_row(name: str, options: Mapping[str, Any], problem: Problem, split: str, index: int) -> dict[str, Any]:
    """One row in verl's columns. name, options: what `hysteretic.tasks.load` was called with.

    A plain-string prompt becomes one user message, since verl only has chat prompts.
    Raises ValueError if the options or the answer are not valid JSON, or a text has half of a surrogate pair.
    """
    prompt = problem.prompt
    half = lone_surrogate([problem.id, prompt, problem.answer])
    if half is not None:
        raise ValueError(f"Problem {problem.id!r} has half of a surrogate pair ({half}); fix the task's data.")
    return {
        "data_source": name,
        "prompt": [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt,
        "ability": "",
        "reward_model": {"style": "rule", "ground_truth": _as_json(problem.answer, f"The answer of {problem.id}")},
        "extra_info": {
            "task_options": _as_json(dict(options), "task_options"),
            "problem_id": problem.id,
            "split": split,
            "index": index,
        },
    }


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """Score a response to an exported row, as the task does; verl's reward function.

    `score` is the reward, `acc` whether the response is correct, `format` whether it has the requested format.

    data_source: the task's name. ground_truth: the answer as JSON. extra_info: the row's, with `task_options`; without
    it the task has its default options.
    Never raises because of what a model wrote. A row that hysteretic did not export, or a reward
    function that fails, raises RewardError and never gives a reward of 0.
    """
    options = (extra_info or {}).get("task_options") or "{}"
    problem_id = str((extra_info or {}).get("problem_id", ""))
    try:
        task = _task(str(data_source), options)
        answer = json.loads(ground_truth)
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise RewardError(
            f"The row {problem_id or '(without problem_id)'} of data_source {data_source!r} cannot be scored: {error} "
            "hysteretic.verl:compute_score only scores rows written by `hysteretic export`."
        ) from error
    found = score(task, Problem(problem_id, "", answer), solution_str)
    return {"score": float(found.reward), "acc": float(found.is_correct), "format": float(found.has_format)}


@functools.lru_cache(maxsize=16)
def _task(name: str, options: str) -> Task:
    from . import load

    return load(name, **json.loads(options))


def _as_json(value: Any, what: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what} is {value!r}, which is not valid JSON ({error}); data files hold JSON only."
        ) from error
