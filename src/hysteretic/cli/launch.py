"""`hysteretic launch verl RECIPE`: a recipe of `hysteretic train`, run by verl on one or more nodes."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from hysteretic.common.errors import UsageError
from hysteretic.launch.command import Commands, check_enough_problems, check_flags, commands_of
from hysteretic.launch.export import export


def main(arguments: Sequence[str]) -> int:
    """Print the commands, or run them; returns 0 when they succeed."""
    parser = _parser()
    options, flags = parser.parse_known_args(arguments)
    own = [name[2:] for action in parser._actions for name in action.option_strings if name.startswith("--")]
    check_flags(flags, own)
    below = [
        f"--{name.replace('_', '-')} is {value}; give 1 or more."
        for name in ("nodes", "gpus_per_node", "processes")
        if (value := getattr(options, name)) is not None and value < 1
    ]
    if below:
        raise UsageError("\n".join(below))
    commands = commands_of(options, flags)
    _check_with_verl(commands)
    for note in commands.notes:
        print(f"# {note}", file=sys.stderr if options.print else sys.stdout)
    print(commands.script())
    if options.print or options.dry_run:
        return 0
    return _run(commands, options)


def _has_verl() -> bool:
    return find_spec("verl") is not None and find_spec("ray") is not None


def _check_with_verl(commands: Commands) -> None:
    """Where verl is installed, check the settings with its own configuration. Raises UsageError."""
    if not _has_verl():
        return
    try:
        import_module("hysteretic.verl")
        import_module("hysteretic.verl.composed").check(commands.overrides)
    except (ImportError, ValueError) as error:
        raise UsageError(str(error)) from error


def _run(commands: Commands, options: argparse.Namespace) -> int:
    train = list(commands.train)
    if train[0] == "python3":
        if not _has_verl():
            raise UsageError(
                "verl is not installed here; install it (docs/verl.md), or --print the commands and run them "
                "where it is."
            )
        import torch

        if torch.cuda.device_count() < options.gpus_per_node:
            raise UsageError(
                f"--gpus-per-node is {options.gpus_per_node}, but this machine has {torch.cuda.device_count()} GPUs; "
                "give that many, or --print the commands and run them elsewhere."
            )
        train[0] = sys.executable
    else:
        train[0] = _beside_python(train[0])
    print("\n".join(line for line in export(commands.export) if line not in commands.notes), flush=True)
    import pyarrow.parquet

    rows = pyarrow.parquet.read_metadata(commands.export.output / "train.parquet").num_rows
    check_enough_problems(rows, commands.prompts)
    return subprocess.run(train, env={**os.environ, **commands.environment}, check=False).returncode


def _beside_python(name: str) -> str:
    """A command of this environment, activated or not, or else from the PATH. Raises UsageError."""
    own = Path(sys.executable).with_name(name)
    found = str(own) if own.is_file() else shutil.which(name)
    if found is None:
        raise UsageError(f'{name} is not installed here; run: pip install "ray[default]".')
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hysteretic launch",
        description=__doc__,
        epilog="Any flag of `hysteretic train`, such as --algorithm hpo, overrides the recipe.",
        allow_abbrev=False,
    )
    parser.add_argument("engine", choices=["verl"])
    parser.add_argument("recipe", help="a YAML file or a recipe of `hysteretic list`")
    parser.add_argument("--print", action="store_true", help="print the commands only (notes go to stderr)")
    parser.add_argument("--dry-run", action="store_true", help="print notes and commands without running them")
    parser.add_argument("--nodes", type=int, default=1, help="machines (default: 1); more than one run as a Ray job")
    parser.add_argument("--gpus-per-node", type=int, default=1, help="GPUs per machine (default: 1)")
    parser.add_argument(
        "--processes",
        type=int,
        help="processes that the batch sizes are written for (default: `processes` in the recipe)",
    )
    parser.add_argument("--address", help="address of the Ray dashboard (default: http://127.0.0.1:8265)")
    parser.add_argument("--data", help="folder of the parquet files (default: data/TASK)")
    parser.add_argument("--max-prompt-length", type=int, help="longest prompt in tokens")
    parser.add_argument(
        "--without", action="append", default=[], metavar="SETTING", help="drop a setting that verl does not support"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting of verl")
    return parser
