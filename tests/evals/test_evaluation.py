"""`hysteretic eval`: what it prints, saves and shows for tasks that tell more, and what it bears."""

import json

import pytest

from hysteretic.cli import main
from hysteretic.tasks import FileTask, Problem, Score, load

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(2)>"


def boxed(task, problem, cause):
    label = next(label for label, found in problem.answer["causes"].items() if found == cause)
    return f"\\boxed{{{label}}}"


def responses_file(path, rows):
    path.write_text("".join(json.dumps({"problem": name, "response": text}) + "\n" for name, text in rows))
    return str(path)


@pytest.fixture
def both(tmp_path):
    """16 problems in both variants: the label C3 in either, whatever it means; C1, a right one, nothing."""
    task = load("telelogs-synthetic")
    rows = []
    for variant in (task, task.randomised()):
        for problem in variant.problems("test", count=16):
            texts = ["\\boxed{C3}", "\\boxed{C3}", boxed(variant, problem, variant.class_of(problem)), "no idea"]
            rows += [(problem.id, text) for text in texts]
    return responses_file(tmp_path / "responses.jsonl", rows)


COMMAND = ["eval", "--task", "telelogs-synthetic", "--problems", "16", "--responses"]


def test_a_format_that_nobody_checked_is_not_reported(tmp_path):
    """A reward function that returns a bool says nothing about the format; 100 % right format was reported."""
    from hysteretic.evals.metrics import answered, metrics_by_decoding

    def format_of(reward):
        task = FileTask("data.jsonl", reward=reward)
        problem = Problem("p", "1+1=", "2")
        scores = [[task.score(problem, "2"), task.score(problem, "3")]]
        return metrics_by_decoding(task, {"sampled": answered(task, [problem], [["2", "3"]], scores)})["sampled"]

    assert "format" not in format_of(lambda response, answer: response == answer)
    assert format_of(lambda response, answer: Score(1.0, True, response == "2"))["format"]["value"] == 0.5


def test_both_guises_are_judged_by_cause(both, tmp_path, capsys):
    """ "C3" is right twice of 16 in the plain set; in the other it means a cause of each problem's own."""
    saved = tmp_path / "figures.json"
    assert main([*COMMAND, both, "--output", str(saved)]) == 0
    record, said = json.loads(saved.read_text()), capsys.readouterr().out
    assert record["given"]["pass@1"]["value"] == pytest.approx((2 * 3 + 14 * 1) / 64)
    assert record["given"]["maj@4"]["value"] == pytest.approx(2 / 16)
    assert record["given"]["pass@4"]["value"] == 1.0
    assert record["given"]["format"]["value"] == 0.75
    table = record["given"]["confusion"]
    assert table["classes"] == [f"C{i}" for i in range(1, 9)]
    assert [line[2] for line in table["counts"]] == [4, 4, 6, 4, 4, 4, 4, 4]
    assert [line[0] for line in table["counts"]] == [2, 0, 0, 0, 0, 0, 0, 0]
    assert table["none"] == [2] * 8
    other = record["randomised"]
    assert other["task"] == "telelogs-synthetic-randomised"
    assert sum(other["given"]["confusion"]["none"]) == 16
    task = load("telelogs-synthetic")
    labels = [problem.answer["causes"]["C3"] for problem in task.randomised().problems("test", count=16)]
    right = [task.class_of(problem) for problem in task.problems("test", count=16)]
    agreeing = 0
    for label, cause in zip(labels, right, strict=True):
        agreeing += sum(one == two for one in ["C3", "C3", cause] for two in [label, label, cause])
    assert record["consistency"]["given"]["value"] == pytest.approx(agreeing / (16 * 16))
    assert "plain       given" in said
    assert "randomised  given" in said
    assert "Consistency: " in said
    assert "expected  C1" in said


def test_plain_only_leaves_the_other_guise_out(both, tmp_path, capsys):
    task = load("telelogs-synthetic")
    rows = [(problem.id, "\\boxed{C1}") for problem in task.problems("test", count=16)]
    path = responses_file(tmp_path / "plain.jsonl", rows)
    assert main([*COMMAND, path, "--plain-only"]) == 0
    assert "randomised" not in capsys.readouterr().out
    assert main([*COMMAND, both, "--plain-only"]) == 2
    assert "not among the 16 problems" in capsys.readouterr().err


def test_a_file_may_lack_some_problems_and_a_whole_guise(tmp_path, capsys):
    task = load("telelogs-synthetic")
    plain, other = (variant.problems("test", count=16) for variant in (task, task.randomised()))
    rows = [(plain[0].id, "\\boxed{C1}"), (plain[1].id, ""), (other[1].id, ""), (other[2].id, "\\boxed{C2}")]
    saved = tmp_path / "figures.json"
    assert main([*COMMAND, responses_file(tmp_path / "some.jsonl", rows), "--output", str(saved)]) == 0
    said = capsys.readouterr().out
    assert "14 of 16 plain problems have no response" in said
    record = json.loads(saved.read_text())
    assert record["consistency"]["given"] == {
        "value": 0.0,
        "low": 0.0,
        "high": pytest.approx(0.79, abs=0.01),
        "problems": 1,
    }
    assert main([*COMMAND, responses_file(tmp_path / "one.jsonl", rows[:1]), "--page", str(tmp_path / "one.html")]) == 0
    assert "Consistency" not in capsys.readouterr().out
    path = responses_file(tmp_path / "other.jsonl", rows[2:])
    assert main([*COMMAND, path, "--output", str(saved), "--page", str(tmp_path / "other.html")]) == 0
    record = json.loads(saved.read_text())
    assert "given" not in record
    assert record["randomised"]["given"]["pass@1"]["problems"] == 2


def test_a_model_is_asked_in_both_guises(random_model, tmp_path, capsys):
    """A model that answers nothing: no vote, no agreement, everything in the column none."""
    saved, page = tmp_path / "figures.json", tmp_path / "page.html"
    command = [
        "eval",
        "--task",
        "telelogs-synthetic",
        "--task-options",
        '{"prompt": "plain"}',
        "--model",
        str(random_model),
    ]
    flags = ["--problems", "2", "--samples", "2", "--max-completion-length", "4", "--device", "cpu"]
    assert main([*command, *flags, "--output", str(saved), "--page", str(page)]) == 0
    record = json.loads(saved.read_text())
    assert record["greedy"]["pass@1"]["value"] == 0
    for figures_of in (record, record["randomised"]):
        assert figures_of["sampled"]["maj@2"]["value"] == 0
        assert sum(figures_of["sampled"]["confusion"]["none"]) == 4
        assert sum(map(sum, figures_of["sampled"]["confusion"]["counts"])) == 0
    assert record["consistency"]["greedy"]["value"] == record["consistency"]["sampled"]["value"] == 0
    assert page.read_text().count("<article>") == 2
    assert capsys.readouterr().out.count("Consistency") == 2


def test_the_tiny_model_on_countdown_has_greedy_and_sampled_figures(tmp_path, capsys):
    """A task that names no answers has pass@1 and pass@4 alone; with 0 samples there is no second line."""
    command = ["eval", "--task", "countdown-3", "--model", "tiny", "--problems", "1", "--device", "cpu"]
    page = tmp_path / "page.html"
    assert main([*command, "--page", str(page)]) == 0
    said = capsys.readouterr().out
    assert "pass@4" in said
    assert "maj@" not in said
    assert "1 problem of" in said
    assert "Which is taken for which" not in page.read_text()
    assert main([*command, "--samples", "0"]) == 0
    assert "sampled" not in capsys.readouterr().out


def test_the_page_shows_what_a_model_wrote_as_text_and_cuts_it(tmp_path):
    task = load("telelogs-compact")
    problems = task.problems("test", count=2)
    rows = [(problems[0].id, HOSTILE), (problems[1].id, "long \u2028\x00" * 300_000)]
    path, page = tmp_path / "responses.jsonl", tmp_path / "page.html"
    lines = [json.dumps({"problem": name, "response": text}, ensure_ascii=False) for name, text in rows]
    path.write_text("\n".join(lines))  # U+2028 as it is: it ends no line
    command = ["eval", "--task", "telelogs-compact", "--problems", "2", "--responses", str(path)]
    assert main([*command, "--page", str(page)]) == 0
    text = page.read_text()
    body = text[: text.index('<script type="application/json"')]
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)" in body
    assert "<script" not in body
    assert "<img" not in body
    assert "more characters]" in body
    assert len(body) < 150_000
    assert body.count("<article>") == 2
    assert "no answer" in body
    assert body.count("data-chart") == 1 + 2 * 8  # the confusion, and every problem's picture


def test_right_answers_alone_leave_nothing_wrong_to_show(tmp_path):
    task = load("telelogs-compact")
    rows = [(problem.id, boxed(task, problem, task.class_of(problem))) for problem in task.problems("test", count=8)]
    page = tmp_path / "page.html"
    command = ["eval", "--task", "telelogs-compact", "--problems", "8", "--page", str(page), "--responses"]
    assert main([*command, responses_file(tmp_path / "right.jsonl", rows)]) == 0
    assert "No problem has a wrong response." in page.read_text()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--samples", "-1"], "--samples is -1"),
        (["--max-completion-length", "0"], "--max-completion-length is 0"),
        (["--page", "page.pdf"], "ends in .html"),
        (["--page", "no/such/page.html"], "no/such"),
    ],
)
def test_a_mistake_is_told_before_any_work(flags, said, capsys):
    assert main(["eval", "--task", "countdown-3", "--model", "/no/such/model", *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_counterpart_with_fewer_problems_is_refused(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "from hysteretic.tasks import Problem, Score\n\n\n"
        "class Mine:\n    name = 'mine'\n    most = 9\n\n"
        "    def problems(self, split='train', seed=0, count=None):\n"
        "        return [Problem(f'{self.most} {i}', 'p', 'a') for i in range(min(count, self.most))]\n\n"
        "    def score(self, problem, response):\n        return Score(0.0, False, True)\n\n"
        "    def randomised(self):\n        other = Mine()\n        other.most = 2\n        return other\n"
    )
    path = responses_file(tmp_path / "responses.jsonl", [("9 0", "x")])
    assert main(["eval", "--task", f"{tmp_path / 'mine.py'}:Mine", "--problems", "4", "--responses", path]) == 2
    assert "mine has 4 problems, but mine has 2" in capsys.readouterr().err
