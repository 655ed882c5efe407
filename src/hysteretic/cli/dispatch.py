"""What can be done from a terminal? `hysteretic COMMAND --help` says more about each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from hysteretic.common.errors import nearest

COMMANDS = {
    "train": "Train a model on a task with any of the algorithms.",
    "plan": "Does a run fit on these GPUs, and how long does a step take? Without loading weights.",
    "compare": "Algorithms side by side over several seeds: which is better, by how much, how sure.",
    "report": "The page of a comparison, finished or still running.",
    "probe": "Before any training: will it start, and which group size does it need?",
    "warmup": "Supervised steps on a task's worked solutions, before reinforcement.",
    "show": "One problem of a task, its answer, and a page with its picture.",
    "eval": "pass@1, majority votes and confusions of a model, or of responses in a file, on a task.",
    "export": "A task's problems as parquet files for verl.",
    "launch": "The command that runs a recipe in verl, on one node or on many.",
    "demo": "A-HPO and GRPO from the same sparse start, side by side, on this machine's CPU.",
    "list": "Tasks, algorithms and recipes, one a line.",
}

MODULES = {"train": "runs.train", "eval": "evals.evaluation", "probe": "probe.probe"}
"""Module of hysteretic by command, where it is not in `hysteretic.cli`; each has `main(arguments) -> int`."""

USAGE = """\
usage: hysteretic COMMAND [options]

Reinforcement learning of language models when rewards are sparse (HPO, A-HPO).

commands:
{commands}

examples:
  hysteretic train --task countdown-3 --algorithm a-hpo --model tiny
  hysteretic probe --task countdown-3 --model tiny
  hysteretic compare --task countdown-3 --model tiny --algorithms grpo,a-hpo --seeds 4
  hysteretic train --config qwen2.5-1.5b-countdown-3-lora
  hysteretic train --dry-run qwen2.5-1.5b-countdown-3-lora
  hysteretic plan qwen2.5-7b-countdown-3-full --gpu h100 --gpus 8
  hysteretic show --task telelogs-synthetic --seed 7 --output problem.html
  hysteretic eval --task countdown-3 --model runs/countdown-3-a-hpo-tiny-seed0/model
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 done, 2 a mistake in the command or settings, 130 stopped.

    The others are the command's own; for `train`, hysteretic.runs.outcome.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
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
            f"hysteretic: no command {command!r}.{nearest(command, COMMANDS)} Commands: {', '.join(COMMANDS)}.",
            file=sys.stderr,
        )
        return 2

    from hysteretic.common.errors import UsageError

    try:
        module = import_module(f"hysteretic.{MODULES.get(command, f'cli.{command}')}")
        code: int = module.main(options)
        return code
    except UsageError as error:
        print(f"hysteretic: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nhysteretic: stopped.", file=sys.stderr)
        return 130
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
