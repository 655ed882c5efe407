"""How do many runs share one machine? Each in a process of its own, a few at a time, none outliving the comparison.

Each is `hysteretic COMMAND`, and dies with its parent where the system can do that (Linux).
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

POLL_SECONDS = 0.5
LAST_LINES = 12
"""Lines of a failed run's log that are shown."""


@dataclass(frozen=True)
class Command:
    """One `hysteretic` command to run. log: where its output goes, added to what is there."""

    name: str
    words: tuple[str, ...]
    log: Path


@dataclass
class Going:
    """A command at work."""

    command: Command
    process: BaseProcess
    slot: int
    started: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Ended:
    """A command that ended by itself: its exit code and how long it took."""

    command: Command
    code: int
    seconds: float

    @property
    def last_lines(self) -> str:
        """The end of its log."""
        log = self.command.log
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        return "\n".join(f"    {line[:300]}" for line in lines[-LAST_LINES:])


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: the commands at work have been stopped, gently at the first, at once at the second."""


def run_all(
    commands: Sequence[Command], jobs: int, ended: Callable[[Ended], None], watch: Callable[[Sequence[Going]], None]
) -> None:
    """Run all, `jobs` at a time, in their order.

    ended: called when one ends. watch: called twice a second with those at work. Raises Stopped.
    """
    waiting, going = list(commands), list[Going]()
    os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // jobs, 1)))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # asking for a GPU before a fork must not start CUDA
    with _stop_signals() as stop:
        try:
            while waiting or going:
                free = [slot for slot in range(jobs) if slot not in {one.slot for one in going}]
                for slot in free[: len(waiting)]:
                    going.append(_start(waiting.pop(0), slot))
                watch(going)
                time.sleep(POLL_SECONDS)
                if stop:
                    raise Stopped
                for one in [one for one in going if one.process.exitcode is not None]:
                    going.remove(one)
                    ended(Ended(one.command, one.process.exitcode or 0, time.monotonic() - one.started))
        finally:
            _stop(going, stop)


def _start(command: Command, slot: int) -> Going:
    command.log.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hysteretic.runs.train"])
    process = context.Process(target=_work, args=(command, _device(slot)), name=command.name)
    process.start()
    return Going(command, process, slot)


def _work(command: Command, device: str | None) -> None:
    """What each process does: the command, with its output in the log."""
    os.setsid()  # Ctrl-C reaches the comparison alone, which then stops its runs gently
    die_with_parent()
    log = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    sys.argv = ["hysteretic", *command.words]
    from hysteretic.cli import main

    sys.exit(main())


def die_with_parent() -> None:
    """Have this process killed when the fork server ends, and that end with who started it (Linux; elsewhere not).

    The server waits until nobody holds the other end of its pipe, and it hands that end to each process it starts.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        server: Any = multiprocessing.forkserver._forkserver
        if server._forkserver_alive_fd is not None:
            os.close(server._forkserver_alive_fd)
            server._forkserver_alive_fd = None


def _device(slot: int) -> str | None:
    """One GPU in turn where there are several: of those that CUDA_VISIBLE_DEVICES names, or else of all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = [str(n) for n in range(_gpu_count())] if named is None else named.split(",")
    devices = [device.strip() for device in devices if device.strip()]
    return devices[slot % len(devices)] if len(devices) > 1 else None


def _gpu_count() -> int:
    """How many GPUs there are, asked for without starting CUDA here.

    CUDA counts those it sees from 0, whatever the numbers of their device files are within a container.
    """
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that grows by each SIGINT and SIGTERM."""
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    former: dict[int, Any] = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _stop(going: Sequence[Going], asked: list[int]) -> None:
    """End those at work: they make a checkpoint after their rollout; a second signal kills them."""
    for one in going:
        one.process.terminate()
    if going:
        print("\nStopping after the rollouts at work, with checkpoints (Ctrl-C again: at once).", flush=True)
    before = len(asked)
    while any(one.process.exitcode is None for one in going):
        if len(asked) > before:
            for one in going:
                one.process.kill()
        time.sleep(POLL_SECONDS / 5)
