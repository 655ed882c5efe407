"""`hysteretic probe`: before any training, will it start on this model and task, and with which group size?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from hysteretic.cli.options import add_model, add_problems, add_task, check_least, task_and_problems
from hysteretic.common.errors import UsageError
from hysteretic.sparsity import LARGEST_GROUP
from hysteretic.tasks.checked import check_labelled

if TYPE_CHECKING:
    from hysteretic.probe.sampling import ProbeSettings

MOST_PROMPTS = 1_000_000
"""The largest --prompts-per-batch."""


def main(arguments: Sequence[str]) -> int:
    """Sample, print a table and a verdict, and write them to a folder."""
    options = build_parser().parse_args(arguments)
    _check(options)
    if options.vllm:
        from hysteretic.models.loading import check_vllm

        check_vllm("--vllm samples with vLLM", "leave --vllm out")
    task, problems = task_and_problems(options)
    check_labelled(task)
    from hysteretic.probe.probe import run_probe  # transformers: seconds that --help and a wrong flag need not wait for
    from hysteretic.probe.sampling import ProbeSettings
    from hysteretic.probe.summary import as_text

    settings = ProbeSettings(**{field.name: getattr(options, field.name) for field in fields(ProbeSettings)})
    folder = default_folder(settings) if options.output is None else Path(options.output)
    print(as_text(run_probe(task, problems, settings, folder)))
    print(f"Metrics and curves: {folder / 'index.html'}")
    return 0


def default_folder(settings: ProbeSettings) -> Path:
    """runs/probe-TASK-MODEL."""
    return Path("runs") / f"probe-{Path(settings.task).stem}-{Path(settings.model).name}".lower().replace(":", "-")


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(
        prog="hysteretic probe",
        description="Sample responses and predict, for each group size, how many groups will have zero variance "
        "(be silent), and so whether training will start.",
    )
    add_task(parser)
    add_model(parser, required=True)
    add_problems(parser, "train")
    add = parser.add_argument
    add(
        "--samples",
        type=int,
        default=16,
        metavar="N",
        help="responses per problem (default: 16); larger groups are extrapolated",
    )
    add(
        "--group-sizes",
        "--group_sizes",
        type=_sizes,
        default=_sizes("4,8,16,32,64"),
        metavar="N,N,...",
        help="group sizes to judge (default: 4,8,16,32,64)",
    )
    add(
        "--prompts-per-batch",
        "--prompts_per_batch",
        type=int,
        default=32,
        metavar="N",
        help="prompts per rollout (default: 32)",
    )
    add(
        "--informative",
        type=float,
        default=0.5,
        metavar="FRACTION",
        help="target fraction of informative groups (default: 0.5)",
    )
    add("--temperature", type=float, default=1.0, help="sampling temperature (default: 1.0)")
    add("--output", metavar="FOLDER", help="where to write (default: runs/probe-TASK-MODEL)")
    return parser


def _sizes(text: str) -> list[int]:
    try:
        sizes = sorted({int(word) for word in text.split(",")})
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers; write it as 4,8,16.") from error
    if not 2 <= sizes[0] <= sizes[-1] <= LARGEST_GROUP:
        raise argparse.ArgumentTypeError(f"{text!r} has sizes outside 2 to {LARGEST_GROUP}; give sizes such as 4,8,16.")
    return sizes


def _check(options: argparse.Namespace) -> None:
    limits = [
        ("problems", 1, "probe on at least 1"),
        ("samples", 2, "a group has at least two responses, so sample at least 2"),
        ("prompts_per_batch", 1, "a batch has at least one prompt"),
        ("max_completion_length", 1, "a response has at least one token"),
    ]
    check_least(options, limits)
    if options.prompts_per_batch > MOST_PROMPTS:
        raise UsageError(f"--prompts-per-batch is {options.prompts_per_batch}; give at most {MOST_PROMPTS}.")
    if not 0 <= options.seed < 2**32:
        raise UsageError(f"--seed is {options.seed}; seeds are 0 to 2^32 - 1.")
    if not 0 < options.temperature < float("inf"):
        raise UsageError(f"--temperature is {options.temperature}; training samples above 0 (1.0 is usual).")
    if not 0 < options.informative < 1:
        raise UsageError(
            f"--informative is {options.informative}; give a fraction between 0 and 1 (0.5 is the default)."
        )
