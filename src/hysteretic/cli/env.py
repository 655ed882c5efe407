"""`hysteretic env`: versions and devices, to paste into a bug report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from hysteretic.common.environment import describe_environment


def main(arguments: Sequence[str]) -> int:
    """Print one line per fact."""
    parser = argparse.ArgumentParser(
        prog="hysteretic env", description="Versions of Python and packages, and devices, to paste into a bug report."
    )
    parser.parse_args(arguments)
    for name, value in describe_environment().items():
        print(f"- {name}: {value}")
    return 0
