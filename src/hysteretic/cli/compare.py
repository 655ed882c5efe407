"""`hysteretic compare`: which algorithm is better on this task, by how much, and how certain is that?

Every arm and seed is a `hysteretic train` in its own process. For one seed all arms start from the same weights, take
the problems in the same order and use the same random numbers, so that differences are paired.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from hysteretic.cli import dispatch
from hysteretic.common.errors import UsageError, nearest
from hysteretic.common.subprocesses import Stopped, Workers
from hysteretic.compare.checks import check_comparison
from hysteretic.compare.folder import ComparisonFolder, unfinished
from hysteretic.compare.measures import CHOOSABLE
from hysteretic.compare.results import write_results
from hysteretic.compare.scheduler import Length, carry_out
from hysteretic.compare.spec import KEYS, Comparison, read
from hysteretic.compare.verdicts import in_words
from hysteretic.config.recipes import read_recipe

PRELOAD = ("hysteretic.cli.train",)
"""Imported once for all runs."""


def main(arguments: Sequence[str]) -> int:
    """Returns 0 if every run finished, 1 if one failed (the report is written in both cases), 130 if interrupted."""
    options, content = _command(arguments)
    _check_known(content, options)
    comparison = read(content, options.config or "the command line")
    if options.jobs < 1:
        raise UsageError(f"--jobs is {options.jobs}; run at least one at a time.")
    folder = ComparisonFolder(options.output or _default_folder(comparison))
    workers = Workers(dispatch.main, options.jobs, PRELOAD)
    if unfinished(folder.runs(comparison, {})):
        workers.start_server()  # it and the checks import the same, side by side
    length = check_comparison(comparison)
    folder.claim(comparison)
    try:
        folder.note_call(comparison, options.jobs)
        _print_plan(comparison, folder, length, options.jobs)
        failed = carry_out(comparison, folder, length, workers)
    except Stopped:
        write_results(folder)
        print(f"hysteretic: stopped; finished updates are kept. Continue with: {folder.command()}", file=sys.stderr)
        return 130
    finally:
        folder.release()
    results = write_results(folder, with_report=True)
    print("\n" + in_words(results))
    print(f"\nReport: {folder.path / 'report.html'}   Results: {folder.results}")
    print(f"To repeat it, run in this directory: {results['command']}", flush=True)
    if failed:
        print(
            f"hysteretic: {len(failed)} runs failed; run the same command to try them again.",
            file=sys.stderr,
        )
    return 1 if failed else 0


def _command(arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The options of this command, and the comparison: the content of --config, overridden by flags."""
    parser = argparse.ArgumentParser(
        prog="hysteretic compare",
        usage="hysteretic compare [YAML] [--task TASK] [--model MODEL] [--algorithms A,B,...] [--seeds N] "
        "[options] [any flag of `hysteretic train`]",
        description="Compare algorithms (arms) over several seeds. Any flag of `hysteretic train` applies "
        "to all arms, written --name value (--name true for a switch).",
        epilog="Keys of a --config file: " + "; ".join(f"{key}: {text}" for key, text in KEYS.items()) + ".",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        default=None,
        metavar="FILE",
        help="YAML of the comparison; first, it needs no flag; flags override it",
    )
    parser.add_argument("--task", help="task of all arms, as in `hysteretic train` (default: countdown-3)")
    parser.add_argument("--model", help="model of all arms, as in `hysteretic train` (default: tiny)")
    parser.add_argument("--algorithms", metavar="A,B,...", help="such as grpo,gspo,sapo,hpo,a-hpo (`hysteretic list`)")
    parser.add_argument("--seeds", help="number of seeds, starting at 0 (default: 8), or a list such as 0,1,2,3")
    parser.add_argument("--most-seeds", "--most_seeds", dest="most_seeds", metavar="N", help=KEYS["most_seeds"])
    parser.add_argument("--aa", action="store_true", help=KEYS["aa"].removeprefix("true to "))
    parser.add_argument("--output", default=None, metavar="FOLDER", help="default: runs/compare-TASK-MODEL")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="runs at a time (default: 2)")
    parser.add_argument(
        "--tune-lr",
        "--tune_lr",
        dest="tune_lr",
        metavar="RATE,RATE,...",
        help="learning rates to tune over, such as 1.5e-4,3e-4,6e-4",
    )
    parser.add_argument(
        "--tuning-seeds",
        "--tuning_seeds",
        dest="tuning_seeds",
        metavar="SEEDS",
        help="number of seeds to try each rate on (default: 2), or a list",
    )
    parser.add_argument("--baseline", metavar="ARM", help="arm to compare the others with (default: grpo)")
    parser.add_argument("--measure", help=f"measure that decides the verdict: {', '.join(CHOOSABLE)} (default: area)")
    parser.add_argument("--margin", metavar="FRACTION", help=f"{KEYS['margin']} (default: none)")
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--config", *arguments]  # as in `hysteretic train`
    known, rest = parser.parse_known_args(list(arguments))
    given = vars(known)
    options = argparse.Namespace(**{key: given.pop(key) for key in ("config", "output", "jobs")})
    options.own_flags = [name.removeprefix("--") for action in parser._actions for name in action.option_strings]
    content = {} if options.config is None else read_recipe(options.config)
    if "algorithms" in given:
        content.pop("arms", None)
    flags = options.flags = _settings(rest) | {key: given.pop(key) for key in ("task", "model") if key in given}
    common = content.pop("settings", None) or {}
    if not isinstance(common, dict):
        raise UsageError(f"{options.config}: settings is {common!r}; it must be a mapping: {KEYS['settings']}.")
    return options, {**{key: content[key] for key in content if key not in flags}, **given, "settings": common | flags}


def _check_known(content: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Raises UsageError for a key or flag that is neither this command's own nor a setting."""
    settings = content["settings"]
    given = [*(key for key in content if key not in KEYS), *settings]
    if not given:
        return
    from hysteretic.config.settings import setting_names

    known = setting_names()
    for key in (key for key in given if key not in known):
        if key in options.flags and key in KEYS:
            instead = " On the command line give --algorithms." if key == "arms" else ""
            raise UsageError(f"--{key} is not a flag, only a key of a --config file: {KEYS[key]}.{instead}")
        if key in options.flags:
            hint = nearest(key, [*options.own_flags, *known], "--") or " See `hysteretic train --help`."
            raise UsageError(f"--{key} is neither a flag of `hysteretic compare` nor a setting.{hint}")
        if key in KEYS:
            raise UsageError(
                f"{options.config} sets settings.{key}, which is not a setting; move {key} to the top level."
            )
        hint = nearest(str(key), [*KEYS, *known]) or " See `hysteretic train --help`."
        raise UsageError(f"{options.config} sets {key!r}, which is neither a setting nor a key of a comparison.{hint}")


def _settings(words: Sequence[str]) -> dict[str, Any]:
    """Settings from --name value pairs: true, false and plain numbers are parsed, everything else is text."""
    settings: dict[str, Any] = {}
    rest = list(words)
    while rest:
        flag = rest.pop(0)
        if not flag.startswith("--"):
            raise UsageError(f"Unexpected argument {flag!r}; give settings as --name value.")
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


def _print_plan(comparison: Comparison, folder: ComparisonFolder, length: Length, jobs: int) -> None:
    arms = ", ".join(arm.name for arm in comparison.arms)
    task, model = (comparison.settings.get(key, default) for key, default in _DEFAULTS.items())
    runs, tuning = folder.runs(comparison, {}), folder.tuning_runs(comparison)
    seeds = f"{len(comparison.seeds)} seed{'s' * (len(comparison.seeds) > 1)}"
    seeds += f", up to {comparison.most_seeds} if needed" if comparison.most_seeds else ""
    print(f"{task} with {model}: {arms}; {seeds}, {length.updates} updates each, {jobs} at a time.")
    if tuning:
        rates = ", ".join(f"{rate:g}" for rate in comparison.rates)
        print(f"First, {len(tuning)} runs on other seeds choose each arm's learning rate among {rates}.")
    print(f"Measure: {comparison.measure}. Baseline: {comparison.baseline}. Folder: {folder.path}", flush=True)
    done = len(runs) + len(tuning) - len(unfinished([*runs, *tuning]))
    if done:
        print(f"{done} of {len(runs) + len(tuning)} runs have already finished.", flush=True)
