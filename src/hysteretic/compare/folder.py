"""The folder of a comparison, and which runs it has.

comparison.yaml     the comparison: `hysteretic compare --config` reads it back
runs/ARM/seed-N/    one run folder per seed (runs/folder.py), and seed-N.log beside it
tuning/ARM/RATE/    the same for the runs that chose each arm's learning rate
tuning.json         the rate of each arm, and how it was chosen
timing.json         measured time of a run
call.json           how compare was called: the folder as given, and the number of runs at a time
results.json ...    the results (compare/results.py), rewritten whenever a run ends
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from hysteretic.common.errors import UsageError
from hysteretic.common.files import read_json, write_json, write_text
from hysteretic.compare.spec import Arm, Comparison, read
from hysteretic.config.recipes import read_yaml


@dataclass(frozen=True)
class Run:
    """One arm at one seed (and, while tuning, at one learning rate)."""

    arm: Arm
    seed: int
    rate: float | None
    folder: Path
    is_tuning: bool = False

    @property
    def name(self) -> str:
        """For messages."""
        tried = f" at {self.rate:g}" if self.is_tuning else ""
        return f"{self.arm.name}{tried} seed {self.seed}"

    @property
    def failure(self) -> Path:
        """The file with the reason of a failure: written when the run ends, removed when it is retried."""
        return self.folder.with_name(f"{self.folder.name}.failed.json")

    def settings(self, comparison: Comparison) -> dict[str, Any]:
        """The settings for `hysteretic train --config`."""
        own: dict[str, Any] = {**comparison.settings, **self.arm.settings, "disable_tqdm": True}
        own["seed"] = self.seed + self.arm.seed_shift
        if self.is_tuning and not comparison.measure.startswith("pass@"):
            own["eval_problems"] = 0
        return own if self.rate is None else {**own, "learning_rate": self.rate}


class ComparisonFolder:
    """The files of one comparison, by name."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.comparison = self.path / "comparison.yaml"
        self.tuning = self.path / "tuning.json"
        self.timing = self.path / "timing.json"
        self.call = self.path / "call.json"
        self.results = self.path / "results.json"
        self._lock = FileLock(self.path / ".lock", timeout=0)

    def claim(self, comparison: Comparison) -> None:
        """Create the folder, or accept an existing comparison. Raises UsageError before anything is overwritten.

        A later call may add seeds and arms; everything else must stay the same.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; give another --output.")
        found = list(self.path.iterdir()) if self.path.is_dir() else []
        foreign = [path for path in found if path.name != ".lock" and path.suffix != ".part"]
        if foreign and not self.comparison.is_file():
            raise UsageError(f"{self.path} is not empty and does not hold a comparison; give another --output.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise UsageError(
                f"Another `hysteretic compare` is running in {self.path}; wait for it, or give another --output. "
                f"(`hysteretic report {self.path}` shows its progress.)"
            ) from error
        except OSError as error:
            raise UsageError(f"Cannot write to {self.path} ({error.strerror}); give another --output.") from error
        text = yaml.safe_dump(comparison.as_yaml(), sort_keys=False, allow_unicode=True)
        if self.comparison.is_file() and self.comparison.read_text(encoding="utf-8") != text:
            if next(self.path.glob("*/**/run.json"), None) is not None:
                self._check_unchanged(comparison)
            self.timing.unlink(missing_ok=True)
        write_text(self.comparison, text)

    def note_call(self, comparison: Comparison, jobs: int) -> None:
        """Record how compare was called, with `jobs` runs at a time.

        most_jobs: the largest number of runs side by side so far; null if some runs predate this record.
        """
        runs = [*self.tuning_runs(comparison), *self.runs(comparison, {})]
        left, before = unfinished(runs), read_json(self.call)
        most = min(jobs, len(left))
        if before is None:
            kept = None if len(left) < len(runs) else most
        else:
            kept = None if before.get("most_jobs") is None else max(before["most_jobs"], most)
        write_json(self.call, {"folder": str(self.path), "jobs": jobs, "most_jobs": kept})

    def command(self, output: Path | None = None) -> str:
        """The command that continues this comparison, or repeats it in another folder.

        It must run in the directory where compare was started: paths in the settings are relative to it.
        """
        call = read_json(self.call) or {}
        words = ["hysteretic", "compare", "--config", str(self._named / self.comparison.name)]
        words += ["--output", str(output or self._named)]
        return shlex.join([*words, "--jobs", str(call["jobs"])] if "jobs" in call else words)

    def repeat(self) -> str:
        """The command that repeats the comparison in a new folder beside this one."""
        name = self._named.name
        return self.command(self._named.with_name(f"{name}-again") if name not in ("", "..") else Path("again"))

    @property
    def _named(self) -> Path:
        """The folder as it was given to compare."""
        return Path((read_json(self.call) or {}).get("folder") or self.path.name)

    def release(self) -> None:
        """Release the lock, so that another process can continue here."""
        self._lock.release()

    def read(self) -> Comparison:
        """The comparison in this folder. Raises UsageError if there is none."""
        if not self.comparison.is_file():
            raise UsageError(f"There is no comparison in {self.path}; give the --output of `hysteretic compare`.")
        content = read_yaml(self.comparison)
        if not isinstance(content, dict):
            raise UsageError(f"{self.comparison} does not hold a mapping; it was changed or damaged.")
        return read(content, str(self.comparison))

    def _check_unchanged(self, comparison: Comparison) -> None:
        before, now = self.read().as_yaml(), comparison.as_yaml()
        parts = ({key: each[key] for key in _FIXED if key in each} | each["settings"] for each in (before, now))
        changed = list(_changes(*parts))
        for arm, own in before["arms"].items():
            if arm not in now["arms"]:
                changed.append(f"arm {arm!r} was removed")
            elif now["arms"][arm] != own:
                changed.append(f"arm {arm!r}: {', '.join(_changes(own, now['arms'][arm]))}")
        gone = sorted(set(before["seeds"]) - set(now["seeds"]))
        if "most_seeds" in before and now["seeds"] != before["seeds"]:
            changed.append("seeds (with most_seeds, they are added as planned)")
        elif gone:
            changed.append(f"seeds {gone} were removed")
        if changed:
            raise UsageError(
                f"The comparison in {self.path} was started with other settings: {'; '.join(changed)}. Runs would not "
                "be comparable; give another --output (seeds and arms may be added here)."
            )

    def runs(self, comparison: Comparison, rates: Mapping[str, float], seeds: int | None = None) -> list[Run]:
        """The runs to compare, seed by seed, so that pairs are complete as early as possible.

        seeds: how many (default: up to the last look for which runs have begun).
        """
        found = [
            Run(arm, seed, rates.get(arm.name), self.path / "runs" / arm.folder / f"seed-{seed}")
            for seed in comparison.all_seeds
            for arm in comparison.arms
        ]
        if seeds is None:
            begun = [number for number, run in enumerate(found) if run.folder.exists()]
            last = begun[-1] // len(comparison.arms) + 1 if begun else 0
            seeds = next(look for look in comparison.looks if look >= last)
        return found[: seeds * len(comparison.arms)]

    def tuning_runs(self, comparison: Comparison) -> list[Run]:
        """The runs that choose the learning rates; empty without rates to choose from."""
        return [
            Run(arm, seed, rate, self.path / "tuning" / arm.folder / f"{rate:g}" / f"seed-{seed}", is_tuning=True)
            for seed in (comparison.tuning_seeds if comparison.rates else ())
            for rate in comparison.rates
            for arm in comparison.arms
        ]

    def rates(self) -> dict[str, Any]:
        """The result of tuning by arm; empty before tuning."""
        return read_json(self.tuning) or {}


_FIXED = ("baseline", "measure", "tune_lr", "tuning_seeds", "most_seeds")


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """The differences, one line each, descending into mappings."""
    for key in {**before, **now}:
        old, new, name = before.get(key), now.get(key), f"{within}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{name}.")
        elif key not in now:
            yield f"{name} was {old!r} and is no longer set"
        elif key not in before:
            yield f"{name} was not set and is {new!r}"
        elif old != new:
            yield f"{name} was {old!r} and is {new!r}"


def finished(run: Run) -> bool:
    """Whether the run is done, including its evaluation after training."""
    record = read_json(run.folder / "run.json") or {}
    if record.get("state") != "finished":
        return False
    return not record.get("held_out_problems") or "after" in (read_json(run.folder / "evaluation.json") or {})


def unfinished(runs: Sequence[Run]) -> list[Run]:
    """The runs that have not finished."""
    return [run for run in runs if not finished(run)]
