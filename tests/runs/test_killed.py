"""A run killed at any point continues as if it had not been: same weights and metrics, bit for bit."""

import json
import multiprocessing
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest
from killed_run import PHASES, run
from quick_runs import quick_flags
from thorough import one_quick

from hysteretic.common.checkpoints import SEAL, find_corruption, numbered
from hysteretic.common.files import read_lines

UPDATES = 8
REWARDS = """\
import os, time

def score(response, answer):
    score.calls += 1
    if os.environ.get("REWARDS_HANG_ON") == str(score.calls):
        if "REWARDS_SIGNAL" in os.environ:
            os.kill(os.getpid(), int(os.environ["REWARDS_SIGNAL"]))
        time.sleep(600)
    return sum(map(ord, response)) % 3 == 0

score.calls = 0
"""


@pytest.fixture(scope="module")
def flags(random_model, tmp_path_factory):
    """Four rollouts of two updates, with rewards that differ within groups, a checkpoint after each rollout."""
    folder = tmp_path_factory.mktemp("task")
    data, rewards = folder / "data.jsonl", folder / "rewards.py"
    data.write_text("".join(json.dumps({"prompt": f"{i:02d}:", "answer": i}) + "\n" for i in range(60)))
    rewards.write_text(REWARDS)
    found = [flag for flag in quick_flags(random_model) if flag != "--task_options" and not flag.startswith("{")]
    found[found.index("countdown-3")] = str(data)
    found[found.index("--max_steps") + 1] = str(UPDATES)
    return [
        *found,
        "--reward",
        f"{rewards}:score",
        "--save_total_limit",
        "2",
        "--gradient_accumulation_steps",
        "2",
        "--steps_per_generation",
        "4",
        "--per_device_train_batch_size",
        "4",
    ]


@pytest.fixture(scope="module")
def undisturbed(flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    counts = folder.with_suffix(".json")
    assert run(["train", *flags, "--output", folder], folder.with_suffix(".log"), counts=counts) == 0
    lines = read_lines(folder / "metrics.jsonl")
    assert max(line["grad_norm"] for line in lines) > 0, "a run without a gradient shows nothing"
    return folder


def left_by(folder, weights="model.safetensors"):
    """What a run leaves, but for the clock."""
    metrics = [{k: v for k, v in line.items() if k != "step_time"} for line in read_lines(folder / "metrics.jsonl")]
    evaluation = json.loads((folder / "evaluation.json").read_text())
    return (
        (folder / "model" / weights).read_bytes(),
        metrics,
        evaluation,
        read_lines(folder / "samples.jsonl"),
    )


def moments():
    """Twenty, four in each phase: which of its entries, and how far into it; drawn with a fixed seed."""
    draw = random.Random(20)
    return [(phase, draw.random(), draw.random()) for _ in range(4) for phase in PHASES]


@pytest.mark.parametrize(("phase", "which", "fraction"), one_quick(moments(), len(PHASES)))
def test_killed_and_gone_on_with_it_ends_as_if_undisturbed(phase, which, fraction, flags, undisturbed, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    entry, calls = moment_of(undisturbed, phase, which, fraction)
    assert run(["train", *flags, "--output", folder], log, phase, entry, calls) == -signal.SIGKILL, log.read_text()
    assert json.loads((folder / "run.json").read_text())["state"] == "running"
    assert run(["train", "--resume", "--output", folder], log) == 0, log.read_text()
    for found, expected in zip(left_by(folder), left_by(undisturbed), strict=True):
        assert found == expected


def moment_of(undisturbed, phase, which, fraction):
    """An entry into a phase, and a number of calls since; which, fraction: within [0, 1)."""
    calls = json.loads(undisturbed.with_suffix(".json").read_text())[phase]
    busy = [index for index, count in enumerate(calls) if count > 10]  # an idle micro-batch is two calls
    index = busy[int(which * len(busy))]
    return index + 1, int(0.98 * fraction * calls[index])


@pytest.mark.parametrize("calls", one_quick([70, 40, 20]), ids=["rollout 4", "rollout 2", "before any update"])
def test_sigterm_saves_the_last_update_and_leaves_within_its_time(calls, flags, undisturbed, tmp_path):
    """While a reward function sleeps for ten minutes: the rollout is given up, not waited for."""
    folder, log = tmp_path / "run", tmp_path / "log"
    words = ["train", *flags, "--output", folder, "--stop_seconds", "0.5"]
    started = time.monotonic()
    code = run(words, log, REWARDS_HANG_ON=str(calls), REWARDS_SIGNAL=str(int(signal.SIGTERM)))
    assert code == 143, log.read_text()
    assert time.monotonic() - started < 30
    assert json.loads((folder / "run.json").read_text())["state"] == "interrupted"
    assert run(["train", "--resume", "--output", folder], log) == 0, log.read_text()
    for found, expected in zip(left_by(folder), left_by(undisturbed), strict=True):
        assert found == expected


@pytest.mark.parametrize(("phase", "which"), one_quick([("generation", 0.6), ("evaluation", 0.9)]))
def test_adapters_averages_and_a_reference_go_on_too(phase, which, flags, tmp_path):
    """LoRA, a moving average of alpha and a KL to the reference, by epochs in place of max_steps."""
    steps = flags.index("--max_steps")
    words = ["train", *flags[:steps], *flags[steps + 2 :], "--num_train_epochs", "2"]
    words += ["--use_peft", "true", "--lora_target_modules", "q_proj", "v_proj"]
    words += ["--alpha_ema", "0.5", "--beta", "0.1"]
    whole, folder, log = tmp_path / "whole", tmp_path / "run", tmp_path / "log"
    assert run([*words, "--output", whole], log, counts=whole.with_suffix(".json")) == 0, log.read_text()
    entry, calls = moment_of(whole, phase, which, 0.5)
    assert run([*words, "--output", folder], log, phase, entry, calls) == -signal.SIGKILL, log.read_text()
    assert run(["train", "--resume", "--output", folder], log) == 0, log.read_text()
    assert left_by(folder, "adapter_model.safetensors") == left_by(whole, "adapter_model.safetensors")


def test_sigterm_lets_a_short_rollout_end(flags, undisturbed, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    entry, calls = moment_of(undisturbed, "generation", 0.3, 0.5)
    assert entry == 2
    assert run(["train", *flags, "--output", folder], log, "generation", entry, calls, signal.SIGTERM) == 143
    assert list(numbered(folder)) == [4, 2]
    assert "Stopped after update 4; continue with: hysteretic train --resume" in log.read_text()
    assert run(["train", "--resume", "--output", folder], log) == 0, log.read_text()
    for found, expected in zip(left_by(folder), left_by(undisturbed), strict=True):
        assert found == expected


def test_sigterm_during_an_evaluation_ends_it_at_once(flags, undisturbed, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    _, calls = moment_of(undisturbed, "evaluation", 0.0, 0.5)
    assert run(["train", *flags, "--output", folder], log, "evaluation", 1, calls, signal.SIGTERM) == 143
    assert not (folder / "evaluation.json").exists()


def test_a_second_process_on_the_folder_is_refused_and_changes_nothing(flags, tmp_path):
    """While the first one's reward function sleeps."""
    folder, log = tmp_path / "run", tmp_path / "log"
    words = ["train", *flags, "--output", folder]
    first = threading.Thread(target=run, args=(words, log), kwargs={"REWARDS_HANG_ON": "70"})
    first.start()
    while not (folder / "metrics.jsonl").exists():
        time.sleep(0.05)
    before = {path: path.read_bytes() for path in (folder / "config.yaml", folder / "run.json")}
    second = tmp_path / "second.log"
    assert run(["train", "--resume", "--output", folder, "--max_steps", "12"], second) == 2
    assert "Another process is training in" in second.read_text()
    assert before == {path: path.read_bytes() for path in before}
    for process in multiprocessing.active_children():
        process.kill()
    first.join()


@pytest.mark.parametrize("damage", one_quick(["torn weights", "torn optimiser", "no state", "deleted"]))
def test_a_bad_newest_checkpoint_falls_back_to_the_one_before(damage, flags, undisturbed, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    assert run(["train", *flags, "--output", folder], log, "generation", 4) == -signal.SIGKILL
    newest = numbered(folder)[6]
    if damage == "deleted":
        shutil.rmtree(newest)
    elif damage == "no state":
        (newest / "trainer_state.json").unlink()
    else:
        torn = newest / ("model.safetensors" if damage == "torn weights" else "optimizer.pt")
        torn.write_bytes(torn.read_bytes()[:-100])
    assert run(["train", "--resume", "--output", folder], log) == 0, log.read_text()
    assert "Resuming from checkpoint-4." in log.read_text()
    assert ("skipping checkpoint-6" in log.read_text()) == (damage != "deleted")
    assert (folder / "torn-6").exists() == (damage != "deleted")
    for found, expected in zip(left_by(folder), left_by(undisturbed), strict=True):
        assert found == expected


def test_a_full_disk_stops_with_a_message_and_leaves_the_checkpoint_before(flags, undisturbed, tmp_path):
    """On a file system of 1 MB; a checkpoint takes a fifth of it."""
    folder, log = tmp_path / "disk" / "run", tmp_path / "log"
    folder.parent.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=450k", "tmpfs", str(folder.parent)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a file system takes more rights")
    try:
        words = ["train", *flags, "--output", folder, "--save_total_limit", "5"]
        assert run(words, log) == 4, log.read_text()
        assert "The disk is full" in log.read_text()
        assert "Traceback" not in log.read_text()
        assert all(find_corruption(path) is None for path in numbered(folder).values())
        assert numbered(folder)
        subprocess.run([*mount[:4], "remount,size=8m", *mount[5:]], check=True)
        assert run(["train", "--resume", "--output", folder], log) == 0, log.read_text()
        for found, expected in zip(left_by(folder), left_by(undisturbed), strict=True):
            assert found == expected
    finally:
        subprocess.run(["umount", str(folder.parent)], check=True)


def test_every_kept_checkpoint_is_sealed(undisturbed):
    found = numbered(undisturbed)
    assert list(found) == [8, 6]
    assert all((path / SEAL).is_file() for path in found.values())
