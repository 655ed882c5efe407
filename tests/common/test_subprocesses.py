"""Which GPU does a job see? On a machine without one: the count is made up, and each job says what it was told."""

import os
import re
import sys
import time

import pytest

from hysteretic.common import subprocesses as processes
from hysteretic.common.subprocesses import Command, Workers, run_all


def job(words):
    """What a worker is given to run: it prints its GPU, takes its time and ends with an exit code."""
    print("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", "unset"), sys.argv[1:], flush=True)
    print("MASTER_PORT", os.environ.get("MASTER_PORT", "unset"), flush=True)
    time.sleep(float(words[0]))
    return int(words[1])


def seen(tmp_path, jobs, seconds):
    """The GPU that each job found in its environment, in the order of the jobs."""
    commands = [Command(f"job{i}", (str(each), "2"), tmp_path / f"{i}.log") for i, each in enumerate(seconds)]
    ended = []
    run_all(commands, Workers(job, jobs), ended.append, lambda going: None)
    assert [one.code for one in ended] == [2] * len(seconds)
    logs = [command.log.read_text() for command in commands]
    assert all(str(list(command.words)) in log for command, log in zip(commands, logs, strict=True)), logs
    return [re.search(r"CUDA_VISIBLE_DEVICES (\S+)", log)[1] for log in logs]


def test_jobs_at_one_time_meet_on_a_port_each(tmp_path, monkeypatch):
    """Colocated vLLM opens MASTER_PORT; two jobs on one port, the user's or 29500, and the second dies."""
    monkeypatch.setenv("MASTER_PORT", "29500")
    seen(tmp_path, 3, [1, 1, 1])
    ports = [int(re.search(r"MASTER_PORT (\d+)", log.read_text())[1]) for log in tmp_path.glob("*.log")]
    assert len(set(ports)) == 3
    assert 29500 not in ports
    assert os.environ["MASTER_PORT"] == "29500"


@pytest.fixture
def machine(monkeypatch):
    """Sets how many GPUs there are, and what the user's own CUDA_VISIBLE_DEVICES is."""

    def set_up(gpus, named=None):
        monkeypatch.setattr(processes, "_gpu_count", lambda: gpus)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if named is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)

    return set_up


def test_jobs_at_one_time_see_one_gpu_each(machine, tmp_path):
    machine(3)
    assert seen(tmp_path, 3, [2, 2, 2]) == ["0", "1", "2"]
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_a_job_takes_over_the_gpu_that_became_free(machine, tmp_path):
    """The first job is at work all the time; the two that follow the second take its GPU, not the first's."""
    machine(2)
    assert seen(tmp_path, 2, [10, 0, 0, 0]) == ["0", "1", "1", "1"]


def test_more_jobs_than_gpus_share_them_in_turn(machine, tmp_path):
    machine(2)
    assert seen(tmp_path, 3, [2, 2, 2]) == ["0", "1", "0"]


@pytest.mark.parametrize(
    ("named", "devices"),
    [
        ("4,6", ["4", "6"]),
        (" 4, 6 ,", ["4", "6"]),
        ("GPU-8932f937,GPU-1b2c3d4e", ["GPU-8932f937", "GPU-1b2c3d4e"]),
        ("5", [None, None]),
        ("", [None, None]),
        ("-1", [None, None]),
    ],
)
def test_gpus_that_the_user_named_are_handed_out_and_no_others(machine, named, devices):
    """With one of them, or none, the job is left the variable as it is."""
    machine(8, named)
    assert [processes._device(slot) for slot in (0, 1)] == devices


@pytest.mark.parametrize("gpus", [0, 1])
def test_with_one_gpu_or_none_there_is_nothing_to_hand_out(machine, gpus):
    machine(gpus)
    assert processes._device(1) is None
