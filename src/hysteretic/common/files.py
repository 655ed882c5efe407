"""How is a file written so that nobody ever reads half of it? Beside its place, and then moved there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Write whole or not at all."""
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
    """Write whole or not at all, in UTF-8 with the line ends as they are."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write whole or not at all; numbers that are not finite are refused."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
