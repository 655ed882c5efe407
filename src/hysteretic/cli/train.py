"""`hysteretic train`: train a model on a task; with --dry-run, check that it would start."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hysteretic.config.settings import parse
from hysteretic.models.loading import quieten
from hysteretic.runs.train import train

DRY_RUN = ("--dry-run", "--dry_run")


def main(arguments: Sequence[str]) -> int:
    """Returns an exit code of hysteretic.runs.outcome; for a dry run 0 (passed) or 1 (failed). Raises UsageError."""
    quieten()
    words = dry_run_words(arguments)
    return train(parse(arguments)).code if words is None else _dry_run(words)


def dry_run_words(arguments: Sequence[str]) -> list[str] | None:
    """The command line without --dry-run, with a recipe that follows it moved to the front; None without the flag."""
    words = list(arguments)
    flag = next((word for word in words if word in DRY_RUN), None)
    if flag is None:
        return None
    place = words.index(flag)
    recipe = [word for word in words[place + 1 : place + 2] if not word.startswith("-")]
    return [*recipe, *words[:place], *words[place + 1 + len(recipe) :]]


def _dry_run(words: Sequence[str]) -> int:
    from hysteretic.dry_run.rehearsal import MACHINE, FailedError, rehearse
    from hysteretic.dry_run.sharding import prepare_launch

    replaced = prepare_launch()
    request = parse([*words, "--use_cpu", "true"], machine=MACHINE)
    try:
        found = rehearse(request, replaced)
    except FailedError as error:
        print(f"hysteretic: dry run failed {error}", file=sys.stderr)
        return 1
    if found.trainer.accelerator.is_main_process:
        print(found.report)
    return 0
