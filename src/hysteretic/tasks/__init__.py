"""Tasks: problems to pose, and a score for each response. `load` makes a task from its name.

load("countdown-3")                                     a built-in task
load("countdown-3", prompt="plain", largest=30)         with options
load("anagram")                                         a task of another installed package (see `installed`)
load("my_task.py:ReverseWord")                          your own class (or a function that returns a task)
load("data.jsonl", reward="my_reward.py:is_right")      your data and your reward function
load("org/name", reward="my_reward.py:is_right")        the same with a data set from the hub
"""

from __future__ import annotations

import functools
import inspect
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..common.errors import SettingWarning, nearest
from .countdown import Countdown
from .files import FileTask
from .import_object import import_object
from .installed import installed_tasks
from .rows import SUFFIXES
from .task import Problem, RewardError, Score, Task

__all__ = ["TASKS", "Countdown", "FileTask", "Problem", "RewardError", "Score", "Task", "available", "load", "names"]


class _BuiltIn(NamedTuple):
    """factory: "module:class", imported on first use. arguments: fixed by the name. options: other defaults."""

    description: str
    factory: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = {}


_COUNTDOWN = f"{__name__}.countdown:Countdown"
_SYNTHETIC = f"{__name__}.telelogs.synthetic:SyntheticTeleLogs"
_OFFICIAL = f"{__name__}.telelogs.official:TeleLogs"
_BUILT_IN = {
    "countdown-3": _BuiltIn("Combine three numbers up to 99 into a target with + - * /, each once.", _COUNTDOWN, (3,)),
    "countdown-4": _BuiltIn("Combine four numbers up to 99 into a target with + - * /, each once.", _COUNTDOWN, (4,)),
    "telelogs-synthetic": _BuiltIn("Root cause of low throughput in generated 5G drive-test logs.", _SYNTHETIC),
    "telelogs-compact": _BuiltIn("The same in about a hundred tokens, for a tiny model.", _SYNTHETIC, ("compact",)),
    "telelogs": _BuiltIn("Root cause in 5G drive-test logs: netop/TeleLogs (gated; your copy) or a file.", _OFFICIAL),
    "telelogs-randomised": _BuiltIn(
        "The same with labels shuffled and tables swapped: the paper's second test set.",
        _OFFICIAL,
        (),
        {"is_randomised": True},
    ),
}

TASKS: dict[str, str] = {name: built_in.description for name, built_in in _BUILT_IN.items()}
"""The built-in tasks: name and one-line description."""


def load(name: str, **options: Any) -> Task:
    """Make a task from its name.

    Args:
        name: one of `names()`; "path/to/file.py:Name" or "package.module:Name" of a class or function that makes a
            task; or a data file (.jsonl, .ndjson, .json, .csv, .parquet) or hub id "org/name", both with the option
            `reward`.
        **options: the task's options, such as `prompt` and `largest` of countdown-3.

    Returns:
        The task: its `name`, `problems` and `score`, see `Task`.

    Raises:
        ValueError: the name or an option is unknown, or the object that was named is not a task.
        FileNotFoundError, ImportError: the file or module does not exist.

    Example:
        >>> task = load("countdown-3", prompt="terse")
        >>> problem = task.problems("train", seed=0, count=1)[0]
        >>> problem.prompt
        '35,30,76=71:'
        >>> task.score(problem, "<answer>76-35+30</answer>").reward
        1.0
    """
    if name in _BUILT_IN:
        factory = built_in(name)
        _check_types(factory, name, options)
        return _make(factory, name, options)
    if Path(name).suffix.lower() in SUFFIXES:
        return _make(functools.partial(FileTask, name), name, options)
    if ":" in name:
        return _checked(_make(import_object(name, "class"), name, options), name)
    if name.endswith(".py"):
        raise ValueError(f"{name!r} is a file; add the name of the class in it: {name}:MyTask.")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return _make(functools.partial(FileTask, name), name, options)
    installed, unused = installed_tasks(TASKS)
    if name in installed:
        label = f"{name} (of the package {installed[name].package})"
        return _checked(_make(installed[name].factory(), label, options), label)
    if name in unused:
        raise ValueError(unused[name])
    others = f" Of other packages: {', '.join(installed)}." if installed else ""
    raise ValueError(
        f"There is no task {name!r}.{nearest(name, (*TASKS, *installed))} Built in: {', '.join(TASKS)}.{others} For "
        f"your own, give path/to/file.py:MyTask, or a data file ({', '.join(SUFFIXES)}) or hub id org/name with "
        "reward=..."
    )


def names() -> list[str]:
    """The built-in tasks and those of other installed packages, none of which is imported."""
    return [*TASKS, *installed_tasks(TASKS)[0]]


def available() -> dict[str, str]:
    """The tasks of `names` that can be used, each with a line on what it is; imports the packages that have one.

    Warns (SettingWarning) of those that cannot be used, naming their packages.
    """
    installed, unused = installed_tasks(TASKS)
    found = dict(TASKS)
    for name, task in installed.items():
        try:
            found[name] = task.description()
        except (ImportError, ValueError) as error:
            unused[name] = str(error)
    for message in unused.values():
        warnings.warn(message, SettingWarning, stacklevel=2)
    return found


def built_in(name: str) -> Callable[..., Task]:
    """The factory of a built-in task; its signature has the task's options."""
    _, factory, arguments, options = _BUILT_IN[name]
    return functools.partial(import_object(factory, "class"), *arguments, **options)


def _check_types(factory: Callable[..., Task], name: str, options: dict[str, Any]) -> None:
    """Raises ValueError for an option whose type differs from its default's (an int is accepted for a float)."""
    for field in inspect.signature(factory).parameters.values():
        if field.name in options and isinstance(field.default, bool | int | float | str):
            given, kind = options[field.name], type(field.default)
            if type(given) is not kind and not (kind is float and type(given) is int):
                expected = {bool: "true or false", int: "an integer", float: "a number", str: "text"}[kind]
                raise ValueError(
                    f"{name}: the option {field.name} is {given!r}; it takes {expected}, such as {field.default!r}."
                )


def _make(factory: Any, name: str, options: dict[str, Any]) -> Any:
    """factory(**options), after checking that it accepts them."""
    if not callable(factory):
        raise ValueError(f"{name} is {type(factory).__name__}; it must be a class, or a function that returns a task.")
    fields = inspect.signature(factory).parameters.values()
    valid = [field.name for field in fields if field.kind in (field.POSITIONAL_OR_KEYWORD, field.KEYWORD_ONLY)]
    takes_any = any(field.kind is field.VAR_KEYWORD for field in fields)
    for option in options:
        if option not in valid and not takes_any:
            listed = f"its options are {', '.join(valid)}" if valid else "it has no options"
            raise ValueError(f"{name} has no option {option!r}; {listed}.{nearest(option, valid)}")
    for field in fields:
        if field.name in valid and field.default is field.empty and field.name not in options:
            usage = (
                "for example reward='my_reward.py:is_right', or on the command line --reward my_reward.py:is_right"
                if field.name == "reward"
                else f"{field.name}=..., or on the command line --task_options '{{\"{field.name}\": ...}}'"
            )
            raise ValueError(f"{name} requires the option {field.name!r}: {usage}.")
    return factory(**options)


def _checked(task: Any, name: str) -> Task:
    """The object, if it has the members of a Task."""
    missing = [member for member in ("problems", "score") if not callable(getattr(task, member, None))]
    if not isinstance(getattr(task, "name", None), str):
        missing.insert(0, "name")
    if missing:
        raise ValueError(
            f"{name} gave a {type(task).__name__}, which is not a task: it lacks {', '.join(missing)}. A task has a "
            "string `name` and the methods problems(split, seed, count) and score(problem, response)."
        )
    checked: Task = task
    return checked
