"""What does a comparison show while it runs? A bar over all updates with its ETA, and one for each run at work."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import TracebackType

from tqdm import tqdm

from hysteretic.lab.processes import Going
from hysteretic.lab.run_folder import read_lines

RECENT = 10
"""Rollouts that the reward beside a bar is the mean of."""


class Live:
    """Bars on a terminal; elsewhere one line whenever a run ends."""

    def __init__(self, title: str, metrics: Mapping[str, Path], updates: int, jobs: int) -> None:
        self._metrics, self._updates, self._title = metrics, updates, title
        self._over = 0
        is_terminal = sys.stderr.isatty()
        self._all = tqdm(
            total=len(metrics) * updates, initial=0, desc=title, unit="update", disable=not is_terminal, position=0
        )
        self._slots = [
            tqdm(total=updates, position=1 + slot, disable=not is_terminal, leave=False) for slot in range(jobs)
        ]

    def __enter__(self) -> Live:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in [*self._slots, self._all]:
            bar.close()

    def show(self, going: Sequence[Going]) -> None:
        """Bring the bars up to what the runs have written."""
        if self._all.disable:
            return
        made = self._over * self._updates
        for one in going:
            path, bar = self._metrics[one.command.name], self._slots[one.slot]
            lines = read_lines(path) if path.is_file() else []
            rewards = [line["reward"] for line in lines if isinstance(line.get("reward"), float)]
            bar.set_description_str(one.command.name, refresh=False)
            bar.n = lines[-1]["step"] if lines else 0
            if rewards:
                bar.set_postfix(reward=f"{fmean(rewards[-RECENT:]):.3f}", refresh=False)
            bar.refresh()
            made += bar.n
        self._all.n = made
        self._all.refresh()

    def line(self, text: str) -> None:
        """Say that a run ended."""
        self._over += 1
        tqdm.write(f"[{self._over}/{len(self._metrics)}] {text}", file=sys.stdout)
        sys.stdout.flush()


def clock(seconds: float) -> str:
    """45 s, 12 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
