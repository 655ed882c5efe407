"""The embedded models: small enough to ship, weak enough to have something to learn.

path = tiny_model()                         a folder that AutoModelForCausalLM and AutoTokenizer load
task = Countdown(**TASK)                    the problems it is made for
path = tiny_model(task="telelogs-compact")  the model for the task telelogs-compact
"""

from __future__ import annotations

from pathlib import Path

from .countdown_demonstrations import LONGEST_RESPONSE, TASK

__all__ = ["LONGEST_RESPONSE", "SHIPPED", "TASK", "model_path", "tiny_model"]

SHIPPED = Path(__file__).parent / "tiny_countdown"
"""The model that ships with the package, made by `python -m hysteretic.models.tiny` with seed 0."""

OF_TASK = {"telelogs-compact": Path(__file__).parent / "tiny_telelogs"}
"""Other models that ship with the package, by the task they are made for (`--task` of the same command)."""


def tiny_model(*, cache_dir: Path | str | None = None, seed: int = 0, task: str = "countdown-3") -> Path:
    """The folder of a tiny model: weights, configuration and tokenizer in the usual Hugging Face format.

    Args:
        cache_dir: where models of other seeds are kept; None means $XDG_CACHE_HOME/hysteretic (~/.cache/hysteretic).
        seed: 0 is the model that ships with the package, identical everywhere. Any other seed trains a model with the
            same recipe on first use (minutes on one core) and keeps it.
        task: the task it is made for; tasks without a model of their own get that of countdown-3.

    Returns:
        A path that `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` load.

    Example:
        >>> (tiny_model() / "config.json").is_file()
        True
    """
    if seed == 0:
        return OF_TASK.get(task, SHIPPED)
    from .tiny import cached

    return cached(seed, cache_dir, task)


def model_path(model: str, task: str) -> str:
    """What to load for a model name: the tiny model of the task for "tiny", otherwise the name itself."""
    return str(tiny_model(task=task)) if model == "tiny" else model
