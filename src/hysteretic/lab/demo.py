"""`hysteretic demo`: A-HPO and GRPO from the same sparse start, on the same problems, on a laptop's CPU.

Both train the embedded tiny model through the same TRL path as any other, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tqdm import tqdm

from hysteretic.lab.curves import read_curves, save_page, save_picture, text_table
from hysteretic.lab.errors import UsageError
from hysteretic.lab.evaluate import Rate
from hysteretic.lab.run_folder import RunFolder, read_lines

ALGORITHMS = ("a-hpo", "grpo")

CAUTION = (
    "One seed each: this shows that both learn and what alpha does, not which is better. The spread between seeds is "
    "as large as the differences: in the README's four, A-HPO is ahead on seeds 0 and 3, GRPO on 1 and 2."
)


def main(arguments: Sequence[str]) -> int:
    """0 when both runs finished and the page is written, 1 when one failed."""
    parser = argparse.ArgumentParser(prog="hysteretic demo", description="A-HPO beside GRPO on the tiny model.")
    parser.add_argument("--output", default="demo", help="folder for both runs and the page (default: demo)")
    parser.add_argument("--seed", type=int, default=0, help="of the rollouts, the same for both (default 0)")
    parser.add_argument("--updates", type=int, default=200, help="optimiser steps of each run (default 200)")
    options = parser.parse_args(arguments)
    folder = Path(options.output)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; remove it, or give another --output.")
    folder.mkdir(parents=True, exist_ok=True)

    print(f"The tiny model learns countdown-3 with {' and with '.join(ALGORITHMS)}, {options.updates} updates each.")
    runs = {name: RunFolder(folder / name) for name in ALGORITHMS}
    failed = train_side_by_side(runs, options.seed, options.updates)
    if failed:
        for name in failed:
            tail = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            print(f"hysteretic: {name} failed; the end of {folder / name}.log:", *tail, sep="\n  ", file=sys.stderr)
        return 1
    table = summary(runs)
    save_picture(runs, folder / "curves.png")
    save_page(runs, folder / "index.html", "A-HPO and GRPO from a sparse start", [CAUTION], table)
    print(f"\n{text_table(table)}\n\n{CAUTION}\nCurves: {folder / 'curves.png'}   Page: {folder / 'index.html'}")
    return 0


def train_side_by_side(runs: Mapping[str, RunFolder], seed: int, updates: int) -> list[str]:
    """Train every run in its own process with one thread, showing all; returns the names of those that failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    processes, logs = {}, []
    for name, run in runs.items():
        command = [sys.executable, "-m", "hysteretic", "train", "--task", "countdown-3", "--model", "tiny"]
        command += ["--algorithm", name, "--seed", str(seed), "--max_steps", str(updates)]
        log = run.path.with_name(f"{name}.log").open("w", encoding="utf-8")
        logs.append(log)
        processes[name] = subprocess.Popen(
            [*command, "--output", str(run.path), "--disable_tqdm", "true"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    bars = {name: tqdm(total=updates, desc=f"{name:6}", position=i) for i, name in enumerate(runs)}
    try:
        while any(process.poll() is None for process in processes.values()):
            for name, bar in bars.items():
                show(bar, runs[name])
            time.sleep(1)
    except KeyboardInterrupt:
        for process in processes.values():
            process.terminate()
        raise
    finally:
        for name, bar in bars.items():
            show(bar, runs[name])
            bar.close()
        for log in logs:
            log.close()
    return [name for name, process in processes.items() if process.returncode]


def show(bar: Any, run: RunFolder) -> None:
    """Bring a bar up to what the run has written."""
    lines = read_lines(run.metrics) if run.metrics.is_file() else []
    if lines:
        rewards = [line["reward"] for line in lines if "reward" in line]
        bar.set_postfix(reward=f"{fmean(rewards[-10:]):.3f}", alpha=f"{lines[-1]['hpo/alpha']:.2f}", refresh=False)
        bar.n = lines[-1]["step"]
        bar.refresh()


def summary(runs: Mapping[str, RunFolder]) -> list[list[str]]:
    """A row for each run: reward over the run, and held-out pass@1 before and after."""
    rows = [["", "reward, first 10", "whole run", "last 10", "held-out sampled before", "after", "greedy after"]]
    for name, run in runs.items():
        reward = read_curves(run)["reward"].raw
        taken = json.loads(run.evaluation.read_text(encoding="utf-8"))
        sampled = [str(Rate(**taken[when]["sampled"]["pass@1"])) for when in ("before", "after")]
        greedy = str(Rate(**taken["after"]["greedy"]["pass@1"]))
        means = [f"{fmean(part):.3f}" for part in (reward[:10], reward, reward[-10:])]
        rows.append([name, *means, *sampled, greedy])
    return rows
