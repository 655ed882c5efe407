"""`hysteretic show`: a problem of any task in the terminal, and as a page; what it refuses."""

import json
import subprocess
import sys

import pytest

from hysteretic.cli import main
from hysteretic.tasks import load

OWN_TASK = """
from hysteretic.tasks import Problem, Score

class Shouts:
    name = "shouts"

    def problems(self, split="train", seed=0, count=None):
        prompt = "</pre><script>alert(1)</script>" + "long " * 100_000
        return [Problem("first", prompt, {"wanted": "<b>A</b>"}), Problem("second", "say b \\x1b[31m", "B")][:count]

    def score(self, problem, response):
        return Score(0.0, False, False)
"""


@pytest.fixture
def own_task(tmp_path):
    path = tmp_path / "shouts.py"
    path.write_text(OWN_TASK)
    return f"{path}:Shouts"


def test_a_telelogs_problem_is_shown_with_every_rule(capsys):
    assert main(["show", "--task", "telelogs-synthetic", "--seed", "7"]) == 0
    said = capsys.readouterr().out
    task = load("telelogs-synthetic")
    [problem] = task.problems("test", seed=7, count=1)
    assert f"id: {problem.id}" in said
    assert "\nuser:\n  A drive test" in said
    for line in problem.prompt[0]["content"].splitlines():
        assert f"  {line}\n" in said
    answer = said.split("Expected answer:\n  ")[1]
    assert answer.startswith(f"{task.class_of(problem)}: ")
    assert answer.count("hold") == 8
    assert answer.count("✓ ") == 1


def test_index_split_and_options_choose_the_problem(capsys):
    options = ["--split", "train", "--index", "5", "--task-options", '{"largest": 9, "prompt": "terse"}']
    assert main(["show", "--task", "countdown-3", *options]) == 0
    problem = load("countdown-3", largest=9, prompt="terse").problems("train", count=6)[5]
    said = capsys.readouterr().out
    assert "split train, seed 0, problem 5" in said
    assert f"prompt:\n  {problem.prompt}\n" in said
    assert f"that equals {problem.answer['target']}\n" in said


def test_a_task_that_explains_nothing_shows_its_answer(own_task, capsys):
    assert main(["show", "--task", own_task]) == 0
    assert capsys.readouterr().out.endswith('Expected answer:\n  {"wanted": "<b>A</b>"}\n')


def test_the_answer_of_a_row_of_a_file_is_shown(tmp_path, capsys):
    (tmp_path / "data.jsonl").write_text(json.dumps({"prompt": "2 + 2", "answer": 4}) + "\n")
    (tmp_path / "reward.py").write_text("def right(response, answer):\n    return response == str(answer)\n")
    task = ["--task", str(tmp_path / "data.jsonl"), "--reward", f"{tmp_path / 'reward.py'}:right"]
    assert main(["show", *task, "--split", "train"]) == 0
    assert capsys.readouterr().out.endswith("prompt:\n  2 + 2\n\nExpected answer:\n  4\n")


def test_control_characters_do_not_reach_the_terminal(own_task, capsys):
    assert main(["show", "--task", own_task, "--index", "1"]) == 0
    assert "say b [U+001B][31m" in capsys.readouterr().out


def test_the_page_shows_a_hostile_prompt_as_text_and_cuts_it(own_task, tmp_path):
    page = tmp_path / "page.html"
    assert main(["show", "--task", own_task, "--output", str(page)]) == 0
    text = page.read_text()
    body = text[: text.index('<script type="application/json"')]
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)" in body
    assert "more characters]" in body
    assert "<script" not in body
    assert "&lt;b&gt;A&lt;/b&gt;" in body
    assert "<h2>Picture</h2>" not in body
    assert len(body) < 40_000


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--index", "-1"], "--index is -1"),
        (["--split", "tset"], "tset"),
        (["--task", "telelog"], "telelogs-synthetic"),
        (["--task-options", '{"prompt": "verse"}'], "verse"),
        (["--output", "page.png"], "ends in .html"),
        (["--output", "no/such/folder/page.html"], "no/such/folder"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(flags, said, capsys):
    assert main(["show", "--task", "telelogs-synthetic", *flags]) == 2
    output = capsys.readouterr()
    assert said in output.err
    assert "Traceback" not in output.err
    assert output.out == ""


def test_an_index_beyond_the_last_problem_is_named(own_task, capsys):
    assert main(["show", "--task", own_task, "--index", "2"]) == 2
    assert "--index is 2, but shouts has 2 problems" in capsys.readouterr().err


def test_neither_show_nor_eval_needs_altair_without_a_page(tmp_path):
    """It belongs to the extra "report"."""
    rows = tmp_path / "responses.jsonl"
    [problem] = load("telelogs-compact").problems("test", count=1)
    rows.write_text(json.dumps({"problem": problem.id, "response": ""}))
    code = (
        "import sys; from hysteretic.cli import main; task = ['--task', 'telelogs-compact']; main(['show', *task]);"
        f"main(['eval', *task, '--problems', '1', '--responses', {str(rows)!r}]); sys.exit('altair' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_a_page_that_cannot_be_written_is_named(tmp_path, capsys):
    folder = tmp_path / "folder.html"
    folder.mkdir()
    assert main(["show", "--task", "telelogs-compact", "--output", str(folder)]) == 2
    assert "is a folder; give a file for --output" in capsys.readouterr().err
