"""The commands, and how one is run: `hysteretic COMMAND` is `main` of hysteretic.cli.COMMAND."""

from __future__ import annotations

import os
import select
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module

from hysteretic.common.errors import UsageError, nearest

COMMANDS = {
    "train": "Train a model on a task with any of the algorithms.",
    "plan": "Estimate the memory and time of a run on given GPUs, without loading weights.",
    "compare": "Compare algorithms over several seeds: which is better, by how much, and how surely.",
    "report": "Write the report of a comparison, finished or still running.",
    "probe": "Predict whether training will start, and which group size it needs.",
    "warmup": "Supervised fine-tuning on a task's worked solutions, before reinforcement learning.",
    "show": "Show one problem of a task with its answer, and optionally a page with its picture.",
    "eval": "Evaluate a model, or responses in a file, on a task: pass@1, majority vote, confusion matrix.",
    "export": "Write a task's problems as parquet files for verl.",
    "launch": "Run a recipe in verl, on one node or on many.",
    "demo": "Compare four algorithms from the same sparse start, on this machine's CPU.",
    "list": "List tasks, algorithms and recipes.",
    "env": "Print versions and devices for a bug report.",
}

USAGE = """\
usage: hysteretic COMMAND [options]

Reinforcement learning of language models when rewards are sparse (HPO, A-HPO).

commands:
{commands}

examples, from the first look to a long run:
  hysteretic demo
  hysteretic probe --task countdown-3 --model tiny
  hysteretic train --task countdown-3 --model tiny --algorithm adaptive-grpo
  hysteretic eval --task countdown-3 --model runs/countdown-3-adaptive-grpo-tiny-seed0/model
  hysteretic compare --task countdown-3 --model tiny --algorithms grpo,adaptive-grpo --seeds 4
  hysteretic show --task telelogs-synthetic --seed 7 --output problem.html
  hysteretic plan qwen2.5-7b-countdown-3-full --gpu h100 --gpus 8
  hysteretic train --dry-run qwen2.5-1.5b-countdown-3-lora
  hysteretic train --config qwen2.5-1.5b-countdown-3-lora
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 success, 2 wrong command or setting, 130 interrupted.

    141 means that the reader of a pipe (`| head`) ended first. Other codes are the command's own; for `train`, see
    hysteretic.runs.outcome.
    """
    try:
        try:
            code = _main(list(sys.argv[1:] if arguments is None else arguments))
        except SystemExit:  # after --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # here rather than at exit, where Python would print the error
        return code
    except BrokenPipeError:
        events = select.poll()
        events.register(sys.stdout.fileno(), 0)
        if not events.poll(0):  # stdout still has a reader: another pipe broke
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(commands="\n".join(f"  {name:8}{text}" for name, text in COMMANDS.items())), end="")
        return 0 if words else 2
    if words[0] == "--version":
        from hysteretic import __version__

        print(__version__)
        return 0
    return _run(words[0], words[1:])


def _run(command: str, options: list[str]) -> int:
    if command not in COMMANDS:
        print(
            f"hysteretic: unknown command {command!r}.{nearest(command, COMMANDS)} Commands: {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        return 2

    plain = warnings.formatwarning
    warnings.formatwarning = lambda message, category, *place, **more: (
        f"hysteretic: {message}\n"
        if category.__module__.startswith("hysteretic.")
        else plain(message, category, *place, **more)
    )
    try:
        code: int = import_module(f"hysteretic.cli.{command}").main(options)
        return code
    except UsageError as error:
        print(f"hysteretic: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nhysteretic: stopped.", file=sys.stderr)
        return 130
    except RuntimeError as error:
        cause = error.__cause__  # of TRL's lazy imports, which look into vLLM wherever it is installed
        if not isinstance(cause, ImportError) or str(cause.name).split(".")[0] != "vllm":
            raise
        print(
            f"hysteretic: TRL cannot work with the version of vLLM that is installed ({cause}); "
            'pip install "trl[vllm]" for a version that fits, or pip uninstall vllm.',
            file=sys.stderr,
        )
        return 2
    except ImportError as error:
        if "hysteretic[" not in str(error) and getattr(error, "name", None) not in (
            "trl",
            "datasets",
            "altair",
            "scipy",
            "yaml",
            "pyarrow",
        ):
            raise
        print(f'hysteretic: {error}. `{command}` needs: pip install "hysteretic[trl,report]"', file=sys.stderr)
        return 2
    finally:
        warnings.formatwarning = plain
