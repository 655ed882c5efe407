"""`hysteretic export`: a task's problems as parquet files for another trainer, however many."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hysteretic.lab.errors import UsageError
from hysteretic.lab.evaluation import load_task, mapping
from hysteretic.tasks.exported import exported_row
from hysteretic.tasks.task import Problem, Streams, Task

ROWS_AT_A_TIME = 1000
"""Held in memory: one row group of the file."""


def main(arguments: Sequence[str]) -> int:
    """Write train.parquet and validation.parquet."""
    options = _parser().parse_args(arguments)
    task = load_task(options)
    task_options = absolute(dict(options.task_options or {}) | ({"reward": options.reward} if options.reward else {}))
    folder = Path(options.output)
    files = {
        "train": (folder / "train.parquet", "train", options.train_problems),
        "validation": (folder / "validation.parquet", options.validation_split, options.validation_problems),
    }
    for path, _, _ in files.values():
        if path.exists() and not options.overwrite:
            raise UsageError(f"{path} exists; give another --output, or --overwrite.")
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    for name, (path, split, count) in reversed(files.items()):
        problems = drawn(task, split, options.seed, count)
        if name == "validation":
            problems = _remembered(problems, seen)
        elif split != options.validation_split:
            problems = _disjoint(problems, seen, task)
        rows = write(path, rows_of(task_name(options.task), task_options, problems, split))
        print(f"{path}: {rows} problems of split {split!r}, seed {options.seed}")
    first = next(iter(drawn(task, "train", options.seed, 1)))
    if isinstance(first.prompt, str):
        print(
            "The prompts are plain strings; each is one user message now, and verl applies the model's chat template."
        )
    return 0


def drawn(task: Task, split: str, seed: int, count: int | None) -> Iterator[Problem]:
    """The first `count` problems of a split, one at a time where the task can. Raises UsageError."""
    try:
        if count is None or not isinstance(task, Streams):
            yield from task.problems(split, seed=seed, count=count)
            return
        made = 0
        for problem in islice(task.stream(split, seed=seed), count):
            made += 1
            yield problem
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error
    if made < count:
        raise UsageError(f"{count} problems of split {split!r} asked, but {task.name} has {made}; ask for fewer.")


def rows_of(
    name: str, task_options: dict[str, Any], problems: Iterable[Problem], split: str
) -> Iterator[dict[str, Any]]:
    """The rows of a file. Raises UsageError for a problem whose answer does not travel."""
    for index, problem in enumerate(problems):
        try:
            yield exported_row(name, task_options, problem, split, index)
        except ValueError as error:
            raise UsageError(str(error)) from error


def write(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows as parquet, a row group at a time; the file is there when it is complete. Returns their number.

    Raises UsageError when there are none.
    """
    pyarrow, parquet = _pyarrow()
    partial = path.with_name(path.name + ".partial")
    waiting, total = iter(rows), 0
    try:
        with parquet.ParquetWriter(partial, _schema(pyarrow)) as writer:
            while chunk := list(islice(waiting, ROWS_AT_A_TIME)):
                writer.write_table(pyarrow.Table.from_pylist(chunk, schema=writer.schema))
                total += len(chunk)
        if not total:
            raise UsageError(f"There are no problems for {path.name}; ask for 1 or more.")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return total


def absolute(task_options: dict[str, Any]) -> dict[str, Any]:
    """Options with file names that hold in any working directory: reward="my.py:f" and source="my.json"."""
    found = dict(task_options)
    for key in ("reward", "source"):
        value = found.get(key)
        if isinstance(value, str):
            path, colon, name = value.rpartition(":") if key == "reward" else (value, "", "")
            if Path(path).is_file():
                found[key] = f"{Path(path).resolve()}{colon}{name}"
    return found


def task_name(name: str) -> str:
    """A task's name as it holds in any working directory: data.jsonl and my_task.py:Mine become absolute."""
    path, colon, member = name.rpartition(":") if ":" in name else (name, "", "")
    return f"{Path(path).resolve()}{colon}{member}" if Path(path).is_file() else name


def _schema(pyarrow: Any) -> Any:
    text = pyarrow.string()
    return pyarrow.schema(
        {
            "data_source": text,
            "prompt": pyarrow.list_(pyarrow.struct({"role": text, "content": text})),
            "ability": text,
            "reward_model": pyarrow.struct({"style": text, "ground_truth": text}),
            "extra_info": pyarrow.struct(
                {"task_options": text, "problem_id": text, "split": text, "index": pyarrow.int64()}
            ),
        }
    )


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise UsageError('Writing parquet needs pyarrow; pip install "hysteretic[trl]".') from error
    return pyarrow, pyarrow.parquet


def _remembered(problems: Iterator[Problem], seen: set[str]) -> Iterator[Problem]:
    for problem in problems:
        seen.add(problem.id)
        yield problem


def _disjoint(problems: Iterator[Problem], held_out: set[str], task: Task) -> Iterator[Problem]:
    for problem in problems:
        if problem.id in held_out:
            raise UsageError(
                f"The problem {problem.id} of {task.name} is in the training and in the validation split; make the "
                "task's splits disjoint."
            )
        yield problem


def _number(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} problems; ask for 1 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hysteretic export", description=__doc__)
    parser.add_argument("--task", required=True, help="as for `hysteretic train`")
    parser.add_argument("--task-options", "--task_options", type=mapping, help="JSON mapping of the task's options")
    parser.add_argument("--reward", help="for a data file or hub data set: file.py:function")
    parser.add_argument("--format", choices=["verl"], default="verl", help="whose columns (default verl)")
    parser.add_argument("--output", required=True, help="folder for train.parquet and validation.parquet")
    parser.add_argument("--train-problems", type=_number, help="how many (default: the task's)")
    parser.add_argument("--validation-problems", type=_number, default=200, help="how many (default 200)")
    parser.add_argument(
        "--validation-split", default="test", help="the task's split they come from (default test, as in `train`)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the problems' order (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser
