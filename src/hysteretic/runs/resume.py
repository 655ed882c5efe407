"""Resume a run from its newest intact checkpoint, with its original settings."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from hysteretic.common.checkpoints import STATE, find_corruption, numbered, set_aside
from hysteretic.common.errors import UsageError
from hysteretic.common.files import read_json
from hysteretic.config.facts import named
from hysteretic.config.settings import RunSpec
from hysteretic.runs.folder import RunFolder


def find_checkpoint(folder: RunFolder, request: RunSpec) -> Path | None:
    """The newest intact checkpoint of a run to resume; damaged ones are reported and moved aside.

    Raises UsageError if the run has already made all its updates.
    """
    if not request.run.resume:
        return None
    found = None
    for path in numbered(folder.path).values():
        flaw = find_corruption(path)
        if flaw is None:
            found = path
            break
        print(f"hysteretic: skipping {path.name}: {flaw} ({set_aside(path)}).", file=sys.stderr)
    if found is None:
        print(
            f"hysteretic: {folder.path} has no intact checkpoint, so the run starts from the beginning.",
            file=sys.stderr,
        )
    is_finished = (read_json(folder.run) or {}).get("state") == "finished"
    max_steps = request.training.max_steps
    if found is not None and is_last(found, max_steps) and (is_finished or 0 < max_steps < step_of(found)):
        raise UsageError(
            f"The run in {folder.path} has made {step_of(found)} updates ({found.name}), and max_steps is {max_steps}; "
            "raise --max_steps to continue training."
        )
    return found


def before(checkpoint: Path) -> Path | None:
    """The newest intact checkpoint older than this one."""
    older = (path for number, path in numbered(checkpoint.parent).items() if number < step_of(checkpoint))
    return next((path for path in older if find_corruption(path) is None), None)


def is_last(checkpoint: Path, max_steps: int) -> bool:
    """Whether a checkpoint is from the last update. max_steps: 0 or less if the number of epochs decides."""
    planned = max_steps if max_steps > 0 else (read_json(checkpoint / STATE) or {}).get("max_steps", 0)
    return 0 < planned <= step_of(checkpoint)


def step_of(checkpoint: Path | None) -> int:
    """The update after which a checkpoint was saved; 0 without one."""
    return 0 if checkpoint is None else int(checkpoint.name.rsplit("-", 1)[1])


def check_same_settings(folder: RunFolder, request: RunSpec) -> None:
    """Raises UsageError for a setting that differs from the original one and may not change."""
    before = yaml.safe_load(folder.config.read_text(encoding="utf-8")) if folder.config.is_file() else {}
    of_call, may_change = named(lambda facts: facts.of_call), named(lambda facts: facts.resume)
    asked = {key: value for key, value in request.asked.items() if key not in of_call}
    changed = {
        key for key in {*before, *asked} - may_change if str(before.get(key)) != str(asked.get(key, before.get(key)))
    }
    if changed:
        listed = ", ".join(f"{key} was {before.get(key)!r} and is now {asked[key]!r}" for key in sorted(changed))
        raise UsageError(
            f"The run in {folder.path} was started with other settings: {listed}. Use another --output for these."
        )
