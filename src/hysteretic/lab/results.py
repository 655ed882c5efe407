"""What came of a comparison? results.json, results.csv, and the sentences that answer the question.

results.json (schema 1; every number finite or null): what was compared (task, model, settings, arms with their
objective, learning rate and tuning), progress, `runs` with their measures, `summary` (mean and interval by arm and
measure), `pairs` (every pair of arms by measure: paired difference, relative gain, probability of improvement, p,
Holm's p over the pairs of that measure, verdict), `verdicts` and `notes` in words, `panels` (curves with bands) and
`samples` (responses before and after).
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hysteretic.lab.comparison import Comparison, ComparisonFolder, Run, finished, write_json, write_text
from hysteretic.lab.measures import Record, area_up_to, label_and_meaning, measures, read_record
from hysteretic.lab.panels import LOGGED, panels
from hysteretic.lab.run_folder import now, read_json, read_lines
from hysteretic.statistics import PairedComparison, holm, mean_interval, paired_comparison

BY_COST = ("area_by_token", "area_by_second")
SAMPLES_AN_ARM = 8
"""Responses to show of each arm's first seed, before and after training."""


@dataclass
class Outcome:
    """One run with what it came to. record: None unless it finished; error: why it failed."""

    run: Run
    state: str
    error: str | None = None
    record: Record | None = None
    figures: dict[str, float] | None = None


def write_results(folder: ComparisonFolder, with_report: bool = False) -> dict[str, Any]:
    """Write results.json and results.csv (and the report and figures) from what is finished; returns the results."""
    results = collect(folder)
    write_json(folder.results, results)
    write_table(results, folder.path / "results.csv")
    if with_report:
        from hysteretic.lab.figures import save_figures
        from hysteretic.lab.page import save_page

        save_figures(results, folder.path / "figures")
        save_page(results, folder.path / "report.html")
    return results


def collect(folder: ComparisonFolder) -> dict[str, Any]:
    """The results of a comparison so far."""
    comparison = folder.read()
    tuned = folder.rates()
    rates = {arm: entry["learning_rate"] for arm, entry in tuned.items()}
    outcomes = [outcome(run) for run in folder.runs(comparison, rates)]
    budgets = add_costs(outcomes)
    done = [one for one in outcomes if one.figures is not None]
    names = measure_order(done)
    pairs = all_pairs(comparison, done, names)
    about = next((one.record.about for one in done if one.record is not None), {})
    results: dict[str, Any] = {
        "schema": 1,
        "title": _title(comparison),
        "created": now(),
        "command": shlex.join(["hysteretic", "compare", "--config", "comparison.yaml", "--output", "again"]),
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
        "measures": {name: dict(zip(("label", "description"), label_and_meaning(name), strict=True)) for name in names},
        "budgets": budgets,
        "arms": [_arm(arm.name, arm.settings, tuned.get(arm.name), done) for arm in comparison.arms],
        "runs": [_run(one, folder.path) for one in outcomes],
        "summary": summary(comparison, done, names),
        "pairs": pairs,
        "verdicts": verdicts(comparison, pairs, len(done)),
        "panels": panels({arm.name: _records(done, arm.name) for arm in comparison.arms}),
        "samples": _samples(comparison, done),
    }
    results["notes"] = notes(results)
    finite: dict[str, Any] = _finite(results)
    return finite


def outcome(run: Run) -> Outcome:
    """What a run came to, so far."""
    record = read_json(run.folder / "run.json")
    failure = read_json(run.failure)
    if failure is not None:
        return Outcome(run, "failed", f"{failure.get('error')}\n{failure.get('last_lines', '')}".strip())
    if record is None:
        return Outcome(run, "planned")
    if not finished(run):
        return Outcome(run, "running")
    try:
        found = read_record(run.folder, LOGGED)
    except ValueError as error:
        return Outcome(run, "failed", str(error))
    return Outcome(run, "finished", None, found, measures(found))


def add_costs(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Adds measures up to a common budget, the smallest total among all finished runs.

    Returns by measure the budget and the median of the totals.
    """
    budgets = {}
    done = [(one.figures, one.record) for one in outcomes if one.figures is not None and one.record is not None]
    for name, costs in zip(BY_COST, ("tokens", "seconds"), strict=True):
        totals = [getattr(record, costs)[-1] for _, record in done]
        budget = min(totals, default=0.0)
        if budget > 0:
            budgets[name] = {"budget": budget, "median_total": median(totals)}
            for figures, record in done:
                figures[name] = area_up_to(record.rewards, getattr(record, costs), budget)
    return budgets


def measure_order(done: Sequence[Outcome]) -> list[str]:
    """The measures that every finished run has, in their order."""
    each = [one.figures or {} for one in done]
    return [name for name in each[0] if all(name in figures for figures in each)] if each else []


def by_seed(done: Sequence[Outcome], arm: str, measure: str) -> dict[int, float]:
    """A measure of one arm's finished runs."""
    return {one.run.seed: one.figures[measure] for one in done if one.run.arm.name == arm and one.figures is not None}


def summary(comparison: Comparison, done: Sequence[Outcome], names: Sequence[str]) -> list[dict[str, Any]]:
    """Mean and interval over seeds, by arm and measure."""
    rows = []
    for name, arm in itertools.product(names, comparison.arms):
        values = list(by_seed(done, arm.name, name).values())
        if values:
            mean, low, high = mean_interval(values, comparison.confidence)
            interval = [low, high] if len(values) > 1 else None
            rows.append({"arm": arm.name, "measure": name, "mean": mean, "interval": interval, "seeds": len(values)})
    return rows


def all_pairs(comparison: Comparison, done: Sequence[Outcome], names: Sequence[str]) -> list[dict[str, Any]]:
    """Every arm against the baseline first, then every other pair, on the seeds that both finished.

    Verdicts are of p-values corrected (Holm) over the pairs of one measure.
    """
    arms = [arm.name for arm in comparison.arms]
    others = [arm for arm in arms if arm != comparison.baseline]
    couples = [(arm, comparison.baseline) for arm in others]
    couples += [(second, first) for first, second in itertools.combinations(others, 2)]
    rows = []
    for name in names:
        found: list[tuple[str, str, PairedComparison]] = []
        for treatment, baseline in couples:
            ours, theirs = by_seed(done, treatment, name), by_seed(done, baseline, name)
            shared = sorted(ours.keys() & theirs.keys())
            if shared:
                values = [ours[seed] for seed in shared], [theirs[seed] for seed in shared]
                found.append((treatment, baseline, paired_comparison(*values, comparison.confidence)))
        told = [pair for _, _, pair in found if pair.verdict != "too few seeds"]
        corrected = dict(zip(map(id, told), holm([pair.p_value for pair in told]), strict=True)) if told else {}
        rows += [
            _pair(treatment, baseline, name, pair, corrected.get(id(pair)), comparison.confidence)
            for treatment, baseline, pair in found
        ]
    return rows


def _pair(
    treatment: str, baseline: str, measure: str, pair: PairedComparison, p_holm: float | None, confidence: float
) -> dict[str, Any]:
    verdict: str = pair.verdict
    if verdict in ("better", "worse") and p_holm is not None and p_holm > 1 - confidence:
        verdict = "cannot tell"
    is_ratio = pair.baseline_mean > 0
    return {
        "treatment": treatment,
        "baseline": baseline,
        "measure": measure,
        "seeds": pair.seeds,
        "mean_difference": pair.mean_difference,
        "interval": list(pair.interval) if math.isfinite(pair.interval[0]) else None,
        "relative_gain": pair.relative_gain if is_ratio else None,
        "relative_interval": list(pair.relative_interval) if is_ratio and pair.relative_interval else None,
        "probability_of_improvement": pair.probability_of_improvement,
        "p": pair.p_value,
        "p_holm": p_holm,
        "verdict": verdict,
        "seeds_to_tell": pair.seeds_to_tell if verdict == "cannot tell" else None,
    }


def verdicts(comparison: Comparison, pairs: Sequence[Mapping[str, Any]], finished_runs: int) -> list[str]:
    """The answer in sentences: every arm against the baseline on the measure that decides, the surest first."""
    if len(comparison.arms) == 1:
        return [f"{comparison.arms[0].name} alone was run: there is nothing to compare it with."]
    chosen = [p for p in pairs if p["measure"] == comparison.measure and p["baseline"] == comparison.baseline]
    if not chosen:
        if not finished_runs:
            return ["No run is finished: there is no verdict yet."]
        return [
            f"No verdict yet: there is no seed at which {comparison.baseline} and another arm both finished with the "
            f"measure that decides ({comparison.measure}); finished runs: {finished_runs}."
        ]
    order = {"better": 0, "worse": 1, "cannot tell": 2, "too few seeds": 3}
    chosen.sort(key=lambda p: (order[p["verdict"]], p["p"] if p["p"] is not None else 1.0))
    return [sentence(pair) for pair in chosen]


def sentence(pair: Mapping[str, Any]) -> str:
    """One pair in words."""
    label = label_and_meaning(pair["measure"])[0].lower()
    ours, theirs, n = pair["treatment"], pair["baseline"], pair["seeds"]
    seeds = f"{n} paired seed" + ("s" if n != 1 else "")
    figures = f"{pair['mean_difference']:+.4f}"
    if pair["interval"] is not None:
        figures += f" (95 % interval {pair['interval'][0]:+.4f} to {pair['interval'][1]:+.4f})"
    if pair["relative_gain"] is not None:
        figures += f", a gain of {100 * pair['relative_gain']:+.0f} %"
    if pair["verdict"] == "too few seeds":
        return f"{ours} and {theirs}: {seeds} are too few for a verdict (4 are the least). {label}: {figures}."
    if pair["verdict"] == "cannot tell":
        if pair["p"] is not None and pair["p_holm"] is not None and pair["p"] <= 0.05 < pair["p_holm"]:
            hint = "by itself this pair would tell, among so many it may be chance: add seeds, or compare fewer arms"
        elif pair["seeds_to_tell"] is None:
            hint = "so small a difference would take over 1,000 seeds"
        else:
            hint = f"about {pair['seeds_to_tell']} seeds in all would tell, if the difference is as measured"
        return f"Cannot tell whether {ours} is better than {theirs} ({label}): {figures}, {seeds}; {hint}."
    return f"{ours} is {pair['verdict']} than {theirs} ({label}): {figures}, {seeds}."


def notes(results: Mapping[str, Any]) -> list[str]:
    """What a reader must know to trust the figures."""
    found = []
    progress = results["progress"]
    if progress["finished"] < progress["planned"]:
        found.append(f"{progress['finished']} of {progress['planned']} runs are finished: the figures are not final.")
    if progress["failed"]:
        found.append(
            f"Failed runs: {progress['failed']}. Pairs leave out their seeds, which may flatter an arm that fails."
        )
    for arm in results["arms"]:
        tried = arm["tuning"]["rates"] if arm["tuning"] else []
        unsafe = [f"{entry['learning_rate']:g}" for entry in tried if entry["seeds"] < len(arm["tuning"]["seeds"])]
        if unsafe:
            found.append(f"Runs of {arm['name']} failed while tuning at {', '.join(unsafe)}: not chosen.")
        if arm["tuning"] and arm["tuning"]["at_edge"]:
            found.append(
                f"{arm['name']}'s best learning rate, {arm['learning_rate']:g}, is at the edge of those tried: a rate "
                "beyond it may be better."
            )
    if not any(arm["tuning"] for arm in results["arms"]):
        found.append("No learning rate was tuned: every arm has the settings it was given.")
    if len(results["source_sha256"]) > 1:
        found.append(f"The runs were made by {len(results['source_sha256'])} versions of this package's code.")
    if len([p for p in results["pairs"] if p["measure"] == results["primary"]]) > 1:
        found.append(
            "Verdicts are by p-values corrected for the number of pairs (Holm); intervals are of each pair alone."
        )
    for name, budget in results["budgets"].items():
        if budget["budget"] < budget["median_total"] / 2:
            what = results["measures"].get(name, {}).get("label", name).lower()
            found.append(
                f"One run cost less than half of the others': figures {what} are of the first part of the runs."
            )
    if len({entry["problems"] for entry in results["runs"] if entry["problems"]}) > 1:
        found.append("Arms take different numbers of problems at a time: they share their order, not their rollouts.")
    if "area_by_second" in results["measures"]:
        found.append("Seconds are those of a machine that several runs shared.")
    return found


def write_table(results: Mapping[str, Any], path: Path) -> None:
    """A line for each run, a column for each measure."""
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


def _records(done: Sequence[Outcome], arm: str) -> list[Record]:
    return [one.record for one in done if one.run.arm.name == arm and one.record is not None]


def _arm(
    name: str, settings: Mapping[str, Any], tuning: Mapping[str, Any] | None, done: Sequence[Outcome]
) -> dict[str, Any]:
    about = next((record.about for record in _records(done, name)), {})
    rate = (tuning or {}).get("learning_rate") or about.get("settings", {}).get("learning_rate")
    return {
        "name": name,
        "objective": about.get("objective", ""),
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
        "problems": _problems_of_a_rollout(one),
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
    """The same with null for numbers that are not finite, and plain lists and dictionaries."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
