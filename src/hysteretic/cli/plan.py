"""`hysteretic plan`: whether a run fits on these GPUs, and how long a step takes. Nothing is loaded or trained."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from hysteretic.common.errors import UsageError
from hysteretic.config.settings import RunSpec, parse, stated_processes
from hysteretic.models import model_path
from hysteretic.runs.train import quieten
from hysteretic.sizing.architecture import architecture, read_config
from hysteretic.sizing.gpus import gpu_of
from hysteretic.sizing.memory import WAYS
from hysteretic.sizing.plan import Plan, plan
from hysteretic.sizing.prompts import longest_prompt
from hysteretic.sizing.table import as_json, as_text
from hysteretic.sizing.work import work_of
from hysteretic.trl import HPOConfig

USAGE = "hysteretic plan [RECIPE or YAML] [--gpu NAME] [--gpus N] [any flag of `hysteretic train`]"


def main(arguments: Sequence[str]) -> int:
    """Print the plan; returns 0 if the run fits, 1 if it does not."""
    quieten()
    options, rest = _options(arguments)
    found = make_plan(options, rest)
    print(json.dumps(as_json(found), indent=2) if options.json else as_text(found))
    return 0 if found.memories[found.way].fits(found.gpu) != "no" else 1


def _options(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Plan's own options, and the rest, which are train's. The recipe comes first or after --config."""
    words = list(arguments)
    if words and not words[0].startswith("-"):
        words = ["--config", *words]
    parser = argparse.ArgumentParser(
        prog="hysteretic plan",
        usage=USAGE,
        allow_abbrev=False,
        description="Memory per GPU by part, tokens and seconds per step, and what to change if it does not fit. "
        "Arithmetic from the model's configuration; no GPU has been measured against it.",
    )
    parser.add_argument("--gpu", default="h100", help="h200, h100, a100-80, a100-40, l40s, 4090, or a size: 24GiB.")
    parser.add_argument("--gpus", type=int, help="How many (as many as the recipe has processes, or 1).")
    parser.add_argument("--way", choices=WAYS, help="How the model is sharded; by default the first way that fits.")
    parser.add_argument(
        "--prompt-tokens", "--prompt_tokens", type=int, help="The longest prompt, in tokens; by default the task's."
    )
    parser.add_argument(
        "--response-tokens",
        "--response_tokens",
        type=float,
        help="Mean length of a response, for seconds (half of max_completion_length); memory is for the longest.",
    )
    parser.add_argument(
        "--silent-share",
        "--silent_share",
        type=float,
        default=0.0,
        help="Fraction of responses in silent groups, for seconds (0); `hysteretic probe` measures it.",
    )
    parser.add_argument("--json", action="store_true", help="Print everything as JSON.")
    options, rest = parser.parse_known_args(words)
    for name, least in (("gpus", 1), ("prompt_tokens", 1), ("response_tokens", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} is {value:g}; give {least} or more.")
    if not 0 <= options.silent_share < 1:
        raise UsageError(f"--silent-share is {options.silent_share:g}; give a fraction from 0 to below 1.")
    return options, rest


def make_plan(options: argparse.Namespace, rest: Sequence[str]) -> Plan:
    """The plan of a command line. Raises UsageError."""
    try:
        gpu = gpu_of(options.gpu)
        gpus = options.gpus or stated_processes(rest) or 1
        request = parse_for(gpus, rest)
        path = model_path(request.run.model, request.run.task)
        config = read_config(path, request.model.model_revision)
        prompt, source = longest_prompt(request, path, options.prompt_tokens)
        work = work_of(request, gpus, prompt, options.response_tokens, options.silent_share)
        if work.responses % work.group:
            raise ValueError(
                f"A rollout is {work.responses} responses ({work.gpus} GPUs x per_device_train_batch_size {work.rows} "
                f"x steps_per_generation {work.rounds}), which {work.group} responses per prompt (num_generations) do "
                "not divide; change one of them."
            )
        if work.mean_response > work.response:
            raise ValueError(
                f"--response-tokens is {work.mean_response:g}, above max_completion_length ({work.response}); give a "
                "mean within it."
            )
        bare = architecture(config, str(request.run.model))
        adapted = architecture(config, str(request.run.model), lora(request))
    except ValueError as error:
        raise error if isinstance(error, UsageError) else UsageError(str(error)) from error
    name = next((rest[i + 1] for i in range(len(rest) - 1) if rest[i] == "--config"), str(request.run.model))
    return plan(name, bare, adapted, work, gpu, options.way, source)


def parse_for(gpus: int | None, arguments: Sequence[str]) -> RunSpec:
    """The run as `gpus` processes with GPUs would read it, on any machine. gpus: None for as many as it states."""
    gpus = gpus or stated_processes(arguments) or 1

    class Planned(HPOConfig):
        world_size = property(lambda self: gpus)

    Planned.__doc__ = HPOConfig.__doc__
    machine = {"report_to": "none", "logging_steps": 1, "seed": 0}
    return parse([*arguments, "--use_cpu", "true"], Planned, machine, processes=gpus)


def lora(request: RunSpec) -> Any:
    """The run's adapter, or one of rank 16 on all matrices if it has none."""
    from peft import LoraConfig
    from trl import get_peft_config

    if request.model.use_peft:
        return get_peft_config(request.model)
    return LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
