"""The embedded model: small enough to ship, weak enough to have something to learn.

path = tiny_model()                        a folder that AutoModelForCausalLM and AutoTokenizer load
task = Countdown(**TASK)                   the problems it is made for
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["LONGEST_RESPONSE", "SHIPPED", "TASK", "tiny_model"]

SHIPPED = Path(__file__).parent / "tiny_countdown"
"""The model that comes with the package, made by `python -m hysteretic.models.tiny` with seed 0."""

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


def tiny_model(cache_dir: Path | str | None = None, seed: int = 0) -> Path:
    """The folder of the tiny model: weights, configuration and tokenizer in the ordinary Hugging Face format.

    seed: 0 is the model that comes with the package, the same bits everywhere. Any other seed makes one by the
        same recipe (minutes on one core) the first time, and keeps it.
    cache_dir: where models of other seeds are kept; None is $XDG_CACHE_HOME/hysteretic (~/.cache/hysteretic).
    """
    if seed == 0:
        return SHIPPED
    from .tiny import cached

    return cached(seed, cache_dir)
