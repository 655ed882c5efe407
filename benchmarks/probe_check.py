"""Compare the fraction of silent groups that `hysteretic probe` predicts with what training measures.

    hysteretic train --model tiny --algorithm a-hpo --seed 1 --max_steps 40 --output runs/probe-check/seed1
    python benchmarks/probe_check.py runs/probe-check/*

Ten rollouts of four updates are enough. One probe is made for each starting point among the runs (task, model,
sampling, group size) and compared with the mean `hpo/silent_share` of the first rollout, the first three and the first
ten. The prediction is for the policy before training; since the policy learns, only the first rollout is sampled from
the policy that was probed. Give runs of different seeds: two algorithms with the same seed share their first rollout.
Writes results/probe-check.json and results/probe-check.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import yaml

from hysteretic.cli import probe
from hysteretic.common.environment import versions
from hysteretic.common.files import read_json, read_lines
from hysteretic.runs.folder import RunFolder
from hysteretic.sparsity import Forecast, forecasts

ROLLOUTS = (1, 3, 10)


def starting_point(folder: RunFolder) -> dict[str, Any]:
    """What determines the first rollout of a run, besides chance."""
    run = read_json(folder.run)
    if run is None:
        raise SystemExit(f"{folder.path} is not a run; give folders made by `hysteretic train`.")
    config, settings = yaml.safe_load(folder.config.read_text(encoding="utf-8")), run["settings"]
    return {
        "task": config.get("task", "countdown-3"),
        "task_options": config.get("task_options"),
        "model": config.get("model", "tiny"),
        "temperature": settings["temperature"],
        "max_completion_length": settings["max_completion_length"],
        "group_size": settings["num_generations"],
        "prompts": settings["generation_batch_size"] // settings["num_generations"],
    }


def probe_rewards(start: dict[str, Any], problems: int, samples: int) -> np.ndarray:
    """Rewards of the starting policy, [N, k], from the command itself."""
    with tempfile.TemporaryDirectory() as folder:
        flags = ["--task", start["task"], "--model", start["model"], "--output", folder]
        flags += ["--problems", str(problems), "--samples", str(samples), "--temperature", str(start["temperature"])]
        flags += ["--max-completion-length", str(start["max_completion_length"])]
        flags += ["--group-sizes", str(start["group_size"]), "--prompts-per-batch", str(start["prompts"])]
        if options := start["task_options"]:  # text where the run was given a flag
            flags += ["--task-options", options if isinstance(options, str) else json.dumps(options)]
        probe.main(flags)
        record = json.loads((Path(folder) / "probe.json").read_text(encoding="utf-8"))
    return np.array(list(record["rewards"].values()))


def measured(folder: RunFolder) -> dict[str, list[float]]:
    """Per rollout: reward, and the fractions of silent groups and of positive and negative responses."""
    lines = [line for line in read_lines(folder.metrics) if "reward" in line][: max(ROLLOUTS)]
    if len(lines) < max(ROLLOUTS):
        raise SystemExit(f"{folder.path} has {len(lines)} rollouts, but needs {max(ROLLOUTS)}; set --max_steps 40.")
    names = {"silent": "hpo/silent_share", "reward": "reward"}
    names |= {"positive": "hpo/positive_share", "negative": "hpo/negative_share"}
    return {name: [float(line[key]) for line in lines] for name, key in names.items()}


def compare(prediction: Forecast, shares: Sequence[float]) -> dict[str, Any]:
    """The predicted range and the measured mean."""
    low, high, mean = prediction.measured.low, prediction.measured.high, fmean(shares)
    return {
        "predicted": prediction.silent.value,
        "low": low,
        "high": high,
        "measured": mean,
        "is_within": low <= mean <= high,
        "learned_past": mean < low,
    }


def check(folders: Sequence[RunFolder], problems: int, samples: int) -> dict[str, Any]:
    """All comparisons: each run separately, and the runs of a starting point together."""
    names = [folder.path.name for folder in folders]
    if len(set(names)) < len(names):
        raise SystemExit("Two run folders have the same name; give runs with different seeds and names.")
    by_start: dict[str, list[RunFolder]] = defaultdict(list)
    for folder in folders:
        by_start[json.dumps(starting_point(folder), sort_keys=True)].append(folder)
    starts = []
    for text, runs in by_start.items():
        start = json.loads(text)
        found = {folder.path.name: measured(folder) for folder in runs}
        rewards_NK = probe_rewards(start, problems, samples)

        def predict(
            rollouts: int, runs: int = 1, start: dict[str, Any] = start, rewards_NK: np.ndarray = rewards_NK
        ) -> Forecast:
            return forecasts(rewards_NK, [start["group_size"]], rollouts * start["prompts"] * runs, draws=4000)[0]

        first = {
            str(n): {name: compare(predict(n), run["silent"][:n]) for name, run in found.items()} for n in ROLLOUTS
        }
        every = {
            str(n): compare(predict(n, len(found)), [x for run in found.values() for x in run["silent"][:n]])
            for n in ROLLOUTS
        }
        by_rollout = {
            name: [fmean(run[name][i] for run in found.values()) for i in range(max(ROLLOUTS))]
            for name in ("silent", "reward", "positive", "negative")
        }
        alpha = {
            "predicted": predict(1).alpha(),
            "measured": [
                min(max(positive / negative, 0.1), 1.0) if negative else None
                for positive, negative in zip(by_rollout["positive"], by_rollout["negative"], strict=True)
            ],
        }
        starts.append({**start, "runs": first, "together": every, "mean_by_rollout": by_rollout, "alpha": alpha})
    return {"problems": problems, "samples": samples, "starts": starts, "versions": versions()}


def as_markdown(results: dict[str, Any]) -> str:
    """The comparisons as a page with tables."""
    lines = ["# What the probe predicts, and what training measures", ""]
    lines += [
        f"{results['problems']} problems with {results['samples']} responses each, sampled from the starting policy by "
        "`hysteretic probe`; its 95 % range for the mean share of silent groups in the first rollouts, beside the mean "
        "`hpo/silent_share` of runs. Runs of one starting point share one probe, so they are not independent checks, "
        "and they learn: whether the range holds for a policy that stands still is in "
        "[`probe-still.md`](probe-still.md).",
    ]
    for start in results["starts"]:
        runs, together = start["runs"], start["together"]
        count = len(runs["1"])
        lines += ["", f"## {start['model']} on {start['task']}, {start['prompts']} x {start['group_size']}", ""]
        lines += ["| rollouts | predicted (95 % range a run) | runs within | measured, all runs | range for all runs |"]
        lines += ["|---|---|---|---|---|"]
        for n in map(str, ROLLOUTS):
            one, all_ = next(iter(runs[n].values())), together[n]
            within = sum(row["is_within"] for row in runs[n].values())
            below = sum(row["learned_past"] for row in runs[n].values())
            beside = f" ({below} below)" if below else ""
            lines += [
                f"| first {n} | {percent(one['predicted'])} ({percent(one['low'])} to {percent(one['high'])}) "
                f"| {within} of {count}{beside} | {percent(all_['measured'])} "
                f"| {percent(all_['low'])} to {percent(all_['high'])}{'' if all_['is_within'] else ', **missed**'} |"
            ]
        silent, reward = start["mean_by_rollout"]["silent"], start["mean_by_rollout"]["reward"]
        last = max(ROLLOUTS)
        lines += ["", "| rollout | " + " | ".join(str(i + 1) for i in range(last)) + " |", "|---" * (last + 1) + "|"]
        lines += ["| silent groups | " + " | ".join(percent(x) for x in silent) + " |"]
        lines += ["| reward | " + " | ".join(f"{x:.3f}" for x in reward) + " |"]
        alphas = start["alpha"]["measured"]
        lines += ["| alpha | " + " | ".join("-" if x is None else f"{x:.2f}" for x in alphas) + " |"]
        alpha = start["alpha"]["predicted"]
        foretold = "-" if alpha is None else f"{alpha:.2f}"
        lines += [
            "",
            f"Means over {count} runs. Alpha predicted for the first rollout: {foretold} "
            "(measured: positives over negatives of all runs together). "
            + drift(reward, together[str(last)], runs[str(last)]),
        ]
    lines += ["", "    python benchmarks/probe_check.py RUN_FOLDERS", ""]
    return "\n".join(lines)


def drift(reward: Sequence[float], together: dict[str, Any], runs: dict[str, dict[str, Any]]) -> str:
    """Interpretation of the first ten rollouts."""
    before, after = fmean(reward[:3]), fmean(reward[-3:])
    said = f"The prediction is for the policy before training; reward went from {before:.3f} to {after:.3f} meanwhile."
    if together["is_within"] and all(row["is_within"] for row in runs.values()):
        return said + " The mean of ten rollouts is still within the range, run by run and together."
    if together["learned_past"] and after > before:
        return said + " Learning made groups informative sooner than the range for a policy that stands still."
    return said + " Some of the ten-rollout means are outside the range."


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders made by `hysteretic train`")
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--results", type=Path, default=Path(__file__).parents[1] / "results")
    options = parser.parse_args(arguments)
    results = check([RunFolder(path) for path in options.runs], options.problems, options.samples)
    text = as_markdown(results)
    (options.results / "probe-check.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.results / "probe-check.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
