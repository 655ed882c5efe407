"""`hysteretic train` in a process of its own that is sent a signal at a moment of one phase."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from importlib import import_module

PHASES = {
    "generation": ("hysteretic.trl.trainer", "HPOTrainer._generate_and_score_completions"),
    "update": ("hysteretic.trl.trainer", "HPOTrainer.training_step"),
    "checkpoint": ("hysteretic.trl.trainer", "HPOTrainer._save_checkpoint"),
    "evaluation": ("hysteretic.lab.held_out", "evaluate"),
}
"""Where each begins."""


def run(words, log, phase=None, entry=1, delay=0.0, number=signal.SIGKILL, **environment):
    """Exit code of `hysteretic` with these words; -9 where it was killed. entry: which entry into the phase."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hysteretic.lab.train"])
    moment = (phase, entry, delay, number)
    process = context.Process(target=_work, args=(list(map(str, words)), str(log), moment, environment))
    process.start()
    process.join(120)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def _work(words, log, moment, environment):
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    import torch

    torch.set_num_threads(1)
    if moment[0] is not None:
        _signal_in(*moment)
    sys.argv = ["hysteretic", *words]
    from hysteretic.cli import main

    sys.exit(main())


def _signal_in(phase, entry, delay, number):
    module, name = PHASES[phase]
    owner = import_module(module)
    *outer, attribute = name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original, entries = getattr(owner, attribute), []

    def later():
        time.sleep(delay)
        os.kill(os.getpid(), number)

    def entered(*arguments, **options):
        entries.append(1)
        if len(entries) == entry:
            threading.Thread(target=later, daemon=True).start()
        return original(*arguments, **options)

    setattr(owner, attribute, entered)
