"""Does a run that stays low stay short? By run: mean reward, and the mean response length in its last quarter.

    python benchmarks/evidence/lengths.py runs/confirmation --save results/confirmation/lengths.csv

Prints for every arm the correlation of the two over seeds.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections.abc import Sequence
from pathlib import Path


def rows(folder: Path) -> list[tuple[str, int, float, float]]:
    """Arm, seed, mean reward, and the mean length of responses in the last quarter of a comparison's runs."""
    found = []
    for file in sorted(folder.glob("runs/*/seed-*/metrics.jsonl")):
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        rollouts = [line for line in lines if "reward" in line]
        late = [line["completions/mean_length"] for line in rollouts[-(len(rollouts) // 4 or 1) :]]
        reward = statistics.fmean(line["reward"] for line in rollouts)
        found.append((file.parent.parent.name, int(file.parent.name.split("-")[1]), reward, statistics.fmean(late)))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line per arm; save a line per run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="The output of a comparison.")
    parser.add_argument("--save", type=Path, help="A CSV file.")
    chosen = parser.parse_args(arguments)
    found = rows(chosen.folder)
    for arm in dict.fromkeys(row[0] for row in found):
        rewards, lengths = zip(*((row[2], row[3]) for row in found if row[0] == arm), strict=True)
        line = f"{arm:16} reward {statistics.fmean(rewards):.3f}, length {statistics.fmean(lengths):.1f}"
        if len(rewards) > 2:
            line += f", from {min(lengths):.1f} to {max(lengths):.1f}"
            line += f", correlation {statistics.correlation(rewards, lengths):.2f} over {len(rewards)} seeds"
        print(line)
    if chosen.save:
        with chosen.save.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["arm", "seed", "reward", "late_length"])
            writer.writerows((arm, seed, f"{reward:.6f}", f"{length:.2f}") for arm, seed, reward, length in found)


if __name__ == "__main__":
    main()
