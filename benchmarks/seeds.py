"""Does one algorithm learn faster than another on the tiny model? Paired runs over seeds, with intervals.

    python benchmarks/seeds.py tune      # each algorithm at three learning rates, on seed 100
    python benchmarks/seeds.py compare   # each at its own best rate, on seeds 0 to 3 (not used for tuning)

Every run is `hysteretic train --model tiny` in a process of its own with one thread; finished runs are kept under
--runs and not repeated. The measure, fixed before the runs: mean reward over all rollouts (area under the learning
curve); also over the first quarter and the last. Intervals: Student's t over seeds, paired by seed.
Writes results/seeds-tune.json and results/seeds-compare.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from scipy import stats

from hysteretic.lab.run_folder import read_lines, versions

ROOT = Path(__file__).parents[1]
ARMS = {
    "grpo": ["--algorithm", "grpo"],
    "a-hpo": ["--algorithm", "a-hpo"],
}
RATES = (1.5e-4, 3e-4, 6e-4)
TUNING_SEEDS = (100,)
SEEDS = tuple(range(4))


@dataclass(frozen=True)
class Run:
    """One arm at one learning rate and seed."""

    arm: str
    rate: float
    seed: int

    def folder(self, runs: Path) -> Path:
        return runs / f"{self.arm}-lr{self.rate:g}-seed{self.seed}"


def finish(run: Run, runs: Path, updates: int, held_out: int) -> dict[str, Any]:
    """The run's figures; trained first unless it was finished before."""
    folder = run.folder(runs)
    record = folder / "run.json"
    if not record.is_file() or json.loads(record.read_text())["state"] != "finished":
        resume = ["--resume"] if record.is_file() else []
        command = [sys.executable, "-m", "hysteretic", "train", "--task", "countdown-3", "--model", "tiny"]
        command += [*ARMS[run.arm], "--learning_rate", str(run.rate), "--seed", str(run.seed)]
        command += ["--max_steps", str(updates), "--eval_problems", str(held_out)]
        command += ["--disable_tqdm", "true", "--output", str(folder), *resume]
        log = folder.with_suffix(".log")
        with log.open("a") as file:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
        if done.returncode:
            raise RuntimeError(f"{run} failed; see {log}")
    rewards = [line["reward"] for line in read_lines(folder / "metrics.jsonl") if "reward" in line]
    quarter = max(len(rewards) // 4, 1)
    figures = {
        "area": fmean(rewards),
        "early": fmean(rewards[:quarter]),
        "late": fmean(rewards[-quarter:]),
    }
    if held_out:
        evaluation = json.loads((folder / "evaluation.json").read_text())
        figures["held_out_sampled_before"] = evaluation["before"]["sampled"]["pass@1"]["value"]
        figures["held_out_sampled"] = evaluation["after"]["sampled"]["pass@1"]["value"]
        figures["held_out_greedy"] = evaluation["after"]["greedy"]["pass@1"]["value"]
    print(f"{run.arm:8} lr {run.rate:g} seed {run.seed}: area {figures['area']:.4f}", flush=True)
    return {"arm": run.arm, "rate": run.rate, "seed": run.seed, **figures}


def paired(treatment: Sequence[float], baseline: Sequence[float]) -> dict[str, float]:
    """Mean paired difference with its 95 % interval (Student's t), and relative to the baseline's mean."""
    differences = [t - b for t, b in zip(treatment, baseline, strict=True)]
    interval = stats.t.interval(0.95, len(differences) - 1, fmean(differences), stats.sem(differences))
    return {
        "difference": fmean(differences),
        "low": float(interval[0]),
        "high": float(interval[1]),
        "relative": fmean(differences) / fmean(baseline),
    }


def best_rates(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Each arm's rate with the largest mean area."""

    def area(arm: str, rate: float) -> float:
        return fmean(row["area"] for row in results if row["arm"] == arm and row["rate"] == rate)

    return {arm: max(RATES, key=lambda rate: area(arm, rate)) for arm in ARMS}


def main() -> None:
    """Tune or compare, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["tune", "compare"])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "seeds", help="where runs are kept")
    parser.add_argument("--updates", type=int, default=160)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    tuned = ROOT / "results" / "seeds-tune.json"
    if options.what == "tune":
        runs, held_out = [Run(arm, rate, seed) for seed in TUNING_SEEDS for rate in RATES for arm in ARMS], 0
    else:
        rates = json.loads(tuned.read_text())["best_rates"]
        runs, held_out = [Run(arm, rates[arm], seed) for seed in SEEDS for arm in ARMS], 200
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda run: finish(run, options.runs, options.updates, held_out), runs))
    content: dict[str, Any] = {"updates": options.updates, "versions": versions(), "runs": results}
    if options.what == "tune":
        content["best_rates"] = best_rates(results)
        tuned.write_text(json.dumps(content, indent=1) + "\n")
        print(content["best_rates"])
        return
    measures = ["area", "early", "late", "held_out_sampled", "held_out_greedy"]
    by_arm = {arm: {key: [row[key] for row in results if row["arm"] == arm] for key in measures} for arm in ARMS}
    content["mean"] = {arm: {key: fmean(values) for key, values in rows.items()} for arm, rows in by_arm.items()}
    content["a-hpo minus grpo"] = {key: paired(by_arm["a-hpo"][key], by_arm["grpo"][key]) for key in measures}
    (ROOT / "results" / "seeds-compare.json").write_text(json.dumps(content, indent=1) + "\n")
    print(json.dumps(content["a-hpo minus grpo"], indent=1))


if __name__ == "__main__":
    main()
