"""`hysteretic compare` as a user runs it: real runs of a random model, stopped, killed, failing, and gone on with."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from quick_runs import quick_flags
from thorough import one_quick

from hysteretic.cli import main
from hysteretic.common.files import read_lines
from hysteretic.compare.checks import check_comparison
from hysteretic.compare.folder import ComparisonFolder
from hysteretic.compare.spec import read


def command(quick, out, *more):
    """The quick run's flags, without those that are compare's own affair."""
    pairs = dict(zip(quick[::2], quick[1::2], strict=True))
    own = [word for pair in pairs.items() if pair[0] not in ("--disable_tqdm", "--learning_rate") for word in pair]
    return ["compare", *own, "--algorithms", "grpo,a-hpo", "--output", str(out), *more]


TUNED = ("--seeds", "2", "--tune-lr", "1e-3,1e-4", "--tuning-seeds", "1")


def start(arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "hysteretic", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for(what, process, seconds=300):
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def figures(out):
    """Everything the runs recorded, without clocks."""
    clocks = ("step_time",)
    return {
        path.relative_to(out).as_posix(): [
            {key: value for key, value in line.items() if key not in clocks} for line in read_lines(path)
        ]
        for path in sorted(out.glob("runs/*/*/metrics.jsonl"))
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory, random_model):
    """One comparison with tuning, from its start to its report."""
    out = tmp_path_factory.mktemp("whole") / "c"
    done = start(command(quick_flags(random_model), out, *TUNED))
    printed, _ = done.communicate(timeout=600)
    assert done.returncode == 0, printed
    return out, printed


def begun(whole, out):
    """A copy of a comparison as it was after its tuning and its first seed."""
    made_at_the_end = shutil.ignore_patterns("seed-1", "results.*", "report.html", "figures")
    return shutil.copytree(whole, out, ignore=made_at_the_end)


def test_a_plan_and_the_expected_time_come_first(whole):
    _, printed = whole
    lines = printed.splitlines()
    assert "grpo, a-hpo; 2 seeds, 4 updates each, 2 at a time" in lines[0]
    assert "4 runs on other seeds choose each arm's learning rate among 0.0001, 0.001" in lines[1]
    assert "8 runs left: about" in printed
    assert printed.index("about") < printed.index("[1/4]")


def test_every_arm_gets_its_own_best_rate_on_seeds_of_their_own(whole):
    out, _ = whole
    tuned = json.loads((out / "tuning.json").read_text())
    for arm, entry in tuned.items():
        best = max(entry["rates"], key=lambda tried: tried["mean"])
        assert entry["learning_rate"] == best["learning_rate"]
        assert entry["seeds"] == [1000]
        for seed in (0, 1):
            settings = json.loads((out / "runs" / arm / f"seed-{seed}" / "run.json").read_text())["settings"]
            assert settings["learning_rate"] == entry["learning_rate"]
            assert settings["seed"] == seed


def test_same_seed_same_problems_in_the_same_order(whole):
    """So differences are paired: the first rollout, before any update, is the same for both arms."""
    out, _ = whole
    for seed in (0, 1):
        first = [read_lines(out / "runs" / arm / f"seed-{seed}" / "metrics.jsonl")[0] for arm in ("grpo", "a-hpo")]
        assert first[0]["reward"] == first[1]["reward"]
        assert first[0]["completions/mean_length"] == first[1]["completions/mean_length"]
    records = [json.loads(path.read_text()) for path in out.glob("runs/*/*/run.json")]
    assert len({record["train_problems_sha256"] for record in records}) == 1


def test_the_report_is_written_at_the_end(whole):
    out, printed = whole
    results = json.loads((out / "results.json").read_text())
    assert results["progress"] == {"planned": 4, "finished": 4, "failed": 0}
    assert results["verdicts"][0] in printed
    assert results["notes"]
    assert all(f"Note: {note}" in printed for note in results["notes"])
    assert results["command"].endswith(f"--config {out}/comparison.yaml --output {out}-again --jobs 2")
    assert results["command"] in printed
    assert "To repeat it, run in this directory" in printed
    assert (out / "report.html").is_file()
    assert not list(out.glob("runs/*/*/checkpoint-*"))
    assert len(list(out.glob("runs/*/*/model/model.safetensors"))) == 4


def test_a_second_call_repeats_nothing(whole):
    out, _ = whole
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/metrics.jsonl")}
    assert main(["compare", "--config", str(out / "comparison.yaml"), "--output", str(out)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/metrics.jsonl")}


def test_other_settings_in_the_same_folder_are_refused(whole, capsys):
    out, _ = whole
    again = ["compare", "--config", str(out / "comparison.yaml"), "--output", str(out)]
    assert main([*again, "--num_generations", "2"]) == 2
    assert "other settings: " in capsys.readouterr().err


@pytest.mark.parametrize("number", one_quick([signal.SIGKILL, signal.SIGINT]), ids=["kill -9", "Ctrl-C"])
def test_a_stopped_comparison_goes_on_to_the_same_figures(quick, whole, tmp_path, number):
    """Stopped in the middle of a run, and called again: what an undisturbed one records, to the last digit."""
    out = begun(whole[0], tmp_path / "c")
    arguments = command(quick, out, *TUNED, "--jobs", "1")
    process = start(arguments)
    wait_for(lambda: len(list(out.glob("runs/*/*/metrics.jsonl"))) >= 3, process)
    process.send_signal(number)
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == (130 if number == signal.SIGINT else -number), printed
    if number == signal.SIGINT:
        assert "Continue with: hysteretic compare --config" in printed
    kept = [path for path in out.glob("runs/*/*/run.json") if json.loads(path.read_text())["state"] == "finished"]
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    again = start(arguments)
    printed, _ = again.communicate(timeout=600)
    assert again.returncode == 0, printed
    assert stamps == {path: path.stat().st_mtime_ns for path in kept}
    assert figures(out) == figures(whole[0])


def test_a_run_that_fails_is_shown_and_sinks_no_other(quick, tmp_path, capfd):
    """The reward raises at seed 1; the runs of seed 0 are made, and the exit code says that something failed."""
    reward = tmp_path / "reward.py"
    reward.write_text(
        "def score(response, answer):\n    import sys\n"
        "    if any('seed-1' in word for word in sys.argv):\n        raise RuntimeError('no luck')\n    return 1.0\n"
    )
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i:02d}:", "answer": i}) + "\n" for i in range(60)))
    flags = [flag for flag in quick if flag != "--task_options" and not flag.startswith("{")]
    flags[flags.index("countdown-3")] = str(data)
    out = tmp_path / "c"
    assert main(command(flags, out, "--reward", f"{reward}:score", "--seeds", "2")) == 1
    printed = capfd.readouterr()
    assert "no luck" in printed.out
    assert "2 runs failed" in printed.err
    results = json.loads((out / "results.json").read_text())
    assert {(run["arm"], run["seed"]): run["state"] for run in results["runs"]} == {
        ("grpo", 0): "finished",
        ("a-hpo", 0): "finished",
        ("grpo", 1): "failed",
        ("a-hpo", 1): "failed",
    }


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["CONFIG"], ["mine.yaml sets 'lerning_rate'"]),
        (["--config", "CONFIG"], ["mine.yaml sets 'lerning_rate'", "'learning_rate'"]),
        (["--algorithms", "grpo", "--lerning-rate", "1"], ["--lerning_rate is neither a flag", "'--learning_rate'"]),
        (["--algorithm", "grpo", "--seds", "4"], ["--seds is neither a flag", "'--seeds'"]),
        (["--arms", "foo"], ["--arms is not a flag", "key of a --config file", "--algorithms"]),
        (["--algorithms", "grpo", "--vary", "foo"], ["--vary is not a flag", "key of a --config file"]),
        (["--algorithms", "grpo,a-hop"], ["a-hop", "a-hpo"]),
        (["--algorithms", "grpo", "--alpha", "0.5"], ["arm 'grpo'", "alpha"]),
        (["--algorithms", "grpo", "--measure", "are"], ["'are'", "area"]),
        (["--algorithms", "grpo", "--jobs", "0"], ["--jobs is 0"]),
        (["--algorithms", "grpo", "--max_steps"], ["--max_steps has no value"]),
        (["--algorithms", "grpo", "huh"], ["'huh'"]),
        (["--algorithms", "grpo", "--model", "some/model"], ["max_steps"]),
        (["--algorithms", "grpo", "--model", "tinny"], ["'tinny'", "Did you mean 'tiny'?", "hub name"]),
        (["--algorithms", "grpo", "--model", "runs/x/model"], ["'runs/x/model'", "a folder"]),
        (["--algorithms", "grpo", "--model", "some/model", "--max_steps", "4"], ["Cannot load", "'some/model'"]),
        ([], ["--algorithms"]),
    ],
)
def test_a_mistake_is_named_before_anything_is_made(flags, words, tmp_path, capsys):
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump({"algorithms": ["grpo"], "lerning_rate": 1e-3}))
    out = tmp_path / "c"
    arguments = [str(config) if flag == "CONFIG" else flag for flag in flags]
    assert main(["compare", *arguments, "--output", str(out)]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"algorithms": ["grpo"], "arm": {"x": {"alpha": 0.5}}}, ["mine.yaml sets 'arm'", "'arms'"]),
        ({"arm": {"x": {"algorithm": "grpo"}}}, ["mine.yaml sets 'arm'", "'arms'"]),
        ({"algorithms": ["grpo"], "settings": {"seed_s": 2}}, ["mine.yaml sets 'seed_s'", "'seeds'"]),
        ({"algorithms": ["grpo"], "settings": {"seeds": 2}}, ["mine.yaml", "settings.seeds", "top level"]),
        ({"arms": {"x": {"algorithm": "grpo", "model": "tinny"}}}, ["arm 'x'", "'tinny'", "'tiny'"]),
    ],
)
def test_a_key_that_is_none_is_named_with_its_file(content, words, tmp_path, capsys):
    """Compare's own keys are what was meant as often as a setting is."""
    config, out = tmp_path / "mine.yaml", tmp_path / "c"
    config.write_text(yaml.safe_dump(content))
    assert main(["compare", "--config", str(config), "--output", str(out)]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not out.exists()


def test_any_field_can_be_a_dimension(tmp_path, quick):
    """alpha, group size and updates per rollout in one YAML; the runs have them."""
    content = {
        "arms": {"hpo": {"algorithm": "hpo"}},
        "vary": {"alpha": [0.2, 0.8], "num_generations": [2, 4]},
        "seeds": 1,
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    flags = [word for word in command(quick, tmp_path / "c", "--config", str(path)) if word != "--algorithms"]
    flags.remove("grpo,a-hpo")
    assert main(flags) == 0
    folder = ComparisonFolder(tmp_path / "c")
    for run in folder.runs(folder.read(), {}):
        settings = json.loads((run.folder / "run.json").read_text())["settings"]
        assert f"alpha={settings['alpha']:g}" in run.arm.name
        assert f"num_generations={settings['num_generations']}" in run.arm.name


def test_a_rollout_of_few_groups_is_reported_once_and_before_the_runs(recwarn):
    """The runs' own warnings go to their logs, which nobody reads while they run."""
    small = {"num_generations": 4, "per_device_train_batch_size": 4, "steps_per_generation": 1}
    settings = {**small, "gradient_accumulation_steps": 1, "max_steps": 2, "use_cpu": True, "eval_problems": 0}
    check_comparison(read({"algorithms": ["grpo", "a-hpo", "adaptive-grpo"], "seeds": 2, "settings": settings}, "c"))
    assert [str(w.message)[:24] for w in recwarn if "groups" in str(w.message)] == ["A rollout has 1 group (4"]
    check_comparison(read({"algorithms": ["grpo", "hpo"], "seeds": 2, "settings": settings}, "c"))
    assert len([w for w in recwarn if "A rollout has" in str(w.message)]) == 1
