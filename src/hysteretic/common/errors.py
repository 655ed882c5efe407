"""UsageError and SettingWarning, for wrong and doubtful settings, and the hint at the name that was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UsageError(ValueError):
    """The command or its settings are wrong. The message, shown without a traceback, says what to do."""


class SettingWarning(UserWarning):
    """Settings that work, but not as most users would expect. Commands print it in one line, without a place."""


@contextmanager
def usage_errors(
    advice: str = "", kinds: type[Exception] | tuple[type[Exception], ...] = (ValueError, OSError, ImportError)
) -> Iterator[None]:
    """Turn errors of user code and user data into UsageError.

    Args:
        advice: added to the message, such as which flag to change.
        kinds: the exceptions to convert; by default those that a task may raise when it is loaded or draws problems.

    Raises:
        UsageError: in place of any of `kinds`, with that error as its cause. A UsageError passes unchanged.
    """
    try:
        yield
    except UsageError:
        raise
    except kinds as error:
        raise UsageError(f"{error}{advice}") from error


class Refusals:
    """Several UsageErrors as one, so that a user sees everything to change at once."""

    def __init__(self) -> None:
        self._messages: list[str] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Keep a UsageError of the block for `check` and continue after the block."""
        try:
            yield
        except UsageError as error:
            self._messages.append(str(error))

    def check(self) -> None:
        """Raises UsageError with every message so far, one per line, if there is any."""
        if self._messages:
            raise UsageError("\n".join(dict.fromkeys(self._messages)))


def algorithm_name(name: str) -> str:
    """The name of an algorithm as it is listed: a-hpo for A_HPO."""
    return name.lower().replace("_", "-")


MEANT = {
    "lr": "learning_rate",
    "batch_size": "per_device_train_batch_size",
    "train_batch_size": "per_device_train_batch_size",
    "grad_accum": "gradient_accumulation_steps",
    "gradient_accumulation": "gradient_accumulation_steps",
    "epochs": "num_train_epochs",
    "steps": "max_steps",
    "group_size": "num_generations",
    "rollouts": "num_generations",
    "max_tokens": "max_completion_length",
    "max_new_tokens": "max_completion_length",
    "max_response_length": "max_completion_length",
    "kl_coef": "beta",
    "kl": "beta",
    "vllm": "use_vllm",
    "lora": "use_peft",
    "wandb": "report_to",
    "scheduler": "lr_scheduler_type",
    "grad_clip": "max_grad_norm",
    "dataset": "task",
}
"""What other tools, and people in a hurry, call settings; by our name for it."""


def nearest(name: str, names: Iterable[str], before: str = "") -> str:
    """' Did you mean ...?' for the closest of the names, or nothing when none is close.

    before: the prefix shown with a name, such as -- for flags.
    """
    known = list(names)
    meant = MEANT.get(name.replace("-", "_").lower())
    close = [meant] if meant in known else difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {before + close[0]!r}?" if close else ""
