"""`hysteretic show`: one problem of a task, with its answer and how that can be checked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hysteretic.common.errors import UsageError
from hysteretic.evals.evaluation import load_task, mapping, page_path
from hysteretic.html.problem import explained, pictures, prompt_parts
from hysteretic.html.text import visible
from hysteretic.tasks.task import Problem, Task


def main(arguments: Sequence[str]) -> int:
    """Print a problem, and write a page with its picture where --output says."""
    options = _parser().parse_args(arguments)
    if options.index < 0:
        raise UsageError(f"--index is {options.index}; problems are counted from 0.")
    page = None if options.output is None else page_path(options.output, "--output")
    task = load_task(options)
    try:
        found = task.problems(options.split, seed=options.seed, count=options.index + 1)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    if len(found) <= options.index:
        raise UsageError(
            f"--index is {options.index}, but {task.name} has {len(found)} problems in split {options.split!r}."
        )
    problem = found[options.index]
    where = f"{task.name}, split {options.split}, seed {options.seed}, problem {options.index}"
    print(visible(as_text(task, problem, where)))
    if page is not None:
        save(task, problem, where, page)
        print(f"\nThe page is {page}")
    return 0


def as_text(task: Task, problem: Problem, where: str) -> str:
    """For the terminal."""
    lines = [where, f"id: {problem.id}"]
    for role, text in prompt_parts(problem):
        lines += ["", f"{role or 'prompt'}:", *(f"  {line}" for line in text.splitlines())]
    answer, *why = explained(task, problem)
    return "\n".join([*lines, "", "Expected answer:", f"  {answer}", *(f"  {line}" for line in why)])


def save(task: Task, problem: Problem, where: str, path: Path) -> None:
    """The page: the expected answer and its reasons, the picture, then the prompt."""
    from hysteretic.html.page import save_page

    values = {"problem": problem, "lines": explained(task, problem), "charts": pictures(task, problem)}
    save_page(path, "html/problem.html", title=where, **values)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hysteretic show", description="One problem of a task, and its answer.")
    parser.add_argument("--task", required=True, help="as for `hysteretic train`")
    parser.add_argument("--task-options", "--task_options", type=mapping, help="JSON mapping of the task's options")
    parser.add_argument("--reward", help="for a data file or hub data set: file.py:function")
    parser.add_argument("--split", default="test")
    parser.add_argument("--seed", type=int, default=0, help="of the problems' order (default 0)")
    parser.add_argument("--index", type=int, default=0, help="which problem, from 0 on (default 0)")
    parser.add_argument("--output", help="HTML file for a page with the problem's picture")
    return parser
