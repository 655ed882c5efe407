"""What is compared? One task and model, arms (settings by name), seeds, and the measure, all fixed beforehand.

comparison.yaml     the comparison: `hysteretic compare --config` takes it back
runs/ARM/seed-N/    a run folder each (runs/folder.py), and seed-N.log beside it
tuning/ARM/RATE/    the same for the runs that chose each arm's learning rate
tuning.json         which rate each arm got, and from what
timing.json         how long a run takes here
call.json           how compare was called: the folder as it was named, and how many runs at a time
results.json ...    what came of it (compare/results.py), written anew whenever a run ends
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from hysteretic.common.errors import UsageError, algorithm_name, nearest
from hysteretic.common.files import read_json, write_json, write_text
from hysteretic.config.facts import named
from hysteretic.config.recipes import read_yaml

FIRST_TUNING_SEED = 1000
"""Tuning seeds count from here, so that they are not those that are compared."""

KEYS = {
    "algorithms": "names of presets (`hysteretic list`), each an arm",
    "arms": "settings by the name of an arm, such as {grpo-adaptive: {algorithm: grpo, weight: adaptive}}",
    "vary": "values by setting: every arm once with each combination, such as {num_generations: [8, 32]}",
    "seeds": "how many (from 0), or a list of them, such as 0,1,2,3",
    "tune_lr": "learning rates to choose from, for every arm alike",
    "tuning_seeds": "how many seeds (from 1000) a rate is tried on, or a list of them",
    "baseline": "the arm that the others are held against (grpo, or else the first)",
    "measure": "the measure that decides, and that rates are chosen by",
    "settings": "any settings of `hysteretic train`, common to all arms",
}
"""What a comparison's YAML may say, besides any setting of `hysteretic train`."""


@dataclass(frozen=True)
class Arm:
    """One way to train: a name, and the settings in which it differs from the others."""

    name: str
    settings: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """The name as a folder's."""
        return re.sub(r"[^a-z0-9.=+-]+", "-", self.name.lower()).strip("-.")


@dataclass(frozen=True)
class Comparison:
    """Everything that decides the figures. Raises UsageError when it cannot be carried out as said."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    baseline: str
    measure: str = "area"
    rates: tuple[float, ...] = ()
    tuning_seeds: tuple[int, ...] = ()
    confidence: float = field(default=0.95, init=False)

    def __post_init__(self) -> None:
        if not self.arms:
            raise UsageError("There is nothing to compare; give --algorithms, such as grpo,a-hpo.")
        names = [arm.name for arm in self.arms]
        folders = [arm.folder for arm in self.arms]
        for name, folder in zip(names, folders, strict=True):
            if not folder or len(folder) > 120:
                what = "no letter a-z or digit" if not folder else f"{len(folder)} characters"
                raise UsageError(f"The arm {name!r} has {what} to name its folder by; give it a short plain name.")
            if folders.count(folder) > 1:
                raise UsageError(f"Two arms would be kept in the folder {folder!r}; give each a name of its own.")
        if self.baseline not in names:
            raise UsageError(
                f"The baseline {self.baseline!r} is no arm.{nearest(self.baseline, names)} Arms: {', '.join(names)}."
            )
        shared = set(self.seeds) & set(self.tuning_seeds)
        if self.rates and shared:
            raise UsageError(
                f"Seeds {sorted(shared)} are to be compared and to be tuned on; a rate chosen on them would look "
                "better than it is. Give other tuning_seeds."
            )
        if self.rates and not self.tuning_seeds:
            raise UsageError("Rates are to be chosen, but on no seed; set tuning_seeds to 1 or more.")
        if not self.seeds:
            raise UsageError("There is no seed; set seeds to 8 or so (4 is the least for a verdict).")
        if self.rates and "learning_rate" in {key for arm in self.arms for key in arm.settings}:
            raise UsageError("An arm sets learning_rate, and tune_lr would overrule it; drop one of them.")

    def as_yaml(self) -> dict[str, Any]:
        """What `read` takes back."""
        content: dict[str, Any] = {
            "arms": {arm.name: dict(arm.settings) for arm in self.arms},
            "baseline": self.baseline,
            "measure": self.measure,
            "seeds": list(self.seeds),
            "settings": dict(self.settings),
        }
        if self.rates:
            content |= {"tune_lr": list(self.rates), "tuning_seeds": list(self.tuning_seeds)}
        return content


def read(content: Mapping[str, Any], name: str) -> Comparison:
    """The comparison in a mapping: KEYS, and any other key is a setting common to all arms. Raises UsageError."""
    settings = {key: value for key, value in content.items() if key not in KEYS}
    settings |= _mapping(content, "settings", name)
    if "learning_rate" in settings and content.get("tune_lr"):
        raise UsageError(f"{name} sets learning_rate, and tune_lr would overrule it; drop one of them.")
    algorithms = content.get("algorithms") or []
    if isinstance(algorithms, str):
        algorithms = [word.strip() for word in algorithms.split(",") if word.strip()]
    if not isinstance(algorithms, list) or not all(isinstance(word, str) for word in algorithms):
        raise UsageError(f"{name}: algorithms is {algorithms!r}; it must be {KEYS['algorithms']}.")
    arms = [Arm(word, {"algorithm": word}) for word in map(algorithm_name, algorithms)]
    for arm, own in _mapping(content, "arms", name).items():
        if not isinstance(own, Mapping) or not own or not isinstance(arm, str):
            raise UsageError(f"{name}: arm {arm!r} is {own!r}; it must be a name and a mapping of settings.")
        arms.append(Arm(str(arm), dict(own)))
    arms = _crossed(arms, _mapping(content, "vary", name), name)
    for key in sorted(named(lambda facts: facts.per_run)):
        if any(key in each for each in (settings, *(arm.settings for arm in arms))):
            raise UsageError(
                f"{name} sets {key!r}, which differs from run to run; a comparison has seeds, and --output."
            )
    names = [arm.name for arm in arms]
    baseline = str(content.get("baseline") or ("grpo" if "grpo" in names else names[0] if names else ""))
    if baseline not in names and algorithm_name(baseline) in names:
        baseline = algorithm_name(baseline)
    return Comparison(
        arms=tuple(arms),
        seeds=_seeds(content.get("seeds", 8), 0, "seeds", name),
        settings=settings,
        baseline=baseline,
        measure=str(content.get("measure") or "area"),
        rates=_rates(content.get("tune_lr"), name),
        tuning_seeds=_seeds(content.get("tuning_seeds", 2), FIRST_TUNING_SEED, "tuning_seeds", name),
    )


def _mapping(content: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    value = content.get(key) or {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{name}: {key} is {value!r}; it must be a mapping: {KEYS[key]}.")
    return dict(value)


def _crossed(arms: list[Arm], vary: Mapping[str, Any], name: str) -> list[Arm]:
    """Every arm with every combination of the varied settings."""
    if not vary:
        return arms
    for key, values in vary.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"{name}: vary.{key} is {values!r}; it must be a list of values.")
    combinations = [dict(zip(vary, values, strict=True)) for values in itertools.product(*vary.values())]
    return [
        Arm(" ".join([arm.name, *(f"{key}={value}" for key, value in chosen.items())]), {**arm.settings, **chosen})
        for arm in arms
        for chosen in combinations
    ]


def _seeds(value: Any, first: int, key: str, name: str) -> tuple[int, ...]:
    if isinstance(value, str) and "," in value:
        words = [word for word in value.split(",") if word.strip()]
    else:
        words = value if isinstance(value, list) else [value]
    if not all(isinstance(word, int | str) and not isinstance(word, bool) for word in words):
        raise UsageError(f"{name}: {key} is {value!r}; it must be {KEYS[key]}.")
    try:
        numbers = [int(word) for word in words]
    except ValueError as error:
        raise UsageError(f"{name}: {key} is {value!r}; it must be {KEYS[key]}.") from error
    is_list = isinstance(value, list) or (isinstance(value, str) and "," in value)
    seeds = numbers if is_list else range(first, first + numbers[0])
    if len(set(seeds)) < len(seeds) or any(seed < 0 for seed in seeds):
        raise UsageError(f"{name}: {key} is {value!r}; seeds are 0 or more, each once.")
    return tuple(seeds)


def _rates(value: Any, name: str) -> tuple[float, ...]:
    words = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int | float) else value or []
    try:
        rates = sorted({float("nan" if isinstance(word, bool) else word) for word in words})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: tune_lr is {value!r}; it must be numbers, such as 1.5e-4,3e-4,6e-4.") from error
    if any(not 0 < rate < float("inf") for rate in rates):
        raise UsageError(f"{name}: tune_lr is {value!r}; learning rates are above 0.")
    return tuple(rates)


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
        """For lines of text."""
        tried = f" at {self.rate:g}" if self.is_tuning else ""
        return f"{self.arm.name}{tried} seed {self.seed}"

    @property
    def failure(self) -> Path:
        """Why it failed, if it did: written when it ends, removed when it is tried again."""
        return self.folder.with_name(f"{self.folder.name}.failed.json")

    def settings(self, comparison: Comparison) -> dict[str, Any]:
        """What `hysteretic train --config` is given."""
        own: dict[str, Any] = {**comparison.settings, **self.arm.settings, "seed": self.seed, "disable_tqdm": True}
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
        """Make the folder, or accept it for going on. Raises UsageError before anything is written over.

        A later call may name more seeds and more arms; everything else must be as it was.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"{self.path} is a file; give another --output.")
        found = list(self.path.iterdir()) if self.path.is_dir() else []
        foreign = [path for path in found if path.name != ".lock" and path.suffix != ".part"]
        if foreign and not self.comparison.is_file():
            raise UsageError(f"{self.path} is not empty and holds no comparison; give another --output.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise UsageError(
                f"Another `hysteretic compare` is at work in {self.path}; wait for it, or give another --output. "
                f"(`hysteretic report {self.path}` shows how far it is.)"
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
        """Keep how compare is called, `jobs` at a time.

        most_jobs: the most runs side by side so far; null where some were made before this was kept.
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
        """The command that goes on with this comparison, or makes it again in another folder.

        For the directory in which compare was started: settings such as the task's file are relative to it too.
        """
        call = read_json(self.call) or {}
        words = ["hysteretic", "compare", "--config", str(self._named / self.comparison.name)]
        words += ["--output", str(output or self._named)]
        return shlex.join([*words, "--jobs", str(call["jobs"])] if "jobs" in call else words)

    def repeat(self) -> str:
        """The command that makes the comparison again, in a new folder beside this one."""
        name = self._named.name
        return self.command(self._named.with_name(f"{name}-again") if name not in ("", "..") else Path("again"))

    @property
    def _named(self) -> Path:
        """The folder, as compare was given it."""
        return Path((read_json(self.call) or {}).get("folder") or self.path.name)

    def release(self) -> None:
        """Let another process go on here."""
        self._lock.release()

    def read(self) -> Comparison:
        """The comparison kept here. Raises UsageError where there is none."""
        if not self.comparison.is_file():
            raise UsageError(f"There is no comparison in {self.path} (no comparison.yaml); give its folder.")
        content = read_yaml(self.comparison)
        if not isinstance(content, dict):
            raise UsageError(f"{self.comparison} holds no mapping; it was changed or torn.")
        return read(content, str(self.comparison))

    def _check_unchanged(self, comparison: Comparison) -> None:
        before, now = self.read().as_yaml(), comparison.as_yaml()
        parts = ({key: each[key] for key in _FIXED if key in each} | each["settings"] for each in (before, now))
        changed = list(_changes(*parts))
        for arm, own in before["arms"].items():
            if arm not in now["arms"]:
                changed.append(f"arm {arm!r} is gone")
            elif now["arms"][arm] != own:
                changed.append(f"arm {arm!r}: {', '.join(_changes(own, now['arms'][arm]))}")
        gone = sorted(set(before["seeds"]) - set(now["seeds"]))
        if gone:
            changed.append(f"seeds {gone} are gone")
        if changed:
            raise UsageError(
                f"The comparison in {self.path} began otherwise: {'; '.join(changed)}. Its runs would not be "
                "comparable; give another --output (more seeds and more arms may be added here)."
            )

    def runs(self, comparison: Comparison, rates: Mapping[str, float]) -> list[Run]:
        """The runs to compare, seed by seed, so that every pair is complete as early as can be."""
        return [
            Run(arm, seed, rates.get(arm.name), self.path / "runs" / arm.folder / f"seed-{seed}")
            for seed in comparison.seeds
            for arm in comparison.arms
        ]

    def tuning_runs(self, comparison: Comparison) -> list[Run]:
        """The runs that choose the learning rates; none without rates to choose from."""
        return [
            Run(arm, seed, rate, self.path / "tuning" / arm.folder / f"{rate:g}" / f"seed-{seed}", is_tuning=True)
            for seed in (comparison.tuning_seeds if comparison.rates else ())
            for rate in comparison.rates
            for arm in comparison.arms
        ]

    def rates(self) -> dict[str, Any]:
        """What tuning came to, by arm; empty before."""
        return read_json(self.tuning) or {}


_FIXED = ("baseline", "measure", "tune_lr", "tuning_seeds")


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """What differs, a line each; of mappings within only what differs in them."""
    for key in {**before, **now}:
        old, new, name = before.get(key), now.get(key), f"{within}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changes(old, new, f"{name}.")
        elif key not in now:
            yield f"{name} was {old!r} and is not set any more"
        elif key not in before:
            yield f"{name} was not set and is {new!r}"
        elif old != new:
            yield f"{name} was {old!r} and is {new!r}"


def finished(run: Run) -> bool:
    """Is the run done, with its evaluation after training?"""
    record = read_json(run.folder / "run.json") or {}
    if record.get("state") != "finished":
        return False
    return not record.get("held_out_problems") or "after" in (read_json(run.folder / "evaluation.json") or {})


def unfinished(runs: Sequence[Run]) -> list[Run]:
    """Those still to be made."""
    return [run for run in runs if not finished(run)]
