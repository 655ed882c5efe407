"""The embedded models: small enough to ship, weak enough to have something to learn.

path = tiny_model()                        a folder that AutoModelForCausalLM and AutoTokenizer load
task = Countdown(**TASK)                   the problems it is made for
path = tiny_model(task="telelogs-compact") the one for the task telelogs-compact
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["LONGEST_RESPONSE", "SHIPPED", "TASK", "model_path", "tiny_model"]

SHIPPED = Path(__file__).parent / "tiny_countdown"
"""The model that comes with the package, made by `python -m hysteretic.models.tiny` with seed 0."""

OF_TASK = {"telelogs-compact": Path(__file__).parent / "tiny_telelogs"}
"""Other models that come with the package, by the task they are made for (`--task` of the same command)."""

TASK: dict[str, Any] = {
    "size": 3,
    "largest": 9,
    "largest_target": 99,
    "prompt": "terse",
    "guess_rate_below": 0.06,
}
"""Options of Countdown for the tiny model."""

LONGEST_RESPONSE = 72
"""Tokens a response of the tiny model may have; no demonstration is longer."""


def tiny_model(cache_dir: Path | str | None = None, seed: int = 0, task: str = "countdown-3") -> Path:
    """The folder of a tiny model: weights, configuration and tokenizer in the ordinary Hugging Face format.

    seed: 0 is the model that comes with the package, the same bits everywhere. Any other seed makes one by the
        same recipe (minutes on one core) the first time, and keeps it.
    cache_dir: where models of other seeds are kept; None is $XDG_CACHE_HOME/hysteretic (~/.cache/hysteretic).
    task: what it is made for; for a task that has no model of its own it is the one of countdown-3.
    """
    if seed == 0:
        return OF_TASK.get(task, SHIPPED)
    from .tiny import cached

    return cached(seed, cache_dir, task)


def model_path(model: str, task: str) -> str:
    """What to load for the name of a model: the tiny model of the task for "tiny", else the name itself."""
    return str(tiny_model(task=task)) if model == "tiny" else model
