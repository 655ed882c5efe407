"""`hysteretic show`: one problem of a task, with its answer and how to check it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hysteretic.cli.options import add_task, page_path, task_of
from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.html.text import visible
from hysteretic.tasks.task import Problem, Task, explained, pictures, prompt_parts


def main(arguments: Sequence[str]) -> int:
    """Print a problem, and write a page with its picture to --output."""
    options = build_parser().parse_args(arguments)
    if options.index < 0:
        raise UsageError(f"--index is {options.index}; problems are numbered from 0.")
    page = None if options.output is None else page_path(options.output, "--output")
    task = task_of(options)
    with usage_errors():
        found = task.problems(options.split, seed=options.seed, count=options.index + 1)
    if len(found) <= options.index:
        raise UsageError(
            f"--index is {options.index}, but {task.name} has {len(found)} problems in split {options.split!r}."
        )
    problem = found[options.index]
    where = f"{task.name}, split {options.split}, seed {options.seed}, problem {options.index}"
    print(visible(as_text(task, problem, where)))
    if page is not None:
        save(task, problem, where, page)
        print(f"\nPage: {page}")
    return 0


def as_text(task: Task, problem: Problem, where: str) -> str:
    """The problem for the terminal."""
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


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(prog="hysteretic show", description="Print one problem of a task with its answer.")
    add_task(parser)
    parser.add_argument("--split", default="test", help="the task's split (default: test)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the problems' order (default: 0)")
    parser.add_argument("--index", type=int, default=0, help="number of the problem, counted from 0 (default: 0)")
    parser.add_argument("--output", metavar="FILE", help="write an HTML page with the problem's picture")
    return parser
