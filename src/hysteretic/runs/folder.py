"""What does a run leave behind? One folder.

config.yaml         what was asked for; `--config` takes it back
run.json            effective settings, versions, data and model, command, state, alarms
metrics.jsonl       one line an update
evaluation.json     held-out pass@1 before and after, with intervals
samples.jsonl       a few held-out responses before and after
checkpoint-N/       what `--resume` goes on from; torn-N: one that was damaged afterwards
model/              the trained model and its tokenizer
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from hysteretic.common.errors import UsageError
from hysteretic.common.files import write_text
from hysteretic.config.facts import named


class RunFolder:
    """The files of one run, by name."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.run = self.path / "run.json"
        self.metrics = self.path / "metrics.jsonl"
        self.evaluation = self.path / "evaluation.json"
        self.samples = self.path / "samples.jsonl"
        self.model = self.path / "model"

    def claim(self, resume: bool) -> None:
        """Make the folder, or accept it for resuming. Raises UsageError before anything is written over."""
        if resume and not self.run.is_file():
            raise UsageError(f"There is no run to resume in {self.path}; drop --resume to start one there.")
        found = [path for path in self.path.iterdir() if path.name != ".lock"] if self.path.is_dir() else []
        if not resume and self.path.exists() and (not self.path.is_dir() or found):
            what = "holds a run already" if self.run.is_file() else "is not empty"
            raise UsageError(f"{self.path} {what}; give another --output, or --resume to go on with a run.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(f"Cannot write to {self.path} ({error.strerror}); give another --output.") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While a run is written here; the system frees the lock however the process ends. Raises UsageError."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UsageError(
                f"Another process is training in {self.path}; wait for it or stop it, or give another --output."
            ) from error
        try:
            yield
        finally:
            lock.release()
            if [path.name for path in self.path.iterdir()] == [".lock"]:  # nothing came of it
                (self.path / ".lock").unlink()

    def write_json(self, path: Path, content: Any) -> None:
        """Write whole or not at all."""
        write_text(path, json.dumps(content, indent=2, default=str) + "\n")

    def write_config(self, asked: dict[str, Any]) -> None:
        """Keep what was asked for, so that `--config` or `--resume` repeats it."""
        of_call = named(lambda facts: facts.of_call)
        settings = {key: value for key, value in asked.items() if key not in of_call}
        write_text(self.config, yaml.safe_dump(settings, sort_keys=True))

    def earlier_starts(self) -> list[dict[str, Any]]:
        """When and how this run was started before, oldest first; empty for a new one."""
        record = read_json(self.run) or {}
        kept = {key: record[key] for key in ("started", "command", "versions", "source_sha256") if key in record}
        return [*record.get("resumed_from", []), *([kept] if kept else [])]

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one update's figures; on the disk before any checkpoint that follows."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def cut_metrics(self, last_step: int) -> None:
        """Forget updates after a step, and a line torn by a power cut: they will be made again."""
        if self.metrics.is_file():
            kept = [line for line in read_lines(self.metrics) if line["step"] <= last_step]
            write_text(self.metrics, "".join(json.dumps(line) + "\n" for line in kept))

    def note_samples(self, when: str, samples: Iterable[dict[str, Any]]) -> None:
        """Keep responses to look at, in place of those of an earlier evaluation at the same time of the run."""
        others = read_lines(self.samples) if self.samples.is_file() else []
        lines = [line for line in others if line["when"] != when] + [{"when": when, **sample} for sample in samples]
        write_text(self.samples, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line, up to the first that is torn."""
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):  # not at U+2028 within a text
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(content, dict):
            break
        lines.append(content)
    return lines


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is none, or a torn one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def versions() -> dict[str, str]:
    """What the figures depend on: Python and the packages that compute them."""
    names = ["hysteretic", "torch", "trl", "transformers", "accelerate", "peft", "datasets", "tokenizers", "vllm"]
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
