"""Callbacks of a run: progress on the terminal, metrics.jsonl, and alarms."""

from __future__ import annotations

import math
import textwrap
import time
from typing import Any

from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState

from hysteretic.common import metric_names as names
from hysteretic.common.files import read_json, read_lines
from hysteretic.common.terminal import clock
from hysteretic.runs.alarms import WARM_START, alarms, alpha_floor, sounding, warm_start_of
from hysteretic.runs.folder import RunFolder
from hysteretic.runs.metrics import Rollout, rollouts

SECONDS = 10.0
"""Between progress lines without a terminal."""

SHOWN = {
    names.REWARD: "reward {:.3f}",
    names.ALPHA: "alpha {:.2f}",
    names.POSITIVE_SHARE: "+{:.0%}",
    names.NEGATIVE_SHARE: "-{:.0%}",
    names.SILENT_SHARE: "silent {:.0%}",
    names.MEAN_LENGTH: "length {:.0f}",
}
"""The metrics on a progress line and their formats: short, so that the line fits 80 columns."""


class Progress(ProgressCallback):
    """transformers' progress bar, with reward, alpha and sign fractions instead of printed dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self._latest = LatestMetrics()

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **options: Any) -> None:
        super().on_train_begin(args, state, control, **options)
        if self.training_bar is not None:
            self.training_bar.bar_format = "{n_fmt}/{total_fmt} {elapsed}<{remaining}{postfix}"

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and self.training_bar is not None and logs is not None:
            self.training_bar.set_postfix_str(self._latest.update(logs))


class Lines(TrainerCallback):
    """Replaces the bar if the output is a file or a pipe: one line per rollout, at most one every SECONDS."""

    def __init__(self) -> None:
        self._latest = LatestMetrics()
        self._began, self._first, self._last_line = 0.0, 0, -math.inf

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._began, self._first = time.monotonic(), state.global_step

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero or not logs or "loss" not in logs:
            return
        text, now = self._latest.update(logs), time.monotonic()
        is_last = state.global_step >= state.max_steps
        if not is_last and (names.REWARD not in logs or now - self._last_line < SECONDS):
            return
        self._last_line = now
        left = (now - self._began) / max(state.global_step - self._first, 1) * (state.max_steps - state.global_step)
        print(f"{state.global_step}/{state.max_steps} {clock(left)} left, {text}", flush=True)


class LatestMetrics:
    """The latest value of each metric on the progress line."""

    def __init__(self) -> None:
        self._latest: dict[str, float] = {}

    def update(self, logs: dict[str, Any]) -> str:
        """Update the values and return the text of the line."""
        self._latest |= {key: logs[key] for key in SHOWN if isinstance(logs.get(key), float)}
        return " ".join(SHOWN[key].format(value) for key, value in self._latest.items())


class WriteMetrics(TrainerCallback):
    """Appends the metrics of every update to metrics.jsonl."""

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
    """Prints each alarm once, after the rollout that completes its streak; not those from before a resume."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._lines: list[dict[str, Any]] = []
        self._history: list[Rollout] = []
        self._heard: set[str] = set()
        self._floor: float | None = None
        self._warm_start = WARM_START

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        about = read_json(self._folder.run) or {}
        self._floor, self._warm_start = alpha_floor(about), warm_start_of(about)
        if state.is_world_process_zero:
            self._history = rollouts(read_lines(self._folder.metrics))
            self._heard = {alarm.name for alarm in alarms(self._history, self._floor, self._warm_start)}

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs and "loss" in logs:
            if names.REWARD in logs:
                self._end_rollout()
            self._lines.append({"step": state.global_step, **logs})

    def on_train_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._end_rollout()

    def _end_rollout(self) -> None:
        self._history += rollouts(self._lines)
        self._lines = []
        for alarm in sounding(self._history, self._floor, self._warm_start):
            if alarm.name not in self._heard:
                self._heard.add(alarm.name)
                tqdm.write(textwrap.fill(str(alarm), 100, subsequent_indent="  ", break_on_hyphens=False))
