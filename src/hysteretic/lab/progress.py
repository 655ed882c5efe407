"""What does a run show while it trains, what does it write, and how is collapse told?"""

from __future__ import annotations

import math
import textwrap
from typing import Any

from tqdm.auto import tqdm
from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState

from hysteretic.lab.alarms import Rollout, alarms, alpha_floor, rollouts, sounding
from hysteretic.lab.run_folder import RunFolder, read_lines

SHOWN = {
    "reward": "reward",
    "alpha": "hpo/alpha",
    "+": "hpo/positive_share",
    "-": "hpo/negative_share",
    "silent": "hpo/silent_share",
    "length": "hpo/mean_length",
}


class Progress(ProgressCallback):
    """transformers' bar (with ETA), and behind it reward, alpha and sign shares instead of printed dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self._latest: dict[str, float] = {}

    def on_log(
        self, args: Any, state: TrainerState, control: TrainerControl, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        if not state.is_world_process_zero or self.training_bar is None or logs is None:
            return
        self._latest |= {label: logs[key] for label, key in SHOWN.items() if isinstance(logs.get(key), float)}
        self.training_bar.set_postfix({label: f"{value:.3g}" for label, value in self._latest.items()})


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
