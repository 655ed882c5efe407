"""`hysteretic train`: what a run leaves, how it stops, how it goes on."""

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from thorough import one_quick

from hysteretic.cli import main
from hysteretic.common.files import read_lines
from hysteretic.runs.folder import RunFolder


def test_a_run_leaves_everything_that_is_needed_to_repeat_and_to_judge_it(quick, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", *quick, "--output", str(out), "--algorithm", "gspo", "--weight", "adaptive"]) == 0
    folder = RunFolder(out)
    lines = read_lines(folder.metrics)
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all("hpo/alpha" in line for line in lines)
    record = json.loads(folder.run.read_text())
    assert record["state"] == "finished"
    assert record["objective"]["ratio"] == {"kind": "SequenceRatio"}
    assert record["objective"]["weight"]["alpha_min"] == 0.1
    assert record["objective"]["scale"]["kind"] == "StdScale"
    assert record["versions"]["trl"]
    taken = json.loads(folder.evaluation.read_text())
    assert taken["before"]["sampled"]["pass@1"]["problems"] == 4
    assert taken["after"]["greedy"]["responses_per_problem"] == 1
    assert {sample["when"] for sample in read_lines(folder.samples)} == {"before", "after"}
    assert (folder.model / "model.safetensors").is_file()
    assert "Held-out pass@1" in capsys.readouterr().out


def test_the_written_config_repeats_the_run(quick, tmp_path):
    """config.yaml of one run, handed to another: the same metrics but for the clock."""
    assert main(["train", *quick, "--output", str(tmp_path / "a")]) == 0
    assert main(["train", "--config", str(tmp_path / "a" / "config.yaml"), "--output", str(tmp_path / "b")]) == 0
    first, second = (
        [{key: value for key, value in line.items() if key != "step_time"} for line in read_lines(path)]
        for path in (tmp_path / "a" / "metrics.jsonl", tmp_path / "b" / "metrics.jsonl")
    )
    assert first == second


def test_an_evaluation_first_does_not_change_the_rollouts(quick, tmp_path):
    assert main(["train", *quick, "--output", str(tmp_path / "a")]) == 0
    assert main(["train", *quick, "--output", str(tmp_path / "b"), "--eval_problems", "0"]) == 0
    rewards = [[line["entropy"] for line in read_lines(tmp_path / run / "metrics.jsonl")] for run in "ab"]
    assert rewards[0] == rewards[1]
    assert not (tmp_path / "b" / "evaluation.json").exists()


@pytest.mark.parametrize("extra", [[], ["--dry-run"]], ids=["train", "dry run"])
def test_sign_rewards_that_the_task_does_not_have_are_refused(extra, tmp_path, capsys):
    """The only reward of a run is its task's."""
    command = ["train", "--config", "tiny-countdown-3", "--output", str(tmp_path / "run"), "--use_cpu", "true", *extra]
    assert main([*command, "--eval_problems", "0", "--sign_rewards", "is_right"]) == 2
    said = capsys.readouterr().err
    assert "sign_rewards names 'is_right'" in said
    assert "countdown_3" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [[], ["--resume", "true"]])
def test_a_folder_with_a_name_that_the_system_refuses_is_an_error_in_words(more, quick, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *quick, "--output", "x" * 300, *more]) == 2
    assert "File name too long" in capsys.readouterr().err


def test_a_used_folder_is_refused_before_any_work(quick, tmp_path, capsys):
    (tmp_path / "precious.txt").write_text("mine")
    assert main(["train", *quick, "--output", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("command", ["train", "warmup"])
def test_an_adapter_is_no_model_to_start_from(command, quick, random_model, tmp_path, capsys):
    """What a LoRA run saves; `eval` and `probe` take it."""
    shutil.copytree(random_model, tmp_path / "adapter")
    (tmp_path / "adapter" / "config.json").rename(tmp_path / "adapter" / "adapter_config.json")
    own = ["--model", str(tmp_path / "adapter"), "--output", str(tmp_path / "run")]
    asked = [*quick, *own] if command == "train" else ["--task", "telelogs-compact", *own, "--use_cpu", "true"]
    assert main([command, *asked]) == 2
    said = capsys.readouterr().err
    assert "holds an adapter" in said
    assert "merge_and_unload" in said
    assert not (tmp_path / "run").exists()


def test_a_run_cut_short_goes_on_to_the_same_end(quick, tmp_path):
    """The power fails after update 3: a torn line, and the checkpoint of update 2. The end is as undisturbed."""
    assert main(["train", *quick, "--output", str(tmp_path / "whole")]) == 0
    cut = RunFolder(tmp_path / "cut")
    assert main(["train", *quick, "--output", str(cut.path), "--max_steps", "2"]) == 0
    cut.append_metrics({"step": 3, "loss": 0.0})
    with cut.metrics.open("a") as file:
        file.write('{"step": 4, "lo')
    assert main(["train", *quick, "--output", str(cut.path), "--resume"]) == 0
    whole, resumed = read_lines(tmp_path / "whole" / "metrics.jsonl"), read_lines(cut.metrics)
    assert [line["step"] for line in resumed] == [1, 2, 3, 4]
    for key in ("loss", "grad_norm", "hpo/alpha", "hpo/mean_length"):
        assert [line[key] for line in resumed] == [line[key] for line in whole]
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in (tmp_path / "whole", cut.path)]
    assert weights[0] == weights[1]


def test_resume_alone_takes_the_runs_own_settings(quick, tmp_path):
    out = str(tmp_path / "run")
    assert main(["train", *quick, "--output", out, "--max_steps", "2"]) == 0
    assert main(["train", "--resume", "--output", out, "--max_steps", "4"]) == 0
    assert read_lines(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 4


def test_resuming_with_other_settings_is_refused(quick, tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main(["train", *quick, "--output", out, "--max_steps", "2"]) == 0
    assert main(["train", *quick, "--output", out, "--resume", "--algorithm", "grpo"]) == 2
    assert "algorithm" in capsys.readouterr().err


@pytest.mark.parametrize("number", one_quick([signal.SIGTERM, signal.SIGINT]))
def test_ctrl_c_or_preemption_leaves_a_run_that_resumes(quick, tmp_path, number):
    """One Ctrl-C (130) or SIGTERM (143): a checkpoint at the end of a rollout, the way to go on; then it does."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "hysteretic", "train", *quick, "--output", str(out), "--max_steps", "4000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number, said
    assert "--resume" in said
    assert "Traceback" not in said
    last = read_lines(out / "metrics.jsonl")[-1]["step"]
    assert last % 2 == 0
    assert (out / f"checkpoint-{last}").is_dir()
    assert json.loads((out / "run.json").read_text())["state"] == "interrupted"
    assert main(["train", "--resume", "--output", str(out), "--max_steps", str(last + 2)]) == 0
    assert [line["step"] for line in read_lines(out / "metrics.jsonl")] == list(range(1, last + 3))


def test_a_task_of_ones_own_trains(quick, tmp_path):
    task = tmp_path / "mine.py"
    task.write_text(
        "from hysteretic.tasks.task import Problem, Score\n"
        "class Shout:\n"
        "    name = 'shout'\n"
        "    def problems(self, split='train', seed=0, count=None):\n"
        "        n = count or 16\n"
        "        return [Problem(f'{split}-{i}', f'say {i}:', str(i)) for i in range(n)]\n"
        "    def score(self, problem, response):\n"
        "        return Score(float('a' in response), 'a' in response, True)\n"
    )
    flags = [flag for flag in quick if flag not in ("--task_options",) and not flag.startswith("{")]
    flags[flags.index("countdown-3")] = f"{task}:Shout"
    assert main(["train", *flags, "--output", str(tmp_path / "run")]) == 0


def test_a_data_file_with_a_reward_function_trains_and_a_raising_one_stops_it(quick, tmp_path, capsys):
    data, rewards = tmp_path / "data.jsonl", tmp_path / "rewards.py"
    data.write_text("".join(json.dumps({"prompt": f"{i}+1=", "answer": i + 1}) + "\n" for i in range(60)))
    rewards.write_text(
        "def good(response, answer):\n    return str(answer) in response\n"
        "def bad(response, answer):\n    raise KeyError('judge')\n"
    )
    flags = [flag for flag in quick if flag not in ("--task_options",) and not flag.startswith("{")]
    flags[flags.index("countdown-3")] = str(data)
    common = ["train", *flags, "--eval_problems", "0"]
    assert main([*common, "--reward", f"{rewards}:good", "--output", str(tmp_path / "good")]) == 0
    assert main([*common, "--reward", f"{rewards}:bad", "--output", str(tmp_path / "bad")]) == 3
    said = capsys.readouterr().err
    assert "bad" in said
    assert "KeyError" in said
    assert "--resume" in said


def test_own_data_need_not_have_as_many_held_out_rows_as_is_usual(quick, tmp_path, capsys):
    """120 rows have some 12 of test; 200 is asked for only by who says so, and the message names the flag."""
    (tmp_path / "data.jsonl").write_text(
        "".join(json.dumps({"prompt": f"{i}:", "answer": i}) + "\n" for i in range(120))
    )
    (tmp_path / "check.py").write_text("def ok(response, answer):\n    return str(answer) in response\n")
    flags = ["train", "--task", str(tmp_path / "data.jsonl"), "--reward", f"{tmp_path / 'check.py'}:ok"]
    settings = ["--max_steps", "4", "--max_completion_length", "8", "--eval_samples", "0", "--disable_tqdm", "true"]
    assert main([*flags, *settings, "--output", str(tmp_path / "run")]) == 0
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert 5 <= evaluation["after"]["greedy"]["pass@1"]["problems"] <= 25
    assert main([*flags, *settings, "--eval_problems", "200", "--output", str(tmp_path / "other")]) == 2
    assert "--eval_problems" in capsys.readouterr().err


def test_the_config_layers_win_in_order(quick, tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({"algorithm": "hpo", "alpha": 0.3, "learning_rate": "2e-4"}))
    from hysteretic.config.settings import parse

    request = parse(["--config", str(recipe), *quick, "--alpha", "0.4"])
    assert request.training.algorithm == "hpo"
    assert request.training.alpha == 0.4
    assert request.training.learning_rate == 1e-3  # the flag of `quick` wins over the recipe
    assert request.training.report_to == []


@pytest.mark.parametrize("text", ["", "not json\n", '{"problem": "x"}\n', '{"problem": "x", "response": "y"}\n'])
def test_unreadable_responses_are_refused(tmp_path, text, capsys):
    path = tmp_path / "responses.jsonl"
    path.write_text(text)
    assert main(["eval", "--task", "countdown-3", "--responses", str(path)]) == 2
    assert "responses.jsonl" in capsys.readouterr().err


def test_eval_scores_a_file_of_responses(tmp_path, capsys):
    import hysteretic.tasks
    from hysteretic.tasks.countdown import solve

    problems = hysteretic.tasks.load("countdown-3").problems("test", count=10)
    path, saved = tmp_path / "responses.jsonl", tmp_path / "figures.json"
    with path.open("w") as file:
        for i, problem in enumerate(problems):
            right = solve(problem.answer["numbers"], problem.answer["target"])[0]
            text = f"<think>so</think> <answer>{right if i < 7 else '1+1'}</answer>"
            file.write(json.dumps({"problem": problem.id, "response": text}) + "\n")
    arguments = ["eval", "--task", "countdown-3", "--problems", "10", "--responses", str(path), "--output", str(saved)]
    assert main(arguments) == 0
    assert "70.0 %" in capsys.readouterr().out
    assert json.loads(saved.read_text())["given"]["pass@1"]["value"] == pytest.approx(0.7)


def test_eval_of_a_model(random_model, capsys):
    options = '{"largest": 9, "largest_target": 20, "prompt": "terse"}'
    arguments = ["eval", "--task", "countdown-3", "--task-options", options, "--model", str(random_model)]
    assert main([*arguments, "--problems", "5", "--samples", "2", "--max-completion-length", "8"]) == 0
    printed = capsys.readouterr().out
    assert "greedy" in printed
    assert "sampled" in printed
