"""`hysteretic list`: the names of tasks (of other packages too), algorithms and recipes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hysteretic.config.recipes import recipes
from hysteretic.presets import summaries
from hysteretic.tasks import available


def main(arguments: Sequence[str]) -> int:
    """Print tasks, algorithms and recipes, one per line."""
    parser = argparse.ArgumentParser(prog="hysteretic list", description="List tasks, algorithms and recipes.")
    parser.parse_args(arguments)
    sections = {
        "tasks": available(),
        "algorithms": summaries(),
        "recipes": recipes(),
    }
    for title, entries in sections.items():
        width = max(map(len, entries), default=0)
        print(f"{title}:")
        for name, text in entries.items():
            print(f"  {name:{width}}  {text}")
    return 0
