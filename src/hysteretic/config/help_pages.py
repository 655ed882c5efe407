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
    "Train a model on a task. With --dry-run: make one small update of it on a CPU, without its weights, report what was "
    "checked, and leave nothing behind."
)
EPILOG = (
    "--help-all lists every flag, those of TRL's GRPOConfig and ModelConfig too. Every flag is a key in YAML, and a YAML "
    "may start from others: base: [qwen2.5-1.5b, countdown-3, lora]. docs/settings.md says more about each."
)


def show_if_asked(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Print the help that the arguments ask for, if they do, and exit."""
    if "--help-all" in arguments:
        parser.print_help()
        parser.exit()
    if {"-h", "--help"} & set(arguments):
        print(short_help(parser))
        parser.exit()


def short_help(parser: argparse.ArgumentParser, width: int | None = None) -> str:
    """The flags whose facts name a group, by group, each with the first sentence of its help and its default."""
    width = min(width or get_terminal_size().columns, 120)
    known, groups = facts(), dict[str, list[argparse.Action]]()
    for action in parser._actions:
        group = known[action.dest].group if action.dest in known else ""
        if group and not action.option_strings[0].startswith("--no_"):
            groups.setdefault(group, []).append(action)
    own = [
        "  --config RECIPE or YAML       where settings come from; flags override it (`hysteretic list`)",
        "  --dry-run                     one small update on the CPU: would this run start?",
        "  -h, --help, --help-all        these flags; all flags",
    ]
    lines = [f"usage: {USAGE}", "", *textwrap.wrap(DESCRIPTION, width), "", *own]
    for group, actions in groups.items():
        lines += ["", f"{group}:"]
        for action in actions:
            lines += _entry(action, known[action.dest].text, width)
    return "\n".join([*lines, "", *textwrap.wrap(EPILOG, width)])


def _entry(action: argparse.Action, text: str, width: int) -> list[str]:
    text = text or re.split(r"(?<=[.;:]) (?=[A-Z(0-9])|; ", (action.help or "").replace("%%", "%"))[0]
    if action.default not in (None, "", argparse.SUPPRESS):
        text = f"{text.rstrip('.:;')} ({getattr(action.default, 'value', action.default)})"
    flag = f"  {action.option_strings[0]}"
    wrapped = textwrap.wrap(text.rstrip("."), width - 32)
    first = f"{flag:31} {wrapped[0]}" if len(flag) < 31 else f"{flag}  {wrapped[0]}"
    if len(first) > width:
        return [flag, *(" " * 32 + line for line in wrapped)]
    return [first, *(" " * 32 + line for line in wrapped[1:])]
