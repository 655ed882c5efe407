"""`hysteretic demo`: `hysteretic compare` of A-HPO and GRPO on the embedded tiny model, on a laptop's CPU."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hysteretic.cli import compare


def main(arguments: Sequence[str]) -> int:
    """0 when every run finished and the report is written; see hysteretic.cli.compare."""
    parser = argparse.ArgumentParser(
        prog="hysteretic demo", description="Compare A-HPO with GRPO on the tiny model over a few seeds."
    )
    parser.add_argument("--output", default="demo", help="folder of the comparison (default: demo)")
    parser.add_argument("--seeds", type=int, default=6, help="runs of each (default: 6; a verdict needs at least 4)")
    parser.add_argument("--updates", type=int, default=100, help="optimiser steps of each run (default: 100)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: 2)")
    options = parser.parse_args(arguments)
    flags = ["--task", "countdown-3", "--model", "tiny", "--algorithms", "grpo,a-hpo", "--eval_problems", "100"]
    flags += ["--seeds", str(options.seeds), "--max_steps", str(options.updates), "--jobs", str(options.jobs)]
    return compare.main([*flags, "--output", options.output])
