"""Benchmarks run at their smallest size, change nothing at import, and accept the commands published for them."""

import argparse
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from thorough import thorough

from hysteretic.models import tiny_model
from hysteretic.trl.guard import Guard

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py"))
PAGES = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("results/**/*.md"), *BENCHMARKS.glob("*.py")]
BY_HAND = {"engines"}
"""It trains in verl for minutes; tests/verl/test_training.py does the same with three steps."""
COMMANDS = sorted(
    {
        (name, re.split(r"\s{3,}|\s+#|\\n|\"", rest)[0].strip())
        for page in PAGES
        for name, rest in re.findall(r"python benchmarks/(\w+)\.py([^`\n)]*)", page.read_text(encoding="utf-8"))
    }
)


@pytest.fixture
def script(monkeypatch):
    """Loads a script as a module, which may import its neighbours."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name):
        return __import__(name)

    yield load
    for name in SCRIPTS:
        sys.modules.pop(name, None)


def run(name, *words, cwd):
    """A script as a user runs it. Returns what it prints."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_step_time_runs(tmp_path):
    """With a process for the memory of each trainer; the file has what the tables are made of."""
    said = run(
        "step_time",
        "--work",
        "smallest",
        "--rounds",
        "1",
        "--threads",
        "1",
        "--save",
        tmp_path / "s.json",
        cwd=tmp_path,
    )
    saved = json.loads((tmp_path / "s.json").read_text())
    assert "step_ratio" in said
    assert saved["update_tokens"]["stock"] == 32 * 16
    assert min(saved["step_ratio"], saved["update_ratio"], saved["memory_ratio"]) > 0


def test_the_gpu_script_runs_at_its_smallest_on_a_cpu(tmp_path):
    run("gpu", "--smallest", "--save", tmp_path / "gpu.json", cwd=tmp_path)
    saved = json.loads((tmp_path / "gpu.json").read_text())
    assert min(saved["b"]["update_ratio"], saved["c"]["update_ratio"], saved["updates"]["planned_bytes"]) > 0
    assert [line["step"] for line in saved["updates"]["updates"]] == [1, 2, 3, 4]


def test_overhead_runs_and_leaves_the_classes_as_they_were(tmp_path, script, capsys):
    """Importing it once made every later run of another script crash."""
    methods = dict(vars(Guard))
    overhead = script("overhead")
    overhead.main(["--rounds", "2", "--prompts", "2", "--json"])
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert results["added_milliseconds_per_rollout"]["median"] > 0
    assert dict(vars(Guard)) == methods


def test_time_to_reward_runs_and_continues(tmp_path, script, capsys):
    """One rollout of each arm; a second call finds the runs done, and other settings are refused."""
    words = ["--seeds", "300", "--updates", "4", "--eval-problems", "4", "--save", str(tmp_path / "saved.json")]
    time_to_reward = script("time_to_reward")
    time_to_reward.main(words)
    runs = json.loads((tmp_path / "saved.json").read_text())["runs"]
    assert [one["total"]["updates"] for one in runs] == [4, 4, 4]
    tokens = {one["arm"]: one["total"]["generated_tokens"] for one in runs}
    assert tokens["stock"] == tokens["lean"] > 0  # the same responses
    capsys.readouterr()
    time_to_reward.main(words)
    assert "seed 300" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match="updates 4"):
        time_to_reward.main([*words, "--updates", "8"])


@pytest.mark.parametrize("task", ["countdown-3", "telelogs-compact"])
def test_time_to_reward_starts_from_the_tasks_own_model(task, script, tmp_path):
    """Another task's would never be right."""
    time_to_reward = script("time_to_reward")
    recipe = yaml.safe_load((ROOT / "recipes" / f"tiny-{task}.yaml").read_text(encoding="utf-8"))
    trainer, _ = time_to_reward.trainer_of("lean", recipe, 300, 4, str(tmp_path))
    assert trainer.model.config._name_or_path == str(tiny_model(task=task))


def test_time_to_reward_counts_censored_runs(script):
    """A stock run that never got there understates the ratio; without ours there is none."""

    def one(arm, seed, seconds, is_reached=True):
        counts = {"seconds": seconds, "processor_seconds": seconds, "generated_tokens": 10, "updates": 4}
        return {"arm": arm, "seed": seed, "reached": {"0.1": counts} if is_reached else {}, "total": counts}

    ratios = script("time_to_reward").ratios
    runs = [one("stock", 0, 8.0), one("lean", 0, 2.0), one("stock", 1, 18.0, False), one("lean", 1, 2.0)]
    found = ratios(runs, "lean", "0.1", "seconds")
    assert found["ratio"] == pytest.approx(6.0)
    assert found["stock_censored"] == 1
    assert found["interval"][0] < 6 < found["interval"][1]
    found = ratios([*runs[:3], one("lean", 1, 2.0, False)], "lean", "0.1", "seconds")
    assert found["ratio"] is None
    assert found["ours_censored"] == 1


@thorough
@pytest.mark.skipif(not shutil.which("chromedriver"), reason="needs Chromium and its driver")
def test_report_pages_runs(tmp_path):
    """Ten real runs, and as many again that are copies."""
    run("report_pages", "--sizes", "10", "20", "--updates", "4", "--save", tmp_path / "pages.json", cwd=tmp_path)
    saved = json.loads((tmp_path / "pages.json").read_text())
    assert saved["report"].keys() == saved["probe"].keys() == {"10", "20"}
    assert min(page["bytes"] for kind in ("report", "probe") for page in saved[kind].values()) > 0


@thorough
def test_compare_speed_runs(tmp_path):
    """Twice the same commit, in folders of their own, which it takes away again."""
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("not a git checkout")
    listing = ["git", "worktree", "list"]
    before = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    words = ["HEAD", "HEAD", "--rounds", "1", "--seeds", "1", "--updates", "4", "--save", tmp_path / "saved.json"]
    run("compare_speed", *words, cwd=tmp_path)
    saved = json.loads((tmp_path / "saved.json").read_text())
    assert saved["rewards_equal"]
    assert saved["ratio"] > 0
    assert subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout == before


def test_intervals_runs(tmp_path):
    run("intervals", "--simulations", "50", "--resamples", "20", "--output", tmp_path, cwd=tmp_path)
    assert (tmp_path / "intervals.md").is_file()


def test_telelogs_speed_runs(tmp_path):
    assert "10,000 questions" in run("telelogs_speed", "--count", "3", cwd=tmp_path)


def test_the_probes_scripts_run(tmp_path, script, monkeypatch):
    """One starting point and one rollout, twice; the second script reads a run of the first."""
    monkeypatch.chdir(tmp_path)
    check, still = script("probe_check"), script("probe_still")
    for module in (check, still):
        monkeypatch.setattr(module, "ROLLOUTS", (1,))
    monkeypatch.setattr(still, "STARTS", still.STARTS[:1])
    monkeypatch.setattr(still, "PROBE", ("--problems", "4", "--samples", "2"))
    still.main(["--runs", "2", "--output", "runs", "--results", "."])
    assert "first rollout" in Path("probe-still.md").read_text()
    check.main(["runs/sparse/run-0", "--problems", "4", "--samples", "2", "--results", "."])
    assert json.loads(Path("probe-check.json").read_text())["starts"]


def test_every_script_is_tried():
    """Two of them beside what they measure, which needs a browser or verl."""
    tests = [Path(__file__), ROOT / "tests/verl/test_estimator.py", ROOT / "tests/runs/test_trackers.py"]
    said = "".join(path.read_text(encoding="utf-8") for path in tests)
    called = {name for name in SCRIPTS if re.search(rf"[( ]\"{name}(\.py)?\"[,)\n]", said)}
    assert set(SCRIPTS) - called == BY_HAND


@pytest.mark.parametrize(("name", "words"), COMMANDS)
def test_published_commands_are_taken_by_the_script(name, words, monkeypatch):
    """Up to its parser; a flag that was renamed would be an error there."""

    def parse(self, arguments=None, namespace=None):
        _, unknown = self.parse_known_args(sys.argv[1:] if arguments is None else list(arguments))
        raise SystemExit(f"unknown: {unknown}")

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", [name, *shlex.split(words)])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(BENCHMARKS / f"{name}.py"), run_name="__main__")
    assert str(stopped.value) == "unknown: []"
