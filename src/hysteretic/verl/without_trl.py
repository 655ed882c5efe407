"""Hides TRL from verl, so that both may be installed.

Where verl's FSDP engine finds TRL it patches TRL's AutoModelForCausalLMWithValueHead. Current TRL has none, so every
model would end in an ImportError. Only a critic of verl uses that class, and HPO has no critic.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path


def hide_trl() -> None:
    """Have verl take TRL for not installed, unless TRL has what verl imports from it. A second time changes nothing."""
    if has_value_head():
        return
    import_module("verl.utils.import_utils")
    for name in ("verl.utils.import_utils", "verl.models.transformers.monkey_patch", "verl.utils.model"):
        if name in sys.modules:  # what is loaded later takes it from import_utils
            sys.modules[name].is_trl_available = lambda: False  # type: ignore[attr-defined]


def has_value_head() -> bool:
    """Whether the installed TRL has the package that verl asks for first. Loads no TRL."""
    found = find_spec("trl")
    return found is not None and found.origin is not None and (Path(found.origin).parent / "experimental/ppo").is_dir()
