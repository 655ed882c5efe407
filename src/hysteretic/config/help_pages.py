"""`hysteretic train --help`: our own flags and the dozen of TRL's that matter, grouped; --help-all shows every flag."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Sequence
from shutil import get_terminal_size

from hysteretic.config.facts import facts

USAGE = "hysteretic train [--dry-run] [RECIPE or YAML] [any of these flags]"
DESCRIPTION = (
    "Train a model on a task. With --dry-run: make one small update on a CPU without the real weights, report what "
    "was checked, and leave no files behind."
)
EPILOG = (
    "Every flag is a key in YAML, and a YAML file may extend others: base: [qwen2.5-1.5b, countdown-3, lora]. Defaults "
    "are in brackets; recipes and the tiny model have their own. docs/settings.md explains each setting."
)


GROUPS = (
    *("run", "objective", "batch", "sampling", "optimiser", "weights", "rewards", "errors", "speed"),
    "saving and reports",
)
INDENT = 33


def show_if_asked(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Print the requested help page, if any, and exit."""
    if "--help-all" in arguments:
        parser.print_help()
        parser.exit()
    if {"-h", "--help"} & set(arguments):
        print(short_help(parser))
        parser.exit()


def short_help(parser: argparse.ArgumentParser, width: int | None = None) -> str:
    """The flags whose facts name a group, by group, each with a line or two of help and its default."""
    width = min(width or get_terminal_size().columns, 120)
    actions = {each.dest: each for each in reversed(parser._actions)}  # the first of --flag and --no_flag
    lines = [
        f"usage: {USAGE}",
        *textwrap.wrap(DESCRIPTION, width),
        *_entry("--config", "YAML of any of these keys: a file, or a recipe of `hysteretic list`", width),
        *_entry("--help-all", "every flag, including those of TRL's GRPOConfig and ModelConfig", width),
    ]
    for group in GROUPS:
        lines.append(f"{group}:")
        for name, each in facts().items():
            if each.group == group and name in actions:
                lines += _entry(f"--{name}", _text(actions[name], each.short, width), width)
    return "\n".join([*lines, *textwrap.wrap(EPILOG, width)])


def _text(action: argparse.Action, text: str, width: int) -> str:
    """The whole help if it is short, otherwise its first sentence."""
    whole = text or (action.help or "").replace("%%", "%")
    if len(whole) > width - INDENT:
        whole = re.split(r"(?<=\.) (?=[A-Z0-9])|(?<=\w); (?=[a-z0-9])(?![^(]*\))", whole)[0]
    default = getattr(action.default, "value", action.default)
    if default in (None, "", argparse.SUPPRESS):
        return whole.removesuffix(".")
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"{whole.removesuffix('.')} [{shown}]"


def _entry(flag: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=f"  {flag:{INDENT - 3}} ",
        subsequent_indent=" " * INDENT,
        break_on_hyphens=False,
    )
