"""The results of a comparison: results.json, results.csv, and the verdicts in sentences.

results.json (schema 1; every number finite or null): what was compared (task, model, settings, arms with their
objective, learning rate and tuning), progress, `runs` with their measures and alarms, `summary` (mean and interval by
arm and measure), `pairs` (every pair of arms by measure: paired difference, relative gain, probability of improvement,
p, Holm's p over the pairs of that measure, verdict), `verdicts` and `notes` as sentences, `panels` (curves with bands)
and `samples` (responses before and after).

Several processes may write here: `hysteretic report` may run while `hysteretic compare` does. They take turns, and
each reads the runs only once it holds the lock, so newer results are never replaced by older ones. Writes are atomic,
so a reader never sees half a file.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hysteretic.common.environment import now
from hysteretic.common.files import read_json, read_lines, write_json, write_text
from hysteretic.compare.curves import panels
from hysteretic.compare.folder import ComparisonFolder
from hysteretic.compare.measures import label_and_meaning
from hysteretic.compare.outcomes import (
    Outcome,
    add_costs,
    by_seed,
    least_reward,
    measure_order,
    outcome,
    records,
    spread_of_pass,
    summary,
    tracks,
)
from hysteretic.compare.spec import Comparison
from hysteretic.compare.verdicts import all_pairs, notes, verdicts
from hysteretic.runs.alarms import alarms_of
from hysteretic.runs.record import objective_text

SAMPLES_AN_ARM = 8
"""Responses shown per arm, from its first seed, before and after training."""
PATIENCE = 30.0
"""Seconds to wait for the lock: a process suspended (Ctrl-Z) while writing must not block the others."""


def write_results(folder: ComparisonFolder, with_report: bool = False) -> dict[str, Any]:
    """Write results.json and results.csv (and the report and figures) from what is finished; returns the results.

    If results.json has more finished runs than the folder (results kept without their runs), both files stay as they
    are, and the report is made from them.
    Raises UsageError where there is no comparison. Waits while another process writes.
    """
    folder.read()  # leave no lock in a folder without a comparison
    with _turn(folder):
        results = collect(folder)
        earlier = read_json(folder.results) or {}
        if _finished(earlier) > _finished(results):
            results = _from_earlier(earlier, _finished(results))
        else:
            write_json(folder.results, results)
            write_table(results, folder.path / "results.csv")
        if with_report:
            from hysteretic.compare.figures import save_figures
            from hysteretic.compare.page import save_page

            save_figures(results, folder.path / "figures")
            save_page(results, folder.path / "report.html")
    return results


def _finished(results: Mapping[str, Any]) -> int:
    progress = results.get("progress", {})
    return int(progress.get("finished", 0)) if results.get("schema") == 1 else 0


def _from_earlier(earlier: dict[str, Any], here: int) -> dict[str, Any]:
    """Earlier results, whose runs were removed, with a note that says so."""
    note = (
        f"Made from results.json, which has {_finished(earlier)} finished runs; only {here} are still in this folder; "
        "the file is unchanged."
    )
    return {**earlier, "verdicts": verdicts(earlier), "notes": [note, *earlier.get("notes", [])]}


@contextlib.contextmanager
def _turn(folder: ComparisonFolder) -> Iterator[None]:
    """Hold the lock on the results; continue without it after PATIENCE seconds."""
    lock = FileLock(folder.path / ".results.lock", timeout=PATIENCE)
    with contextlib.suppress(Timeout):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def collect(folder: ComparisonFolder, seeds: int | None = None) -> dict[str, Any]:
    """The results of a comparison so far, or of this many of its seeds."""
    comparison = folder.read()
    tuned = folder.rates()
    rates = {arm: entry["learning_rate"] for arm, entry in tuned.items()}
    outcomes = [outcome(run) for run in folder.runs(comparison, rates, seeds)]
    budgets = add_costs(outcomes)
    done = [one for one in outcomes if one.figures is not None]
    names = measure_order(done)
    values = {name: {arm.name: by_seed(done, arm.name, name) for arm in comparison.arms} for name in names}
    pairs = all_pairs(comparison, values, {arm.name: tracks(done, arm.name) for arm in comparison.arms})
    samples = _samples(comparison, done)
    least = least_reward(done, samples)
    about = next((one.record.about for one in done if one.record is not None), {})
    results: dict[str, Any] = {
        "schema": 1,
        "title": _title(comparison),
        "created": now(),
        "command": folder.repeat(),
        "most_jobs": (read_json(folder.call) or {}).get("most_jobs"),
        "comparison": comparison.as_yaml(),
        "task": about.get("task") or comparison.settings.get("task", "countdown-3"),
        "model": str(about.get("model") or comparison.settings.get("model", "tiny")),
        "settings": _common_settings(done),
        "versions": about.get("versions", {}),
        "device": f"{about.get('device', 'unknown')}, {about.get('cpu_count', '?')} CPU cores",
        "source_sha256": sorted({str(one.record.about.get("source_sha256")) for one in done if one.record}),
        "progress": {
            "planned": len(outcomes),
            "finished": len(done),
            "failed": sum(one.state == "failed" for one in outcomes),
        },
        "primary": comparison.measure,
        "baseline": comparison.baseline,
        "confidence": comparison.confidence,
        "looks": list(comparison.looks),
        "second_baseline": comparison.second_baseline,
        "measures": {name: dict(zip(("label", "description"), label_and_meaning(name), strict=True)) for name in names},
        "budgets": budgets,
        "arms": [_arm(arm.name, arm.settings, tuned.get(arm.name), done) for arm in comparison.arms],
        "runs": [_run(one, folder.path) for one in outcomes],
        "summary": summary(values, comparison.confidence, least),
        "spread": spread_of_pass(done, [arm.name for arm in comparison.arms]),
        "pairs": pairs,
        "verdicts": [],
        "panels": panels({arm.name: records(done, arm.name) for arm in comparison.arms}, least),
        "samples": samples,
    }
    results["verdicts"], results["notes"] = verdicts(results), notes(results)
    finite: dict[str, Any] = _finite(results)
    return finite


def write_table(results: Mapping[str, Any], path: Path) -> None:
    """One row per run, one column per measure."""
    names = list(results["measures"])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["arm", "seed", "state", "learning_rate", "updates", "tokens", "seconds", *names])
    rates = {arm["name"]: arm["learning_rate"] for arm in results["arms"]}
    for run in results["runs"]:
        figures = [run["measures"].get(name) for name in names]
        head = [run["arm"], run["seed"], run["state"], rates[run["arm"]]]
        table.writerow([*head, run["updates"], run["tokens"], run["seconds"], *figures])
    write_text(path, text.getvalue())


def _title(comparison: Comparison) -> str:
    task, model = (
        comparison.settings.get(key, default) for key, default in (("task", "countdown-3"), ("model", "tiny"))
    )
    return f"{', '.join(arm.name for arm in comparison.arms)} on {Path(str(task)).name} with {Path(str(model)).name}"


def _largest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _arm(
    name: str, settings: Mapping[str, Any], tuning: Mapping[str, Any] | None, done: Sequence[Outcome]
) -> dict[str, Any]:
    about = next((record.about for record in records(done, name)), {})
    rate = (tuning or {}).get("learning_rate") or about.get("settings", {}).get("learning_rate")
    return {
        "name": name,
        "objective": objective_text(about.get("objective", "")),
        "settings": dict(settings),
        "learning_rate": rate,
        "tuning": None if tuning is None else {key: tuning[key] for key in ("rates", "seeds", "at_edge")},
    }


def _run(one: Outcome, folder: Path) -> dict[str, Any]:
    return {
        "arm": one.run.arm.name,
        "seed": one.run.seed,
        "state": one.state,
        "error": one.error,
        "measures": one.figures or {},
        "updates": one.record.updates[-1] if one.record else 0,
        "tokens": one.record.tokens[-1] if one.record else 0.0,
        "seconds": round(one.record.seconds[-1], 2) if one.record else 0.0,
        "rollouts": len(one.record.rewards) if one.record else 0,
        "grad_norm": _largest(one.record.panels["grad_norm"]) if one.record else None,
        "problems": _problems_of_a_rollout(one),
        "alarms": [asdict(alarm) for alarm in alarms_of(one.run.folder)] if one.state != "planned" else [],
        "folder": one.run.folder.relative_to(folder).as_posix(),
    }


def _problems_of_a_rollout(one: Outcome) -> int | None:
    settings = one.record.about.get("settings", {}) if one.record else {}
    responses, group = settings.get("generation_batch_size"), settings.get("num_generations")
    return responses // group if responses and group else None


def _common_settings(done: Sequence[Outcome]) -> dict[str, Any]:
    """Effective settings that are the same in every finished run, without paths."""
    each = [one.record.about.get("settings", {}) for one in done if one.record is not None]
    if not each:
        return {}
    same = {key: value for key, value in each[0].items() if all(other.get(key) == value for other in each)}
    return {key: value for key, value in same.items() if key not in ("output_dir", "logging_dir", "run_name", "seed")}


def _samples(comparison: Comparison, done: Sequence[Outcome]) -> list[dict[str, Any]]:
    kept = []
    for arm in comparison.arms:
        first = next((one for one in done if one.run.arm == arm), None)
        path = None if first is None else first.run.folder / "samples.jsonl"
        if first is None or path is None or not path.is_file():
            continue
        by_time = defaultdict(list)
        for sample in read_lines(path):
            by_time[sample.get("when")].append(sample)
        for samples in by_time.values():
            kept += [{"arm": arm.name, "seed": first.run.seed, **sample} for sample in samples[:SAMPLES_AN_ARM]]
    return kept


def _finite(value: Any) -> Any:
    """The value as plain JSON data, with null for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
