"""The supported versions of verl, and how verl finds TRL."""

from __future__ import annotations

import re
import sys
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

OLDEST = "0.9.0"
NEWEST = "0.9.1"
"""The oldest and the newest that `make test-verl` runs."""

BELOW = (0, 10)
"""Estimators, trainers and configuration keys change between minor versions."""


def installed_version() -> str | None:
    """verl's version, from its package metadata or, in a source checkout, from verl itself; None without verl."""
    try:
        return metadata.version("verl")
    except metadata.PackageNotFoundError:
        pass
    try:
        return str(import_module("verl").__version__)
    except ModuleNotFoundError as error:
        if error.name == "verl":
            return None
        raise


def check_version(version: str | None) -> None:
    """Raises ImportError if verl is missing (None), or older or newer than the tested versions."""
    range_ = f"verl >= {OLDEST}, < {'.'.join(map(str, BELOW))}"
    install = f'pip install "verl=={NEWEST}" cachetools fastapi uvicorn "TransferQueue>=0.1.10"'
    if version is None:
        raise ImportError(f"hysteretic.verl needs verl, which is not installed here; {install}.", name="verl")
    if not _numbers(OLDEST) <= _numbers(version) or _numbers(version)[:2] >= BELOW:
        raise ImportError(
            f"hysteretic.verl supports {range_}; found verl {version}. Use that range ({install}), or a release of "
            "hysteretic that supports yours.",
            name="verl",
        )


def _numbers(version: str) -> tuple[int, ...]:
    """(0, 9, 1) of 0.9.1, 0.9.1.dev0 or 0.9.1+cu130."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found.group().split("."))) if found else (0,)


def hide_trl() -> None:
    """Make verl believe that TRL is not installed, unless TRL has what verl imports from it. Idempotent.

    verl's FSDP engine patches TRL's AutoModelForCausalLMWithValueHead, which current TRL lacks, so that every model
    would raise an ImportError. Only verl's critic uses that class, and HPO has no critic.
    """
    if has_value_head():
        return
    import_module("verl.utils.import_utils")
    for name in ("verl.utils.import_utils", "verl.models.transformers.monkey_patch", "verl.utils.model"):
        if name in sys.modules:  # what is loaded later takes it from import_utils
            sys.modules[name].is_trl_available = lambda: False  # type: ignore[attr-defined]


def has_value_head() -> bool:
    """Whether the installed TRL has the package that verl asks for first. Does not import TRL."""
    found = find_spec("trl")
    return found is not None and found.origin is not None and (Path(found.origin).parent / "experimental/ppo").is_dir()
