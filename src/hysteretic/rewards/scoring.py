"""Score responses: in this process, sequentially or concurrently, or in separate processes.

    here            the task's `score`, in order; its `score_async`, if it has one, for many responses concurrently
    in processes    a process that hangs is killed, one that crashes or runs out of memory replaced; the run continues

Either way a response gets a Score, or an `Unscored` with the reason; never silently a reward of 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as OutOfTime  # pebble's; before Python 3.11 not the builtin one
from typing import Any

from hysteretic.common.errors import UsageError
from hysteretic.common.subprocesses import die_with_parent
from hysteretic.tasks.scored import Unscored, score, score_async
from hysteretic.tasks.task import NotFiniteError, Problem, RewardError, Score, ScoresAsync, Task

Scoring = Callable[[Sequence[Problem], Sequence[str]], "list[Score | Unscored]"]
"""Scores responses, each to the problem at the same position."""

AT_ONCE = 64
"""Maximum number of responses that an async task scores concurrently."""
RESPONSES_EACH = 10_000
"""A process is replaced after this many responses, which bounds memory leaks."""
OUT_OF_MEMORY = 77
"""Exit code of a process whose task exceeded its memory limit."""

_task: Task | None = None
"""The task of a scoring process."""


def here(task: Task, seconds: float | None = None) -> Scoring:
    """Scoring in this process. seconds: the time limit for one response of an async task.

    A reward that is not finite gives an Unscored, as does any failure of an async task (such as a judge that times
    out). Raises RewardError if a synchronous task fails.
    """

    def one(problem: Problem, response: str) -> Score | Unscored:
        try:
            return score(task, problem, response)
        except NotFiniteError as error:
            return Unscored(str(error))

    def scores(problems: Sequence[Problem], responses: Sequence[str]) -> list[Score | Unscored]:
        rows = list(zip(problems, responses, strict=True))
        if isinstance(task, ScoresAsync) and task.is_async:
            return asyncio.run(_together(task, rows, seconds))
        return [one(problem, response) for problem, response in rows]

    return scores


async def _together(
    task: ScoresAsync, rows: Sequence[tuple[Problem, str]], seconds: float | None
) -> list[Score | Unscored]:
    free = asyncio.Semaphore(AT_ONCE)

    async def one(problem: Problem, response: str) -> Score | Unscored:
        async with free:
            try:
                return await asyncio.wait_for(score_async(task, problem, response), seconds)
            except asyncio.TimeoutError:
                return Unscored(f"scoring took more than {seconds:g} s")
            except RewardError as error:
                return Unscored(_told(error))

    return list(await asyncio.gather(*(one(*row) for row in rows)))


class ScoringProcesses:
    """Scoring in separate processes, which end with this one.

    A response whose process crashed or ran out of memory is scored once more in a new process, since earlier responses
    may have caused it.

    name, options: the arguments of `hysteretic.tasks.load`, called in each process.
    seconds: the time limit for one response; its process is killed after that.
    gib: memory limit of a process beyond what it starts with (enforced on Linux only).
    """

    def __init__(self, name: str, options: Mapping[str, Any], processes: int, seconds: float, gib: float) -> None:
        try:
            from pebble import ProcessPool
        except ModuleNotFoundError as error:
            raise UsageError(
                'reward_processes needs pebble; pip install "hysteretic[processes]", or set reward_processes to 0.'
            ) from error
        self._seconds, self._gib = seconds, gib
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["hysteretic.rewards.scoring"])
        self._pool = ProcessPool(
            max_workers=processes,
            max_tasks=RESPONSES_EACH,
            initializer=_begin,
            initargs=(name, dict(options), gib),
            context=context,
        )

    def __call__(self, problems: Sequence[Problem], responses: Sequence[str]) -> list[Score | Unscored]:
        rows = list(zip(problems, responses, strict=True))
        found = self._scores(rows)
        again = [row for row, one in enumerate(found) if isinstance(one, _Crashed)]
        for row, one in zip(again, self._scores([rows[row] for row in again]), strict=True):
            found[row] = one
        return found

    def close(self) -> None:
        """Stop the processes."""
        self._pool.stop()
        self._pool.join()

    def _scores(self, rows: Sequence[tuple[Problem, str]]) -> list[Score | Unscored]:
        from pebble import ProcessExpired

        futures = [self._pool.schedule(_score, args=row, timeout=self._seconds) for row in rows]
        found: list[Score | Unscored] = []
        for future in futures:
            try:
                found.append(future.result())
            except OutOfTime:
                found.append(Unscored(f"scoring took more than {self._seconds:g} s, and its process was killed"))
            except ProcessExpired as error:
                found.append(_Crashed(self._ending(error.exitcode)))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - nothing that a worker raises may end the run
                found.append(Unscored(f"scoring raised {type(error).__name__}: {error}"))
        return found

    def _ending(self, code: int | None) -> str:
        if code == OUT_OF_MEMORY:
            return f"scoring took more than {self._gib:g} GiB, and its process was killed"
        return f"its scoring process ended with exit code {code}"


class _Crashed(Unscored):
    """The scoring process died."""


def _begin(name: str, options: Mapping[str, Any], gib: float) -> None:
    """In a new process: make it end with its parent, limit its memory, load the task."""
    global _task
    from hysteretic.tasks import load

    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which finishes its rollout first
    _task = load(name, **options)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        bound = now + int(gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _score(problem: Problem, response: str) -> Score | Unscored:
    """In a scoring process: score one response. Returns plain data only: the parent may not have the task's classes."""
    assert _task is not None
    try:
        return score(_task, problem, response)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except RewardError as error:
        if isinstance(error.__cause__, MemoryError):
            os._exit(OUT_OF_MEMORY)
        return Unscored(_told(error))


def _told(error: RewardError) -> str:
    """The error with the traceback of its cause."""
    cause = error.__cause__
    return str(error) if cause is None else "\n".join([str(error), *traceback.format_exception(cause)])
