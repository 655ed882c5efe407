"""The specification of a comparison: task, model, arms (settings by name), seeds and measure, all fixed beforehand."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hysteretic.common.errors import UsageError, algorithm_name, nearest
from hysteretic.compare.measures import CHOOSABLE
from hysteretic.config.facts import named
from hysteretic.statistics import FEWEST_SEEDS

FIRST_TUNING_SEED = 1000
"""The first tuning seed, so that tuning seeds differ from the compared ones."""

AA_SHIFT = 1_000_000
"""What is added to the seeds of the baseline's second run."""

KEYS = {
    "algorithms": "names of presets (`hysteretic list`), one arm each",
    "arms": "the settings of each arm by name, such as {grpo-adaptive: {algorithm: grpo, weight: adaptive}}",
    "vary": "values to try per setting, such as {num_generations: [8, 32]}; every arm runs with every combination",
    "seeds": "a number of seeds (from 0), or a list such as 0,1,2,3",
    "most_seeds": "add as many seeds again and again until every verdict is clear, up to this number in all",
    "aa": "true to run the baseline a second time, with other random numbers, as an arm that should come out level",
    "tune_lr": "learning rates to tune over, the same for every arm",
    "tuning_seeds": "a number of seeds (from 1000) to try each rate on, or a list",
    "baseline": "arm to compare the others with (grpo, or else the first)",
    "measure": "measure that decides the verdict and the choice of rates",
    "margin": "a fraction such as 0.05: arms shown to differ by less than that of the baseline count as the same",
    "settings": "any settings of `hysteretic train`, common to all arms",
}
"""Keys of a comparison's YAML, besides any setting of `hysteretic train`."""


@dataclass(frozen=True)
class Arm:
    """One of the compared ways to train: its name, and the settings in which it differs."""

    name: str
    settings: Mapping[str, Any]
    seed_shift: int = 0
    """Added to the seed of its runs; above 0 for the second run of the baseline only."""

    @property
    def folder(self) -> str:
        """The name as a folder name."""
        return re.sub(r"[^a-z0-9.=+-]+", "-", self.name.lower()).strip("-.")


@dataclass(frozen=True)
class Comparison:
    """Everything that determines the results. Raises UsageError for contradictions."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    baseline: str
    measure: str = "area"
    rates: tuple[float, ...] = ()
    tuning_seeds: tuple[int, ...] = ()
    margin: float | None = None
    most_seeds: int | None = None
    confidence: float = field(default=0.95, init=False)

    def __post_init__(self) -> None:
        if not self.arms:
            raise UsageError("There is nothing to compare; give --algorithms, such as grpo,a-hpo.")
        names = [arm.name for arm in self.arms]
        folders = [arm.folder for arm in self.arms]
        for name, folder in zip(names, folders, strict=True):
            if not folder or len(folder) > 120:
                what = "has no letter a-z or digit" if not folder else f"is {len(folder)} characters long"
                raise UsageError(f"The arm {name!r} {what}, so it cannot be a folder name; give it a short plain name.")
            if folders.count(folder) > 1:
                raise UsageError(f"Two arms would share the folder {folder!r}; give them distinct names.")
        if self.baseline not in names:
            hint = nearest(self.baseline, names)
            raise UsageError(f"The baseline {self.baseline!r} is not an arm; the arms are {', '.join(names)}.{hint}")
        if self.measure not in CHOOSABLE:
            hint = nearest(self.measure, CHOOSABLE)
            raise UsageError(f"measure is {self.measure!r}; it must be one of {', '.join(CHOOSABLE)}.{hint}")
        shared = set(self.all_seeds) & set(self.tuning_seeds)
        if self.rates and shared:
            raise UsageError(
                f"Seeds {sorted(shared)} are used both for tuning and for the comparison; rates chosen on them would "
                "look better than they are. Give other tuning_seeds."
            )
        if self.rates and not self.tuning_seeds:
            raise UsageError("tune_lr needs at least one tuning seed; set tuning_seeds to 1 or more.")
        if self.margin is not None and not 0 < self.margin < 1:
            raise UsageError(f"margin is {self.margin}; set it to a fraction between 0 and 1, such as 0.05.")
        if not self.seeds:
            raise UsageError("There are no seeds; set seeds to 8 or so (4 are the minimum for a verdict).")
        if self.most_seeds is not None and not FEWEST_SEEDS <= len(self.seeds) < self.most_seeds:
            raise UsageError(
                f"most_seeds is {self.most_seeds} and there are {len(self.seeds)} seeds; begin with at least "
                f"{FEWEST_SEEDS} (a verdict needs them), and set most_seeds above that."
            )
        if self.rates and "learning_rate" in {key for arm in self.arms for key in arm.settings}:
            raise UsageError("An arm sets learning_rate, which tune_lr would override; remove one of them.")

    @property
    def looks(self) -> tuple[int, ...]:
        """Numbers of seeds at which verdicts are looked at, and the comparison ends if all are clear."""
        first = len(self.seeds)
        if self.most_seeds is None:
            return (first,)
        return (*range(first, self.most_seeds, first), self.most_seeds)

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The seeds, and those that may be added."""
        more = range(max(self.seeds, default=0) + 1, max(self.seeds, default=0) + 1 + (self.most_seeds or 0))
        return (*self.seeds, *more)[: self.looks[-1]]

    @property
    def second_baseline(self) -> str | None:
        """The arm that runs the baseline again, if there is one."""
        return next((arm.name for arm in self.arms if arm.seed_shift), None)

    def as_yaml(self) -> dict[str, Any]:
        """The form that `read` accepts."""
        content: dict[str, Any] = {
            "arms": {arm.name: dict(arm.settings) for arm in self.arms if not arm.seed_shift},
            "baseline": self.baseline,
            "measure": self.measure,
            "seeds": list(self.seeds),
            "settings": dict(self.settings),
        }
        if self.margin is not None:
            content["margin"] = self.margin
        if self.most_seeds is not None:
            content["most_seeds"] = self.most_seeds
        if self.second_baseline is not None:
            content["aa"] = True
        if self.rates:
            content |= {"tune_lr": list(self.rates), "tuning_seeds": list(self.tuning_seeds)}
        return content


def read(content: Mapping[str, Any], name: str) -> Comparison:
    """The comparison in a mapping: KEYS, and any other key is a setting common to all arms. Raises UsageError."""
    settings = {key: value for key, value in content.items() if key not in KEYS}
    settings |= _mapping(content, "settings", name)
    if "learning_rate" in settings and content.get("tune_lr"):
        raise UsageError(f"{name} sets learning_rate, which tune_lr would override; remove one of them.")
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
            raise UsageError(f"{name} sets {key!r}, which differs between runs; use seeds and --output instead.")
    names = [arm.name for arm in arms]
    baseline = str(content.get("baseline") or ("grpo" if "grpo" in names else names[0] if names else ""))
    if baseline not in names and algorithm_name(baseline) in names:
        baseline = algorithm_name(baseline)
    if content.get("aa") not in (None, True, False):
        raise UsageError(f"{name}: aa is {content['aa']!r}; set it to true or false.")
    if content.get("aa"):
        arms += [Arm(f"{arm.name}-aa", arm.settings, AA_SHIFT) for arm in arms if arm.name == baseline]
    return Comparison(
        arms=tuple(arms),
        seeds=_seeds(content.get("seeds", 8), 0, "seeds", name),
        settings=settings,
        baseline=baseline,
        measure=str(content.get("measure") or "area"),
        margin=_fraction(content.get("margin"), "margin", name),
        most_seeds=_count(content.get("most_seeds"), "most_seeds", name),
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
        raise UsageError(f"{name}: {key} is {value!r}; seeds must be distinct and at least 0.")
    return tuple(seeds)


def _count(value: Any, key: str, name: str) -> int | None:
    try:
        return None if value is None else int(str(value))
    except ValueError as error:
        raise UsageError(f"{name}: {key} is {value!r}; it must be a whole number.") from error


def _fraction(value: Any, key: str, name: str) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: {key} is {value!r}; it must be {KEYS[key]}.") from error


def _rates(value: Any, name: str) -> tuple[float, ...]:
    words = value.split(",") if isinstance(value, str) else [value] if isinstance(value, int | float) else value or []
    try:
        rates = sorted({float("nan" if isinstance(word, bool) else word) for word in words})
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{name}: tune_lr is {value!r}; it must be a list of numbers, such as 1.5e-4,3e-4,6e-4."
        ) from error
    if any(not 0 < rate < float("inf") for rate in rates):
        raise UsageError(f"{name}: tune_lr is {value!r}; learning rates must be above 0.")
    return tuple(rates)
