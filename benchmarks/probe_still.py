"""Coverage of the range that `hysteretic probe` predicts, on real runs whose policy does not change.

    python benchmarks/probe_still.py                        everything: half an hour on one core

Runs of `hysteretic train` with a learning rate of 0, ten rollouts of 256 responses each, from three starting points.
Each run has its own probe with its own sample of problems and random numbers, so no two cases share either. (Problems
are drawn from the thousand or so that the setting has, so samples overlap.) The range is the one that probe.json
states for ten batches, computed by the same function for one rollout and for three. The script verifies that the
policy did not change: the saved weights equal the initial ones bit for bit.

Probe i draws problems and samples with seed i, run i with seed 1000 + i. The easier model is made first
(`python -m hysteretic.models.tiny --careful 0.3`). Runs that already exist in the folder (--output) are reused.
Writes results/probe-still.json and results/probe-still.md.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from probe_check import ROLLOUTS, compare, measured, percent
from safetensors.torch import load_file
from scipy.stats import binomtest

from hysteretic.cli import main as hysteretic
from hysteretic.common.environment import versions
from hysteretic.common.files import read_json
from hysteretic.models import tiny, tiny_model
from hysteretic.runs.folder import RunFolder
from hysteretic.sparsity import forecasts
from hysteretic.statistics import mean_interval
from hysteretic.tasks.countdown_problems import problem_counts

RESPONSES, UPDATES = 256, 4
"""Per rollout, as in the recipe of the tiny model."""
PROBE = ("--problems", "200", "--samples", "16")
SEEDS_APART = 1000
"""Offset between the seeds of a probe and its run, so that they do not draw the same random numbers."""
LARGEST, LARGEST_TARGET = 9, 99
OPTIONS = {"largest": LARGEST, "largest_target": LARGEST_TARGET, "prompt": "terse"}


@dataclass(frozen=True)
class Start:
    """A policy, its task and the group size. is_easy: use the model warmed up on more careful demonstrations."""

    name: str
    says: str
    is_easy: bool
    task_options: dict[str, Any]
    group_size: int

    @property
    def prompts(self) -> int:
        return RESPONSES // self.group_size


STARTS = [
    Start("sparse", "the embedded model", False, {**OPTIONS, "guess_rate_below": 0.06}, 8),
    Start("easy", "the model made with --careful 0.3", True, {**OPTIONS, "guess_rate_below": 0.06}, 8),
    Start(
        "large-groups",
        "the embedded model, problems easily guessed among the others, groups extrapolated",
        False,
        OPTIONS,
        32,
    ),
]


def model_of(start: Start, output: Path) -> str:
    """The name or folder of a starting policy, which is made if necessary."""
    folder = output / "tiny-easy"
    if start.is_easy and not (folder / "README.md").is_file():  # written last
        tiny.main(["--careful", "0.3", "--output", str(folder)])
    return str(folder) if start.is_easy else "tiny"


def case(start: Start, model: str, i: int, output: Path) -> dict[str, Any]:
    """One probe and one run: prediction and measurement."""
    probe, run = output / start.name / f"probe-{i}", RunFolder(output / start.name / f"run-{i}")
    options, size = json.dumps(start.task_options), str(start.group_size)
    flags = ["--task", "countdown-3", "--task-options", options, "--model", model, "--output", str(probe)]
    flags += ["--group-sizes", size, "--prompts-per-batch", str(start.prompts), "--max-completion-length", "72"]
    if read_json(probe / "probe.json") is None:
        done(["probe", *flags, *PROBE, "--seed", str(i)])
    seed = str(SEEDS_APART + i)
    flags = ["--config", "tiny-countdown-3", "--task_options", options, "--model", model, "--output", str(run.path)]
    flags += ["--num_generations", size, "--seed", seed, "--data_problem_seed", seed, "--learning_rate", "0"]
    flags += ["--max_steps", str(UPDATES * max(ROLLOUTS)), "--eval_problems", "0", "--save_strategy", "no"]
    if (read_json(run.run) or {}).get("state") != "finished":
        done(["train", *flags, "--disable_tqdm", "true"])
    check_unchanged(run, Path(tiny_model() if model == "tiny" else model))

    record = read_json(probe / "probe.json") or {}
    stated = next(row for row in record["curve"] if row["group_size"] == start.group_size)
    rewards_NK = np.array(list(record["rewards"].values()))
    found = measured(run)
    ranges = {}
    for n in ROLLOUTS:
        [prediction] = forecasts(rewards_NK, [start.group_size], n * start.prompts)
        ranges[str(n)] = compare(prediction, found["silent"][:n])
    last = ranges[str(max(ROLLOUTS))]
    last |= {"low": stated["measured"]["low"], "high": stated["measured"]["high"]}
    last |= {"is_within": last["low"] <= last["measured"] <= last["high"]}
    one = ranges["1"]
    return {
        "probe_seed": i,
        "run_seed": int(seed),
        "success": record["success"]["value"],
        "first": ranges,
        "silent": found["silent"],
        "each_within": [one["low"] <= share <= one["high"] for share in found["silent"]],
    }


def done(words: Sequence[str]) -> None:
    """Run a command of hysteretic. Raises SystemExit if it fails."""
    code = hysteretic(words)
    if code:
        raise SystemExit(
            f"hysteretic {words[0]} failed with exit code {code}; fix the cause and run this script again."
        )


def check_unchanged(run: RunFolder, start: Path) -> None:
    """Raises SystemExit unless the final weights of the run equal the initial ones."""
    before, after = (load_file(folder / "model.safetensors") for folder in (start, run.model))
    moved = [name for name in before if name in after and not before[name].equal(after[name])]
    if moved or not before.keys() & after.keys():
        raise SystemExit(f"{run.path} changed its weights ({', '.join(moved[:3])}); this check needs runs that do not.")


def coverage(within: Sequence[bool]) -> dict[str, Any]:
    """How many are within, and the Clopper-Pearson 95 % interval of that fraction."""
    found = binomtest(sum(within), len(within)).proportion_ci(0.95, method="exact")
    share = sum(within) / len(within)
    return {"within": sum(within), "cases": len(within), "share": share, "low": found.low, "high": found.high}


def check(runs: int, output: Path) -> dict[str, Any]:
    """All cases, and the coverage per starting point and overall."""
    starts = []
    for start in STARTS:
        model = model_of(start, output)
        cases = [case(start, model, i, output) for i in range(runs)]
        found = {str(n): coverage([each["first"][str(n)]["is_within"] for each in cases]) for n in ROLLOUTS}
        problems = problem_counts(3, LARGEST, LARGEST_TARGET, start.task_options.get("guess_rate_below"))["train"]
        starts.append(
            {**asdict(start), "prompts": start.prompts, "problems": problems, "coverage": found, "cases": cases}
        )
    every = [each for start in starts for each in start["cases"]]
    shares = [fmean(each["each_within"]) for each in every]
    mean, low, high = mean_interval(shares)
    return {
        "starts": starts,
        "coverage": {str(n): coverage([each["first"][str(n)]["is_within"] for each in every]) for n in ROLLOUTS},
        "each_rollout": {"share": mean, "low": low, "high": min(high, 1.0), "rollouts": len(every) * max(ROLLOUTS)},
        "versions": versions(),
    }


def as_markdown(results: dict[str, Any]) -> str:
    """The coverage, and the cases outside their range, as a page."""
    cells = {str(n): "first rollout" if n == 1 else f"first {n}" for n in ROLLOUTS}
    lines = [
        "# Does the probe's range hold for a policy that stands still?",
        "",
        "Runs of `hysteretic train` with a learning rate of 0 (their weights afterwards are those of the start, bit "
        "for bit), each with a probe of its own: a draw of 200 problems, 16 responses each, other random numbers. A "
        "case is within when the mean `hpo/silent_share` of its first rollouts lies in the 95 % range that its probe "
        "states. Shares with Clopper and Pearson's 95 % interval; the three columns are of the same runs.",
        "",
        "| starting point | " + " | ".join(cells.values()) + " |",
        "|---|" + "---|" * len(cells),
    ]
    named = [(f"{s['name']}: {s['prompts']} x {s['group_size']}", s["coverage"]) for s in results["starts"]]
    for name, found in [*named, ("**all**", results["coverage"])]:
        row = [found[n] for n in cells]
        said = [f"{c['within']} of {c['cases']}: {percent(c['share'])} ({_ends(c)})" for c in row]
        lines.append(f"| {name} | " + " | ".join(said) + " |")
    each = results["each_rollout"]
    lines += [
        "",
        f"Each of the {each['rollouts']} rollouts by itself, against the range for one: {percent(each['share'])} "
        f"within ({_ends(each)}; Student's t over runs, whose rollouts share a probe).",
        "",
        "| starting point | what it is | problems there are | success rate | silent groups, predicted "
        "| measured, ten rollouts |",
        "|---|---|---|---|---|---|",
    ]
    for start in results["starts"]:
        last = [each["first"][str(max(ROLLOUTS))] for each in start["cases"]]
        rate = fmean(each["success"] for each in start["cases"])
        means = [percent(fmean(each[key] for each in last)) for key in ("predicted", "measured")]
        about = f"{start['says']} | {start['problems']:,}"
        lines.append(f"| {start['name']} | {about} | {percent(rate)} | {means[0]} | {means[1]} |")
    outside = [
        f"- {start['name']}, probe {each['probe_seed']}, {cells[n]}: {percent(row['measured'])}, stated "
        f"{percent(row['low'])} to {percent(row['high'])}"
        for start in results["starts"]
        for each in start["cases"]
        for n, row in each["first"].items()
        if not row["is_within"]
    ]
    lines += [
        "",
        f"Means over the runs of a starting point. The range is for groups of fresh problems; ten rollouts take "
        f"{max(ROLLOUTS)} times the prompts of one out of those there are, without repetition, which makes their mean "
        "vary a little less. Outside their range:",
        "",
        *(outside or ["- none"]),
        "",
    ]
    lines += ["    python benchmarks/probe_still.py", ""]
    return "\n".join(lines)


def _ends(found: dict[str, Any]) -> str:
    return f"{percent(found['low'])} to {percent(found['high'])}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all cases, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=32, help="runs per starting point (default: 32)")
    parser.add_argument("--output", type=Path, default=Path("runs/probe-still"), help="folder for the runs")
    parser.add_argument("--results", type=Path, default=Path(__file__).parents[1] / "results")
    options = parser.parse_args(arguments)
    if options.runs < 2:
        parser.error(f"--runs is {options.runs}; an interval over runs needs at least 2.")
    results = check(options.runs, options.output)
    text = as_markdown(results)
    (options.results / "probe-still.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.results / "probe-still.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
