"""Keep a recipe's batch on another number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hysteretic.common.errors import UsageError

ROWS, ACCUMULATION, ROUNDS = "per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation"
KEYS = (ROWS, ACCUMULATION, ROUNDS, "generation_batch_size")
"""Settings whose product with the number of processes is a batch."""


def batch_for(settings: Mapping[str, Any], stated: int, actual: int) -> tuple[dict[str, Any], str]:
    """The settings that keep the batch of `stated` processes on `actual` ones, and a line that reports them.

        update  = processes * rows * accumulation          responses per optimiser step
        rollout = processes * rows * rounds                responses per generation batch

    The rows per pass are kept if possible, for memory, and lowered if necessary. If no whole number of rows gives the
    same batch, the batch is made of whole groups: with the most rows that come within a twentieth of it, else the
    nearest one.

    settings: num_generations, and those of KEYS that are set (otherwise TRL's defaults).

    Raises UsageError for a setting that is not a whole number of 1 or more.
    """
    if stated == actual:
        return {}, ""
    rows, accumulation = count_in(settings, ROWS, 8), count_in(settings, ACCUMULATION, 1)
    group, whole = count_in(settings, "num_generations", 8), count_in(settings, "generation_batch_size", 0)
    update = stated * rows * accumulation
    updates = max(1, (whole or count_in(settings, ROUNDS, accumulation) * stated * rows) // update)
    rollout = whole or update * updates
    new = next((each for each in range(rows, 0, -1) if not update % (actual * each)), None)
    if new is not None:
        times = update // (actual * new)
    else:
        new, times = min(
            (
                (rows, times)
                for rows in range(1, rows + 1)
                for times in range(max(1, update // (actual * rows) - group), update // (actual * rows) + group + 1)
                if not actual * rows * times * updates % group
            ),
            key=lambda one: (
                max(abs(actual * one[0] * one[1] - update), update // 20),
                -one[0],
                abs(actual * one[0] * one[1] - update),
            ),
        )
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
    rows, accumulation = count_in(settings, ROWS, 8), count_in(settings, ACCUMULATION, 1)
    rounds, whole = count_in(settings, ROUNDS, accumulation), count_in(settings, "generation_batch_size", 0)
    return (
        f"The batch is {whole or actual * rows * rounds} responses per rollout and {actual * rows * accumulation} per "
        f"update on {_processes(actual)}: a flag sets a part of it, so the recipe's batch for {stated} is not kept."
    )


def count_in(settings: Mapping[str, Any], name: str, default: int) -> int:
    """A setting as a whole number; the default where it is not set. Raises UsageError for anything below 1."""
    value = settings.get(name)
    if value is None:
        return default
    try:
        count = int(str(value))  # a YAML may quote it; True and 2.5 are no counts
    except ValueError:
        count = 0
    if count < 1:
        raise UsageError(f"{name} is {value!r}; set it to a whole number of 1 or more, or leave it out.")
    return count


def _processes(count: int) -> str:
    return f"{count} process{'es' * (count > 1)}"
