"""Runs a script, or `hysteretic` with some words, in several processes as torchrun starts them.

They are forked from a process that has imported TRL: torchrun's own imports would take most of the time.
"""

import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

PRELOADED = ["hysteretic.runs.train"]
"""multiprocessing has one fork server for all tests of a process: whoever starts it must ask for the same modules."""


def run_worker(script, *words, processes=2, seconds=540):
    """Standard output of a script of tests/trl, or of another folder if its path is whole."""
    code, printed, said = on_ranks(Path(__file__).parent / "trl" / script, *words, processes=processes, seconds=seconds)
    assert code == 0, said[-3000:]
    return printed


def on_ranks(*words, processes=2, seconds=540, **environment):
    """The first exit code that is not 0, and what all ranks wrote to standard output and to standard error.

    words: a script and its arguments, or "hysteretic" and the command's.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with socket.socket() as found, tempfile.TemporaryDirectory() as folder:
        found.bind(("127.0.0.1", 0))
        given = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(found.getsockname()[1]),
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            **environment,
        }
        found.close()
        ranks = [
            context.Process(target=_work, args=(list(map(str, words)), rank, folder, given))
            for rank in range(processes)
        ]
        for rank in ranks:
            rank.start()
        codes = _ended(ranks, time.monotonic() + seconds)
        printed, said = (
            "".join(Path(folder, f"{kind}{rank}").read_text(errors="replace") for rank in range(processes))
            for kind in ("out", "err")
        )
    return next((code for code in codes if code), 0), printed, said


def _ended(ranks, deadline):
    """Exit codes, the first to fail first. As with torchrun, a rank that fails takes the others with it."""
    while any(rank.exitcode is None for rank in ranks):
        if time.monotonic() > deadline or any(rank.exitcode for rank in ranks):
            failed = [rank.exitcode for rank in ranks if rank.exitcode]
            for rank in ranks:
                rank.kill()
                rank.join()
            return failed or [-signal.SIGALRM]
        time.sleep(0.02)
    return [rank.exitcode for rank in ranks]


def _work(words, rank, folder, environment):
    os.environ.update(environment, RANK=str(rank), LOCAL_RANK=str(rank), OMP_NUM_THREADS="1")
    for number, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(Path(folder, f"{kind}{rank}"), os.O_WRONLY | os.O_CREAT), number)
    tempfile.tempdir = None  # read TMPDIR again
    import torch

    torch.set_num_threads(1)
    sys.argv = words
    if words[0] == "hysteretic":
        from hysteretic.cli import main

        sys.exit(main())
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name="__main__")
