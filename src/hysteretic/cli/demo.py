"""`hysteretic demo`: does the adaptive weight help? A comparison on the embedded tiny model, on a laptop's CPU."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.resources import as_file, files

from hysteretic.cli import compare

NEXT = """
What to do next, on your own task:
  hysteretic probe --task data.jsonl --reward my_reward.py:is_right --model MODEL    does it start? at which group size?
  hysteretic compare --task ... --model ... --algorithms grpo,adaptive-grpo           does the weight help?
  in TRL: from hysteretic.trl import HPOConfig, HPOTrainer    in place of GRPOConfig and GRPOTrainer
          HPOConfig(algorithm="adaptive-grpo", ...)           or keep your loss_type; the weight is applied on top"""


def main(arguments: Sequence[str]) -> int:
    """The exit code of `hysteretic compare`: 0 when every run finished and the report is written."""
    parser = argparse.ArgumentParser(
        prog="hysteretic demo",
        description="Compare the default loss of TRL and verl, GRPO, and both with the adaptive weight (a-hpo and "
        "adaptive-grpo), from a sparse start.",
    )
    parser.add_argument("--output", default="demo", help="folder of the comparison (default: demo)")
    parser.add_argument("--seeds", type=int, default=6, help="seeds per arm (default: 6; a verdict needs at least 4)")
    parser.add_argument("--updates", type=int, default=100, help="optimiser steps per run (default: 100)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: 2)")
    options = parser.parse_args(arguments)
    with as_file(files("hysteretic.compare") / "demo.yaml") as config:
        flags = ["--config", str(config), "--output", options.output, "--jobs", str(options.jobs)]
        code = compare.main([*flags, "--seeds", str(options.seeds), "--max_steps", str(options.updates)])
    if code == 0:
        print(NEXT)
    return code
