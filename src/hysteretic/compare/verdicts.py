"""Verdicts on pairs of arms, and the sentences that state them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hysteretic.compare.measures import label_and_meaning
from hysteretic.compare.spec import Comparison
from hysteretic.statistics import FEWEST_SEEDS, PairedComparison, equivalence_p, holm, paired_comparison, sequential_p

Values = Mapping[str, Mapping[str, Mapping[int, float]]]
"""By measure, arm and seed."""

Track = tuple[Sequence[float], Sequence[float]]
"""Rewards and generated tokens of a run's rollouts: two runs that agree in both are the same run."""

WORDS = {
    "better": "better",
    "worse": "worse",
    "identical": "identical",
    "same": "same within the margin",
    "cannot tell": "no clear difference",
    "too few seeds": "too few seeds",
}
"""The wording of each verdict in results.json, the clearest first."""


def all_pairs(
    comparison: Comparison, values: Values, tracks: Mapping[str, Mapping[int, Track]]
) -> list[dict[str, Any]]:
    """Every arm against the baseline first, then every other pair, on the seeds that both finished.

    Verdicts use p-values corrected over the looks at growing numbers of seeds (`sequential_p`) and the pairs of one
    measure (Holm); so does "same", of its own p-values, where the comparison has a margin. The baseline's second run is
    compared with the baseline alone, last, and without Holm. tracks: by arm and seed, for finished runs.
    """
    again = comparison.second_baseline
    arms = [arm.name for arm in comparison.arms if arm.name != again]
    others = [arm for arm in arms if arm != comparison.baseline]
    couples = [(arm, comparison.baseline) for arm in others]
    couples += [(second, first) for first, second in itertools.combinations(others, 2)]
    couples += [(again, comparison.baseline)] if again else []
    rows = []
    for name, by_arm in values.items():
        found: list[tuple[str, str, PairedComparison]] = []
        for treatment, baseline in couples:
            ours, theirs = by_arm[treatment], by_arm[baseline]
            if ours.keys() & theirs.keys():
                pair = paired_comparison(*_shared(ours, theirs), comparison.confidence)
                found.append((treatment, baseline, pair))
        corrected: dict[int, float] = {}
        for is_again in (False, True):
            tested = [pair for arm, _, pair in found if pair.verdict != "too few seeds" and (arm == again) == is_again]
            p_values = [sequential_p(pair.p_value, comparison.looks) for pair in tested]
            corrected |= dict(zip(map(id, tested), holm(p_values), strict=True)) if tested else {}
        margin = comparison.margin
        same = [
            min(1.0, len(comparison.looks) * equivalence_p(*_shared(by_arm[treatment], by_arm[baseline]), margin))
            for treatment, baseline, pair in found
            if margin is not None and pair.verdict != "too few seeds" and pair.baseline_mean > 0
        ]
        corrected_same = iter(holm(same) if same else [])
        for treatment, baseline, pair in found:
            row = _pair(treatment, baseline, name, pair, corrected.get(id(pair)), comparison.confidence)
            first, second = tracks[treatment], tracks[baseline]
            row["is_identical"] = _no_difference(row) and all(
                first[seed] == second[seed] for seed in first.keys() & second.keys()
            )
            if row["is_identical"] and row["verdict"] == "cannot tell":
                row |= {"verdict": "identical", "seeds_to_tell": None}
            if margin is not None and pair.verdict != "too few seeds" and pair.baseline_mean > 0:
                row |= {"margin": margin, "p_same": next(corrected_same)}
                if row["verdict"] == "cannot tell" and row["p_same"] <= 1 - comparison.confidence:
                    row |= {"verdict": "same", "seeds_to_tell": None}
            rows.append(row)
    return rows


def _shared(ours: Mapping[int, float], theirs: Mapping[int, float]) -> tuple[list[float], list[float]]:
    """The numbers of the seeds that both have, in one order."""
    seeds = sorted(ours.keys() & theirs.keys())
    return [ours[seed] for seed in seeds], [theirs[seed] for seed in seeds]


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
    """Whether the difference is 0 at every seed."""
    return pair["mean_difference"] == 0 and pair["interval"] in (None, [0.0, 0.0])


def verdicts(results: Mapping[str, Any]) -> list[str]:
    """The answer in sentences: every arm against the baseline on the primary measure, the clearest first."""
    baseline, finished_runs = results["baseline"], results["progress"]["finished"]
    if len(results["arms"]) == 1:
        return [f"{baseline} is the only arm, so there is nothing to compare."]
    chosen = _primary_pairs(results)
    if not chosen and not finished_runs:
        return ["No verdict yet: no run has finished."]
    if not chosen:
        return [
            f"No verdict yet: {baseline} and another arm have not both finished at any seed with the primary measure "
            f"({results['primary']}); finished runs: {finished_runs}."
        ]
    return [sentence(pair) for pair in chosen]


def _primary_pairs(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The pairs with the baseline on the primary measure, the clearest verdict first, its own second run last."""
    order, baseline, again = list(WORDS), results["baseline"], results.get("second_baseline")
    chosen = [p for p in results["pairs"] if p["measure"] == results["primary"] and p["baseline"] == baseline]
    return sorted(
        chosen,
        key=lambda p: (p["treatment"] == again, order.index(p["verdict"]), p["p"] if p["p"] is not None else 1.0),
    )


def is_told(results: Mapping[str, Any]) -> bool:
    """Whether every arm has a clear verdict against the baseline (its second run need not have one)."""
    pairs = [p for p in _primary_pairs(results) if p["treatment"] != results["second_baseline"]]
    return all(pair["verdict"] not in ("cannot tell", "too few seeds") for pair in pairs)


def next_step(results: Mapping[str, Any]) -> str | None:
    """One line on what to do next; None if there is nothing to do."""
    progress, again = results["progress"], results.get("second_baseline")
    pairs = [pair for pair in _primary_pairs(results) if pair["treatment"] != again]
    if progress["failed"]:
        return "Next: fix the failed runs (see their errors), then run the same command to try them again."
    if progress["finished"] < progress["planned"]:
        return "Next: let the comparison finish; the same command continues where it stopped."
    if not pairs:
        return None
    best = max(pairs, key=lambda p: p["mean_difference"])
    if best["verdict"] == "better":
        return f"Next: train with the settings of {best['treatment']}, and check them on your own task or model."
    kinds = {pair["verdict"] for pair in pairs}
    if "too few seeds" in kinds:
        return f"Next: add --seeds in the same folder; a verdict needs at least {FEWEST_SEEDS} (8 is usual)."
    promising = [p for p in pairs if p["seeds_to_tell"] and p["mean_difference"] > 0]
    if promising:
        nearest = min(promising, key=lambda p: p["seeds_to_tell"])
        return (
            f"Next: if such a gain matters to you, compare {nearest['treatment']} with {results['baseline']} in a new "
            f"folder on fresh seeds: {nearest['seeds_to_tell']}, or --most-seeds above that, which stops when it can."
        )
    if kinds == {"identical"}:
        return "Next: see the notes on why the arms are identical, and change those settings."
    return f"Next: keep {results['baseline']}; nothing here is clearly better."


def in_words(results: Mapping[str, Any]) -> str:
    """The text for the terminal: verdicts, notes, and what to do next."""
    step = next_step(results)
    return "\n".join([*results["verdicts"], *(f"Note: {note}" for note in results["notes"]), *([step] if step else [])])


def headline(pair: Mapping[str, Any]) -> str:
    """What `sentence` begins with: the verdict without its numbers."""
    ours, theirs, n = pair["treatment"], pair["baseline"], pair["seeds"]
    if pair["verdict"] == "too few seeds":
        seeds = "1 paired seed is" if n == 1 else f"{n} paired seeds are"
        return f"{ours} and {theirs}: {seeds} too few for a verdict"
    if pair["verdict"] == "cannot tell":
        return f"No clear difference between {ours} and {theirs}"
    if pair["verdict"] == "identical":
        return f"{ours} and {theirs} are identical"
    if pair["verdict"] == "same":
        return f"{ours} is within {100 * pair['margin']:g} % of {theirs}"
    return f"{ours} is {pair['verdict']} than {theirs}"


def sentence(pair: Mapping[str, Any]) -> str:
    """One pair in words."""
    label = label_and_meaning(pair["measure"])[0].lower()
    head, seeds = headline(pair), f"{pair['seeds']} paired seeds"
    numbers = f"{pair['mean_difference']:+.4f}"
    if pair["interval"] is not None:
        numbers += f" (95 % interval {pair['interval'][0]:+.4f} to {pair['interval'][1]:+.4f})"
    if pair["relative_gain"] is not None:
        numbers += f", {100 * abs(pair['relative_gain']):.0f} % {'more' if pair['relative_gain'] >= 0 else 'less'}"
    if pair["verdict"] == "too few seeds":
        return f"{head} (the minimum is {FEWEST_SEEDS}). {label.capitalize()}: {numbers}."
    if pair["verdict"] == "identical":
        return (
            f"{head} ({label}): the same rewards in every rollout, {seeds}. Either their differing settings have no "
            "effect here, or the policy hardly moved; see the notes."
        )
    if pair["verdict"] == "cannot tell":
        if pair["p"] is not None and pair["p_holm"] is not None and pair["p"] <= 0.05 < pair["p_holm"]:
            hint = "significant by itself, but not after the correction: compare fewer arms, or plan more seeds"
        elif _no_difference(pair):
            hint = "the value is the same at every seed"
        elif pair["seeds_to_tell"] is None:
            hint = "confirming so small a difference would take over 1,000 seeds"
        else:
            hint = f"if the true difference is as measured, about {pair['seeds_to_tell']} seeds in all would confirm it"
        return f"{head} ({label}): {numbers}, {seeds}; {hint}."
    return f"{head} ({label}): {numbers}, {seeds}."


def _about_stillness(results: Mapping[str, Any]) -> list[str]:
    """Why arms may be identical: no gradient, too few updates, too small a step, or settings without effect."""
    norms: dict[str, list[float | None]] = {}
    for run in results["runs"]:
        if run["state"] == "finished":
            norms.setdefault(run["arm"], []).append(run["grad_norm"])
    still = [arm for arm, each in norms.items() if all(norm == 0 for norm in each)]
    said = []
    if still:
        said.append(
            f"No update of {', '.join(still)} had a gradient (grad_norm is 0 throughout): all responses of every group "
            "had the same reward, so the policy never changed. Run `hysteretic probe` to see what would help."
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
            f"{had}If that is too little to move the policy, raise the learning rate or max_steps; otherwise the "
            "arms' differing settings have no effect on this task."
        )
    return [*said, f"Identical run by run: {couples}. {why}"]


def notes(results: Mapping[str, Any]) -> list[str]:
    """Caveats about the results."""
    found = []
    progress = results["progress"]
    if progress["finished"] < progress["planned"]:
        found.append(f"{progress['finished']} of {progress['planned']} runs have finished: the numbers are not final.")
    if progress["failed"]:
        found.append(
            f"Failed runs: {progress['failed']}. Their seeds are left out of pairs, which may favour an arm that fails."
        )
    found += alarm_notes(results["runs"])
    found += _about_stillness(results)
    for arm in results["arms"]:
        tried = arm["tuning"]["rates"] if arm["tuning"] else []
        unsafe = [f"{entry['learning_rate']:g}" for entry in tried if entry["seeds"] < len(arm["tuning"]["seeds"])]
        if unsafe:
            found.append(
                f"Runs of {arm['name']} failed while tuning at {', '.join(unsafe)}, so these rates were not eligible."
            )
        if arm["tuning"] and arm["tuning"]["at_edge"]:
            found.append(
                f"{arm['name']}'s best learning rate, {arm['learning_rate']:g}, is at the edge of the rates tried: "
                "a rate beyond it may be better."
            )
    if close := [arm["name"] for arm in results["arms"] if arm["tuning"] and _may_be_too_high(arm)]:
        found.append(
            f"The tuning runs do not tell the chosen learning rate of {', '.join(close)} from the next lower one. Too "
            "high a rate leads early and may collapse later: tune on more seeds (--tuning-seeds 8), or set the lower."
        )
    if not any(arm["tuning"] for arm in results["arms"]):
        found.append("Learning rates were not tuned: every arm uses the settings it was given.")
    if len(results["source_sha256"]) > 1:
        found.append(f"The runs were made with {len(results['source_sha256'])} versions of this package's code.")
    looks, again = results.get("looks", []), results.get("second_baseline")
    pairs = [p for p in results["pairs"] if p["measure"] == results["primary"]]
    reasons = ["the number of pairs (Holm)"] if len([p for p in pairs if p["treatment"] != again]) > 1 else []
    reasons += [f"looks at {', '.join(map(str, looks))} seeds"] if len(looks) > 1 else []
    if reasons:
        found.append(f"Verdicts use p-values corrected for {' and '.join(reasons)}; intervals are not corrected.")
    if any(p["treatment"] == again and p["verdict"] in ("better", "worse") for p in pairs):
        found.append(
            f"{again} is {results['baseline']} with other random numbers and should come out level, but does not. By "
            "chance that happens in 5 % of comparisons; treat the other verdicts as no clearer than this one."
        )
    for name, budget in results["budgets"].items():
        if budget["budget"] < budget["median_total"] / 2:
            what = results["measures"].get(name, {}).get("label", name).lower()
            found.append(
                f"One run cost less than half as much as the others, so results {what} cover only the first part "
                "of the runs."
            )
    if len({entry["problems"] for entry in results["runs"] if entry["problems"]}) > 1:
        found.append(
            "Arms use different numbers of problems per rollout: they share the order of problems, not the rollouts."
        )
    if "area_by_second" in results["measures"] and results.get("most_jobs") != 1:
        found.append("Seconds were measured while several runs shared the machine.")
    return found


def _may_be_too_high(arm: Mapping[str, Any]) -> bool:
    """Whether the interval of the chosen rate's lead over the next lower rate includes 0."""
    values = {entry["learning_rate"]: entry.get("values", []) for entry in arm["tuning"]["rates"]}
    chosen = values[arm["learning_rate"]]
    lower = [rate for rate, found in values.items() if rate < arm["learning_rate"] and len(found) == len(chosen) > 0]
    return bool(lower) and paired_comparison(chosen, values[max(lower)]).interval[0] <= 0


def alarm_notes(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """One note per alarm: in how many runs of which arms it was raised, and the first of them in full."""
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
