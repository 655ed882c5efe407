"""What do the figures of a comparison say, pair by pair and in words?"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hysteretic.compare.measures import label_and_meaning
from hysteretic.compare.spec import Comparison
from hysteretic.statistics import PairedComparison, holm, paired_comparison

Values = Mapping[str, Mapping[str, Mapping[int, float]]]
"""By measure, arm and seed."""

Track = tuple[Sequence[float], Sequence[float]]
"""Rewards and generated tokens of a run's rollouts: where both are the same, two runs are the same run."""

WORDS = {
    kind: "no clear difference" if kind == "cannot tell" else kind
    for kind in ("better", "worse", "identical", "cannot tell", "too few seeds")
}
"""What readers see for each verdict of results.json, the clearest first."""

ORDER = ("better", "worse", "identical", "cannot tell", "too few seeds")
"""The surest verdict first."""


def all_pairs(
    comparison: Comparison, values: Values, tracks: Mapping[str, Mapping[int, Track]]
) -> list[dict[str, Any]]:
    """Every arm against the baseline first, then every other pair, on the seeds that both finished.

    Verdicts are of p-values corrected (Holm) over the pairs of one measure. tracks: of every finished run, by arm and
    seed.
    """
    arms = [arm.name for arm in comparison.arms]
    others = [arm for arm in arms if arm != comparison.baseline]
    couples = [(arm, comparison.baseline) for arm in others]
    couples += [(second, first) for first, second in itertools.combinations(others, 2)]
    rows = []
    for name, by_arm in values.items():
        found: list[tuple[str, str, PairedComparison]] = []
        for treatment, baseline in couples:
            ours, theirs = by_arm[treatment], by_arm[baseline]
            shared = sorted(ours.keys() & theirs.keys())
            if shared:
                each = [ours[seed] for seed in shared], [theirs[seed] for seed in shared]
                found.append((treatment, baseline, paired_comparison(*each, comparison.confidence)))
        told = [pair for _, _, pair in found if pair.verdict != "too few seeds"]
        corrected = dict(zip(map(id, told), holm([pair.p_value for pair in told]), strict=True)) if told else {}
        for treatment, baseline, pair in found:
            row = _pair(treatment, baseline, name, pair, corrected.get(id(pair)), comparison.confidence)
            first, second = tracks[treatment], tracks[baseline]
            row["is_identical"] = _no_difference(row) and all(
                first[seed] == second[seed] for seed in first.keys() & second.keys()
            )
            if row["is_identical"] and row["verdict"] == "cannot tell":
                row |= {"verdict": "identical", "seeds_to_tell": None}
            rows.append(row)
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


def _no_difference(pair: Mapping[str, Any]) -> bool:
    """Is the difference 0 at every seed?"""
    return pair["mean_difference"] == 0 and pair["interval"] in (None, [0.0, 0.0])


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
    chosen.sort(key=lambda p: (ORDER.index(p["verdict"]), p["p"] if p["p"] is not None else 1.0))
    return [sentence(pair) for pair in chosen]


def in_words(results: Mapping[str, Any]) -> str:
    """For the terminal: the answer, and what must be known to trust it."""
    return "\n".join([*results["verdicts"], *(f"Note: {note}" for note in results["notes"])])


def headline(pair: Mapping[str, Any]) -> str:
    """What `sentence` begins with: the verdict without its figures."""
    ours, theirs, n = pair["treatment"], pair["baseline"], pair["seeds"]
    if pair["verdict"] == "too few seeds":
        seeds = "1 paired seed is" if n == 1 else f"{n} paired seeds are"
        return f"{ours} and {theirs}: {seeds} too few for a verdict"
    if pair["verdict"] == "cannot tell":
        return f"Cannot tell whether {ours} is better than {theirs}"
    if pair["verdict"] == "identical":
        return f"{ours} and {theirs} are identical"
    return f"{ours} is {pair['verdict']} than {theirs}"


def sentence(pair: Mapping[str, Any]) -> str:
    """One pair in words."""
    label = label_and_meaning(pair["measure"])[0].lower()
    head, seeds = headline(pair), f"{pair['seeds']} paired seeds"
    figures = f"{pair['mean_difference']:+.4f}"
    if pair["interval"] is not None:
        figures += f" (95 % interval {pair['interval'][0]:+.4f} to {pair['interval'][1]:+.4f})"
    if pair["relative_gain"] is not None:
        figures += f", {100 * abs(pair['relative_gain']):.0f} % {'more' if pair['relative_gain'] >= 0 else 'less'}"
    if pair["verdict"] == "too few seeds":
        return f"{head} (4 are the least). {label.capitalize()}: {figures}."
    if pair["verdict"] == "identical":
        return (
            f"{head} ({label}): the same rewards in every rollout, {seeds}. Either what they differ in makes no "
            "difference here, or the policy hardly moved; see the notes."
        )
    if pair["verdict"] == "cannot tell":
        if pair["p"] is not None and pair["p_holm"] is not None and pair["p"] <= 0.05 < pair["p_holm"]:
            hint = "by itself this pair would tell, among so many it may be chance: add seeds, or compare fewer arms"
        elif _no_difference(pair):
            hint = "the figure is the same at every seed"
        elif pair["seeds_to_tell"] is None:
            hint = "so small a difference would take over 1,000 seeds"
        else:
            hint = f"about {pair['seeds_to_tell']} seeds in all would tell, if the difference is as measured"
        return f"{head} ({label}): {figures}, {seeds}; {hint}."
    return f"{head} ({label}): {figures}, {seeds}."


def _about_stillness(results: Mapping[str, Any]) -> list[str]:
    """Why arms may be identical: no gradient, no time, too small a step, or nothing in which they differ."""
    norms: dict[str, list[float | None]] = {}
    for run in results["runs"]:
        if run["state"] == "finished":
            norms.setdefault(run["arm"], []).append(run["grad_norm"])
    still = [arm for arm, each in norms.items() if all(norm == 0 for norm in each)]
    said = []
    if still:
        said.append(
            f"No update of {', '.join(still)} had a gradient (grad_norm is 0 throughout): in no group was one response "
            "better than another, so the policy stayed as it was. `hysteretic probe` says what would change that."
        )
    pairs = [p for p in results["pairs"] if p["measure"] == results["primary"] and p["is_identical"]]
    pairs = [p for p in pairs if p["treatment"] not in still]
    if not pairs:
        return said
    arms = {arm for pair in pairs for arm in (pair["treatment"], pair["baseline"])}
    couples = ", ".join(f"{pair['treatment']} and {pair['baseline']}" for pair in pairs)
    if max(run["rollouts"] for run in results["runs"] if run["arm"] in arms) == 1:
        why = "Their only rollout is drawn before the first update, so they cannot differ yet: raise max_steps."
    else:
        rates = sorted({arm["learning_rate"] for arm in results["arms"] if arm["name"] in arms} - {None})
        sizes = [norm for arm in arms for norm in norms.get(arm, []) if norm is not None]
        facts = [f"a learning rate of {', '.join(f'{rate:g}' for rate in rates)}"] if rates else []
        facts += [f"grad_norm up to {max(sizes):.2g}"] if sizes else []
        had = f"They had {' and '.join(facts)}. " if facts else ""
        why = (
            f"{had}If that is too little to move the policy, raise the learning rate or max_steps; else what the arms "
            "differ in makes no difference on this task."
        )
    return [*said, f"Identical run by run: {couples}. {why}"]


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
    found += alarm_notes(results["runs"])
    found += _about_stillness(results)
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
    if "area_by_second" in results["measures"] and results.get("most_jobs") != 1:
        found.append("Seconds are those of a machine that several runs shared.")
    return found


def alarm_notes(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One note an alarm: in how many runs of which arms it sounded, and the first of them in full."""
    by_name: dict[str, list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for run in runs:
        for alarm in run.get("alarms", []):
            by_name.setdefault(alarm["name"], []).append((run, alarm))
    found = []
    for name, sounded in by_name.items():
        counts = Counter(run["arm"] for run, _ in sounded)
        all_runs = Counter(run["arm"] for run in runs)
        where = ", ".join(f"{arm} in {count} of {all_runs[arm]} runs" for arm, count in counts.items())
        run, alarm = sounded[0]
        first = f"{run['arm']}, seed {run['seed']}, update {alarm['step']}"
        found.append(f"Alarm '{name}': {where}. The first ({first}): {alarm['words']} {alarm['advice']}")
    return found


def next_step(results: Mapping[str, Any]) -> str | None:
    """One line on what to do about the verdict, where there is something to do."""
    return None
