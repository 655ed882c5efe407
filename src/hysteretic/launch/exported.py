"""Is what lies in a folder the export that was asked for? Each file keeps the words it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hysteretic import __version__
from hysteretic.common.errors import UsageError

WORDS = "hysteretic"
"""Key of the words in a parquet file's own metadata, which other readers pass over."""


def words_of(task: str, task_options: Mapping[str, Any], split: str, seed: int, count: int | None) -> dict[str, Any]:
    """What decides the rows of a file. count: None where no number was asked for."""
    path = Path(task.rpartition(":")[0] if ":" in task else task)
    source = Path(str(task_options.get("source", "")))
    return {
        "task": task,
        "task_options": dict(task_options),
        "split": split,
        "seed": seed,
        "problems": count,
        "file": next((_digest(each) for each in (path, source) if each.is_file()), None),
        "version": __version__,
    }


def is_there(words: Mapping[Path, Mapping[str, Any]], overwrite: bool) -> bool:
    """Whether every file is there and was made from these words. Raises UsageError for one made from others."""
    there = [path for path in words if path.exists()]
    if overwrite or not there:
        return False
    for path in there:
        found = _words_in(path)
        asked = json.loads(json.dumps(words[path]))
        changed = [
            f"{key} was {found.get(key)!r} and is {value!r}" for key, value in asked.items() if found.get(key) != value
        ]
        if changed:
            what = "; ".join(changed) if found else "it does not say what it was made from"
            raise UsageError(
                f"{path} exists; give another --output, or --overwrite (in `hysteretic launch`: another --data). It is "
                f"another export: {what}."
            )
    return len(there) == len(words)


def _words_in(path: Path) -> dict[str, Any]:
    """Empty for a file of somebody else's."""
    import pyarrow.parquet

    try:
        metadata = pyarrow.parquet.read_schema(path).metadata or {}
        found = json.loads(metadata.get(WORDS.encode(), b"null"))
    except (ValueError, OSError):  # pyarrow's own errors are ValueErrors
        return {}
    return found if isinstance(found, dict) else {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
