"""The command line: fast help, clear errors, exit codes."""

import os
import subprocess
import sys

import pytest

from hysteretic.cli import COMMANDS, main


def test_help_is_quick_because_it_imports_neither_torch_nor_trl():
    code = (
        "import sys; from hysteretic.cli import main; main(['--help']);"
        "heavy = {'torch', 'trl', 'transformers', 'numpy'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


def test_list_names_tasks_algorithms_and_recipes(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in ["countdown-3", "countdown-4", "a-hpo", "gspo", "tiny-countdown-3"]:
        assert f"  {name} " in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["trian"], ["'trian'", "'train'"]),
        (["train", "--task", "countdown3", "--output", "OUT"], ["countdown3", "countdown-3"]),
        (["train", "--algorithm", "a_hop", "--output", "OUT"], ["a_hop", "Did you mean"]),
        (["train", "--model", "no/such-folder", "--output", "OUT"], ["no/such-folder", "tiny"]),
        (["train", "--config", "qwen2.5-1.5b-countdown-3-lore"], ["lore", "Did you mean"]),
        (["train", "--task_options", "{largest: 9", "--output", "OUT"], ["task_options", "JSON"]),
        (["train", "--task_options", '{"biggest": 9}', "--output", "OUT"], ["biggest", "largest"]),
        (["train", "--algorithm", "a-hpo", "--loss_type", "bnpo", "--output", "OUT"], ["loss_type", "bnpo"]),
        (["train", "--eval_problems", "-1", "--output", "OUT"], ["eval_problems is -1"]),
        (["train", "--resume", "--output", "OUT"], ["no run to resume"]),
        (["train", "--output", "/proc/nowhere/run"], ["/proc/nowhere/run", "--output"]),
        (["eval", "--task", "countdown-3"], ["--model", "--responses"]),
        (["eval", "--task", "countdown-3", "--responses", "missing.jsonl"], ["missing.jsonl"]),
        (
            ["eval", "--task", "countdown-3", "--model", "tiny", "--task-options", '{"largest": 9}'],
            ["no chat template"],
        ),
    ],
)
def test_a_mistake_is_named_with_its_fix(arguments, words, tmp_path, capsys):
    code = main([str(tmp_path / "out") if word == "OUT" else word for word in arguments])
    said = capsys.readouterr().err
    assert code == 2
    assert all(word in said for word in words), said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("out/*"))


def test_an_unknown_key_of_a_recipe_is_named(tmp_path, capsys):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("task: countdown-3\nlerning_rate: 1e-4\n")
    assert main(["train", "--config", str(recipe), "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "'lerning_rate'" in said
    assert "'learning_rate'" in said


@pytest.mark.parametrize("content", ["- a\n- b\n", "task: [", ""])
def test_a_recipe_that_is_not_a_mapping_is_rejected(tmp_path, capsys, content):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(content)
    assert main(["train", "--config", str(recipe), "--output", str(tmp_path / "run")]) == 2
    assert "mine.yaml" in capsys.readouterr().err


def test_no_command_prints_the_usage(capsys):
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["list"], ["show", "--help"]])
def test_a_closed_pipe_ends_a_command_silently(words: list[str], unbuffered: str) -> None:
    read, write = os.pipe()
    os.close(read)  # as `| head` does when it has enough
    command, environment = [sys.executable, "-m", "hysteretic", *words], {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, env=environment, timeout=60)
    os.close(write)
    assert done.returncode in (0, 141)
    assert done.stderr == b""
