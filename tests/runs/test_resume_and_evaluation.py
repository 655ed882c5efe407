"""A resumed run, or one whose evaluation fails: no stale result, no extra update, no traceback."""

import json

import pytest
from ranks import on_ranks

from hysteretic.cli import main
from hysteretic.common.files import read_lines
from hysteretic.config.settings import UsageError, parse
from hysteretic.runs.folder import RunFolder


def with_data(quick, tmp_path, reward):
    """The quick flags on a file of 60 rows, and a reward function of this body."""
    data, rewards = tmp_path / "data.jsonl", tmp_path / "rewards.py"
    data.write_text("".join(json.dumps({"prompt": f"{i:02d}:", "answer": i}) + "\n" for i in range(60)))
    rewards.write_text(f"import os\n\ndef score(response, answer):\n{reward}")
    flags = [flag for flag in quick if flag != "--task_options" and not flag.startswith("{")]
    flags[flags.index("countdown-3")] = str(data)
    return [*flags, "--reward", f"{rewards}:score"]


def test_a_run_that_went_on_is_evaluated_again(quick, tmp_path):
    """The result after two updates is not the result after four."""
    out = RunFolder(tmp_path / "run")
    assert main(["train", *quick, "--output", str(out.path), "--max_steps", "2"]) == 0
    stale = json.loads(out.evaluation.read_text())
    stale["after"]["greedy"]["pass@1"]["value"] = 0.987654
    out.write_json(out.evaluation, stale)
    assert main(["train", "--resume", "--output", str(out.path), "--max_steps", "4"]) == 0
    assert json.loads(out.evaluation.read_text())["after"]["greedy"]["pass@1"]["value"] != 0.987654
    earlier = json.loads(out.run.read_text())["resumed_from"]
    assert len(earlier) == 1
    assert earlier[0]["started"]


@pytest.mark.parametrize("max_steps", ["1", "2"])
def test_a_run_at_its_last_update_makes_no_other(quick, tmp_path, max_steps, capsys):
    """transformers would make one more update than max_steps."""
    out = RunFolder(tmp_path / "run")
    assert main(["train", *quick, "--output", str(out.path), "--max_steps", "2"]) == 0
    config = out.config.read_text()
    assert main(["train", "--resume", "--output", str(out.path), "--max_steps", max_steps]) == 2
    assert "raise --max_steps" in capsys.readouterr().err
    assert [line["step"] for line in read_lines(out.metrics)] == [1, 2]
    assert out.config.read_text() == config


def test_a_reward_that_fails_in_the_evaluation_stops_the_run_with_a_message(quick, tmp_path, capsys):
    flags = with_data(quick, tmp_path, "    return None\n")
    assert main(["train", *flags, "--output", str(tmp_path / "run")]) == 3
    assert "returned None" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "failed"


def test_fewer_problems_than_a_rollout_takes_are_refused(quick, tmp_path, capsys):
    """TRL drops what does not fill a rollout, so such a run would make no update at all."""
    assert main(["train", *quick, "--train_problems", "3", "--output", str(tmp_path / "run")]) == 2
    assert "a rollout needs 4" in capsys.readouterr().err


def test_resume_without_a_folder_is_refused(tmp_path, monkeypatch):
    """A config.yaml that happens to lie in the working directory is not the run's."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("algorithm: grpo\n")
    with pytest.raises(UsageError, match="--output"):
        parse(["--resume"])


def test_a_setting_that_a_run_kept_and_is_no_more_is_named_with_its_file(tmp_path):
    """A run of an older version is resumed, or refused with where the setting stands."""
    (tmp_path / "config.yaml").write_text("algorithm: asymre\nbaseline_shift: -0.2\n")
    with pytest.raises(UsageError, match=r"config.yaml sets 'baseline_shift', .*Did you mean 'shift'"):
        parse(["--resume", "--output", str(tmp_path)])


def test_two_ranks_draw_different_responses(quick, tmp_path):
    """A group that lies on two ranks must not be two copies of its half."""
    seen = f"    open({str(tmp_path)!r} + '/rank' + os.environ['RANK'], 'a').write(repr(response) + '\\n')\n"
    flags = with_data(quick, tmp_path, seen + "    return len(response) % 2\n")
    changed = ["--per_device_train_batch_size", "2", "--steps_per_generation", "1", "--max_steps", "2"]
    words = ["train", *flags, *changed, "--eval_problems", "0", "--output", tmp_path / "run"]
    code, _, said = on_ranks("hysteretic", *words)
    assert code == 0, said[-3000:]
    first, second = ((tmp_path / f"rank{rank}").read_text().splitlines() for rank in (0, 1))
    assert len(first) == len(second) == 4
    assert first != second
    assert [line["step"] for line in read_lines(tmp_path / "run" / "metrics.jsonl")] == [1, 2]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--problems", "0"], "--problems is 0"),
        (["--output", "no/such/folder/figures.json"], "no/such/folder"),
        (["--dtype", "float33"], "float33"),
        (["--device", "tpuu"], "tpuu"),
    ],
)
def test_a_mistake_in_eval_is_told_before_any_work(random_model, flags, said, capsys):
    assert main(["eval", "--task", "countdown-3", "--model", str(random_model), "--problems", "2", *flags]) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert output.out == ""


@pytest.mark.parametrize("options", ["largest", "[1]"])
def test_task_options_of_eval_must_be_a_mapping(options, capsys):
    with pytest.raises(SystemExit):
        main(["eval", "--task", "countdown-3", "--model", "tiny", "--task-options", options])
    assert "largest" in capsys.readouterr().err
