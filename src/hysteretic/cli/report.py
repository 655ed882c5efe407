"""`hysteretic report`: the page, table and figures of a comparison, finished or still running.

It may run at any time: it and a running `hysteretic compare` take turns to write (compare/results.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from hysteretic.common.errors import UsageError
from hysteretic.compare.folder import ComparisonFolder
from hysteretic.compare.results import write_results
from hysteretic.compare.verdicts import in_words


def main(arguments: Sequence[str]) -> int:
    """Write report.html, results.json, results.csv and figures/ in the comparison's folder."""
    parser = argparse.ArgumentParser(
        prog="hysteretic report", description="Write the report of a comparison, finished or still running."
    )
    parser.add_argument("folder", type=Path, help="folder of the comparison: the --output of `hysteretic compare`")
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        raise UsageError(f"There is no folder {options.folder}; give the --output of `hysteretic compare`.")
    try:
        results = write_results(ComparisonFolder(options.folder), with_report=True)
    except OSError as error:
        raise UsageError(
            f"Cannot write the report to {options.folder} ({error.strerror}: {error.filename}); make it writable, or "
            "copy the comparison to a folder that is."
        ) from error
    print(in_words(results))
    print(f"\nReport: {options.folder / 'report.html'}   Results: {options.folder / 'results.json'}")
    return 0
