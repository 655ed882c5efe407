"""The table of a comparison for the README, from its results.json: `python benchmarks/evidence/table.py sparse`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "results"
COLUMNS = (
    "| arm | whole run | against {} (95 % interval) | gain | first quarter | end | held-out pass@1, {} | verdict |"
)


def table(results: Mapping[str, Any]) -> list[str]:
    """One row per arm: its means, and its difference from the baseline on the primary measure."""
    means = {(row["arm"], row["measure"]): row["mean"] for row in results["summary"]}
    pairs = {
        pair["treatment"]: pair
        for pair in results["pairs"]
        if pair["baseline"] == results["baseline"] and pair["measure"] == results["primary"]
    }
    decoding = "sampled" if "pass@1 sampled" in results["measures"] else "greedy"
    lines = [COLUMNS.format(results["baseline"], decoding), "|---|---|---|---|---|---|---|---|"]
    for arm in (arm["name"] for arm in results["arms"]):
        difference = gain = verdict = ""
        if arm in pairs:
            pair = pairs[arm]
            low, high = pair["interval"]
            difference = f"{pair['mean_difference']:+.4f} ({low:+.4f} to {high:+.4f})"
            gain = f"{100 * pair['relative_gain']:+.0f} %"
            verdict = pair["verdict"]
        cells = [
            arm,
            f"{means[arm, 'area']:.4f}",
            difference,
            gain,
            f"{means[arm, 'early']:.3f}",
            f"{means[arm, 'end']:.3f}",
        ]
        lines.append("| " + " | ".join([*cells, f"{means[arm, f'pass@1 {decoding}']:.3f}", verdict]) + " |")
    return lines


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print("\n".join(table(json.loads((RESULTS / name / "results.json").read_text(encoding="utf-8")))))
