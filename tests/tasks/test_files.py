"""Rows of files and of the hub as problems; reward functions of the user; published Countdown problems."""

import json
import math
import sys
from types import SimpleNamespace

import pytest

from hysteretic.tasks import FileTask, RewardError, Score, load
from hysteretic.tasks.countdown import SPLITS, Countdown, split_of
from hysteretic.tasks.rows import LeftOutWarning
from hysteretic.tasks.task import Problem

ROWS = [{"prompt": f"What is {n} + 1?", "answer": n + 1} for n in range(200)]
ALL = {"train": "all"}
REWARD = "def is_right(response, answer):\n    return response.strip() == str(answer)\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a reward function in reward.py."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reward.py").write_text(REWARD)
    return tmp_path


def write(path, rows):
    """The rows as the kind of file that the name says."""
    if path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        import csv

        with path.open("w", newline="", encoding="utf-8-sig") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    else:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)


class NeverRaisedError(Exception):
    """In place of the errors of `datasets`."""


def hub(monkeypatch, tables, calls=None):
    """A stand-in for the package `datasets` that serves these tables."""

    def load_dataset(name, config):
        if calls is not None:
            calls.append((name, config))
        if tables is None:
            raise ConnectionError("no such data set")
        return {split: SimpleNamespace(to_list=lambda rows=rows: rows) for split, rows in tables.items()}

    errors = SimpleNamespace(DatasetsError=NeverRaisedError, DatasetGenerationError=NeverRaisedError)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset, exceptions=errors))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_every_kind_of_file_gives_the_same_problems(folder, suffix):
    """The format of the file must not change prompts, ids or splits (a CSV's answers are text)."""
    write(folder / f"sums.{suffix}", ROWS)
    task = load(f"sums.{suffix}", reward="reward.py:is_right")
    train, test = task.problems("train"), task.problems("test")
    assert task.name == "sums"
    assert sorted(p.prompt for p in train + test) == sorted(row["prompt"] for row in ROWS)
    assert len({p.id for p in train + test}) == 200
    assert 8 <= len(test) <= 36
    answers = {p.prompt: p.answer for p in train + test}
    assert all(str(answers[row["prompt"]]) == str(row["answer"]) for row in ROWS)
    assert task.score(train[0], f" {train[0].answer} ") == Score(1.0, True, True)
    assert task.score(train[0], "no") == Score(0.0, False, True)


def test_equal_prompts_stay_on_one_side_and_new_rows_move_none(folder):
    """Otherwise a test prompt is trained on, or a test set changes when data is added."""
    twice = [*ROWS, *({**row, "answer": -1} for row in ROWS), *ROWS]
    write(folder / "a.jsonl", ROWS)
    write(folder / "b.jsonl", twice)
    one, two = (load(name, reward="reward.py:is_right") for name in ("a.jsonl", "b.jsonl"))
    tests = [{p.prompt for p in task.problems("test")} for task in (one, two)]
    assert tests[0] == tests[1]
    assert not tests[1] & {p.prompt for p in two.problems("train")}
    assert len(two.problems("train")) + len(two.problems("test")) == 400


def test_the_split_of_a_file_never_changes(folder):
    """Problems drawn by hash: these were in the test split of version 0.1.0, under these ids."""
    write(folder / "sums.jsonl", ROWS[:60])
    task = load("sums.jsonl", reward="reward.py:is_right")
    assert [p.prompt for p in task.problems("test")] == ["What is 43 + 1?", "What is 23 + 1?"]
    assert [p.id for p in task.problems("train", count=2)] == ["sums:a70ae9de83b77d76", "sums:e160094d69e84caf"]


@pytest.mark.parametrize("is_chat", [True, False])
def test_wrapping_prompts_moves_no_problem_and_renames_none(folder, is_chat):
    """Or problems that a plain run was trained on would be in the test set of a chat run."""
    write(folder / "sums.jsonl", ROWS)
    plain, other = (load("sums.jsonl", reward="reward.py:is_right", is_chat=choice) for choice in (None, is_chat))
    for split in ("train", "test"):
        assert [(p.id, p.answer) for p in plain.problems(split)] == [(p.id, p.answer) for p in other.problems(split)]
    assert isinstance(other.problems()[0].prompt, list) == is_chat


def test_order_depends_on_the_seed_and_starts_the_same_for_any_count(folder):
    """Same seed, same problems, same run."""
    write(folder / "a.jsonl", ROWS)
    task = load("a.jsonl", reward="reward.py:is_right")
    assert task.problems("train", 0, 50)[:10] == task.problems("train", 0, 10)
    assert task.problems("train", 1, 50) != task.problems("train", 0, 50)
    assert set(task.problems("train", 1)) == set(task.problems("train", 0))
    with pytest.raises(ValueError, match=r"1000 problems .* a.jsonl has 1"):
        task.problems("train", 0, 1000)


def test_test_fraction_is_the_fraction_that_becomes_test(folder):
    """200 rows at a half: within five standard deviations of 100."""
    write(folder / "a.jsonl", ROWS)
    assert 65 <= len(load("a.jsonl", reward="reward.py:is_right", test_fraction=0.5).problems("test")) <= 135
    with pytest.raises(ValueError, match="test_fraction is 10"):
        load("a.jsonl", reward="reward.py:is_right", test_fraction=10)


def test_splits_of_the_data_are_used_as_they_are(folder, monkeypatch):
    """A published test split must stay the test split, whole."""
    tables = {"train": ROWS[:150], "validation": ROWS[150:160], "test": ROWS[160:]}
    write(folder / "sums.json", tables)
    calls = []
    hub(monkeypatch, tables, calls)
    for task in (
        load("sums.json", reward="reward.py:is_right"),
        load("org/sums", reward="reward.py:is_right", config="x"),
    ):
        assert [len(task.problems(split)) for split in tables] == [150, 10, 40]
    assert calls == [("org/sums", "x")]
    assert task.name == "org/sums"


def test_splits_can_be_named_otherwise(folder, monkeypatch):
    """Many data sets call their evaluation rows validation, or have one table that is all training."""
    hub(monkeypatch, {"train": ROWS[:150], "validation": ROWS[150:]})
    task = load("org/sums", reward="reward.py:is_right", splits={"train": "train", "test": "validation"})
    assert (len(task.problems("train")), len(task.problems("test"))) == (150, 50)
    with pytest.raises(ValueError, match=r"train, test\..*splits="):
        task.problems("dev")
    with pytest.raises(ValueError, match="it has train, validation"):
        load("org/sums", reward="reward.py:is_right").problems("test")
    with pytest.raises(ValueError, match="'dev', but org/sums has train, validation"):
        load("org/sums", reward="reward.py:is_right", splits={"test": "dev"}).problems("test")
    write(folder / "a.jsonl", ROWS)
    assert len(load("a.jsonl", reward="reward.py:is_right", splits=ALL).problems("train")) == 200


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_an_answer_that_is_not_a_number_is_an_error_not_a_reward_of_zero(folder, suffix):
    """A gap in a table of numbers arrives as NaN, and NaN equals no response."""
    write(folder / f"a.{suffix}", [{"prompt": "1+1?", "answer": 2.0}, {"prompt": "1+2?", "answer": float("nan")}])
    with pytest.raises(ValueError, match=r"row 1, has nan in column 'answer'"):
        load(f"a.{suffix}", reward="reward.py:is_right").problems()


def test_a_missing_column_is_named_with_the_columns_there_are(folder):
    """The user must see which option to set."""
    write(folder / "a.jsonl", [{"question": "1+1?", "solution": "2"}])
    with pytest.raises(ValueError, match=r"columns are question, solution\. Set prompt_column"):
        load("a.jsonl", reward="reward.py:is_right").problems()
    with pytest.raises(ValueError, match="Set answer_column"):
        load("a.jsonl", reward="reward.py:is_right", prompt_column="question").problems()
    whole = load("a.jsonl", reward="reward.py:is_right", prompt_column="question", answer_column="solution", splits=ALL)
    assert [(problem.prompt, problem.answer) for problem in whole.problems()] == [("1+1?", "2")]


def test_prompts_are_text_or_messages(folder):
    """Both shapes of Problem.prompt; anything else would fail deep inside a tokenizer."""
    messages = [{"role": "user", "content": "1+1?"}]
    write(folder / "a.jsonl", [{"prompt": messages, "answer": 2}])
    assert load("a.jsonl", reward="reward.py:is_right", splits=ALL).problems()[0].prompt == messages
    write(folder / "b.jsonl", [{"prompt": "1+1?", "answer": 2}])
    assert load("b.jsonl", reward="reward.py:is_right", splits=ALL, is_chat=True).problems()[0].prompt == messages
    for bad in (7, [], ["hi"], [{"role": "user"}]):
        write(folder / "c.jsonl", [{"prompt": bad, "answer": 2}])
        with pytest.raises(ValueError, match=r"row 0, has \w+ in column 'prompt'"):
            load("c.jsonl", reward="reward.py:is_right", splits=ALL).problems()
    write(folder / "mixed.jsonl", [{"prompt": "1+1?", "answer": 2}, {"prompt": messages, "answer": 2}])
    with pytest.raises(ValueError, match=r"row 1, has chat messages .* the rows before it have plain text"):
        load("mixed.jsonl", reward="reward.py:is_right").problems()
    mixed = load("mixed.jsonl", reward="reward.py:is_right", splits=ALL, is_chat=True)
    assert {str(p.prompt) for p in mixed.problems()} == {str(messages)}
    with pytest.raises(ValueError, match="is_chat is 'yes'"):
        load("mixed.jsonl", reward="reward.py:is_right", is_chat="yes")
    write(folder / "empty.jsonl", [{"prompt": "", "answer": 2}])
    with pytest.raises(ValueError, match="row 0, is empty in column 'prompt'"):
        load("empty.jsonl", reward="reward.py:is_right").problems()
    write(folder / "d.jsonl", [{"prompt": "x", "answer": None}])
    with pytest.raises(ValueError, match="empty in column 'answer'"):
        load("d.jsonl", reward="reward.py:is_right").problems()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", '{"prompt": 1}\n{broken', "a.jsonl line 2 is not valid JSON"),
        ("a.jsonl", "[1]\n", "line 1 has a row that is list"),
        ("a.json", "{broken", "a.json is not valid JSON.*jsonl"),
        ("a.json", "7", "a.json holds int"),
        ("a.json", '{"train": [1]}', "split 'train', has a row that is int"),
        ("a.csv", "prompt,answer\na,b,c\n", "a.csv line 2 has more fields than the header"),
        ("a.csv", 'prompt,answer\na,b\n"c,d\ne,f\n', "a.csv line 3 is not valid CSV.*doubled"),
        ("a.csv", 'prompt,answer\n"say "yes"",b\n', "a.csv line 2 is not valid CSV"),
        ("a.csv", "prompt,answer,answer\na,b,c\n", "a.csv has two columns 'answer'"),
        ("a.parquet", "prompt,answer\na,b\n", "a.parquet cannot be read as parquet: .*its format"),
        ("a.parquet", "", "a.parquet cannot be read as parquet"),
        ("a.jsonl", '{"prompt": "a", "answer": 1' + "0" * 5000 + "}", "a.jsonl line 1 is not valid JSON"),
        ("a.jsonl", "[" * 100_000, "a.jsonl line 1 is not valid JSON"),
        ("a.jsonl", "", "no rows for split 'train'"),
    ],
)
def test_a_malformed_file_says_where(folder, name, text, message):
    """A line number is worth more than a traceback."""
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load(name, reward="reward.py:is_right").problems()


def test_a_missing_file_or_data_set_is_named(folder, monkeypatch):
    """With the folder that was searched; and the hub's own reason is kept."""
    with pytest.raises(FileNotFoundError, match=r"none.jsonl is not a file"):
        load("none.jsonl", reward="reward.py:is_right").problems()
    hub(monkeypatch, None)
    with pytest.raises(ValueError, match=r"'org/none'.*: no such data set"):
        load("org/none", reward="reward.py:is_right").problems()
    write(folder / "a.jsonl", ROWS)
    with pytest.raises(ValueError, match="config is 'main'"):
        load("a.jsonl", reward="reward.py:is_right", config="main").problems()


@pytest.mark.parametrize(("source", "package"), [("org/sums", "datasets"), ("a.parquet", "pyarrow")])
def test_a_missing_optional_package_says_what_to_install(folder, monkeypatch, source, package):
    """Both come with the extra `trl`."""
    (folder / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ImportError, match=rf'{package} .*pip install "hysteretic\[trl\]"'):
        load(source, reward="reward.py:is_right").problems()


def test_the_real_datasets_package_serves_a_folder(folder, monkeypatch):
    """The stand-in above could differ from the real package: read a local folder of files through it."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    (folder / "org" / "sums").mkdir(parents=True)
    write(folder / "org" / "sums" / "train.jsonl", ROWS[:150])
    write(folder / "org" / "sums" / "test.jsonl", ROWS[150:])
    task = load("org/sums", reward="reward.py:is_right")
    assert (len(task.problems("train")), len(task.problems("test"))) == (150, 50)
    assert {p.prompt: p.answer for p in task.problems("test")} == {r["prompt"]: r["answer"] for r in ROWS[150:]}


def scored(value):
    task = FileTask("a.jsonl", reward=lambda response, answer: value)
    return task.score(Problem("a:1", "", 2), "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, Score(1.0, True, True)),
        (False, Score(0.0, False, True)),
        (1, Score(1.0, True, True)),
        (0.5, Score(0.5, False, True)),
        (-1.0, Score(-1.0, False, True)),
        (Score(0.1, True, False), Score(0.1, True, False)),
    ],
)
def test_a_reward_is_a_number_a_bool_or_a_score(value, expected):
    """What each kind of return value means is documented."""
    assert scored(value) == expected


@pytest.mark.parametrize("value", [None, math.nan, math.inf, "1", [1.0], 1j, Score(math.nan, True, True)])
def test_a_reward_that_is_not_a_number_is_an_error_not_a_zero(value):
    """A zero would train the model on a mistake of the reward function."""
    with pytest.raises(RewardError, match=r"lambda.* returned .*'a:1'"):
        scored(value)


def test_a_reward_that_raises_is_an_error_not_a_zero(folder):
    """Chained, so that the user's own traceback is shown; it names the function and the problem."""
    (folder / "bad.py").write_text("def divide(response, answer):\n    return 1 / len(response)\n")
    task = FileTask("a.jsonl", reward="bad.py:divide")
    with pytest.raises(RewardError, match=r"bad.py:divide raised ZeroDivisionError.*'a:1'") as raised:
        task.score(Problem("a:1", "", 2), "")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    assert isinstance(raised.value, ValueError)


def test_a_wrong_reward_name_fails_before_any_problem_is_asked(folder):
    """Not at the first response, after the model is loaded."""
    for reward, error, message in [
        ("none.py:is_right", FileNotFoundError, "none.py is not a file"),
        ("reward.py:is_rihgt", ValueError, "Did you mean 'is_right'"),
        ("no_such_package_here:is_right", ImportError, "No module 'no_such_package_here'"),
        ("reward.py", ValueError, "'reward.py'"),
        ("math:pi", ValueError, "'math:pi' is float"),
        (7, ValueError, "reward is 7"),
    ]:
        with pytest.raises(error) as raised:
            FileTask("a.jsonl", reward=reward)
        assert message in str(raised.value)


def test_a_reward_can_come_from_a_package_or_be_a_function(folder):
    """operator.eq compares the response with the answer: no file needed."""
    problem = Problem("a:1", "", "2")
    assert FileTask("a.jsonl", reward="operator:eq").score(problem, "2").reward == 1.0
    assert FileTask("a.jsonl", reward=str.startswith).score(problem, "23").reward == 1.0


COUNTDOWN_ROWS = [
    {"target": 26, "nums": [3, 5, 7]},
    {"target": 26, "nums": [7, 5, 3]},
    {"target": 24, "nums": [8, 3, 8, 3]},
    {"target": 99, "nums": [1, 1, 1]},
    *({"target": n + 12, "nums": [n, 5, 7]} for n in range(10, 60)),
]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_published_countdown_problems_are_filtered_and_divided(folder, suffix):
    """Those of the size, solvable, once each, on the side that the problem's hash says; the prompt is ours."""
    write(folder / f"public.{suffix}", COUNTDOWN_ROWS)
    task = load("countdown-3", source=f"public.{suffix}", prompt="terse")
    found = {split: task.problems(split) for split in ("train", "validation", "test")}
    ids = [problem.id for problems in found.values() for problem in problems]
    assert len(ids) == len(set(ids)) == 51
    assert "countdown:3,5,7=26" in ids
    assert "countdown:1,1,1=99" not in ids
    for split, problems in found.items():
        assert all(split_of(p.answer["numbers"], p.answer["target"]) == split for p in problems)
    assert all(task.score(p, "<answer>1</answer>").reward == 0.0 for p in found["train"])
    assert task.problems("train", 1) != task.problems("train", 0)
    side = split_of([8, 8, 3, 3], 24)
    (four,) = Countdown(4, source=f"public.{suffix}").problems(side)
    assert sorted(four.answer["numbers"]) == [3, 3, 8, 8]
    with pytest.raises(ValueError, match=r"0 exist with size=5.*public"):
        Countdown(5, source=f"public.{suffix}").problems("train")


def test_published_problems_keep_to_the_settings(folder):
    """largest and largest_target are not ignored when the problems come from a data set."""
    write(folder / "public.jsonl", COUNTDOWN_ROWS)
    task = Countdown(source="public.jsonl", largest=30, largest_target=35)
    problems = [p for split in ("train", "validation", "test") for p in task.problems(split)]
    assert len(problems) == 15
    assert all(max(p.answer["numbers"]) <= 30 and p.answer["target"] <= 35 for p in problems)


MIXED = [
    {"nums": [3, 5, 7], "target": 26},
    *({"nums": [3, 5, 7], "target": 15 + n} for n in (0, 0)),  # 3 + 5 + 7, twice
    *({"nums": [3, 5, 7, 9], "target": n} for n in range(1, 5)),
    {"nums": [1, 2, 3, 4, 5, 6], "target": 7},
    *({"nums": [50, 60, 7], "target": n} for n in (117, 103)),
    {"nums": [150, 60, 7], "target": 83},
    {"nums": [1, 1, 1], "target": 99},
]


def test_rows_that_are_left_out_are_counted_by_reason_with_the_setting_that_admits_them(folder):
    """12 rows of which 3 remain: not in silence."""
    write(folder / "mixed.jsonl", MIXED)
    task = Countdown(3, source="mixed.jsonl")
    with pytest.warns(LeftOutWarning) as said:
        kept = [p for split in SPLITS for p in task.stream(split)]
    assert {p.id for p in kept} == {"countdown:3,5,7=26", "countdown:3,5,7=15"}
    words = " ".join(str(one.message) for one in said)
    assert "Of the 12 rows of mixed.jsonl, 9 are left out" in words
    for reason in [
        "4 of 4 numbers (size=4 or the task countdown-4 takes them)",
        "1 of 6 numbers (not supported)",
        "2 with a target above 100 (largest_target=117 takes them)",
        "1 with a number above 99 (largest=150 takes them)",
        "1 that repeat another",
        "1 without a solution",
    ]:
        assert reason in words


def test_too_few_published_problems_say_where_the_others_went(folder):
    """800 asked and 0 there, of a file with a thousand rows, explained nothing."""
    write(folder / "far.jsonl", [{"nums": [50, 60, 7], "target": n} for n in (117, 103)])
    with (
        pytest.warns(LeftOutWarning),
        pytest.raises(ValueError, match=r"0 exist with size=3.*2 with a target above 100"),
    ):
        Countdown(3, source="far.jsonl").problems("train")


def test_the_public_data_set_is_asked_from_the_hub(monkeypatch):
    """Jiayi-Pan/Countdown-Tasks-3to4 has one table, train; the test split is made by hash."""
    calls = []
    hub(monkeypatch, {"train": COUNTDOWN_ROWS}, calls)
    task = load("countdown-3", source="Jiayi-Pan/Countdown-Tasks-3to4")
    assert not {p.id for p in task.problems("test")} & {p.id for p in task.problems("train")}
    assert calls == [("Jiayi-Pan/Countdown-Tasks-3to4", None)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"numbers": [1], "target": 1}, "row 0, has no column 'nums'; its columns are numbers, target"),
        ({"nums": [1, 2, 3]}, "row 0, has no column 'target'; its columns are nums"),
        ({"nums": [1, 2.5, 3], "target": 3}, r"row 0, has nums \[1, 2.5, 3\]"),
        ({"nums": [1, -2, 3], "target": 3}, "expected a list of positive integers"),
        ({"nums": [True, 2, 3], "target": 3}, "expected a list of positive integers"),
        ({"nums": [], "target": 3}, "expected a list of positive integers"),
        ({"nums": "1 2 3", "target": 3}, "has nums '1 2 3'"),
        ({"nums": [1, 2, 3], "target": 0}, "has target 0; expected a positive integer"),
        ({"nums": [1, 2, 3], "target": "x"}, "has target 'x'"),
    ],
)
def test_an_invalid_published_row_is_named(folder, row, message):
    """Numbers that are not positive integers would make problems that no answer can solve."""
    write(folder / "public.jsonl", [row])
    with pytest.raises(ValueError, match=message):
        load("countdown-3", source="public.jsonl").problems()
