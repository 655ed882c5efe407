"""Run a comparison: a trial to estimate the time, then the runs that tune learning rates, then the others."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import yaml

from hysteretic.common.errors import UsageError
from hysteretic.common.files import read_json, write_json, write_text
from hysteretic.common.subprocesses import Command, Ended, Workers, run_all
from hysteretic.common.terminal import clock
from hysteretic.compare.folder import ComparisonFolder, Run, finished, unfinished
from hysteretic.compare.measures import measures, read_record
from hysteretic.compare.outcomes import add_costs, outcome
from hysteretic.compare.progress import Live
from hysteretic.compare.results import collect, write_results
from hysteretic.compare.spec import Comparison
from hysteretic.compare.verdicts import is_told

TRIAL_ROLLOUTS = 2
"""Length of the trial that estimates the time."""


@dataclass(frozen=True)
class Length:
    """Updates per run, and updates per rollout (of the arm with the most)."""

    updates: int
    of_rollout: int


def carry_out(comparison: Comparison, folder: ComparisonFolder, length: Length, workers: Workers) -> list[str]:
    """Run everything that is unfinished; returns the names of failed runs. Raises Stopped and UsageError."""
    for run in [*folder.tuning_runs(comparison), *folder.runs(comparison, {})]:
        if finished(run):
            tidy(run)
    _expect(comparison, folder, length, workers)
    tuning = folder.tuning_runs(comparison)
    failed = _train(comparison, folder, tuning, length.updates, workers, "Choosing rates")
    rates: dict[str, float] = {}
    if tuning:
        chosen = {**choose_rates(comparison, tuning), **_kept_rates(comparison, folder)}
        write_json(folder.tuning, chosen)
        rates = {arm: entry["learning_rate"] for arm, entry in chosen.items()}
        print("Rates: " + ", ".join(f"{arm} {rate:g}" for arm, rate in rates.items()), flush=True)
    for look in comparison.looks:
        runs = folder.runs(comparison, rates, look)
        broken = _train(comparison, folder, runs, length.updates, workers, "Comparing")
        failed += broken
        if broken or look == comparison.looks[-1] or is_told(collect(folder, look)):
            break
        print(f"Not every verdict is clear with {look} seeds; adding more, up to {comparison.looks[-1]}.", flush=True)
    return failed


def _train(
    comparison: Comparison, folder: ComparisonFolder, runs: Sequence[Run], updates: int, workers: Workers, title: str
) -> list[str]:
    """Train the unfinished runs, and write results whenever one ends. Returns the names of failed runs."""
    waiting = unfinished(runs)
    if not waiting:
        return []
    by_name = {run.name: run for run in waiting}
    failed = []
    with Live(title, {run.name: run.folder / "metrics.jsonl" for run in waiting}, updates, workers.jobs) as live:

        def ended(one: Ended) -> None:
            run = by_name[one.command.name]
            error = None if one.code == 0 and finished(run) else f"exit code {one.code}"
            if error is None:
                try:
                    found = measures(read_record(run.folder))
                    shown = comparison.measure if comparison.measure in found else "area"  # costs: known in the end
                    live.line(f"{run.name}: {shown} {found[shown]:.4f} in {clock(one.seconds)}")
                    tidy(run)
                except ValueError as unusable:
                    error = str(unusable)
            if error is not None:
                failed.append(run.name)
                write_json(run.failure, {"error": error, "last_lines": one.last_lines})
                live.line(f"{run.name} failed ({error}); the end of {one.command.log}:\n{one.last_lines}")
            write_results(folder)

        run_all([_command_of(run, comparison) for run in waiting], workers, ended, live.show)
    return failed


def _command_of(run: Run, comparison: Comparison, **changes: Any) -> Command:
    """The `hysteretic train` command of a run, resuming where it was stopped."""
    config = run.folder.with_name(f"{run.folder.name}.yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    write_text(config, yaml.safe_dump({**run.settings(comparison), **changes}))
    run.failure.unlink(missing_ok=True)
    words = ["train", "--config", str(config), "--output", str(run.folder)]
    if (run.folder / "run.json").is_file():
        words.append("--resume")
    elif run.folder.exists():
        shutil.rmtree(run.folder)  # killed before it wrote anything
    return Command(run.name, tuple(words), run.folder.with_name(f"{run.folder.name}.log"))


def tidy(run: Run) -> None:
    """Remove what a finished run no longer needs: its checkpoints, and the model of a tuning run."""
    for folder in [*run.folder.glob("checkpoint-*"), *([run.folder / "model"] if run.is_tuning else [])]:
        shutil.rmtree(folder, ignore_errors=True)


def _expect(comparison: Comparison, folder: ComparisonFolder, length: Length, workers: Workers) -> None:
    """Print the expected time, estimated once by a trial of a few rollouts.

    Raises UsageError when no arm completes a trial: the real runs would fail too.
    """
    left = len(unfinished([*folder.tuning_runs(comparison), *folder.runs(comparison, {})]))
    if not left:
        return
    timing = read_json(folder.timing)
    if timing is None:
        steps = min(TRIAL_ROLLOUTS * length.of_rollout, length.updates)
        print(f"Trial of {steps} updates, to estimate the time …", flush=True)
        timing = _trial(comparison, folder, steps, replace(workers, jobs=min(workers.jobs, left)))
        write_json(folder.timing, timing)
    seconds = (timing["seconds_around_a_run"] + length.updates * timing["seconds_an_update"]) * left / workers.jobs
    print(f"{left} runs left: about {clock(seconds)}.", flush=True)


def _trial(comparison: Comparison, folder: ComparisonFolder, steps: int, workers: Workers) -> dict[str, float]:
    """Seconds of a run outside its updates, and of one update, measured with several runs at a time."""
    trials = [Run(arm, comparison.seeds[0], None, folder.path / "trial" / arm.folder) for arm in comparison.arms]
    over: list[Ended] = []
    for start in range(0, len(trials), workers.jobs):
        tried = trials[start : start + workers.jobs]
        for trial in tried:
            shutil.rmtree(trial.folder, ignore_errors=True)
        run_all(
            [_command_of(trial, comparison, max_steps=steps) for trial in tried], workers, over.append, lambda _: None
        )
        whole = {one.command.name: one.seconds for one in over if one.code == 0}
        timed = [(whole[t.name], read_record(t.folder).seconds[-1]) for t in tried if t.name in whole and finished(t)]
        for trial in tried:
            shutil.rmtree(trial.folder / "model", ignore_errors=True)
        if timed:
            return {
                "seconds_around_a_run": fmean(all_of_it - updates for all_of_it, updates in timed),
                "seconds_an_update": fmean(updates / steps for _, updates in timed),
            }
    raise UsageError(f"No arm could be trained; the end of {over[0].command.log}:\n{over[0].last_lines}")


def _kept_rates(comparison: Comparison, folder: ComparisonFolder) -> dict[str, Any]:
    """Rates that runs have already started with; they stay, whatever later tuning runs show."""
    before = folder.rates()
    started = {run.arm.name for run in folder.runs(comparison, {}) if (run.folder / "run.json").is_file()}
    return {arm: entry for arm, entry in before.items() if arm in started}


def choose_rates(comparison: Comparison, tuning: Sequence[Run]) -> dict[str, Any]:
    """Each arm's rate with the largest mean measure over the tuning seeds.

    A rate at which a run failed is not chosen: it may be unsafe, and its mean would be over fewer seeds.
    Raises UsageError for an arm that has no rate left.
    """
    outcomes = [outcome(run) for run in tuning]
    add_costs(outcomes)
    chosen = {}
    for arm in comparison.arms:
        values: dict[float, list[float]] = {rate: [] for rate in comparison.rates}
        for one in outcomes:
            if one.run.arm == arm and one.run.rate is not None and one.figures is not None:  # a failure was reported
                values[one.run.rate].append(one.figures[comparison.measure])
        whole = {rate: fmean(found) for rate, found in values.items() if len(found) == len(comparison.tuning_seeds)}
        if not whole:
            raise UsageError(
                f"Tuning {arm.name} failed at every rate; see the logs in the tuning folder, fix the settings, and "
                "run the same command again."
            )
        best = max(whole, key=lambda rate: whole[rate])
        chosen[arm.name] = {
            "learning_rate": best,
            "rates": [
                {
                    "learning_rate": rate,
                    "mean": fmean(found) if found else None,
                    "seeds": len(found),
                    "values": found,
                }
                for rate, found in values.items()
            ],
            "seeds": list(comparison.tuning_seeds),
            "at_edge": len(comparison.rates) > 1 and best in (min(comparison.rates), max(comparison.rates)),
        }
    return chosen
