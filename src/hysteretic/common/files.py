"""Atomic writes, and reads that tolerate missing or damaged files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any


def missing_folders(path: Path) -> list[Path]:
    """The folder and its parents as far as they do not exist, innermost first."""
    return [each for each in (path, *path.parents) if not each.exists()]


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove folders, innermost first, up to the first that is not empty."""
    with suppress(OSError):
        for each in folders:
            each.rmdir()


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: to a temporary file beside it, which then replaces it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text atomically, in UTF-8, without changing line endings."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically. Raises ValueError for NaN and infinity."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file is missing, damaged, or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, up to the first incomplete line; empty if the file does not exist."""
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):  # splitlines would split at U+2028
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(content, dict):
            break
        lines.append(content)
    return lines
