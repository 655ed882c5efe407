"""`hysteretic eval --submission`: four rows per question under the data's own ids, also where answers are secret."""

import csv
import json
import re

import pytest
from telelogs_questions import as_official, question

from hysteretic.cli import main
from hysteretic.tasks import load
from hysteretic.tasks.rows import LeftOutWarning

LTE = "Why is the LTE rate low?\n\nA: Too much load.\nB: Too little power.\n"
ROWS = [
    {"ID": "ID_A", "question": as_official(question("a", "C2")), "answer": "C2"},
    {"ID": "ID_B", "question": as_official(question("b", "C7")), "answer": "C7"},
    {"ID": "ID_C", "question": LTE, "answer": "B"},
    {"ID": "ID_B2", "question": as_official(question("b", "C7")), "answer": "C7"},
]

pytestmark = pytest.mark.filterwarnings(f"ignore::{LeftOutWarning.__module__}.{LeftOutWarning.__name__}")


def files(tmp_path, rows, counts=(4, 5, 4)):
    """A file of questions, and one of responses to each of its problems; with the options of the task."""
    source = tmp_path / "phase_test.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    options = {"source": str(source), "is_labelled": "answer" in rows[0]}
    task = load("telelogs", **options)
    responses = tmp_path / "responses.jsonl"
    with responses.open("w", encoding="utf-8") as file:
        for problem in task.problems("test"):
            name = task.ids_of(problem)[0]
            for number in range(counts["ABC".index(name[3])]):
                said = {"problem": problem.id, "response": f"{name} says,\n\u201c{number}\u201d \\boxed{{B}}"}
                file.write(json.dumps(said) + "\n")
    return options, responses


def command(options, *flags):
    return ["eval", "--task", "telelogs", "--task-options", json.dumps(options), "--plain-only", *map(str, flags)]


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("is_labelled", [True, False])
def test_every_id_has_four_rows_in_the_layout_of_the_challenge(tmp_path, capsys, is_labelled):
    """The column of the track holds the responses, the others the placeholder; twins share theirs."""
    rows = ROWS if is_labelled else [{key: row[key] for key in ("ID", "question")} for row in ROWS]
    options, responses = files(tmp_path, rows)
    path = tmp_path / "submission.csv"
    flags = ["--responses", responses, "--submission", path, "--submission-track", "Qwen2.5-7B-Instruct"]
    assert main(command(options, *flags)) == 0
    header, *found = rows_of(path)
    assert header == ["ID", "Qwen3-32B", "Qwen2.5-7B-Instruct", "Qwen2.5-1.5B-Instruct"]
    assert sorted(row[0] for row in found) == sorted(f"{row['ID']}_{n}" for row in ROWS for n in (1, 2, 3, 4))
    by_id = {row[0]: row[1:] for row in found}
    assert by_id["ID_C_2"] == ["placeholder", "ID_C says,\n\u201c1\u201d \\boxed{B}", "placeholder"]
    assert by_id["ID_B2_3"] == by_id["ID_B_3"]
    said = capsys.readouterr().out
    assert "16 rows for 3 of 3 problems" in said
    assert ("maj@" in said or "pass@1" in said) == is_labelled


def test_a_model_writes_its_sampled_responses(tmp_path, random_model, capsys):
    """Not the greedy one, which is one per question."""
    options, _ = files(tmp_path, ROWS[2:3], (0, 0, 0))
    path = tmp_path / "submission.csv"
    flags = ["--model", random_model, "--submission", path, "--max-completion-length", "3", "--device", "cpu"]
    assert main(command(options | {"is_chat": False}, *flags)) == 0
    assert [row[:3] for row in rows_of(path)[1:]] == [[f"ID_C_{n}", "placeholder", "placeholder"] for n in (1, 2, 3, 4)]
    assert "sampled" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "flags", "said"),
    [
        ((4, 3, 4), ["--submission", "out.csv"], "4 responses per question, but problem telelogs:"),
        ((4, 4, 4), ["--submission", "no/such/out.csv"], "no folder no/such for --submission"),
    ],
)
def test_what_cannot_be_submitted_is_refused(tmp_path, monkeypatch, capsys, counts, flags, said):
    """A file with gaps would be rejected by the challenge."""
    options, responses = files(tmp_path, ROWS, counts)
    monkeypatch.chdir(tmp_path)
    assert main(command(options, "--responses", responses, *flags)) == 2
    assert said in capsys.readouterr().err


def test_mistakes_are_told_before_a_model_is_loaded(tmp_path, monkeypatch, capsys):
    """Generating for hours and then failing is what nobody wants."""
    options, _ = files(tmp_path, ROWS)
    (tmp_path / "secret").mkdir()
    secret, _ = files(tmp_path / "secret", [{key: row[key] for key in ("ID", "question")} for row in ROWS])
    monkeypatch.chdir(tmp_path)
    model = ["--model", "/no/such/model", "--submission", "out.csv"]
    cases = [
        (command(options, *model, "--samples", "2"), "--samples is 2, but --submission needs 4"),
        (command({**options, "id_column": "key"}, *model), "nothing in the column 'key'; set id_column"),
        (["eval", "--task", "countdown-3", *model], "ids of the data's rows, which countdown-3 does not have"),
        (command(secret, "--model", "/no/such/model"), "have no answers .* give --submission FILE"),
        (command(secret, *model, "--output", "out.json"), "without --output and --page"),
    ]
    for arguments, said in cases:
        assert main(arguments) == 2
        assert re.search(said, capsys.readouterr().err)


def test_a_submission_has_every_row_of_unlabelled_data(tmp_path, capsys):
    """Not the usual 200, and not the tenth of a file that a training run would hold out."""
    questions = [f"What is {n} + 1?\nA: {n + 1}\nB: {n + 2}" for n in range(230)]
    options, responses = files(tmp_path, [{"ID": f"ID_A{n}", "question": text} for n, text in enumerate(questions)])
    renamed = tmp_path / "phase_2.csv"
    (tmp_path / "phase_test.csv").rename(renamed)
    path = tmp_path / "submission.csv"
    flags = ["--responses", responses, "--submission", path]
    assert main(command({**options, "source": str(renamed)}, *flags)) == 0
    assert len(rows_of(path)) == 1 + 4 * 230


def test_two_questions_of_one_id_are_refused(tmp_path, capsys):
    rows = [{**row, "ID": "ID_A"} for row in ROWS]
    options, responses = files(tmp_path, rows)
    assert main(command(options, "--responses", responses, "--submission", tmp_path / "out.csv")) == 2
    assert "questions have the id 'ID_A'" in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("words", [["probe", "--problems", "2"], ["export"], ["train"], ["warmup"]])
def test_data_without_answers_is_refused_before_any_work(tmp_path, random_model, capsys, words):
    options, _ = files(tmp_path, [{key: row[key] for key in ("ID", "question")} for row in ROWS])
    options["source"] = str((tmp_path / "phase_test.csv").rename(tmp_path / "phase.csv"))
    flags = ["--task", "telelogs", "--task_options", json.dumps(options), "--output", str(tmp_path / "out")]
    flags += [] if words == ["export"] else ["--model", str(random_model)]
    assert main([*words, *flags]) == 2
    assert "is_labelled is false" in capsys.readouterr().err
