"""Tasks: what is asked and how responses are scored. `load` turns a name into a task.

load("countdown-3")                                     a built-in task
load("countdown-3", prompt="plain", largest=30)         with its options
load("my_task.py:ReverseWord")                          a class (or function) of yours that makes a Task
load("data.jsonl", reward="my_reward.py:is_right")      your data and your reward function
load("org/name", reward="my_reward.py:is_right")        the same with a data set of the hub
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..common.errors import nearest
from .countdown import Countdown
from .files import FileTask
from .named_object import named_object
from .rows import SUFFIXES
from .task import Problem, RewardError, Score, Task
from .telelogs.official import TeleLogs
from .telelogs.synthetic import SyntheticTeleLogs

__all__ = ["TASKS", "Countdown", "FileTask", "Problem", "RewardError", "Score", "Task", "load"]

TASKS: dict[str, str] = {
    "countdown-3": "Combine three numbers up to 99 into a target with + - * /, each number once.",
    "countdown-4": "Combine four numbers up to 99 into a target with + - * /, each number once.",
    "telelogs-synthetic": "Name the root cause of bad throughput in the log of a 5G drive test; original drives.",
    "telelogs-compact": "The same drives in a hundred tokens, for a tiny model.",
    "telelogs": "The root cause in 5G drive-test logs, of eight: your copy of netop/TeleLogs (gated) or a file.",
    "telelogs-randomised": "The same with labels shuffled and tables swapped: the paper's second test set.",
}
"""The built-in tasks: name and one line on each."""

_BUILT_IN: dict[str, Callable[..., Task]] = {
    "countdown-3": functools.partial(Countdown, 3),
    "countdown-4": functools.partial(Countdown, 4),
    "telelogs-synthetic": SyntheticTeleLogs,
    "telelogs-compact": functools.partial(SyntheticTeleLogs, "compact"),
    "telelogs": TeleLogs,
    "telelogs-randomised": functools.partial(TeleLogs, is_randomised=True),
}


def load(name: str, **options: Any) -> Task:
    """The task that a name stands for, with its options.

    name: one of TASKS; "path/to/file.py:Name" (or "package.module:Name") of a class or function that makes a task;
        a data file (.jsonl, .json, .csv, .parquet) or a hub id "org/name", both with the option `reward`.
    Raises ValueError, FileNotFoundError or ImportError, each saying what to write instead.
    """
    if name in _BUILT_IN:
        _check_types(_BUILT_IN[name], name, options)
        return _make(_BUILT_IN[name], name, options)
    if Path(name).suffix.lower() in SUFFIXES:
        return _make(functools.partial(FileTask, name), name, options)
    if ":" in name:
        return _checked(_make(named_object(name, "class"), name, options), name)
    if name.endswith(".py"):
        raise ValueError(f"{name!r} is a file; name the class in it too, as {name}:MyTask.")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return _make(functools.partial(FileTask, name), name, options)
    raise ValueError(
        f"No task is called {name!r}.{nearest(name, TASKS)} Built in: {', '.join(TASKS)}. Your own: "
        f"path/to/file.py:MyTask, or a data file ({', '.join(SUFFIXES)}) or a hub id org/name with reward=..."
    )


def _check_types(factory: Callable[..., Task], name: str, options: dict[str, Any]) -> None:
    """Raises ValueError for an option that is not of the type of its default (a whole number will do for a share)."""
    for field in inspect.signature(factory).parameters.values():
        if field.name in options and isinstance(field.default, bool | int | float | str):
            given, kind = options[field.name], type(field.default)
            fits = (
                isinstance(given, int | float) and not isinstance(given, bool) if kind is float else type(given) is kind
            )
            if not fits:
                words = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
                raise ValueError(f"{name} has the option {field.name}={given!r}; give {words}, as {field.default!r}.")


def _make(factory: Any, name: str, options: dict[str, Any]) -> Any:
    """factory(**options), after checking that it takes them."""
    if not callable(factory):
        raise ValueError(f"{name} is {type(factory).__name__}; it should be a class, or a function that makes a task.")
    fields = inspect.signature(factory).parameters.values()
    valid = [field.name for field in fields if field.kind in (field.POSITIONAL_OR_KEYWORD, field.KEYWORD_ONLY)]
    takes_any = any(field.kind is field.VAR_KEYWORD for field in fields)
    for option in options:
        if option not in valid and not takes_any:
            listed = f"its options are {', '.join(valid)}" if valid else "it has no options"
            raise ValueError(f"{name} has no option {option!r}; {listed}.{nearest(option, valid)}")
    for field in fields:
        if field.name in valid and field.default is field.empty and field.name not in options:
            raise ValueError(f"{name} needs the option {field.name!r}, {_ways_to_give(field.name)}.")
    return factory(**options)


def _ways_to_give(option: str) -> str:
    """How an option is given to `load`, and to the commands."""
    if option == "reward":
        return "such as reward='my_reward.py:is_right', or on a command line --reward my_reward.py:is_right"
    return f"such as {option}=..., or on a command line --task_options '{{\"{option}\": ...}}'"


def _checked(task: Any, name: str) -> Task:
    """The object, once it is known to have what a Task has."""
    missing = [member for member in ("problems", "score") if not callable(getattr(task, member, None))]
    if not isinstance(getattr(task, "name", None), str):
        missing.insert(0, "name")
    if missing:
        raise ValueError(
            f"{name} made a {type(task).__name__}, which is no task: {', '.join(missing)} missing. A task has a text "
            "`name` and the methods problems(split, seed, count) and score(problem, response)."
        )
    checked: Task = task
    return checked
