"""Runs per hour of `hysteretic compare` on the tiny model, at two commits of this repository.

    python benchmarks/compare_speed.py ec3e6ff HEAD --save results/compare-speed.json

Both commits are checked out into temporary folders and take turns with the same comparison (countdown-3, grpo and
a-hpo, two seeds, 100 updates, two runs at a time), in the environment of this interpreter. Seconds are those of the
whole command: imports, the trial that estimates the time, runs, held-out evaluation and the report. Whether both found
the same rewards is noted too.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from step_time import machine

ROOT = Path(__file__).parents[1]
COMPARISON = ["--task", "countdown-3", "--model", "tiny", "--algorithms", "grpo,a-hpo"]


def compare(source: Path, output: Path, seeds: int, updates: int, jobs: int) -> tuple[float, list[str]]:
    """Seconds, and the mean reward of each run."""
    command = [sys.executable, "-m", "hysteretic", "compare", *COMPARISON, "--seeds", str(seeds)]
    command += ["--max_steps", str(updates), "--jobs", str(jobs), "--output", str(output)]
    environment = os.environ | {"PYTHONPATH": str(source / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    subprocess.run(command, check=True, env=environment, cwd=source, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    with (output / "results.csv").open(encoding="utf-8") as file:
        return seconds, [row["area"] for row in csv.DictReader(file)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Alternate, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs=2, metavar="COMMIT", help="the earlier one first")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--save", type=Path)
    choice = parser.parse_args(arguments)
    seconds: list[list[float]] = [[], []]
    found: list[list[str]] = [[], []]
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(folder) / name for name in ("earlier", "later")]
        for commit, source in zip(choice.commits, sources, strict=True):
            subprocess.run(["git", "worktree", "add", "--quiet", "--detach", source, commit], check=True, cwd=ROOT)
        try:
            for number in range(choice.rounds):
                for which in (0, 1) if number % 2 == 0 else (1, 0):
                    output = Path(folder) / f"comparison-{which}-{number}"
                    took, found[which] = compare(sources[which], output, choice.seeds, choice.updates, choice.jobs)
                    seconds[which].append(took)
                    print(f"{choice.commits[which]}: {took:.1f} s", flush=True)
        finally:
            for source in sources:
                subprocess.run(["git", "worktree", "remove", "--force", source], check=True, cwd=ROOT)
    ratio = median(seconds[0]) / median(seconds[1])
    print(f"{ratio:.2f} times as many runs per hour; rewards {'equal' if found[0] == found[1] else 'differ'}")
    if choice.save:
        results = {"commits": choice.commits, "seconds": seconds, "ratio": ratio, "rewards_equal": found[0] == found[1]}
        results |= {"seeds": choice.seeds, "updates": choice.updates, "jobs": choice.jobs, "machine": machine()}
        choice.save.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
