"""Check that checkpoints are complete and undamaged, so that a run can resume. Importing this loads no torch.

A checkpoint is sealed once all its files are on disk: `sealed.json` lists their sizes. One without a seal (written by
another trainer) is checked file by file.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SEAL = "sealed.json"
STATE = "trainer_state.json"
"""The file that transformers writes last."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of an exhausted quota."""


def seal(checkpoint: Path) -> None:
    """Flush every file of a checkpoint to disk, then record their sizes."""
    sizes = {}
    for path in sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL):
        _sync(path)
        sizes[path.relative_to(checkpoint).as_posix()] = path.stat().st_size
    part = checkpoint / f"{SEAL}.part"
    part.write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
    _sync(part)
    os.replace(part, checkpoint / SEAL)


def find_corruption(checkpoint: Path) -> str | None:
    """What makes a checkpoint unusable, for a message; None for an intact one."""
    if _json(checkpoint / STATE) is None:
        return "it is incomplete"
    if (checkpoint / SEAL).is_file():
        sizes = _json(checkpoint / SEAL)
        if sizes is None:
            return f"{SEAL} is damaged"
        for name, size in sizes.items():
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != size:
                return f"{name} has {path.stat().st_size:,} of {size:,} bytes"
    for path in sorted(checkpoint.rglob("*")):
        flaw = _find_corruption_in_file(path)
        if flaw is not None:
            return f"{path.relative_to(checkpoint).as_posix()} {flaw}"
    return None


def numbered(folder: Path) -> dict[int, Path]:
    """The folders checkpoint-N by N, newest first, in any state."""
    found = {}
    for path in folder.glob("checkpoint-*"):
        number = path.name.removeprefix("checkpoint-")
        if number.isdecimal() and path.is_dir():
            found[int(number)] = path
    return dict(sorted(found.items(), reverse=True))


@contextmanager
def atomic_checkpoint(checkpoint: Path) -> Iterator[None]:
    """Remove the checkpoint if writing it fails. Raises OSError (ENOSPC) where the disk is full.

    torch and safetensors raise errors of their own on a full disk, some of which do not say so.
    """
    (checkpoint / SEAL).unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        is_full = _is_full(checkpoint.parent)
        shutil.rmtree(checkpoint, ignore_errors=True)
        if is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(checkpoint)) from error
        raise


def keep_newest(folder: Path, count: int | None, also: str | None = None) -> None:
    """Remove all but the newest `count` checkpoints and the one named `also`; None or 0 keeps all."""
    for path in list(numbered(folder).values())[count:] if count else []:
        if also is None or path.resolve() != Path(also).resolve():
            shutil.rmtree(path, ignore_errors=True)


def set_aside(checkpoint: Path) -> str:
    """Set a damaged checkpoint aside; returns a description of what was done.

    A sealed one is renamed to torn-N, since parts may be usable. One that was never complete is removed.
    """
    if not (checkpoint / SEAL).is_file():
        shutil.rmtree(checkpoint)
        return "removed"
    aside = checkpoint.with_name(f"torn-{checkpoint.name.removeprefix('checkpoint-')}")
    shutil.rmtree(aside, ignore_errors=True)
    checkpoint.rename(aside)
    return f"kept as {aside.name}"


def _find_corruption_in_file(path: Path) -> str | None:
    """What is wrong with a weight file or a torch.save file, judged by its own format; None if nothing is."""
    if path.suffix == ".safetensors":
        with path.open("rb") as file:
            head = file.read(8)
            length = int.from_bytes(head, "little")
            size = path.stat().st_size
            if len(head) < 8 or 8 + length > size:
                return "is truncated"
            try:
                tensors = json.loads(file.read(length))
                ends = [entry["data_offsets"][1] for key, entry in tensors.items() if key != "__metadata__"]
            except (ValueError, TypeError, KeyError, AttributeError):
                return "has no readable header"
            return None if size == 8 + length + max(ends, default=0) else "is truncated"
    if path.suffix in (".pt", ".pth", ".bin") and not zipfile.is_zipfile(path):
        return "is truncated"
    return None


def _json(path: Path) -> dict[str, int] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _is_full(folder: Path) -> bool:
    """Whether the disk is full. Tested by writing, since free space does not reflect quotas."""
    probe = folder / f".space-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno in FULL
    finally:
        with suppress(OSError):
            probe.unlink()
    return False
