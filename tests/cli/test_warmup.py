"""`hysteretic warmup`: a task's worked solutions are imitated, and what cannot be imitated is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hysteretic.cli import main
from hysteretic.evals.evaluate import respond
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


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--task", "countdown-3", "--model", "tiny"], ["countdown-3", "demonstration(problem)"]),
        (["--task", "telelogs-compact", "--problems", "0"], ["problems is 0"]),
        (["--task", "telelogs-compact"], ["give --model"]),
        (["--task", "telelogs-synthetic", "--model", "tiny"], ["no chat template", "plain"]),
        (
            ["--task", "telelogs-synthetic", "--model", "tiny", "--task_options", '{"prompt": "plain"}'],
            ["tokens, but tiny supports 256"],
        ),
        (
            ["--task", "telelogs-synthetic", "--model", "tiny", "--task_options", json.dumps({"cells": 3})],
            ["'cells'", "fewest_cells"],
        ),
        (["--config", "CONFIG"], ["'problemz'", "Did you mean 'problems'"]),
        (["--confg", "x"], ["--confg"]),
        (["--model", "no/such-folder", "--task", "telelogs-compact"], ["no/such-folder"]),
    ],
)
def test_what_cannot_be_imitated_is_refused_before_any_step(flags, words, tmp_path, capsys, monkeypatch):
    """Nothing is trained, nothing is written; the message says what to give instead."""
    (tmp_path / "made").mkdir()
    monkeypatch.chdir(tmp_path / "made")
    (tmp_path / "config.yaml").write_text("problemz: 3\n", encoding="utf-8")
    assert main(["warmup", *(str(tmp_path / "config.yaml") if flag == "CONFIG" else flag for flag in flags)]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words)
    assert not list(Path.cwd().iterdir())
