"""From where does a run go on, and may it? From its newest whole checkpoint, under the settings it began with."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from hysteretic.common.checkpoints import STATE, find_corruption, numbered, set_aside
from hysteretic.common.errors import UsageError
from hysteretic.config.facts import named
from hysteretic.config.settings import RunSpec
from hysteretic.runs.folder import RunFolder, read_json


def find_checkpoint(folder: RunFolder, request: RunSpec) -> Path | None:
    """The newest good checkpoint of a run to go on with; bad ones are told of and taken out of the way.

    Raises UsageError where the run has made its updates already.
    """
    if not request.run.resume:
        return None
    found = None
    for path in numbered(folder.path).values():
        flaw = find_corruption(path)
        if flaw is None:
            found = path
            break
        print(f"hysteretic: {path.name} is passed over: {flaw} ({set_aside(path)}).", file=sys.stderr)
    is_finished = (read_json(folder.run) or {}).get("state") == "finished"
    max_steps = request.training.max_steps
    if found is not None and is_last(found, max_steps) and (is_finished or 0 < max_steps < step_of(found)):
        raise UsageError(
            f"The run in {folder.path} has made {step_of(found)} updates ({found.name}), and max_steps is {max_steps}; "
            "give a larger --max_steps to train on."
        )
    return found


def before(checkpoint: Path) -> Path | None:
    """The newest whole checkpoint that is older than this one."""
    older = (path for number, path in numbered(checkpoint.parent).items() if number < step_of(checkpoint))
    return next((path for path in older if find_corruption(path) is None), None)


def is_last(checkpoint: Path, max_steps: int) -> bool:
    """Whether nothing is left to train after a checkpoint. max_steps: 0 or less leaves it to the run's epochs."""
    planned = max_steps if max_steps > 0 else (read_json(checkpoint / STATE) or {}).get("max_steps", 0)
    return 0 < planned <= step_of(checkpoint)


def step_of(checkpoint: Path | None) -> int:
    """The update after which a checkpoint was made; 0 without one."""
    return 0 if checkpoint is None else int(checkpoint.name.rsplit("-", 1)[1])


def check_same_settings(folder: RunFolder, request: RunSpec) -> None:
    """A run may only go on as it began."""
    before = yaml.safe_load(folder.config.read_text(encoding="utf-8")) if folder.config.is_file() else {}
    of_call, may_change = named(lambda facts: facts.of_call), named(lambda facts: facts.resume)
    asked = {key: value for key, value in request.asked.items() if key not in of_call}
    changed = {
        key for key in {*before, *asked} - may_change if str(before.get(key)) != str(asked.get(key, before.get(key)))
    }
    if changed:
        listed = ", ".join(f"{key} was {before.get(key)!r} and is {asked[key]!r}" for key in sorted(changed))
        raise UsageError(
            f"The run in {folder.path} began with other settings: {listed}. Start a new --output for these."
        )
