"""How a run ended, and its exit code. Errors that the user can fix get a message; anything else is a bug.

    0    finished
    1    a bug (with a traceback)
    3    a reward function failed
    4    the disk is full
    5    a loss or gradient was NaN or infinite
    130  stopped by Ctrl-C
    143  stopped by SIGTERM (preempted)

After any but the first, `hysteretic train --resume` continues the run.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from hysteretic.common.checkpoints import FULL
from hysteretic.tasks.task import RewardError
from hysteretic.trl.guard import BadUpdateError
from hysteretic.trl.preemption import Preempted

REWARD, DISK, BAD_UPDATE = 3, 4, 5


@dataclass(frozen=True)
class Outcome:
    """state: finished, interrupted or failed, as in run.json. message: printed to the terminal."""

    state: str
    code: int
    message: str = ""


FINISHED = Outcome("finished", 0)


def stopped(folder: Path, updates: int, code: int) -> Outcome:
    """The run was stopped before its last update. code: 130 or 143."""
    return Outcome("interrupted", code, f"Stopped after update {updates}; {_again(folder)}")


def ended_by(error: BaseException, folder: Path, updates: int, stop_code: int) -> Outcome | None:
    """The outcome of a run that raised; None if the exception is a bug."""
    if isinstance(error, KeyboardInterrupt | Preempted):
        return stopped(folder, updates, stop_code)
    if isinstance(error, RewardError):
        message = f"{error} Earlier updates are saved; fix the reward function and {_again(folder)}"
        return Outcome("failed", REWARD, message)
    if isinstance(error, BadUpdateError):
        return Outcome("failed", BAD_UPDATE, f"{error} Then {_again(folder)}")
    if isinstance(error, OSError) and error.errno in FULL:
        where = error.filename or folder
        message = f"The disk is full ({where}); earlier checkpoints are intact. Free space and {_again(folder)}"
        return Outcome("failed", DISK, message)
    return None


def _again(folder: Path) -> str:
    return f"continue with: hysteretic train --resume --output {shlex.quote(str(folder))}"
