"""Progress of a running comparison: a bar over all updates with its ETA, and one for each active run."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import TracebackType

from tqdm import tqdm

from hysteretic.common.files import read_lines
from hysteretic.common.subprocesses import Going
from hysteretic.common.terminal import is_terminal
from hysteretic.runs.metrics import rollouts

RECENT = 10
"""The reward next to a bar is the mean over this many rollouts."""

SECONDS = 60.0
"""Seconds between lines on active runs without a terminal."""


class Live:
    """Bars on a terminal; otherwise a line whenever a run ends, and one per minute on active runs."""

    def __init__(self, title: str, metrics: Mapping[str, Path], updates: int, jobs: int) -> None:
        self._metrics, self._updates, self._title = metrics, updates, title
        self._over = 0
        has_bars = is_terminal(sys.stderr)
        self._told = time.monotonic()
        self._all = tqdm(
            total=len(metrics) * updates, initial=0, desc=title, unit="update", disable=not has_bars, position=0
        )
        self._slots = [
            tqdm(total=updates, position=1 + slot, disable=not has_bars, leave=False) for slot in range(jobs)
        ]

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # runs may have ended since the last refresh
            self._all.n = self._over * self._updates
        for bar in [*self._slots, self._all]:
            bar.close()

    def show(self, going: Sequence[Going]) -> None:
        """Update the bars, or print lines, from what the runs have written."""
        if self._all.disable:
            self._tell(going)
            return
        made = self._over * self._updates
        for one in going:
            bar = self._slots[one.slot]
            bar.set_description_str(one.command.name, refresh=False)
            bar.n, reward = self._state_of(one)
            if reward is not None:
                bar.set_postfix(reward=f"{reward:.3f}", refresh=False)
            bar.refresh()
            made += bar.n
        self._all.n = made
        self._all.refresh()

    def _tell(self, going: Sequence[Going]) -> None:
        if time.monotonic() - self._told < SECONDS:
            return
        self._told = time.monotonic()
        for one in going:
            step, reward = self._state_of(one)
            known = "" if reward is None else f", reward {reward:.3f}"
            print(f"  {one.command.name}: update {step}/{self._updates}{known}", flush=True)

    def _state_of(self, one: Going) -> tuple[int, float | None]:
        """The latest update of a run, and its mean reward over recent rollouts."""
        lines = read_lines(self._metrics[one.command.name])
        rewards = [rollout.reward for rollout in rollouts(lines) if rollout.reward is not None]
        return lines[-1]["step"] if lines else 0, fmean(rewards[-RECENT:]) if rewards else None

    def line(self, text: str) -> None:
        """Report that a run ended."""
        self._over += 1
        tqdm.write(f"[{self._over}/{len(self._metrics)}] {text}", file=sys.stdout)
        sys.stdout.flush()
