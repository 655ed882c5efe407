"""Export any number of a task's problems as parquet files. Each file records what it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import hysteretic.tasks
from hysteretic import __version__
from hysteretic.common.errors import UsageError
from hysteretic.tasks.checked import check_labelled
from hysteretic.tasks.exported import exported_row
from hysteretic.tasks.task import Problem, Streams, Task, up_to

ROWS_AT_A_TIME = 1000
"""Rows held in memory at a time: one row group of the file."""

USUAL_VALIDATION = 200
"""The default number, or fewer if the task has fewer, as in `hysteretic train`."""

ORIGIN = "hysteretic"
"""Metadata key (ignored by other readers) for what a parquet file was made from."""

PLAIN_PROMPTS = (
    "The prompts are plain strings; each becomes one user message, to which verl applies the model's chat template, "
    "unlike `hysteretic train`."
)


@dataclass(frozen=True)
class ExportSpec:
    """What to export and where. task_options: with `reward` for a data file. problems: None for the usual number."""

    task: str
    output: Path
    task_options: dict[str, Any] = field(default_factory=dict)
    train_problems: int | None = None
    validation_problems: int | None = None
    validation_split: str = "test"
    seed: int = 0
    overwrite: bool = False

    def words(self) -> list[str]:
        """The equivalent command."""
        options = dict(self.task_options)
        flags = {
            "--reward": options.pop("reward", None),
            "--task-options": json.dumps(options) if options else None,
            "--train-problems": self.train_problems,
            "--validation-problems": self.validation_problems,
            "--validation-split": None if self.validation_split == "test" else self.validation_split,
        }
        given = [str(word) for flag, value in flags.items() if value is not None for word in (flag, value)]
        words = ["hysteretic", "export", "--task", self.task, "--format", "verl", "--output", str(self.output), *given]
        return [*words, "--seed", str(self.seed), *(["--overwrite"] if self.overwrite else [])]


def export(spec: ExportSpec) -> list[str]:
    """Write train.parquet and validation.parquet, both or neither; returns messages for the user.

    If both files already hold this export, nothing is written. Raises UsageError.
    """
    name, task_options, folder = task_name(spec.task), absolute(spec.task_options), spec.output
    task = _load(name, task_options)
    check_labelled(task)
    parts = {
        folder / "train.parquet": ("train", spec.train_problems),
        folder / "validation.parquet": (spec.validation_split, spec.validation_problems),
    }
    origins = {path: origin_of(name, task_options, split, spec.seed, count) for path, (split, count) in parts.items()}
    if is_there(origins, spec.overwrite):
        return [f"{folder} already holds this export; nothing was written."]
    seen: set[str] = set()
    told = []
    with _both_or_neither(list(parts)) as partial:
        for path, (split, count) in reversed(parts.items()):
            if path.name == "validation.parquet":
                usual = USUAL_VALIDATION if count is None else count
                problems = _remembered(drawn(task, split, spec.seed, usual, count is not None), seen)
            else:
                problems = drawn(task, split, spec.seed, count)
                problems = problems if split == spec.validation_split else _disjoint(problems, seen, task)
            rows = write(partial[path], rows_of(name, task_options, problems, split), origins[path])
            told.append(f"{path}: {rows} problems of split {split!r}, seed {spec.seed}")
    first = next(iter(drawn(task, "train", spec.seed, 1)))
    return [*told, PLAIN_PROMPTS] if isinstance(first.prompt, str) else told


def _load(name: str, task_options: dict[str, Any]) -> Task:
    try:
        return hysteretic.tasks.load(name, **task_options)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error


@contextmanager
def _both_or_neither(paths: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Where to write each file until all are complete. A failure leaves nothing behind, not even a folder."""
    folder = paths[0].parent
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    partial = {path: path.with_name(path.name + ".partial") for path in paths}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            if path.is_dir():
                raise UsageError(f"{path} is a folder; give another --output.")
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


def drawn(task: Task, split: str, seed: int, count: int | None, is_required: bool = True) -> Iterator[Problem]:
    """The first `count` problems of a split, streamed if the task can; fewer if it has no more.

    Raises UsageError, also for fewer if is_required.
    """
    made = 0
    try:
        if count is None or not isinstance(task, Streams):
            yield from up_to(task, split, seed, count, is_required)
            return
        for problem in islice(task.stream(split, seed=seed), count):
            made += 1
            yield problem
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"{error} (--train-problems, --validation-problems, --validation-split)") from error
    if made < count and is_required:
        raise UsageError(
            f"{count} problems of split {split!r} requested, but {task.name} has {made}; request fewer "
            "(--train-problems, --validation-problems)."
        )


def rows_of(
    name: str, task_options: dict[str, Any], problems: Iterable[Problem], split: str
) -> Iterator[dict[str, Any]]:
    """The rows of a file. Raises UsageError for an answer that is not valid JSON."""
    for index, problem in enumerate(problems):
        try:
            yield exported_row(name, task_options, problem, split, index)
        except ValueError as error:
            raise UsageError(str(error)) from error


def write(path: Path, rows: Iterable[dict[str, Any]], origin: Mapping[str, Any] | None = None) -> int:
    """Write rows as parquet, one row group at a time; returns their number. origin: recorded, for `is_there`.

    Raises UsageError when there are none.
    """
    pyarrow, parquet = _pyarrow()
    waiting, total = iter(rows), 0
    schema = _schema(pyarrow).with_metadata({ORIGIN: json.dumps(origin)})
    with parquet.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(waiting, ROWS_AT_A_TIME)):
            writer.write_table(pyarrow.Table.from_pylist(chunk, schema=schema))
            total += len(chunk)
    if not total:
        raise UsageError(f"There are no problems for {path.name.removesuffix('.partial')}; request 1 or more.")
    return total


def absolute(task_options: dict[str, Any]) -> dict[str, Any]:
    """Options whose file names are valid in any working directory: reward="my.py:f" and source="my.json", ...."""
    found = dict(task_options)
    for key in ("reward", "source", "answers"):
        value = found.get(key)
        if isinstance(value, str):
            path, colon, name = value.rpartition(":") if key == "reward" else (value, "", "")
            if Path(path).is_file():
                found[key] = f"{Path(path).resolve()}{colon}{name}"
    return found


def task_name(name: str) -> str:
    """A task's name that is valid in any working directory: data.jsonl and my_task.py:Mine become absolute."""
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
                f"The problem {problem.id} of {task.name} is in both the training and the validation split; make the "
                "task's splits disjoint."
            )
        yield problem


def origin_of(task: str, task_options: Mapping[str, Any], split: str, seed: int, count: int | None) -> dict[str, Any]:
    """Everything that determines the rows of a file. count: None if no number was given."""
    path = Path(task.rpartition(":")[0] if ":" in task else task)
    sources = [Path(str(task_options.get(key, ""))) for key in ("source", "answers")]
    digests = [_digest(each) for each in (path, *sources) if each.is_file()]
    return {
        "task": task,
        "task_options": dict(task_options),
        "split": split,
        "seed": seed,
        "problems": count,
        "file": " ".join(digests) or None,
        "version": __version__,
    }


def is_there(origins: Mapping[Path, Mapping[str, Any]], overwrite: bool) -> bool:
    """Whether every file exists and holds this export. Raises UsageError for a file with other contents."""
    there = [path for path in origins if path.exists()]
    if overwrite or not there:
        return False
    for path in there:
        found = _origin_in(path)
        wanted = json.loads(json.dumps(origins[path]))
        changed = [
            f"{key} was {found.get(key)!r} and is {value!r}" for key, value in wanted.items() if found.get(key) != value
        ]
        if changed:
            what = "; ".join(changed) if found else "it does not record what it was made from"
            raise UsageError(
                f"{path} exists; give another --output, or --overwrite (in `hysteretic launch`: another --data). It "
                f"holds a different export: {what}."
            )
    return len(there) == len(origins)


def _origin_in(path: Path) -> dict[str, Any]:
    """The recorded origin; empty for a file that something else wrote."""
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
        found = json.loads(metadata.get(ORIGIN.encode(), b"null"))
    except (ValueError, OSError):  # pyarrow's own errors are ValueErrors
        return {}
    return found if isinstance(found, dict) else {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
