"""Rewards that hang, crash, leak or raise in processes of their own do not end a run; async ones are asked together."""

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest
from killed_run import run

from hysteretic.common.files import read_lines
from hysteretic.rewards.scoring import ScoringProcesses, here
from hysteretic.tasks import load
from hysteretic.tasks.scored import Unscored
from hysteretic.tasks.task import Problem

REWARDS = """\
import asyncio, os, signal, time

KEPT = []

def score(response, answer):
    KEPT.append(bytes(100 * 2**20) if "leak" in response else b"")
    if "hang" in response:
        time.sleep(600)
    if "exit" in response:
        os._exit(3)
    if "quit" in response:
        raise SystemExit(0)
    if "killed" in response:
        os.kill(os.getpid(), signal.SIGKILL)
    if "raise" in response:
        raise ZeroDivisionError("on purpose")
    if "greedy" in response:
        bytes(2**34)
    return float(len(response) % 3 == 0)

async def slow(response, answer):
    await asyncio.sleep(600 if "hang" in response else 0.2)
    if "raise" in response:
        raise ZeroDivisionError("on purpose")
    return len(response)

def of_letters(response, answer):
    return sum(map(ord, response)) % 3 == 0

def hang_at_times(response, answer):
    if sum(map(ord, response)) % 5 == 1:
        time.sleep(600)
    if sum(map(ord, response)) % 5 == 2:
        os._exit(1)
    return sum(map(ord, response)) % 3 == 0
"""


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{i:02d}:", "answer": i}) + "\n" for i in range(60)))
    (tmp_path / "rewards.py").write_text(REWARDS)
    return path


@pytest.fixture
def processes(data):
    made = ScoringProcesses(str(data), {"reward": f"{data.parent}/rewards.py:score"}, processes=2, seconds=1.5, gib=1)
    yield made
    made.close()


PROBLEM = Problem("p", "", 1)


def scores(scoring, *responses):
    return [
        one.reason if isinstance(one, Unscored) else one.reward
        for one in scoring([PROBLEM] * len(responses), responses)
    ]


def test_scores_in_processes_are_those_here(processes, data):
    responses = [f"response {'x' * i}" for i in range(50)]
    task = load(str(data), reward=f"{data.parent}/rewards.py:score")
    assert scores(processes, *responses) == scores(here(task), *responses)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("hang", "scoring took more than 1.5 s, and its process was killed"),
        ("exit", "ended with exit code 3"),
        ("killed", "ended with exit code -9"),
        ("raise", "ZeroDivisionError: on purpose"),
        ("quit", "raised SystemExit"),
        ("greedy", "scoring took more than 1 GiB"),
    ],
)
def test_a_response_that_ends_its_process_spares_the_others(response, reason, processes):
    """Those beside it, and those that come later, have their rewards."""
    found = scores(processes, "abc", response, "ab", "abcdef")
    assert reason in found[1]
    assert [found[0], *found[2:]] == [1.0, 0.0, 1.0]
    assert scores(processes, "abc") == [1.0]


def test_the_traceback_of_a_failure_is_told(processes):
    (reason,) = scores(processes, "raise")
    assert 'raise ZeroDivisionError("on purpose")' in reason


def test_a_leak_ends_a_process_and_no_response(processes):
    """Each keeps 100 MB; the process that has no room for the next is replaced, and the response scored there."""
    assert scores(processes, *["leak.."] * 60) == [1.0] * 60


def test_async_rewards_are_asked_together(data):
    task = load(str(data), reward=f"{data.parent}/rewards.py:slow")
    started = time.monotonic()
    assert scores(here(task), *["x" * i for i in range(50)]) == list(range(50))
    assert time.monotonic() - started < 5, "one after the other they take 10 s"
    assert scores(here(task, seconds=1), "hang", "abc") == ["scoring took more than 1 s", 3.0]
    fine, failed = scores(here(task), "abc", "raise")
    assert fine == 3
    assert "ZeroDivisionError: on purpose" in failed
    assert 'raise ZeroDivisionError("on purpose")' in failed, "with its traceback"
    assert task.score(PROBLEM, "abcd").reward == 4


def flags(quick, data, reward):
    found = [flag for flag in quick if flag != "--task_options" and not flag.startswith("{")]
    found[found.index("countdown-3")] = str(data)
    return [*found, "--reward", f"{data.parent}/rewards.py:{reward}", "--eval_problems", "0"]


def metrics(folder):
    return [{k: v for k, v in line.items() if k != "step_time"} for line in read_lines(folder / "metrics.jsonl")]


def test_a_run_with_processes_is_the_run_without(quick, data, tmp_path):
    for name, more in [("here", []), ("there", ["--reward_processes", "2"])]:
        log = tmp_path / "log"
        words = ["train", *flags(quick, data, "of_letters"), "--output", tmp_path / name, *more]
        assert run(words, log) == 0, log.read_text()
    assert metrics(tmp_path / "here") == metrics(tmp_path / "there")


def test_a_run_goes_on_past_rewards_that_hang_and_crash(quick, data, tmp_path):
    """Its log says which, and the run is repeatable."""
    log, words = tmp_path / "log", ["train", *flags(quick, data, "hang_at_times")]
    more = ["--reward_processes", "4", "--reward_seconds", "1.0", "--max_steps", "2"]
    assert run([*words, *more, "--output", tmp_path / "run"], log) == 0, log.read_text()
    assert [line["step"] for line in metrics(tmp_path / "run")] == [1, 2]
    text = log.read_text()
    assert "scoring took more than 1 s" in text
    assert "ended with exit code 1" in text
    assert list((tmp_path / "run" / "bad-updates").glob("rollout-after-update-0-rank0.jsonl"))


def test_too_many_of_them_stop_the_run(quick, data, tmp_path):
    log, words = tmp_path / "log", ["train", *flags(quick, data, "hang_at_times"), "--output", tmp_path / "run"]
    more = ["--reward_processes", "4", "--reward_seconds", "1.0", "--max_unscored", "1"]
    assert run([*words, *more], log) == 3
    assert "max_unscored is 1" in log.read_text()
    assert "Traceback" not in log.read_text()


def with_mark(mark):
    """Processes that have it in their environment."""
    found = []
    for entry in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
            found += [int(entry)] if f"SCORING_TEST={mark}".encode() in file.read() else []
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_process_outlives_a_killed_run(quick, data, tmp_path):
    log, words = tmp_path / "log", ["train", *flags(quick, data, "score"), "--output", tmp_path / "run"]
    seen = []
    (data.parent / "rewards.py").write_text("import time\ndef score(response, answer):\n    time.sleep(600)\n")
    killed = threading.Thread(
        target=lambda: seen.append(run([*words, "--reward_processes", "2"], log, SCORING_TEST=str(tmp_path)))
    )
    killed.start()
    deadline = time.monotonic() + 60
    while len(with_mark(tmp_path)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(with_mark(tmp_path)) >= 3, "a fork server and two workers"
    for process in multiprocessing.active_children():
        process.kill()
    killed.join()
    assert seen == [-signal.SIGKILL]
    while with_mark(tmp_path) and time.monotonic() < deadline + 20:
        time.sleep(0.2)
    assert with_mark(tmp_path) == []


def with_reward(data, body):
    (data.parent / "rewards.py").write_text(f"import sys\ndef score(response, answer):\n    {body}\n")


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_reward_that_calls_exit_does_not_end_the_run_as_finished(processes, quick, data, tmp_path):
    """A chain of commands would go on; and the folder would say that the run is at work."""
    with_reward(data, "sys.exit(0)")
    log, words = tmp_path / "log", ["train", *flags(quick, data, "score"), "--output", tmp_path / "run"]
    assert run([*words, "--reward_processes", processes, "--max_unscored", "0"], log) == 3, log.read_text()
    assert "SystemExit" in log.read_text()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "failed"


@pytest.mark.parametrize(("allowed", "code"), [("500", 0), ("0", 3)])
def test_nan_from_a_data_files_reward_is_put_up_with_where_that_is_allowed(allowed, code, quick, data, tmp_path):
    with_reward(data, "return float('nan') if sum(map(ord, response)) % 5 == 0 else len(response) % 2")
    log, words = tmp_path / "log", ["train", *flags(quick, data, "score"), "--output", tmp_path / "run"]
    assert run([*words, "--max_unscored", allowed], log) == code, log.read_text()
    assert "returned nan" in log.read_text()


def test_a_defect_is_written_down_as_a_failure(quick, data, tmp_path, monkeypatch):
    from hysteretic.cli import main
    from hysteretic.trl import HPOTrainer

    def broken(self, batch, rewards):
        raise ZeroDivisionError("of the trainer's own")

    monkeypatch.setattr(HPOTrainer, "_weighted", broken)
    with pytest.raises(ZeroDivisionError):
        main(["train", *flags(quick, data, "of_letters"), "--output", str(tmp_path / "run")])
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "failed"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--reward_processes", "-1"], "reward_processes is -1"),
        (["--reward_seconds", "0"], "reward_seconds is 0"),
        (["--reward_gib", "-2"], "reward_gib is -2"),
    ],
)
def test_settings_that_mean_nothing_are_refused(more, said, quick, capsys, tmp_path):
    from hysteretic.cli import main

    assert main(["train", *quick, "--output", str(tmp_path / "run"), *more]) == 2
    assert said in capsys.readouterr().err


def test_nothing_is_kept_from_one_run_to_the_next(quick, data, tmp_path):
    """Each response of each run is scored anew, also with equal seeds: a reward may change, or be random."""
    (data.parent / "rewards.py").write_text(
        "def count(response, answer):\n"
        f"    open({str(tmp_path / 'calls')!r}, 'a').write('x')\n"
        "    return len(response) % 2\n"
    )
    for name in ("a", "b"):
        assert run(["train", *flags(quick, data, "count"), "--output", tmp_path / name], tmp_path / "log") == 0
    assert (tmp_path / "calls").stat().st_size == 2 * 2 * 16
