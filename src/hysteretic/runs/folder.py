"""The folder of a run.

config.yaml         the settings as given; `--config` reads it
run.json            effective settings, objective, versions, data and model, command, state, alarms
metrics.jsonl       one line per update
evaluation.json     held-out pass@1 before and after training, with intervals
samples.jsonl       a few held-out responses before and after training
checkpoint-N/       what `--resume` continues from; torn-N: a checkpoint that was damaged later
model/              the trained model and its tokenizer
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from hysteretic.common.errors import UsageError
from hysteretic.common.files import missing_folders, read_json, read_lines, remove_empty, write_text
from hysteretic.config.facts import named


class RunFolder:
    """The files of a run: their paths, and writing them."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._made: list[Path] = []
        self.config = self.path / "config.yaml"
        self.run = self.path / "run.json"
        self.metrics = self.path / "metrics.jsonl"
        self.evaluation = self.path / "evaluation.json"
        self.samples = self.path / "samples.jsonl"
        self.model = self.path / "model"

    def claim(self, resume: bool) -> None:
        """Create the folder, or accept an existing run to resume. Raises UsageError before anything is overwritten."""
        try:
            if resume and not self.run.is_file():
                raise UsageError(f"There is no run to resume in {self.path}; drop --resume to start one.")
            found = [path for path in self.path.iterdir() if path.name != ".lock"] if self.path.is_dir() else []
            if not resume and self.path.exists() and (not self.path.is_dir() or found):
                what = "already holds a run" if self.run.is_file() else "is not empty"
                raise UsageError(f"{self.path} {what}; give another --output, or --resume to continue a run.")
            self._made = missing_folders(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(f"Cannot write to {self.path} ({error.strerror}); give another --output.") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock, which the system frees when the process ends. Raises UsageError if it is taken."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UsageError(
                f"Another process is training in {self.path}; wait for it, stop it, or give another --output."
            ) from error
        try:
            yield
        finally:
            lock.release()
            if [path.name for path in self.path.iterdir()] == [".lock"]:  # nothing was written
                (self.path / ".lock").unlink()
                remove_empty(self._made)

    def write_json(self, path: Path, content: Any) -> None:
        """Write JSON atomically."""
        write_text(path, json.dumps(content, indent=2, default=str) + "\n")

    def write_config(self, asked: dict[str, Any]) -> None:
        """Save the settings as given, for `--config` and `--resume`."""
        of_call = named(lambda facts: facts.of_call)
        settings = {key: value for key, value in asked.items() if key not in of_call}
        write_text(self.config, yaml.safe_dump(settings, sort_keys=True))

    def earlier_starts(self) -> list[dict[str, Any]]:
        """Previous starts of this run, oldest first; empty for a new one."""
        record = read_json(self.run) or {}
        kept = {key: record[key] for key in ("started", "command", "versions", "source_sha256") if key in record}
        return [*record.get("resumed_from", []), *([kept] if kept else [])]

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Append the metrics of an update, flushed to disk before any checkpoint that follows."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def cut_metrics(self, last_step: int) -> None:
        """Drop the updates after a step and an incomplete last line; they will be repeated."""
        if self.metrics.is_file():
            kept = [line for line in read_lines(self.metrics) if line["step"] <= last_step]
            write_text(self.metrics, "".join(json.dumps(line) + "\n" for line in kept))

    def note_samples(self, when: str, samples: Iterable[dict[str, Any]]) -> None:
        """Save a few sample responses, replacing those of an earlier evaluation at the same point of the run."""
        kept = [line for line in read_lines(self.samples) if line["when"] != when]
        lines = [*kept, *({"when": when, **sample} for sample in samples)]
        write_text(self.samples, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
