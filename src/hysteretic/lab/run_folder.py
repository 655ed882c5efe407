"""What does a run leave behind? One folder.

config.yaml         what was asked for; `--config` takes it back
run.json            effective settings, versions, data and model, command, state, alarms
metrics.jsonl       one line an update
evaluation.json     held-out pass@1 before and after, with intervals
samples.jsonl       a few held-out responses before and after
checkpoint-N/       what `--resume` goes on from
model/              the trained model and its tokenizer
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from hysteretic.lab.errors import UsageError


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

    def lock(self) -> FileLock:
        """Held while a run is written here; the system frees it however the process ends. Raises UsageError."""
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise UsageError(
                f"Another process is training in {self.path}; wait for it or stop it, or give another --output."
            ) from error
        return lock

    def last_checkpoint(self, below: int | None = None) -> Path | None:
        """The newest checkpoint that was written to its end (and made before the update `below`)."""
        named = [path for path in self.path.glob("checkpoint-*") if path.name.rsplit("-", 1)[1].isdecimal()]
        complete = [path for path in named if read_json(path / "trainer_state.json") is not None]
        number = {path: int(path.name.rsplit("-", 1)[1]) for path in complete}
        return max(
            (path for path in complete if not below or number[path] < below),
            key=lambda path: number[path],
            default=None,
        )

    def write_json(self, path: Path, content: Any) -> None:
        """Write whole or not at all."""
        part = path.with_suffix(".part")
        part.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
        os.replace(part, path)

    def write_config(self, asked: dict[str, Any]) -> None:
        """Keep what was asked for, so that `--config` or `--resume` repeats it."""
        settings = {key: value for key, value in asked.items() if key not in ("resume", "output", "config")}
        part = self.config.with_suffix(".part")
        part.write_text(yaml.safe_dump(settings, sort_keys=True), encoding="utf-8")
        os.replace(part, self.config)

    def earlier_starts(self) -> list[dict[str, Any]]:
        """When and how this run was started before, oldest first; empty for a new one."""
        record = read_json(self.run) or {}
        kept = {key: record[key] for key in ("started", "command", "versions", "source_sha256") if key in record}
        return [*record.get("resumed_from", []), *([kept] if kept else [])]

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one update's figures."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def cut_metrics(self, last_step: int) -> None:
        """Forget updates after a step, and a line torn by a power cut: they will be made again."""
        if self.metrics.is_file():
            kept = [line for line in read_lines(self.metrics) if line["step"] <= last_step]
            part = self.metrics.with_suffix(".part")
            part.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            os.replace(part, self.metrics)

    def note_samples(self, samples: Iterable[dict[str, Any]]) -> None:
        """Add responses to look at."""
        with self.samples.open("a", encoding="utf-8") as file:
            for sample in samples:
                file.write(json.dumps(sample, ensure_ascii=False) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line, up to the first that is torn."""
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
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
