"""`hysteretic demo`: A-HPO and GRPO from the same sparse start, over several seeds, on a laptop's CPU.

It is `hysteretic compare` on the embedded tiny model, with the settings of its recipe.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hysteretic.cli import compare


def main(arguments: Sequence[str]) -> int:
    """0 when every run finished and the report is written; see hysteretic.cli.compare."""
    parser = argparse.ArgumentParser(
        prog="hysteretic demo", description="A-HPO beside GRPO on the tiny model, with the verdict of a few seeds."
    )
    parser.add_argument("--output", default="demo", help="folder of the comparison (demo)")
    parser.add_argument("--seeds", type=int, default=6, help="runs of each (6; 4 are the least for a verdict)")
    parser.add_argument("--updates", type=int, default=100, help="optimiser steps of each run (100)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2)")
    options = parser.parse_args(arguments)
    flags = ["--task", "countdown-3", "--model", "tiny", "--algorithms", "grpo,a-hpo", "--eval_problems", "100"]
    flags += ["--seeds", str(options.seeds), "--max_steps", str(options.updates), "--jobs", str(options.jobs)]
    return compare.main([*flags, "--output", options.output])
