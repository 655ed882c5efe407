"""Can a run be watched: over ssh, in a log file, in a dashboard?"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hysteretic.cli import main
from hysteretic.compare.progress import Live
from hysteretic.runs import progress
from hysteretic.runs import trackers as watching
from hysteretic.runs.progress import Lines

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
LINE = re.compile(r"(\d+)/4 .+ left, reward \d\.\d{3} alpha \d\.\d\d \+\d+% -\d+% silent \d+% length \d+")
BAR = re.compile(r"(\d+)/(\d+) \d\d:\d\d<[\d:?]+, reward \d\.\d{3} alpha \d\.\d\d \+\d+% -\d+% silent \d+% length \d+")


@pytest.fixture
def shown(quick):
    """The quick flags, with progress."""
    place = quick.index("--disable_tqdm")
    return [*quick[:place], *quick[place + 2 :]]


def test_in_a_pipe_progress_is_plain_lines(shown, tmp_path):
    """The first rollout and the last; no carriage return, no escape, nothing of transformers' own."""
    command = [sys.executable, "-m", "hysteretic", "train", *shown, "--output", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=200)
    assert done.returncode == 0, done.stderr
    text = done.stdout + done.stderr
    assert "\r" not in text
    assert "\x1b" not in text
    assert [int(number) for number in LINE.findall(text)] == [1, 4]


def test_lines_are_few(monkeypatch, capsys):
    """A hundred rollouts of a second each: one line in ten seconds."""

    class State:
        is_world_process_zero, max_steps, global_step = True, 200, 0

    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines, state = Lines(), State()
    lines.on_train_begin(None, state, None)
    for state.global_step in range(1, 201):
        now += 0.5
        lines.on_log(None, state, None, {"loss": 0.0, **({"reward": 0.25} if state.global_step % 2 else {})})
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "1/200 2 min left, reward 0.250"
    assert told[-1] == "200/200 0 s left, reward 0.250"
    assert len(told) == 11


def test_lines_of_a_comparison_are_few_too(monkeypatch, capsys, tmp_path):
    """Without a terminal: one a minute on the runs at work."""
    from types import SimpleNamespace

    from hysteretic.compare import progress as live

    now = 0.0
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    (tmp_path / "metrics.jsonl").write_text('{"step": 7, "reward": 0.5}\n')
    going = [SimpleNamespace(command=SimpleNamespace(name="grpo seed 0"), slot=0)]
    with Live("runs", {"grpo seed 0": tmp_path / "metrics.jsonl"}, 40, 1) as shown:
        for _ in range(300):
            now += 0.5
            shown.show(going)
    assert capsys.readouterr().out.splitlines() == ["  grpo seed 0: update 7/40, reward 0.500"] * 2


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_in_a_terminal_of_80_columns_progress_is_one_line(shown, tmp_path):
    """As over ssh; and so are the bars of a comparison. The display, not what was written."""
    words = [sys.executable, "-m", "hysteretic", "train", *shown, "--output", str(tmp_path / "run")]
    words[words.index("--max_steps") + 1] = "400"
    pane = Pane(tmp_path, words)
    try:
        bars = pane.wait_for(BAR)
        assert len(bars) == 1, pane.text()
        assert all(len(line) <= 80 for line in pane.text().splitlines())
        assert "%|" not in pane.text()
    finally:
        pane.close()


@pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")
def test_in_a_terminal_a_comparison_has_a_bar_for_each_run_at_work(shown, tmp_path):
    pairs = dict(zip(shown[::2], shown[1::2], strict=True)) | {"--max_steps": "400", "--eval_problems": "0"}
    del pairs["--learning_rate"]
    words = [sys.executable, "-m", "hysteretic", "compare", *(word for pair in pairs.items() for word in pair)]
    words += ["--algorithms", "grpo,a-hpo", "--seeds", "1", "--jobs", "2", "--output", str(tmp_path / "compared")]
    pane = Pane(tmp_path, words)
    try:
        pane.wait_for(re.compile(r"(?:grpo|a-hpo).*reward="))
        assert len(re.findall(r"\d+/800 ", pane.text())) == 1, pane.text()
        assert len(re.findall(r"\d+/400 ", pane.text())) == 2, pane.text()
    finally:
        pane.close()


class Pane:
    """A program in tmux, 80 columns wide."""

    def __init__(self, folder, words):
        self._socket = str(folder / "tmux")
        command = " ".join(f"'{word}'" for word in words)
        self._tmux("new-session", "-d", "-x", "80", "-y", "30", f"{command}; sleep 60")

    def _tmux(self, *words):
        done = subprocess.run(["tmux", "-S", self._socket, *words], env=ENVIRONMENT, capture_output=True, text=True)
        return done.stdout

    def text(self):
        return self._tmux("capture-pane", "-p")

    def wait_for(self, pattern):
        """What is found of a pattern, once there is something."""
        deadline = time.monotonic() + 120
        while not (found := pattern.findall(self.text())) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert found, self.text()
        return found

    def close(self):
        self._tmux("kill-server")


def test_tensorboard_gets_the_figures_of_every_update(shown, tmp_path):
    """Read back from its files, in the run's folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    command = [sys.executable, "-m", "hysteretic", "train", *shown, "--report_to", "tensorboard"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "run")], env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/hpo/alpha")] == [1, 2, 3, 4]


@pytest.mark.skipif(
    not os.environ.get("HYSTERETIC_REQUIRE_BROWSER") and shutil.which("chromedriver") is None, reason="needs Chromium"
)
def test_the_run_is_drawn_in_trackios_dashboard(tmp_path):
    """By the script that makes the picture of docs/watching.md: it fails where a curve is not drawn."""
    pytest.importorskip("trackio")
    script = ROOT / "benchmarks" / "trackio_picture.py"
    command = [sys.executable, str(script), "--updates", "12", "--output", str(tmp_path / "picture.png")]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "5 curves drawn" in done.stdout
    assert (tmp_path / "picture.png").stat().st_size > 20_000


def test_a_tool_that_is_not_installed_is_named_before_any_work(quick, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(watching, "find_spec", lambda name: None)
    assert main(["train", *quick, "--report_to", "wandb", "--output", str(tmp_path / "run")]) == 2
    assert "report_to is wandb, which is not installed here; pip install wandb" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
