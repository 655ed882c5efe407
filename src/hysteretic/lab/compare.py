"""`hysteretic compare`: which algorithm is better on this task, by how much, and how sure is that?

Every arm and seed is `hysteretic train` in a process of its own. Same seed, same start, same problems in the same
order: differences are paired.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from hysteretic.lab.comparison import (
    KEYS,
    Comparison,
    ComparisonFolder,
    Run,
    finished,
    read,
    unfinished,
    write_json,
    write_text,
)
from hysteretic.lab.errors import UsageError
from hysteretic.lab.live import Live, clock
from hysteretic.lab.measures import CHOOSABLE, measures, read_record
from hysteretic.lab.processes import Command, Ended, Stopped, run_all
from hysteretic.lab.recipes import read_recipe
from hysteretic.lab.results import write_results
from hysteretic.lab.run_folder import read_json
from hysteretic.names import nearest

TRIAL_ROLLOUTS = 2
"""Rollouts of the trial that the expected time comes from."""


def main(arguments: Sequence[str]) -> int:
    """0 when every run finished, 1 when one failed, 130 when stopped; the report is written in all three cases."""
    options, content = _command(arguments)
    comparison = read(content, options.config or "the command line")
    if comparison.measure not in CHOOSABLE:
        hint = nearest(comparison.measure, CHOOSABLE)
        raise UsageError(f"measure is {comparison.measure!r}; it must be one of {', '.join(CHOOSABLE)}.{hint}")
    if options.jobs < 1:
        raise UsageError(f"--jobs is {options.jobs}; run at least one at a time.")
    updates, per_rollout = _checked(comparison)
    folder = ComparisonFolder(options.output or _default_folder(comparison))
    folder.claim(comparison)
    try:
        _print_plan(comparison, folder, updates, options.jobs)
        failed = _carry_out(comparison, folder, updates, per_rollout, options.jobs)
    except Stopped:
        write_results(folder)
        again = f"hysteretic compare --config {folder.comparison} --output {folder.path} --jobs {options.jobs}"
        print(f"hysteretic: stopped; nothing finished is lost. Go on with: {again}", file=sys.stderr)
        return 130
    finally:
        folder.release()
    results = write_results(folder, with_report=True)
    print("\n" + "\n".join(results["verdicts"]))
    print(f"\nReport: {folder.path / 'report.html'}   Figures: {folder.results}")
    if failed:
        print(f"hysteretic: {len(failed)} runs failed; the same command tries them again.", file=sys.stderr)
    return 1 if failed else 0


def _command(arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """The command's own options, and the comparison: what --config says, and over it the flags."""
    parser = argparse.ArgumentParser(
        prog="hysteretic compare",
        description="Arms beside each other over several seeds. Any flag of `hysteretic train` is a setting of all.",
        epilog="In a --config file besides: " + "; ".join(f"{key}: {text}" for key, text in KEYS.items()) + ".",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--config", default=None, help="YAML of the whole comparison; flags go over it")
    parser.add_argument("--output", default=None, help="the comparison's folder (runs/compare-TASK-MODEL)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2)")
    parser.add_argument("--algorithms", help="such as grpo,gspo,sapo,hpo,a-hpo (`hysteretic list`)")
    parser.add_argument("--seeds", help="how many, from seed 0 (8)")
    parser.add_argument("--tune-lr", "--tune_lr", dest="tune_lr", help="learning rates, such as 1.5e-4,3e-4,6e-4")
    parser.add_argument("--tuning-seeds", "--tuning_seeds", dest="tuning_seeds", help="seeds a rate is tried on (2)")
    parser.add_argument("--baseline", help="the arm that the others are held against (grpo)")
    parser.add_argument("--measure", help=f"what decides: {', '.join(CHOOSABLE)} (area)")
    known, rest = parser.parse_known_args(list(arguments))
    given = vars(known)
    options = argparse.Namespace(**{key: given.pop(key) for key in ("config", "output", "jobs")})
    content = {} if options.config is None else read_recipe(options.config)
    if "algorithms" in given:
        content.pop("arms", None)
    flags, common = _settings(rest), content.pop("settings", None) or {}
    if not isinstance(common, dict):
        raise UsageError(f"{options.config}: settings is {common!r}; it must be a mapping: {KEYS['settings']}.")
    return options, {**{key: content[key] for key in content if key not in flags}, **given, "settings": common | flags}


def _settings(words: Sequence[str]) -> dict[str, Any]:
    """--name value pairs as settings."""
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
        settings[name.replace("-", "_")] = yaml.safe_load(value)
    return settings


def _default_folder(comparison: Comparison) -> Path:
    task, model = (str(comparison.settings.get(key, default)) for key, default in _DEFAULTS.items())
    return Path("runs") / f"compare-{Path(task).stem}-{Path(model).name}".lower().replace(":", "-")


_DEFAULTS = {"task": "countdown-3", "model": "tiny"}


def _checked(comparison: Comparison) -> tuple[int, int]:
    """Updates of a run, and of a rollout; every arm's settings are read once, as `hysteretic train` will read them.

    Raises UsageError for a setting that is none, or that contradicts another.
    """
    from hysteretic.lab.settings import parse_settings
    from hysteretic.lab.train import quieten

    quieten()
    requests = [parse_settings({**comparison.settings, **arm.settings}, f"arm {arm.name!r}") for arm in comparison.arms]
    training = [request.training for request in requests]
    if training[0].max_steps < 1:
        raise UsageError("A comparison needs runs of one length; set max_steps, such as --max_steps 200.")
    return max(t.max_steps for t in training), max(t.updates_per_rollout() for t in training)


def _print_plan(comparison: Comparison, folder: ComparisonFolder, updates: int, jobs: int) -> None:
    arms = ", ".join(arm.name for arm in comparison.arms)
    task, model = (comparison.settings.get(key, default) for key, default in _DEFAULTS.items())
    runs, tuning = folder.runs(comparison, {}), folder.tuning_runs(comparison)
    print(f"{task} with {model}: {arms}; {len(comparison.seeds)} seeds, {updates} updates each, {jobs} at a time.")
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


def _carry_out(
    comparison: Comparison, folder: ComparisonFolder, updates: int, per_rollout: int, jobs: int
) -> list[str]:
    """Trial, tuning, runs; returns the names of failed runs."""
    _expect(comparison, folder, updates, per_rollout, jobs)
    tuning = folder.tuning_runs(comparison)
    failed = _train(comparison, folder, tuning, updates, jobs, "Choosing rates")
    rates: dict[str, float] = {}
    if tuning:
        chosen = choose_rates(comparison, tuning)
        write_json(folder.tuning, chosen)
        rates = {arm: entry["learning_rate"] for arm, entry in chosen.items()}
        print("Rates: " + ", ".join(f"{arm} {rate:g}" for arm, rate in rates.items()), flush=True)
    runs = folder.runs(comparison, rates)
    _refuse_changed_rates(runs, comparison)
    return failed + _train(comparison, folder, runs, updates, jobs, "Comparing")


def _train(
    comparison: Comparison, folder: ComparisonFolder, runs: Sequence[Run], updates: int, jobs: int, title: str
) -> list[str]:
    """Make the runs that are not finished; results are written whenever one ends. Returns the names of failed ones."""
    waiting = unfinished(runs)
    if not waiting:
        return []
    by_name = {run.name: run for run in waiting}
    failed = []
    with Live(title, {run.name: run.folder / "metrics.jsonl" for run in waiting}, updates, jobs) as live:

        def ended(one: Ended) -> None:
            run = by_name[one.command.name]
            if one.code == 0 and finished(run):
                area = measures(read_record(run.folder))[comparison.measure]
                live.line(f"{run.name}: {comparison.measure} {area:.4f} in {clock(one.seconds)}")
                for checkpoint in run.folder.glob("checkpoint-*"):
                    shutil.rmtree(checkpoint)  # what --resume goes on from; a finished run has its model
            else:
                failed.append(run.name)
                live.line(f"{run.name} failed (exit code {one.code}); the end of {one.command.log}:\n{one.last_lines}")
            write_results(folder)

        run_all([_command_of(run, comparison) for run in waiting], jobs, ended, live.show)
    return failed


def _command_of(run: Run, comparison: Comparison, **changes: Any) -> Command:
    """`hysteretic train` for a run, going on where it was stopped."""
    config = run.folder.with_name(f"{run.folder.name}.yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    write_text(config, yaml.safe_dump({**run.settings(comparison), **changes}))
    words = ["train", "--config", str(config), "--output", str(run.folder)]
    if (run.folder / "run.json").is_file():
        words.append("--resume")
    elif run.folder.exists():
        shutil.rmtree(run.folder)  # killed before its first line: it holds nothing
    return Command(run.name, tuple(words), run.folder.with_name(f"{run.folder.name}.log"))


def _expect(comparison: Comparison, folder: ComparisonFolder, updates: int, per_rollout: int, jobs: int) -> None:
    """Print the expected time, from a trial of a few rollouts that is made once."""
    runs = [*folder.tuning_runs(comparison), *folder.runs(comparison, {})]
    left = len(unfinished(runs))
    if not left:
        return
    timing = read_json(folder.timing)
    if timing is None:
        steps = min(TRIAL_ROLLOUTS * per_rollout, updates)
        print(f"A trial of {steps} updates, for the expected time …", flush=True)
        trials = [
            Run(arm, comparison.seeds[0], None, folder.path / "trial" / arm.folder)
            for arm in comparison.arms[: min(jobs, left)]
        ]
        for trial in trials:
            shutil.rmtree(trial.folder, ignore_errors=True)
        over: list[Ended] = []
        run_all(
            [_command_of(trial, comparison, max_steps=steps) for trial in trials], jobs, over.append, lambda going: None
        )
        timed = [(one, trial) for trial in trials for one in over if one.command.name == trial.name and not one.code]
        if not timed:
            raise UsageError(f"No trial run started; the end of {over[0].command.log}:\n{over[0].last_lines}")
        around = fmean(one.seconds - read_record(trial.folder).seconds[-1] for one, trial in timed)
        an_update = fmean(read_record(trial.folder).seconds[-1] / steps for _, trial in timed)
        timing = {"seconds_around_a_run": around, "seconds_an_update": an_update}
        write_json(folder.timing, timing)
    seconds = (timing["seconds_around_a_run"] + updates * timing["seconds_an_update"]) * left / jobs
    print(f"{left} runs to make: about {clock(seconds)}.", flush=True)


def choose_rates(comparison: Comparison, tuning: Sequence[Run]) -> dict[str, Any]:
    """Each arm's rate with the largest mean measure over the tuning seeds on which every rate finished.

    Raises UsageError for an arm without a finished run at any rate.
    """
    chosen = {}
    for arm in comparison.arms:
        values: dict[float, list[float]] = {rate: [] for rate in comparison.rates}
        for run in tuning:
            if run.arm == arm and run.rate is not None and finished(run):
                values[run.rate].append(_measure(run, comparison.measure))
        tried = {rate: fmean(found) for rate, found in values.items() if found}
        if not tried:
            raise UsageError(
                f"Every tuning run of {arm.name} failed; see the logs in the tuning folder, mend the settings, and "
                "call this again."
            )
        best = max(tried, key=lambda rate: tried[rate])
        chosen[arm.name] = {
            "learning_rate": best,
            "rates": [
                {"learning_rate": rate, "mean": tried.get(rate), "seeds": len(found)} for rate, found in values.items()
            ],
            "seeds": list(comparison.tuning_seeds),
            "at_edge": len(tried) > 1 and best in (min(tried), max(tried)),
        }
    return chosen


def _measure(run: Run, measure: str) -> float:
    return measures(read_record(run.folder))[measure]


def _refuse_changed_rates(runs: Sequence[Run], comparison: Comparison) -> None:
    """Finished runs at another rate than the one chosen now must not be mixed with new ones."""
    for run in runs:
        before = run.folder.with_name(f"{run.folder.name}.yaml")
        if run.rate is not None and before.is_file():
            rate = (yaml.safe_load(before.read_text(encoding="utf-8")) or {}).get("learning_rate")
            if rate != run.rate:
                raise UsageError(
                    f"{run.name} was trained at learning rate {rate}, and tuning now chooses {run.rate:g} (a tuning "
                    "run was missing then); remove its folder, or give another --output."
                )
