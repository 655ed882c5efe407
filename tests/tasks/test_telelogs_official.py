"""The user's own copy of the data set as a task: files, splits, bad rows, access to the hub, rewards."""

import csv
import json
import sys
from types import SimpleNamespace

import pytest
from telelogs_questions import as_official, question

from hysteretic.tasks import load
from hysteretic.tasks.rows import LeftOutWarning
from hysteretic.tasks.task import Problem, Score
from hysteretic.tasks.telelogs import CAUSES, solve

LABELS = list(CAUSES)
ROWS = [{"question": as_official(question(n, LABELS[n % 8])), "answer": LABELS[n % 8]} for n in range(40)]


def write(path, rows):
    """The rows as the kind of file that the name says; its path as text."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        path.write_text(json.dumps(rows))
    return str(path)


class NeverRaisedError(Exception):
    """In place of the errors of `datasets`."""


def hub(monkeypatch, result):
    """A stand-in for `datasets.load_dataset` that gives tables or raises an exception."""

    def load_dataset(name, config):
        assert name == "netop/TeleLogs"
        if isinstance(result, Exception):
            raise result
        return {split: SimpleNamespace(to_list=lambda rows=rows: rows) for split, rows in result.items()}

    errors = SimpleNamespace(DatasetsError=NeverRaisedError, DatasetGenerationError=NeverRaisedError)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset, exceptions=errors))


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv", "parquet"])
def test_every_kind_of_file_gives_the_same_problems(tmp_path, suffix):
    """The prompt is the question, untouched, as one user message; the answer has the cause of each label."""
    task = load("telelogs", source=write(tmp_path / f"telelogs_test.{suffix}", ROWS))
    problems = task.problems("test")
    assert task.name == "telelogs"
    by_prompt = {row["question"]: row["answer"] for row in ROWS}
    assert len(problems) == 40
    for problem in problems:
        (message,) = problem.prompt
        assert message["role"] == "user"
        assert problem.answer == {"label": by_prompt[message["content"]], "causes": {label: label for label in LABELS}}
        assert solve(message["content"]) == problem.answer["label"]
        assert task.score(problem, f"So \\boxed{{{problem.answer['label']}}}") == Score(1.0, True, True)
    assert [p.id for p in problems] == [p.id for p in load("telelogs", source=task.source).problems("test")]
    assert len({p.id for p in problems}) == 40


def test_prompts_can_be_plain_text_and_columns_named_otherwise(tmp_path):
    """For base models, and for copies with other headers."""
    rows = [{"q": row["question"], "a": row["answer"]} for row in ROWS]
    source = write(tmp_path / "test.json", rows)
    task = load("telelogs", source=source, question_column="q", answer_column="a", is_chat=False)
    assert {p.prompt for p in task.problems("test")} == {row["question"] for row in ROWS}


def test_splits_of_the_data_are_used_as_they_are(tmp_path, monkeypatch):
    """The published test split must stay the test split, whole."""
    tables = {"train": ROWS[:30], "test": ROWS[30:]}
    hub(monkeypatch, tables)
    for task in (load("telelogs"), load("telelogs", source=write(tmp_path / "both.json", tables))):
        assert [len(task.problems(split)) for split in ("train", "test")] == [30, 10]
        with pytest.raises(ValueError, match="'dev'; it has train, test"):
            task.problems("dev")
    assert len(load("telelogs").problems("train", 0, 5)) == 5
    with pytest.raises(ValueError, match="netop/TeleLogs has 30"):
        load("telelogs").problems("train", 0, 31)


@pytest.mark.parametrize("name", ["test.json", "telelogs_test.json", "TeleLogs-test-v2.jsonl"])
def test_a_single_table_named_test_is_all_test(tmp_path, name):
    """Nobody should train on nine tenths of a test set because of a default."""
    task = load("telelogs", source=write(tmp_path / name, ROWS))
    assert len(task.problems("test")) == 40
    with pytest.raises(ValueError, match=r'no split \'train\'.*{"train": \[...\]'):
        task.problems("train")
    only = load("telelogs", source=write(tmp_path / "only.json", {"test": ROWS}))
    assert len(only.problems("test")) == 40


def test_another_single_table_is_divided_by_the_question(tmp_path):
    """Equal questions stay on one side, new rows move none, and identical rows are one problem."""
    one = load("telelogs", source=write(tmp_path / "latest.json", ROWS), test_fraction=0.4)
    more = load("telelogs", source=write(tmp_path / "more.json", ROWS[::-1] + ROWS), test_fraction=0.4)
    sides = [{p.prompt[0]["content"] for p in one.problems(split)} for split in ("train", "test")]
    assert len(sides[0]) + len(sides[1]) == 40
    assert 4 <= len(sides[1]) <= 30
    assert {p.prompt[0]["content"] for p in more.problems("test")} == sides[1]
    assert set(one.problems("test", 1)[0].prompt[0]) == {"role", "content"}
    assert [p.id for p in one.problems("train", 1)] != [p.id for p in one.problems("train", 0)]


def test_the_randomised_set_has_the_same_rows_in_the_same_order(tmp_path):
    """Consistency compares a model's answers to a question and to its randomised form, row by row."""
    source = write(tmp_path / "rows.json", ROWS)
    plain, shuffled, again, other = (
        load("telelogs", source=source, test_fraction=0.4),
        load("telelogs-randomised", source=source, test_fraction=0.4),
        load("telelogs", source=source, test_fraction=0.4, is_randomised=True),
        load("telelogs-randomised", source=source, test_fraction=0.4, shuffle_seed=1),
    )
    assert (plain.name, shuffled.name) == ("telelogs", "telelogs-randomised")
    for split in ("train", "test"):
        pairs = list(zip(plain.problems(split, 5), shuffled.problems(split, 5), strict=True))
        for one, two in pairs:
            assert one.id.rpartition(":")[2] == two.id.rpartition(":")[2]
            assert one.id != two.id
            assert solve(two.prompt[0]["content"]) == two.answer["label"]
            assert plain.class_of(one) == shuffled.class_of(two)
        assert shuffled.problems(split) == again.problems(split) != other.problems(split)
    ids = {p.id for task in (plain, shuffled, other) for p in task.problems("train")}
    assert len(ids) == 3 * len(plain.problems("train"))


def bad(index, **fields):
    """ROWS with one row changed; a field that is None is removed."""
    row = {key: value for key, value in (ROWS[index] | fields).items() if value is not None}
    return [*ROWS[:index], row, *ROWS[index + 1 :]]


TEXT = ROWS[3]["question"]
BAD = {
    "no answer column": (
        bad(3, answer=None),
        "row 3, it has no column 'answer'",
    ),
    "no question column": (bad(3, question=None), "row 3, it has no column 'question'"),
    "an answer outside the options": (bad(3, answer="C9"), r"row 3, the answer is 'C9'; expected one of C1, C2, C3"),
    "a bare digit": (bad(3, answer="4"), r"row 3, the answer is '4'; expected one of C1, C2"),
    "a number": (bad(3, answer=4), r"row 3, the answer is '4'; expected one of C1, C2"),
    "true": (bad(3, answer=True), r"row 3, the answer is 'True'; expected one of C1, C2"),
    "a list": (bad(3, answer=["C4"]), r"row 3, the answer is \"\['C4'\]\"; expected one of C1, C2"),
    "an empty answer": (bad(3, answer=" "), r"row 3, the answer is ' '; expected one of C1, C2"),
    "no table": (bad(3, question=TEXT.partition("User plane")[0]), "row 3, The question has no drive log"),
    "no number": (bad(3, question=TEXT.replace("|1|", "|one|")), r"row 3, line \d+: .* is 'one'"),
    "no text": (bad(3, question=7), "row 3, int in column 'question'"),
    "two answers to one question": (
        [*ROWS, {"question": TEXT, "answer": "C1"}],
        "row 40, the question of row 3, .*'C1' instead of 'C4'",
    ),
}


@pytest.mark.parametrize("name", ["telelogs", "telelogs-randomised"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_named_and_rejected_or_skipped(tmp_path, case, name):
    """Never silently trained on: the user chooses, and is told which row and why."""
    rows, message = BAD[case]
    source = write(tmp_path / "test.json", rows)
    with pytest.raises(ValueError, match=rf"1 bad row of {len(rows)}: .*{message}.*on_bad_row=\"skip\""):
        load(name, source=source).problems("test")
    task = load(name, source=source, on_bad_row="skip")
    good = len(rows) - (2 if "two answers" in case else 1)  # of two that contradict each other neither is used
    with pytest.warns(LeftOutWarning, match=rf"1 bad row of {len(rows)}: .*{message}"):
        assert len(task.problems("test")) == good


def test_all_bad_rows_are_counted_and_the_first_described(tmp_path):
    """One message is enough to see whether it is a column or a few rows."""
    rows = [{**row, "answer": "C9"} if n % 4 == 0 else row for n, row in enumerate(ROWS)]
    source = write(tmp_path / "test.json", rows)
    with pytest.raises(
        ValueError, match=r"has 10 bad rows of 40: \(1\) row 0, .*\(2\) row 4, .*\(3\) row 8, .* And 7 more"
    ):
        load("telelogs", source=source).problems("test")
    none = write(tmp_path / "none_test.json", [{**row, "answer": "C9"} for row in ROWS])
    with (
        pytest.warns(LeftOutWarning, match="has 40 bad rows of 40"),
        pytest.raises(ValueError, match="has no rows for split 'test'"),
    ):
        load("telelogs", source=none, on_bad_row="skip").problems("test")


def test_case_spaces_and_digits_that_a_table_made_numbers_are_answers(tmp_path):
    """Spreadsheets turn "3" into 3 where a question's labels are digits; nothing else is guessed."""
    numbered = ROWS[2]["question"]
    for digit, cause in enumerate(CAUSES, 1):
        numbered = numbered.replace(f"{cause}: ", f"{digit}: ")
    rows = [{"question": numbered, "answer": 3}, {"question": ROWS[0]["question"], "answer": " c1 "}]
    task = load("telelogs", source=write(tmp_path / "test.json", rows))
    answers = {p.answer["label"]: p for p in task.problems("test")}
    assert set(answers) == {"3", "C1"}
    assert task.score(answers["3"], "\\boxed{3}").reward == 1.0
    assert task.score(answers["C1"], "\\boxed{1}") == Score(0.0, False, False)


@pytest.mark.parametrize("name", ["telelogs", "telelogs-randomised"])
def test_without_access_the_error_says_where_to_ask(monkeypatch, name):
    """Gated, not logged in, offline: the next step is the same three choices."""
    datasets, errors = pytest.importorskip("datasets"), pytest.importorskip("huggingface_hub.errors")

    class Gated(errors.GatedRepoError):
        def __init__(self):
            OSError.__init__(self, "403 Client Error. Access to dataset netop/TeleLogs is restricted.")

        def __str__(self):
            return str(self.args[0])

    failures = [
        datasets.exceptions.DatasetNotFoundError("Dataset 'netop/TeleLogs' is a gated dataset on the Hub."),
        ConnectionError("Couldn't reach 'netop/TeleLogs' on the Hub (OfflineModeIsEnabled)"),
        Gated(),
    ]
    for failure in failures:
        hub(monkeypatch, failure)
        with pytest.raises(ValueError, match="from the hub") as raised:
            load(name).problems("test")
        for words in (
            str(failure),
            "https://huggingface.co/datasets/netop/TeleLogs",
            "`hf auth login`",
            """--task telelogs --task-options '{"source": "telelogs_test.json"}'""",
        ):
            assert words in str(raised.value)


def test_a_missing_file_is_not_a_question_of_access(tmp_path):
    """Two causes, two messages."""
    with pytest.raises(FileNotFoundError, match=r"telelogs_test\.json is not a file"):
        load("telelogs", source=str(tmp_path / "telelogs_test.json")).problems("test")
    (tmp_path / "test.json").write_text("{")
    with pytest.raises(ValueError, match="not valid JSON") as raised:
        load("telelogs", source=str(tmp_path / "test.json")).problems("test")
    assert "gated" not in str(raised.value)


def test_wrong_options_are_rejected():
    """What was found and what is expected."""
    with pytest.raises(ValueError, match=r'on_bad_row is \'drop\'; expected "refuse", "skip" or "keep"'):
        load("telelogs", on_bad_row="drop")
    with pytest.raises(ValueError, match="test_fraction is 0"):
        load("telelogs", test_fraction=0)


def test_reward_and_format_are_independent(tmp_path):
    """A wrong label in the right form earns nothing, and is counted as well formed; any text is judged."""
    task = load("telelogs", source=write(tmp_path / "test.json", ROWS[:1]))
    (problem,) = task.problems("test")
    assert task.score(problem, "\\boxed{C2}") == Score(0.0, False, True)
    assert task.score(problem, "C1") == Score(0.0, False, False)
    assert task.score(problem, "\\boxed{C1 or C2}") == Score(0.0, False, False)
    with pytest.raises(TypeError, match=r'Problem \'x\' has the answer 3, but telelogs needs {"label"'):
        task.score(Problem("x", "", 3), "\\boxed{C1}")


def test_what_show_eval_and_warmup_ask_is_answered_from_the_text(tmp_path):
    """A row of the data set is a drive like any other: explained, drawn, and solved with the right label."""
    task = load("telelogs", source=write(tmp_path / "test.json", ROWS[:8]))
    shuffled = task.randomised()
    assert shuffled is not None
    assert shuffled.randomised() is None
    for one, two in zip(task.problems("test"), shuffled.problems("test"), strict=True):
        assert task.class_of(one) == shuffled.class_of(two)
        assert task.explanation(one).startswith(f"{one.answer['label']}: {CAUSES[task.class_of(one)]}")
        for asked, problem in ((task, one), (shuffled, two)):
            response = asked.demonstration(problem)
            assert asked.score(problem, response).reward == 1.0
            assert asked.answer_of(problem, response) == task.class_of(one)
    assert task.picture(task.problems("test")[0])


def test_where_the_rules_find_another_cause_the_label_stands(tmp_path):
    """One of the 864 official test rows is such; imitating a wrong trace would teach a wrong answer."""
    wrong = "C2" if ROWS[0]["answer"] == "C1" else "C1"
    task = load("telelogs", source=write(tmp_path / "test.json", [{**ROWS[0], "answer": wrong}]))
    (problem,) = task.problems("test")
    assert task.score(problem, task.demonstration(problem)).reward == 1.0
    assert "another cause" in task.explanation(problem)
