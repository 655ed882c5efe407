"""Keep a recipe's batch on another number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ROWS, ACCUMULATION, ROUNDS = "per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation"
KEYS = (ROWS, ACCUMULATION, ROUNDS, "generation_batch_size")
"""Settings whose product with the number of processes is a batch."""


def batch_for(settings: Mapping[str, Any], stated: int, actual: int) -> tuple[dict[str, Any], str]:
    """The settings that keep the batch of `stated` processes on `actual` ones, and a line that reports them.

        update  = processes * rows * accumulation          responses per optimiser step
        rollout = processes * rows * rounds                responses per generation batch

    The rows per pass are kept if possible, for memory, and lowered if necessary. If no whole number of rows gives the
    same batch, it becomes the nearest one made of whole groups.

    settings: num_generations, and those of KEYS that are set (otherwise TRL's defaults).
    """
    if stated == actual:
        return {}, ""
    rows, accumulation = int(settings.get(ROWS) or 8), int(settings.get(ACCUMULATION) or 1)
    group, whole = int(settings.get("num_generations") or 8), settings.get("generation_batch_size")
    update = stated * rows * accumulation
    updates = max(1, whole // update) if whole else int(settings.get(ROUNDS) or accumulation) // accumulation
    rollout = whole or update * updates
    new = next((each for each in range(rows, 0, -1) if not update % (actual * each)), None)
    if new is not None:
        times = update // (actual * new)
    else:
        new, one = rows, actual * rows
        near = sorted(range(1, 2 * update // one + group + 1), key=lambda count: abs(count * one - update))
        times = next((count for count in near if not one * count * updates % group), near[0])
    found: dict[str, Any] = {ROWS: new, ACCUMULATION: times}
    became = actual * new * times
    if not whole:
        found[ROUNDS] = times * updates
    elif became != update:
        found["generation_batch_size"] = became * updates
    before = {ROWS: rows, ACCUMULATION: accumulation, ROUNDS: accumulation * updates}
    changes = [f"{key} {old} -> {found[key]}" for key, old in before.items() if found.get(key, old) != old]
    if became == update:
        kept = f"The batch stays {rollout} responses per rollout and {update} per update"
    else:
        kept = (
            f"The batch becomes {became * updates} responses per rollout (not {rollout}) and {became} per update (not "
            f"{update})"
        )
    return found, f"{kept} on {_processes(actual)} instead of {stated}: {', '.join(changes) or 'no setting changes'}."


def note_unadjusted(settings: Mapping[str, Any], stated: int, actual: int) -> str:
    """A line on the batch if a flag sets a part of it: flags apply to the actual processes."""
    if stated == actual:
        return ""
    rows, accumulation = int(settings.get(ROWS) or 8), int(settings.get(ACCUMULATION) or 1)
    rounds, whole = int(settings.get(ROUNDS) or accumulation), settings.get("generation_batch_size")
    return (
        f"The batch is {whole or actual * rows * rounds} responses per rollout and {actual * rows * accumulation} per "
        f"update on {_processes(actual)}: a flag sets a part of it, so the recipe's batch for {stated} is not kept."
    )


def _processes(count: int) -> str:
    return f"{count} process{'es' * (count > 1)}"
