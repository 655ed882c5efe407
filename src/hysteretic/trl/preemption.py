"""Saves the last finished update from within the next one, with the random state as it was when that update ended.

So a run that was stopped while it generated continues with the same responses as one that was not.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState


class Preempted(BaseException):
    """The run was preempted and stops now, wherever it is. Not a failure, so not an Exception."""


class LastUpdate(TrainerCallback):
    """Remembers the random state of this process, and what `also` returns, as of the end of each update."""

    def __init__(self, also: Callable[[], Any]) -> None:
        self._also = also
        self._states: tuple[Any, ...] | None = None

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        self._states = (random.getstate(), np.random.get_state(), torch.get_rng_state(), on_gpus, self._also())

    @property
    def is_known(self) -> bool:
        """Whether an update has ended in this process."""
        return self._states is not None

    def restore(self) -> Any:
        """Restore the random state and return what `also` returned then. Only where `is_known`."""
        assert self._states is not None
        python, numpy, cpu, on_gpus, also = self._states
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
        return also
