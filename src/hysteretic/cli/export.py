"""`hysteretic export`: a task's problems as parquet files for another trainer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hysteretic.cli.options import mapping
from hysteretic.launch.export import ExportSpec, export


def main(arguments: Sequence[str]) -> int:
    """Write train.parquet and validation.parquet, and say what is in them."""
    options = _parser().parse_args(arguments)
    reward = {} if options.reward is None else {"reward": options.reward}
    spec = ExportSpec(
        task=options.task,
        output=Path(options.output),
        task_options={**(options.task_options or {}), **reward},
        train_problems=options.train_problems,
        validation_problems=options.validation_problems,
        validation_split=options.validation_split,
        seed=options.seed,
        overwrite=options.overwrite,
    )
    print("\n".join(export(spec)))
    return 0


def _number(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is too few problems; give 1 or more")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hysteretic export", description=__doc__)
    parser.add_argument("--task", required=True, help="a task, as in `hysteretic train`")
    parser.add_argument("--task-options", "--task_options", type=mapping, help="the task's options, as JSON")
    parser.add_argument("--reward", help="for a data file or hub data set: file.py:function")
    parser.add_argument("--format", choices=["verl"], default="verl", help="target trainer (default: verl)")
    parser.add_argument("--output", required=True, help="folder for train.parquet and validation.parquet")
    parser.add_argument("--train-problems", type=_number, help="number (default: the task's)")
    parser.add_argument("--validation-problems", type=_number, help="number (default: 200, or as many as there are)")
    parser.add_argument(
        "--validation-split", default="test", help="split to validate on (default: test, as in `train`)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the problems' order (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    return parser
