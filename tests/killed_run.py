"""`hysteretic train` in a process of its own that gets a signal at a moment of one phase.

A moment is counted in Python calls since the phase began, not in seconds: it is the same on a slow machine.
"""

import json
import multiprocessing
import os
import signal
import sys
from importlib import import_module

from ranks import PRELOADED

PHASES = {
    "generation": ("hysteretic.trl.trainer", "HPOTrainer._generate_and_score_completions"),
    "loss": ("hysteretic.trl.packing", "PackedUpdates.compute_loss"),
    "step": ("torch.optim", "AdamW.step"),
    "checkpoint": ("hysteretic.trl.trainer", "HPOTrainer._save_checkpoint"),
    "evaluation": ("hysteretic.runs.held_out", "evaluate"),
}
"""Where each begins and ends."""


def run(words, log, phase=None, entry=1, calls=0, number=signal.SIGKILL, counts=None, **environment):
    """Exit code of `hysteretic` with these words; -9 where it was killed.

    phase, entry, calls: the signal comes so many calls after the entry of that number into the phase. counts: a file
    for the calls of each entry into each phase, {phase: [calls, ...]}.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    moment = (phase, entry, calls, number)
    arguments = (list(map(str, words)), str(log), moment, None if counts is None else str(counts), environment)
    process = context.Process(target=_work, args=arguments)
    process.start()
    process.join(120)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode is not None, "it hangs"
    return process.exitcode


def _work(words, log, moment, counts, environment):
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    import torch

    torch.set_num_threads(1)
    found = {phase: [] for phase in PHASES}
    for phase in PHASES:
        if counts is not None or phase == moment[0]:
            _watch(phase, found[phase], moment if phase == moment[0] else None)
    sys.argv = ["hysteretic", *words]
    from hysteretic.cli import main

    code = main()
    if counts is not None:
        with open(counts, "w", encoding="utf-8") as file:
            json.dump(found, file)
    sys.exit(code)


def _watch(phase, found, moment):
    """Count the calls of each entry into a phase; send the signal of a moment."""
    module, name = PHASES[phase]
    owner = import_module(module)
    *outer, attribute = name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original = getattr(owner, attribute)

    def entered(*arguments, **options):
        index, is_now = len(found), moment is not None and len(found) + 1 == moment[1]
        found.append(0)

        def count(frame, event, argument):
            if event == "call":
                found[index] += 1
                if is_now and found[index] == moment[2] + 1:
                    sys.setprofile(None)
                    os.kill(os.getpid(), moment[3])

        sys.setprofile(count)
        try:
            return original(*arguments, **options)
        finally:
            sys.setprofile(None)

    setattr(owner, attribute, entered)
