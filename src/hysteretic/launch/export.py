"""`hysteretic export`: a task's problems as parquet files for another trainer, however many."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from hysteretic.cli.options import mapping, task_of
from hysteretic.common.errors import UsageError
from hysteretic.launch.exported import WORDS, is_there, words_of
from hysteretic.tasks.exported import exported_row
from hysteretic.tasks.task import Problem, Streams, Task, up_to

ROWS_AT_A_TIME = 1000
"""Held in memory: one row group of the file."""

USUAL_VALIDATION = 200
"""Or as many as there are, where no number was asked for: as `hysteretic train` does."""

PLAIN_PROMPTS = (
    "The prompts are plain strings; each is one user message now, and verl applies the model's chat template, which "
    "`hysteretic train` does not."
)


def main(arguments: Sequence[str]) -> int:
    """Write train.parquet and validation.parquet, both or none; files that are this very export are left alone."""
    options = _parser().parse_args(arguments)
    task = task_of(options)
    task_options = absolute(dict(options.task_options or {}) | ({"reward": options.reward} if options.reward else {}))
    name, folder = task_name(options.task), Path(options.output)
    parts = {
        folder / "train.parquet": ("train", options.train_problems),
        folder / "validation.parquet": (options.validation_split, options.validation_problems),
    }
    words = {path: words_of(name, task_options, split, options.seed, count) for path, (split, count) in parts.items()}
    if is_there(words, options.overwrite):
        print(f"{folder} holds this export already; nothing is written.")
        return 0
    seen: set[str] = set()
    with _both_or_none(list(parts)) as partial:
        for path, (split, count) in reversed(parts.items()):
            if path.name == "validation.parquet":
                usual = USUAL_VALIDATION if count is None else count
                problems = _remembered(drawn(task, split, options.seed, usual, count is not None), seen)
            else:
                problems = drawn(task, split, options.seed, count)
                problems = problems if split == options.validation_split else _disjoint(problems, seen, task)
            rows = write(partial[path], rows_of(name, task_options, problems, split), words[path])
            print(f"{path}: {rows} problems of split {split!r}, seed {options.seed}")
    first = next(iter(drawn(task, "train", options.seed, 1)))
    if isinstance(first.prompt, str):
        print(PLAIN_PROMPTS)
    return 0


@contextmanager
def _both_or_none(paths: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Where to write each file until all are whole. What failed leaves nothing behind, not even a folder."""
    folder = paths[0].parent
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    partial = {path: path.with_name(path.name + ".partial") for path in paths}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield partial
        for path, written in partial.items():
            written.replace(path)
    except BaseException as error:
        for written in partial.values():
            written.unlink(missing_ok=True)
        for each in made:
            with suppress(OSError):
                each.rmdir()
        if isinstance(error, OSError):
            raise UsageError(f"Cannot write to {folder} ({error.strerror or error}); give another --output.") from error
        raise


def drawn(task: Task, split: str, seed: int, count: int | None, is_asked: bool = True) -> Iterator[Problem]:
    """The first `count` problems of a split, one at a time where the task can; fewer where it has no more.

    Raises UsageError, also for fewer where is_asked.
    """
    made = 0
    try:
        if count is None or not isinstance(task, Streams):
            yield from up_to(task, split, seed, count, is_asked)
            return
        for problem in islice(task.stream(split, seed=seed), count):
            made += 1
            yield problem
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"{error} (--train-problems, --validation-problems, --validation-split)") from error
    if made < count and is_asked:
        raise UsageError(
            f"{count} problems of split {split!r} asked, but {task.name} has {made}; ask for fewer "
            "(--train-problems, --validation-problems)."
        )


def rows_of(
    name: str, task_options: dict[str, Any], problems: Iterable[Problem], split: str
) -> Iterator[dict[str, Any]]:
    """The rows of a file. Raises UsageError for a problem whose answer does not travel."""
    for index, problem in enumerate(problems):
        try:
            yield exported_row(name, task_options, problem, split, index)
        except ValueError as error:
            raise UsageError(str(error)) from error


def write(path: Path, rows: Iterable[dict[str, Any]], words: dict[str, Any] | None = None) -> int:
    """Write rows as parquet, a row group at a time; returns their number. words: kept in the file, for `is_there`.

    Raises UsageError when there are none.
    """
    pyarrow, parquet = _pyarrow()
    waiting, total = iter(rows), 0
    schema = _schema(pyarrow).with_metadata({WORDS: json.dumps(words)})
    with parquet.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(waiting, ROWS_AT_A_TIME)):
            writer.write_table(pyarrow.Table.from_pylist(chunk, schema=schema))
            total += len(chunk)
    if not total:
        raise UsageError(f"There are no problems for {path.name.removesuffix('.partial')}; ask for 1 or more.")
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
    parser.add_argument("--validation-problems", type=_number, help="how many (default 200, or as many as there are)")
    parser.add_argument(
        "--validation-split", default="test", help="the task's split they come from (default test, as in `train`)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the problems' order (default 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    return parser
