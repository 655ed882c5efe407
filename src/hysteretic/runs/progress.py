"""What does a run show while it trains, what does it write, and how is collapse told?"""

from __future__ import annotations

import math
import textwrap
import time
from typing import Any

from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState

from hysteretic.common.terminal import clock
from hysteretic.runs.alarms import Rollout, alarms, alpha_floor, rollouts, sounding
from hysteretic.runs.folder import RunFolder, read_lines

SECONDS = 10.0
"""Between lines of progress, where there is no terminal."""

SHOWN = {
    "reward": "reward {:.3f}",
    "hpo/alpha": "alpha {:.2f}",
    "hpo/positive_share": "+{:.0%}",
    "hpo/negative_share": "-{:.0%}",
    "hpo/silent_share": "silent {:.0%}",
    "hpo/mean_length": "length {:.0f}",
}
"""What is told of a rollout, and how: short, so that a line fits into 80 columns."""


class Progress(ProgressCallback):
    """transformers' bar, as time and figures: reward, alpha and sign shares instead of printed dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self._figures = Figures()

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **options: Any) -> None:
        super().on_train_begin(args, state, control, **options)
        if self.training_bar is not None:
            self.training_bar.bar_format = "{n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and self.training_bar is not None and logs is not None:
            self.training_bar.set_postfix_str(self._figures.after(logs))


class Lines(TrainerCallback):
    """In place of the bar where the output is a file or a pipe: a line after a rollout, at most one in SECONDS."""

    def __init__(self) -> None:
        self._figures = Figures()
        self._began, self._first, self._told = 0.0, 0, -math.inf

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._began, self._first = time.monotonic(), state.global_step

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        text, now = self._figures.after(logs), time.monotonic()
        is_last = state.global_step >= state.max_steps
        if not is_last and ("reward" not in logs or now - self._told < SECONDS):
            return
        self._told = now
        left = (now - self._began) / max(state.global_step - self._first, 1) * (state.max_steps - state.global_step)
        print(f"{state.global_step}/{state.max_steps} {clock(left)} left, {text}", flush=True)


class Figures:
    """The last of each figure that is told."""

    def __init__(self) -> None:
        self._latest: dict[str, float] = {}

    def after(self, logs: dict[str, Any]) -> str:
        """Their text, with these new ones."""
        self._latest |= {key: logs[key] for key in SHOWN if isinstance(logs.get(key), float)}
        return " ".join(SHOWN[key].format(value) for key, value in self._latest.items())


class WriteMetrics(TrainerCallback):
    """Appends every update's figures to metrics.jsonl."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs and "loss" in logs:
            finite = {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in logs.items()
            }
            self._folder.append_metrics({"step": state.global_step, **finite})


class Warn(TrainerCallback):
    """Prints every alarm once, when the rollout that completes it is over; not those of the run before a resume."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._lines: list[dict[str, Any]] = []
        self._history: list[Rollout] = []
        self._heard: set[str] = set()
        self._floor: float | None = None

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._floor = alpha_floor(vars(args))
        if state.is_world_process_zero and self._folder.metrics.is_file():
            self._history = rollouts(read_lines(self._folder.metrics))
            self._heard = {alarm.name for alarm in alarms(self._history, self._floor)}

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs and "loss" in logs:
            if "reward" in logs:
                self._end_rollout()
            self._lines.append({"step": state.global_step, **logs})

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._end_rollout()

    def _end_rollout(self) -> None:
        self._history += rollouts(self._lines)
        self._lines = []
        for alarm in sounding(self._history, self._floor):
            if alarm.name not in self._heard:
                self._heard.add(alarm.name)
                tqdm.write(textwrap.fill(str(alarm), 100, subsequent_indent="  ", break_on_hyphens=False))
