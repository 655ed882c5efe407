"""Stop a run gracefully on Ctrl-C or SIGTERM, with a checkpoint of its last update.

Ctrl-C         after the current rollout, however long it takes; a second one immediately, losing what is not saved
SIGTERM        (preemption) after the current rollout, or after `seconds` if that takes longer
outside training (loading, evaluating), both stop immediately; nothing is lost
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainerCallback, TrainerControl, TrainerState

from hysteretic.trl.preemption import Preempted

INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM
"""Exit codes as in a shell: 130 and 143."""


class StopGently(TrainerCallback):
    """Handles both signals from its construction until `restore`.

    All ranks stop after the same rollout: at the end of each, they exchange whether any got a signal. When the time is
    up, a rank stops on its own, anywhere except within the optimiser step, where it would save half an update. A
    checkpoint of a sharded model needs all ranks, so `seconds` is None there: no deadline.

    seconds: from SIGTERM until the rollout is abandoned.
    """

    def __init__(self, updates_per_rollout: int, seconds: float | None) -> None:
        self._updates_per_rollout = updates_per_rollout
        self._seconds = seconds
        self._asked: int | None = None
        self._is_training = self._is_changing = self._is_due = False
        self._timer: threading.Timer | None = None
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._former: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {
            number: signal.signal(number, self._ask) for number in numbers
        }

    @property
    def is_asked(self) -> bool:
        return self._asked is not None

    @property
    def code(self) -> int:
        """The exit code of the signal that stopped the run."""
        return TERMINATED if self._asked == signal.SIGTERM else INTERRUPTED

    def restore(self) -> None:
        """Reinstall the previous handlers of both signals."""
        if self._timer is not None:
            self._timer.cancel()
        for number, former in self._former.items():
            signal.signal(number, former)
        self._former.clear()

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._is_training = True

    def on_step_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._is_changing = False
        self._leave_if_due()

    def on_pre_optimizer_step(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._is_changing = True  # until the next update begins: weights, then metrics and checkpoint

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        is_end = state.global_step % self._updates_per_rollout == 0
        if is_end and any(gather_object([self.is_asked])):
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._is_training = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        again, self._asked = self._asked is not None, number
        if not self._is_training or (again and number == signal.SIGINT):
            raise KeyboardInterrupt
        self._leave_if_due()
        if not again:
            again_means = " (Ctrl-C again: stop now, without one)" if number == signal.SIGINT else ""
            print(f"\nStopping after this rollout, with a checkpoint{again_means}.")
        if number == signal.SIGTERM and self._timer is None and self._seconds is not None:
            self._timer = threading.Timer(self._seconds, self._hurry)
            self._timer.daemon = True
            self._timer.start()

    def _leave_if_due(self) -> None:
        if self._is_due and not self._is_changing:
            self._is_changing = True  # only once: the checkpoint is written next
            raise Preempted

    def _hurry(self) -> None:
        """Interrupt the main thread, whatever it is waiting for, with another SIGTERM."""
        self._is_due = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
