"""Probe a model on a task: sample, forecast silent groups, and write probe.json and a page to a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.common.files import missing_folders, remove_empty, write_json
from hysteretic.probe.page import save_page
from hysteretic.probe.record import describe
from hysteretic.probe.sampling import ProbeSettings, sample_task
from hysteretic.tasks.task import Problem, RewardError, Task

FILES = {"probe.json", "index.html", ".lock"}


def run_probe(task: Task, problems: Sequence[Problem], settings: ProbeSettings, folder: Path) -> dict[str, Any]:
    """Probe on these problems; returns the record written to probe.json. Raises UsageError."""
    with _claimed(folder):
        with usage_errors(" Fix the reward function; no response was counted as 0.", RewardError):
            sampled = sample_task(task, problems, settings)
        record = describe(sampled, problems, settings, task)
        write_json(folder / "probe.json", record)
        save_page(record, folder / "index.html")
    return record


@contextlib.contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Lock the folder for this probe. Files of an earlier one stay until the new ones replace them.

    Raises UsageError if it is not writable, holds other files, or another probe is running in it.
    """
    try:
        made = missing_folders(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if {path.name for path in folder.iterdir() if path.suffix != ".part"} - FILES:
            raise UsageError(f"{folder} holds files that no probe wrote; give another --output.")
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise UsageError(
            f"Another `hysteretic probe` is running in {folder}; wait for it, or give another --output."
        ) from error
    except OSError as error:
        raise UsageError(f"Cannot write to {folder} ({error.strerror}); give another --output.") from error
    try:
        yield
    finally:
        lock.release()
        if [path.name for path in folder.iterdir()] == [".lock"]:  # nothing was written
            (folder / ".lock").unlink()
            remove_empty(made)
