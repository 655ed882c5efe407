"""The contents of run.json: settings, code, data and objective, so that a run can be repeated and compared."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hysteretic
from hysteretic.common.environment import now, versions
from hysteretic.tasks.task import Problem, Task, warm_start

if TYPE_CHECKING:  # a report needs neither TRL nor torch
    from hysteretic.config.settings import RunSpec
    from hysteretic.trl import HPOTrainer

DEEPEST = 8
"""Maximum depth of nested parts that are described."""


def describe(request: RunSpec, trainer: HPOTrainer, task: Task, problems: Sequence[Problem]) -> dict[str, Any]:
    """The record of a run before its first update."""
    ids = "\n".join(problem.id for problem in problems)
    return {
        "started": now(),
        "command": shlex.join(["hysteretic", *sys.argv[1:]]),
        "task": task.name,
        "warm_start": warm_start(task),
        "model": request.run.model,
        "parameters": sum(
            getattr(parameter, "ds_numel", parameter.numel()) for parameter in trainer.model.parameters()
        ),
        "objective": objective_data(trainer.objective),
        "train_problems": len(problems),
        "train_problems_sha256": hashlib.sha256(ids.encode()).hexdigest(),
        "source_sha256": SOURCE,
        "versions": versions(),
        "processes": trainer.accelerator.num_processes,
        "device": str(trainer.accelerator.device),
        "cpu_count": os.cpu_count(),
        "settings": request.training.to_dict(),
    }


def objective_data(objective: Any) -> dict[str, Any]:
    """An objective as JSON data: its fields by name, each part with its kind and its values.

    {"ratio": {"kind": "TokenRatio"}, "gate": {"kind": "ClipGate", "low": 0.2, "high": 0.2}, ...}
    """
    return {name: _data(value) for name, value in _fields(objective).items()}


def objective_text(data: Any) -> str:
    """The data of an objective in one line: ratio=TokenRatio, gate=ClipGate(low=0.2, high=0.2), ..., scale=NoScale."""
    if not isinstance(data, Mapping):
        return str(data)
    return ", ".join(f"{name}={_text(value)}" for name, value in data.items())


def _fields(part: Any) -> dict[str, Any]:
    """The fields of a dataclass, or the public attributes of any other object."""
    if dataclasses.is_dataclass(part):
        return {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return {name: value for name, value in getattr(part, "__dict__", {}).items() if not name.startswith("_")}


def _data(value: Any, depth: int = 0) -> Any:
    """JSON data: plain values unchanged, parts as their kind and fields, anything else as its repr."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth >= DEEPEST:
        return repr(value)
    if isinstance(value, list | tuple):
        return [_data(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _data(item, depth + 1) for key, item in value.items()}
    if hasattr(value, "__qualname__"):  # a class or a function, whose repr would be an address
        return f"{value.__module__}.{value.__qualname__}"
    fields = _fields(value)
    has_own_repr = "__repr__" in {name for kind in type(value).__mro__[:-1] for name in vars(kind)}
    if not fields and not dataclasses.is_dataclass(value) and has_own_repr:
        return repr(value)
    return {"kind": type(value).__name__, **{name: _data(item, depth + 1) for name, item in fields.items()}}


def _text(value: Any) -> str:
    if not isinstance(value, Mapping) or "kind" not in value:
        return str(value)
    inner = ", ".join(f"{name}={_text(item)}" for name, item in value.items() if name != "kind")
    return f"{value['kind']}({inner})" if inner else str(value["kind"])


def source_digest() -> str:
    """A hash of this package's source: identifies the code of a run without git."""
    digest = hashlib.sha256()
    for path in sorted(Path(hysteretic.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


SOURCE = source_digest()
"""Computed on import, when the code is loaded: the files may change later."""
