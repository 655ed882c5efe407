"""`hysteretic compare`: which algorithm is better on this task, by how much, and how sure is that?

Every arm and seed is `hysteretic train` in a process of its own. For one seed all arms start from the same weights,
take the problems in the same order and draw with the same random numbers: differences are paired.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hysteretic.common.errors import UsageError, nearest
from hysteretic.common.subprocesses import Stopped
from hysteretic.compare.folder import ComparisonFolder, unfinished
from hysteretic.compare.measures import CHOOSABLE
from hysteretic.compare.results import write_results
from hysteretic.compare.scheduler import Length, carry_out
from hysteretic.compare.spec import KEYS, Comparison, read
from hysteretic.compare.verdicts import in_words
from hysteretic.config.recipes import read_recipe

SAME_FOR_ALL = ("task", "eval_problems", "eval_samples", "logging_steps", "max_steps")
"""Settings that must not differ between arms, or their measures would not be of the same thing."""


def main(arguments: Sequence[str]) -> int:
    """0 when every run finished, 1 when one failed (the report is written in both cases), 130 when stopped."""
    options, content = _command(arguments)
    _check_known(content, options)
    comparison = read(content, options.config or "the command line")
    if options.jobs < 1:
        raise UsageError(f"--jobs is {options.jobs}; run at least one at a time.")
    length = _checked(comparison)
    folder = ComparisonFolder(options.output or _default_folder(comparison))
    folder.claim(comparison)
    try:
        folder.note_call(comparison, options.jobs)
        _print_plan(comparison, folder, length, options.jobs)
        failed = carry_out(comparison, folder, length, options.jobs)
    except Stopped:
        write_results(folder)
        print(f"hysteretic: stopped; nothing finished is lost. Go on with: {folder.command()}", file=sys.stderr)
        return 130
    finally:
        folder.release()
    results = write_results(folder, with_report=True)
    print("\n" + in_words(results))
    print(f"\nReport: {folder.path / 'report.html'}   Figures: {folder.results}")
    print(f"Repeat it, in this directory: {results['command']}", flush=True)
    if failed:
        print(
            f"hysteretic: runs that failed: {len(failed)}; the same command tries them again.",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _command(arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command's own options, and the comparison: what --config says, and over it the flags."""
    parser = argparse.ArgumentParser(
        prog="hysteretic compare",
        description="Arms beside each other over several seeds. Any `--name value` of `hysteretic train` is a setting "
        "of all (`--name true` for a switch).",
        epilog="In a --config file besides: " + "; ".join(f"{key}: {text}" for key, text in KEYS.items()) + ".",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--config", default=None, help="YAML of the whole comparison; flags go over it")
    parser.add_argument("--output", default=None, help="the comparison's folder (runs/compare-TASK-MODEL)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2)")
    parser.add_argument("--algorithms", help="such as grpo,gspo,sapo,hpo,a-hpo (`hysteretic list`)")
    parser.add_argument("--seeds", help="how many, from seed 0 (8), or a list such as 0,1,2,3")
    parser.add_argument("--tune-lr", "--tune_lr", dest="tune_lr", help="learning rates, such as 1.5e-4,3e-4,6e-4")
    parser.add_argument(
        "--tuning-seeds", "--tuning_seeds", dest="tuning_seeds", help="how many seeds a rate is tried on (2), or a list"
    )
    parser.add_argument("--baseline", help="the arm that the others are held against (grpo)")
    parser.add_argument("--measure", help=f"what decides: {', '.join(CHOOSABLE)} (area)")
    known, rest = parser.parse_known_args(list(arguments))
    given = vars(known)
    options = argparse.Namespace(**{key: given.pop(key) for key in ("config", "output", "jobs")})
    options.own_flags = [name.removeprefix("--") for action in parser._actions for name in action.option_strings]
    content = {} if options.config is None else read_recipe(options.config)
    if "algorithms" in given:
        content.pop("arms", None)
    flags = options.flags = _settings(rest)
    common = content.pop("settings", None) or {}
    if not isinstance(common, dict):
        raise UsageError(f"{options.config}: settings is {common!r}; it must be a mapping: {KEYS['settings']}.")
    return options, {**{key: content[key] for key in content if key not in flags}, **given, "settings": common | flags}


def _check_known(content: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Raises UsageError for a key or flag that is neither compare's own nor a setting, by where it was given."""
    settings = content["settings"]
    given = [*(key for key in content if key not in KEYS), *settings]
    if not given:
        return
    from hysteretic.config.settings import setting_names

    known = setting_names()
    for key in (key for key in given if key not in known):
        if key in options.flags and key in KEYS:
            instead = " On a command line give --algorithms." if key == "arms" else ""
            raise UsageError(f"--{key} is no flag; it is a key of a --config file: {KEYS[key]}.{instead}")
        if key in options.flags:
            hint = nearest(key, [*options.own_flags, *known], "--") or " See `hysteretic train --help`."
            raise UsageError(f"--{key} is no flag of `hysteretic compare`, and no setting.{hint}")
        if key in KEYS:
            raise UsageError(f"{options.config} sets settings.{key}, which is no setting; put {key} beside settings.")
        hint = nearest(str(key), [*KEYS, *known]) or " See `hysteretic train --help`."
        raise UsageError(f"{options.config} sets {key!r}, which is no setting, nor a key of a comparison.{hint}")


def _settings(words: Sequence[str]) -> dict[str, Any]:
    """--name value pairs as settings: true, false and plain numbers as such, everything else as text."""
    settings: dict[str, Any] = {}
    rest = list(words)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--"):
            raise UsageError(f"{flag!r} belongs to no flag; settings are given as --name value.")
        name, equals, value = flag[2:].partition("=")
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UsageError(f"--{name} has no value; give it one (true or false for a switch).")
            value = rest.pop(0)
        is_plain = value in ("true", "false") or re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", value)
        settings[name.replace("-", "_")] = yaml.safe_load(value) if is_plain else value
    return settings


_DEFAULTS = {"task": "countdown-3", "model": "tiny"}


def _default_folder(comparison: Comparison) -> Path:
    task, model = (str(comparison.settings.get(key, default)) for key, default in _DEFAULTS.items())
    return Path("runs") / f"compare-{Path(task).stem}-{Path(model).name}".lower().replace(":", "-")


def _checked(comparison: Comparison) -> Length:
    """How long a run is; every arm's settings are read once, as `hysteretic train` will read them.

    Raises UsageError for a setting that is none, or that contradicts another or the comparison.
    """
    if comparison.measure not in CHOOSABLE:
        hint = nearest(comparison.measure, CHOOSABLE)
        raise UsageError(f"measure is {comparison.measure!r}; it must be one of {', '.join(CHOOSABLE)}.{hint}")
    from hysteretic.config.settings import parse_settings
    from hysteretic.models.loading import load_tokenizer
    from hysteretic.runs.train import quieten

    quieten()
    for arm in comparison.arms:
        _check_likely_model({**comparison.settings, **arm.settings}.get("model", "tiny"), arm.name)
    requests = {
        arm.name: parse_settings({**comparison.settings, **arm.settings}, f"arm {arm.name!r}")
        for arm in comparison.arms
    }
    for key in SAME_FOR_ALL:
        values = {
            name: getattr(request.run if hasattr(request.run, key) else request.training, key)
            for name, request in requests.items()
        }
        if len(set(values.values())) > 1:
            said = ", ".join(f"{name} {value}" for name, value in values.items())
            raise UsageError(f"Arms differ in {key} ({said}), so their measures would not be of the same thing.")
    first = next(iter(requests.values()))
    if first.training.max_steps < 1:
        raise UsageError("A comparison needs runs of one length; set max_steps, such as --max_steps 200.")
    if first.training.logging_steps != 1 or str(first.training.logging_strategy.value) != "steps":
        raise UsageError("A comparison needs the figures of every update; leave logging_steps at 1.")
    needs = {"pass@1 greedy": ["eval_problems"], "pass@1 sampled": ["eval_problems", "eval_samples"]}
    for key in needs.get(comparison.measure, []):
        if not getattr(first.run, key):
            raise UsageError(f"measure is {comparison.measure!r}, and {key} is 0; set it to 200 or so.")
    for _, request in {(each.run.model, each.model.model_revision): each for each in requests.values()}.items():
        load_tokenizer(request.run.model, request.run.task, revision=request.model.model_revision)
    return Length(
        first.training.max_steps, max(request.training.updates_per_rollout() for request in requests.values())
    )


def _check_likely_model(model: Any, arm: str) -> None:
    """Raises UsageError for what is no folder and cannot be a hub's name, or is all but 'tiny'.

    Before anything else is asked of it: with another model other settings are missing, which would be told first.
    """
    name = str(model)
    hint = "" if "/" in name else nearest(name, ["tiny"])
    if name == "tiny" or Path(name).is_dir() or (not hint and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name)):
        return
    raise UsageError(
        f"arm {arm!r} has the model {name!r}, which is no folder and no hub name.{hint} Give 'tiny', a folder with a "
        "saved model, or a hub name such as Qwen/Qwen2.5-1.5B-Instruct."
    )


def _print_plan(comparison: Comparison, folder: ComparisonFolder, length: Length, jobs: int) -> None:
    arms = ", ".join(arm.name for arm in comparison.arms)
    task, model = (comparison.settings.get(key, default) for key, default in _DEFAULTS.items())
    runs, tuning = folder.runs(comparison, {}), folder.tuning_runs(comparison)
    seeds = f"{len(comparison.seeds)} seed{'s' * (len(comparison.seeds) > 1)}"
    print(f"{task} with {model}: {arms}; {seeds}, {length.updates} updates each, {jobs} at a time.")
    if tuning:
        rates = ", ".join(f"{rate:g}" for rate in comparison.rates)
        print(
            f"First {len(tuning)} runs choose each arm's learning rate among {rates}, on "
            f"{len(comparison.tuning_seeds)} other seeds."
        )
    print(f"Decided by: {comparison.measure}, against {comparison.baseline}. Folder: {folder.path}", flush=True)
    done = len(runs) + len(tuning) - len(unfinished([*runs, *tuning]))
    if done:
        print(f"{done} of {len(runs) + len(tuning)} runs are finished already.", flush=True)
