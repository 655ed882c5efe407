"""`hysteretic warmup`: a task's worked solutions are imitated, and what cannot be imitated is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hysteretic.cli import main
from hysteretic.evals.generate import respond
from hysteretic.tasks import load

TASK = """
from hysteretic.tasks import Problem, Score

class First:
    name = "first"

    def problems(self, split="train", seed=0, count=None):
        return [Problem(f"{i}", f"{3 + i % 4},7,5=26:", str(3 + i % 4)) for i in range(count or 8)]

    def score(self, problem, response):
        return Score(float(response == f"<answer>{problem.answer}</answer>"), True, True)
"""
SOLVED = (
    TASK
    + """
    def demonstration(self, problem):
        return f"<answer>{problem.answer}</answer>"
"""
)


def test_what_the_solutions_say_is_learnt_and_the_model_is_an_ordinary_folder(tmp_path: Path, capsys):
    """Four answers in 150 steps; nothing but the responses has a loss, and the response ends."""
    (tmp_path / "first.py").write_text(SOLVED, encoding="utf-8")
    task = f"{tmp_path / 'first.py'}:First"
    flags = ["--max_steps", "150", "--learning_rate", "3e-3", "--per_device_train_batch_size", "8", "--use_cpu", "true"]
    code = main(
        ["warmup", "--task", task, "--model", "tiny", "--output", str(tmp_path / "warm"), "--problems", "80", *flags]
    )
    assert code == 0
    assert f"--model {tmp_path / 'warm'}" in capsys.readouterr().out
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "warm")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "warm", padding_side="left")
    first = load(task)
    problems = first.problems(count=4)
    found = respond(model, tokenizer, problems, 0, 16)
    assert [first.score(p, texts[0]).reward for p, texts in zip(problems, found, strict=True)] == [1.0] * 4


def write_data(folder: Path) -> None:
    """Sums, with right responses in the column `right`, in `some` for the even ones, and wrong ones in `wrong`."""
    rows = [
        {"prompt": f"{n}+1=", "answer": n + 1, "right": str(n + 1), "wrong": "no", "some": str(n + 1) * (n % 2 == 0)}
        for n in range(20)
    ]
    (folder / "data.json").write_text(json.dumps({"train": rows, "test": rows[:1]}), encoding="utf-8")
    (folder / "mine.py").write_text("def right(response, answer):\n    return response == str(answer)\n")


DATA = ["--task", "FOLDER/data.json", "--reward", "FOLDER/mine.py:right"]
PLAIN = '{"prompt": "plain"}'
FEW_STEPS = ["--max_steps", "2", "--per_device_train_batch_size", "4", "--use_cpu", "true"]


def test_a_data_file_is_imitated_where_its_rows_have_a_right_response(tmp_path: Path, capsys):
    """The column is named like prompt and answer; rows without an entry are left out."""
    write_data(tmp_path)
    flags = [flag.replace("FOLDER", str(tmp_path)) for flag in DATA]
    options = ["--task_options", '{"demonstration_column": "some"}', "--output", str(tmp_path / "warm")]
    assert main(["warmup", *flags, *options, "--model", "tiny", *FEW_STEPS]) == 0
    assert f"--reward {tmp_path}/mine.py:right --model {tmp_path}/warm" in capsys.readouterr().out
    assert (tmp_path / "warm" / "model.safetensors").is_file()


def test_countdown_is_imitated_in_the_tiny_models_own_style_and_training_goes_on_from_it(tmp_path: Path, capsys):
    """The tiny model has no chat template: its problems and settings are those of its recipe."""
    output = ["--output", str(tmp_path / "warm"), "--problems", "16"]
    assert main(["warmup", "--task", "countdown-3", "--model", "tiny", *output, *FEW_STEPS]) == 0
    said = capsys.readouterr().out
    assert f"hysteretic train --config tiny-countdown-3 --model {tmp_path / 'warm'}" in said


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--task", "FOLDER/first.py:First", "--model", "tiny"], ["no worked solutions", "demonstration(problem)"]),
        ([*DATA, "--model", "tiny"], ["no worked solutions", "a column 'demonstration'"]),
        (
            [*DATA, "--model", "tiny", "--task_options", '{"demonstration_column": "wrong"}'],
            ["20 of 20 worked solutions", "not correct", "'no'"],
        ),
        (
            [*DATA, "--model", "tiny", "--task_options", '{"demonstration_column": "some"}', "--problems", "20"],
            ["20 worked solutions requested, but", "have one"],
        ),
        (["--lr", "1e-4"], ["--lr is not a flag of `hysteretic warmup`", "Did you mean '--learning_rate'?"]),
        (["--task", "telelogs-compact", "--problems", "0"], ["problems is 0"]),
        (["--task", "telelogs-compact"], ["give --model"]),
        (["--task", "telelogs-synthetic", "--model", "tiny", "--problems", "20"], ["no chat template", "plain"]),
        (
            ["--task", "telelogs-synthetic", "--model", "tiny", "--problems", "20", "--task_options", PLAIN],
            ["tokens, but tiny supports 256"],
        ),
        (
            ["--task", "telelogs-synthetic", "--model", "tiny", "--task_options", json.dumps({"cells": 3})],
            ["'cells'", "fewest_cells"],
        ),
        (["--config", "FOLDER/config.yaml"], ["'problemz'", "Did you mean 'problems'"]),
        (["--confg", "x"], ["--confg is not a flag", "Did you mean '--config'?"]),
        (["stray"], ["'stray'"]),
        (["--model", "no/such-folder", "--task", "telelogs-compact"], ["no/such-folder"]),
    ],
)
def test_what_cannot_be_imitated_is_refused_before_any_step(flags, words, tmp_path, capsys, monkeypatch):
    """Nothing is trained, nothing is written; the message says what to give instead."""
    (tmp_path / "made").mkdir()
    monkeypatch.chdir(tmp_path / "made")
    (tmp_path / "config.yaml").write_text("problemz: 3\n", encoding="utf-8")
    (tmp_path / "first.py").write_text(TASK, encoding="utf-8")
    write_data(tmp_path)
    assert main(["warmup", *(flag.replace("FOLDER", str(tmp_path)) for flag in flags)]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert "HfArgumentParser" not in said
    assert not list(Path.cwd().iterdir())
