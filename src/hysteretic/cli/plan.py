"""`hysteretic plan`: does a run fit on these GPUs, and how long does a step take? No weights are loaded."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.config.settings import RunSpec, parse, stated_processes
from hysteretic.models.loading import quieten
from hysteretic.sizing.gpus import gpu_of
from hysteretic.sizing.memory import WAYS
from hysteretic.sizing.run import plan_run
from hysteretic.sizing.table import as_json, as_text
from hysteretic.trl import HPOConfig

USAGE = "hysteretic plan [RECIPE or YAML] [--gpu NAME] [--gpus N] [any flag of `hysteretic train`]"


def main(arguments: Sequence[str]) -> int:
    """Print the plan. Returns 0 if the run fits, 1 if it does not."""
    quieten()
    options, rest = _options(arguments)
    with usage_errors(kinds=ValueError):
        gpu = gpu_of(options.gpu)
    gpus = options.gpus or stated_processes(rest) or 1
    request = parse_for(gpus, rest)
    name = next((rest[i + 1] for i in range(len(rest) - 1) if rest[i] == "--config"), str(request.run.model))
    lengths = options.prompt_tokens, options.response_tokens
    found = plan_run(request, name, gpu, gpus, options.way, *lengths, options.silent_share)
    print(json.dumps(as_json(found), indent=2) if options.json else as_text(found))
    return 0 if found.memories[found.way].fits(found.gpu) != "no" else 1


def _options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """This command's options, and the rest, which are for train. The recipe comes first or after --config."""
    words = list(arguments)
    if words and not words[0].startswith("-"):
        words = ["--config", *words]
    parser = argparse.ArgumentParser(
        prog="hysteretic plan",
        usage=USAGE,
        allow_abbrev=False,
        description="Memory per GPU by part, tokens and seconds per step, and what to change if it does not fit. "
        "Computed from the model's configuration; not yet calibrated against measurements on GPUs.",
    )
    parser.add_argument(
        "--gpu",
        default="h100",
        help="h200, h100, a100-80, a100-40, l40s, 4090, or 24GiB (default: h100)",
    )
    parser.add_argument("--gpus", type=int, help="number of GPUs (default: as many as the recipe has processes, or 1)")
    parser.add_argument("--way", choices=WAYS, help="how the GPUs shard the model (default: the first way that fits)")
    parser.add_argument(
        "--prompt-tokens", "--prompt_tokens", type=int, help="longest prompt in tokens (default: measured on the task)"
    )
    parser.add_argument(
        "--response-tokens",
        "--response_tokens",
        type=float,
        help="mean response length, for the time estimate (default: half of max_completion_length)",
    )
    parser.add_argument(
        "--silent-share",
        "--silent_share",
        type=float,
        default=0.0,
        help="fraction of responses in zero-variance (silent) groups, for the time estimate (default: 0); `hysteretic "
        "probe` predicts it",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options, rest = parser.parse_known_args(words)
    for name, least in (("gpus", 1), ("prompt_tokens", 1), ("response_tokens", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} is {value:g}; give {least} or more.")
    if not 0 <= options.silent_share < 1:
        raise UsageError(f"--silent-share is {options.silent_share:g}; give a fraction of at least 0 and below 1.")
    return options, rest


def parse_for(gpus: int | None, arguments: Sequence[str]) -> RunSpec:
    """The settings as `gpus` processes with a GPU each would read them, on any machine; None: the stated number."""
    gpus = gpus or stated_processes(arguments) or 1

    class Planned(HPOConfig):
        world_size = property(lambda self: gpus)

    Planned.__doc__ = HPOConfig.__doc__
    machine = {"report_to": "none", "logging_steps": 1, "seed": 0}
    return parse([*arguments, "--use_cpu", "true"], Planned, machine, processes=gpus)
