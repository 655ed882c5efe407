"""Run many commands on one machine, each in its own process, a few at a time; none outlives the parent.

The caller hands over the function that runs a command (`Workers.entry`), so that this module knows no command. On
Linux a worker is killed when its parent dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

POLL_SECONDS = 0.5
LAST_LINES = 12
"""Number of lines shown of a failed command's log."""


@dataclass(frozen=True)
class Workers:
    """Processes that run commands.

    entry: called with the words of a command in a new process; returns the exit code. A module-level function, since
        it is pickled by name.
    jobs: how many run at a time.
    preload: modules that the fork server imports once, for all workers.
    """

    entry: Callable[[Sequence[str]], int]
    jobs: int
    preload: tuple[str, ...] = ()

    def start_server(self) -> None:
        """Start the fork server, which imports the modules while this process goes on; `run_all` would do it too."""
        os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // self.jobs, 1)))
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # looking for a GPU must not initialise CUDA before a fork
        multiprocessing.set_forkserver_preload(list(self.preload))
        multiprocessing.forkserver.ensure_running()


@dataclass(frozen=True)
class Command:
    """One command: the words that `Workers.entry` is called with. log: output is appended to it."""

    name: str
    words: tuple[str, ...]
    log: Path


@dataclass
class Going:
    """A running command. port: its MASTER_PORT."""

    command: Command
    process: BaseProcess
    slot: int
    port: int
    started: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Ended:
    """A command that has ended: its exit code and how long it took."""

    command: Command
    code: int
    seconds: float

    @property
    def last_lines(self) -> str:
        """The last lines of its log."""
        log = self.command.log
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        return "\n".join(f"    {line[:300]}" for line in lines[-LAST_LINES:])


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: the running commands were stopped, gracefully at the first signal, killed at the second."""


def run_all(
    commands: Sequence[Command],
    workers: Workers,
    ended: Callable[[Ended], None],
    watch: Callable[[Sequence[Going]], None],
) -> None:
    """Run the commands in order, at most `workers.jobs` at a time.

    ended: called for each command that ends. watch: called twice a second with the running ones. Raises Stopped.
    """
    waiting, going = list(commands), list[Going]()
    if waiting:
        workers.start_server()
    with _stop_signals() as stop:
        try:
            while waiting or going:
                free = [slot for slot in range(workers.jobs) if slot not in {one.slot for one in going}]
                for slot in free[: len(waiting)]:
                    port = _free_port({one.port for one in going})
                    going.append(_start(waiting.pop(0), slot, port, workers))
                watch(going)
                time.sleep(POLL_SECONDS)
                if stop:
                    raise Stopped
                for one in [one for one in going if one.process.exitcode is not None]:
                    going.remove(one)
                    ended(Ended(one.command, one.process.exitcode or 0, time.monotonic() - one.started))
        finally:
            _stop(going, stop)


def _start(command: Command, slot: int, port: int, workers: Workers) -> Going:
    command.log.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_work, args=(command, _device(slot), port, workers.entry), name=command.name)
    process.start()
    return Going(command, process, slot, port)


def _work(command: Command, device: str | None, port: int, entry: Callable[[Sequence[str]], int]) -> None:
    """In the worker: run the command with its output in the log."""
    os.setsid()  # Ctrl-C reaches the parent alone, which then stops its workers gracefully
    die_with_parent()
    log = os.open(command.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    os.environ["MASTER_PORT"] = str(port)  # colocated vLLM listens there: left to itself, every job takes 29500
    sys.argv[1:] = command.words
    sys.exit(entry(command.words))


def die_with_parent() -> None:
    """Make this process end with the fork server, which ends with its parent (Linux only).

    The server waits until its pipe is closed everywhere, and each process that it starts inherits an end: close it.
    """
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
        server: Any = multiprocessing.forkserver._forkserver
        if server._forkserver_alive_fd is not None:
            os.close(server._forkserver_alive_fd)
            server._forkserver_alive_fd = None


def _free_port(taken: Collection[int]) -> int:
    """A TCP port that nothing listens on and no running command was given."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
            found.bind(("", 0))
            port: int = found.getsockname()[1]
        if port not in taken:
            return port


def _device(slot: int) -> str | None:
    """The GPU of a slot if there are several: one of CUDA_VISIBLE_DEVICES, otherwise one of all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = [str(n) for n in range(_gpu_count())] if named is None else named.split(",")
    devices = [device.strip() for device in devices if device.strip()]
    return devices[slot % len(devices)] if len(devices) > 1 else None


def _gpu_count() -> int:
    """The number of GPUs, without initialising CUDA in this process.

    CUDA numbers the visible ones from 0, whatever their device files are called inside a container.
    """
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


@contextlib.contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list to which each SIGINT and SIGTERM is appended."""
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
    """Terminate the running commands, which save a checkpoint after their rollout; a second signal kills them."""
    for one in going:
        one.process.terminate()
    if going:
        again = " (Ctrl-C again: stop now)" if signal.SIGINT in asked else ""
        print(f"\nStopping after the current rollouts, with checkpoints{again}.", flush=True)
    before = len(asked)
    while any(one.process.exitcode is None for one in going):
        if len(asked) > before:
            for one in going:
                one.process.kill()
        time.sleep(POLL_SECONDS / 5)
