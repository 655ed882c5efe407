"""Are exported files what verl reads, for as many problems as are asked?"""

import json
import tracemalloc

import pyarrow.parquet
import pytest
from thorough import thorough

import hysteretic.tasks
from hysteretic.cli import main
from hysteretic.common.errors import UsageError
from hysteretic.launch.export import drawn, rows_of, write
from hysteretic.tasks import Problem
from hysteretic.tasks.exported import compute_score


def export(folder, *flags, task="countdown-3"):
    return main(["export", "--task", task, "--format", "verl", "--output", str(folder), *flags])


def test_files_hold_the_problems_that_train_uses(tmp_path, capsys):
    """Training problems of the seed, and the held-out ones that `hysteretic train` evaluates on."""
    assert export(tmp_path, "--train-problems", "30", "--validation-problems", "10", "--seed", "3") == 0
    task = hysteretic.tasks.load("countdown-3")
    for name, split, count in [("train", "train", 30), ("validation", "test", 10)]:
        rows = pyarrow.parquet.read_table(tmp_path / f"{name}.parquet").to_pylist()
        problems = task.problems(split, seed=3, count=count)
        assert [row["extra_info"]["problem_id"] for row in rows] == [problem.id for problem in problems]
        assert [row["prompt"] for row in rows] == [problem.prompt for problem in problems]
        assert {row["data_source"] for row in rows} == {"countdown-3"}
        assert rows[0]["reward_model"] == {
            "style": "rule",
            "ground_truth": json.dumps(problems[0].answer, sort_keys=True),
        }
        assert [row["extra_info"]["index"] for row in rows] == list(range(count))
    assert "30 problems" in capsys.readouterr().out


def test_a_row_read_back_can_be_scored(tmp_path):
    """What verl hands to the reward function is what was read from the file."""
    export(tmp_path, "--task-options", '{"format_bonus": 0.1}', "--train-problems", "5", "--validation-problems", "5")
    row = pyarrow.parquet.read_table(tmp_path / "train.parquet").to_pylist()[0]
    response = "<think>x</think> <answer>1 + 1</answer>"
    score = compute_score(row["data_source"], response, row["reward_model"]["ground_truth"], row["extra_info"])
    assert score == {"score": 0.1, "acc": 0.0, "format": 1.0}


def test_plain_prompts_become_user_messages_and_it_is_said(tmp_path, capsys):
    """verl has no prompts without a chat template."""
    export(tmp_path, "--train-problems", "8", "--validation-problems", "8", task="telelogs-compact")
    row = pyarrow.parquet.read_table(tmp_path / "train.parquet").to_pylist()[0]
    assert [message["role"] for message in row["prompt"]] == ["user"]
    assert "one user message" in capsys.readouterr().out


def test_files_of_your_own_are_named_so_that_any_folder_finds_them(tmp_path, monkeypatch):
    """Rewards are computed in other processes, in other working directories."""
    rows = "\n".join(json.dumps({"prompt": f"{n}?", "answer": n}) for n in range(100))
    (tmp_path / "data.jsonl").write_text(rows, encoding="utf-8")
    (tmp_path / "mine.py").write_text("def right(response, answer):\n    return response == str(answer)\n")
    monkeypatch.chdir(tmp_path)
    flags = ["--reward", "mine.py:right", "--validation-problems", "3"]
    assert export(tmp_path / "out", *flags, task="data.jsonl") == 0
    row = pyarrow.parquet.read_table(tmp_path / "out" / "train.parquet").to_pylist()[0]
    monkeypatch.chdir("/")
    answer = row["reward_model"]["ground_truth"]
    assert compute_score(row["data_source"], answer, answer, row["extra_info"])["score"] == 1.0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--train-problems", "4"], "exists; give another --output, or --overwrite"),
        (["--overwrite", "--validation-split", "tset"], "split is 'tset'"),
        (["--overwrite", "--task-options", '{"colour": 1}'], "no option 'colour'"),
        (
            ["--overwrite", "--task-options", '{"largest": 3, "largest_target": 5}', "--train-problems", "900"],
            "request fewer",
        ),
    ],
)
def test_mistakes_are_refused_and_leave_the_files_as_they_were(tmp_path, capsys, flags, message):
    """No half-written file is left under the name of a whole one."""
    export(tmp_path, "--train-problems", "3", "--validation-problems", "3")
    before = (tmp_path / "train.parquet").read_bytes()
    assert export(tmp_path, *flags) == 2
    assert message in capsys.readouterr().err
    assert (tmp_path / "train.parquet").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.parquet", "validation.parquet"]


def test_a_file_that_cannot_be_replaced_leaves_neither(tmp_path, capsys):
    """Training data was put in place before validation data turned out to be impossible."""
    (tmp_path / "validation.parquet").mkdir()
    assert export(tmp_path, "--train-problems", "3", "--validation-problems", "3", "--overwrite") == 2
    assert "validation.parquet is a folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["validation.parquet"]


def test_a_task_whose_splits_overlap_is_refused(tmp_path, capsys):
    """Validation on training problems says nothing."""
    module = tmp_path / "overlap.py"
    module.write_text(
        "from hysteretic.tasks import Problem, Score\n"
        "class Overlap:\n"
        "    name = 'overlap'\n"
        "    def problems(self, split='train', seed=0, count=None):\n"
        "        return [Problem('same', 'q', 1)]\n"
        "    def score(self, problem, response):\n"
        "        return Score(0.0, False, False)\n"
    )
    assert export(tmp_path / "out", "--validation-problems", "1", task=f"{module}:Overlap") == 2
    assert "make the task's splits disjoint" in capsys.readouterr().err


class Endless:
    """A task of any number of problems of half a kilobyte."""

    name = "endless"

    def problems(self, split="train", seed=0, count=None):
        raise AssertionError("all problems at once")

    def stream(self, split="train", seed=0):
        return (Problem(f"{split} {n}", f"{n}: " + "x" * 500, {"n": n}) for n in range(10**9))

    def score(self, problem, response):
        raise NotImplementedError


def peak(folder, count):
    tracemalloc.start()
    assert (
        write(folder / f"{count}.parquet", rows_of("endless", {}, drawn(Endless(), "train", 0, count), "train"))
        == count
    )
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


@thorough
def test_memory_does_not_grow_with_the_number_of_rows(tmp_path):
    """Twenty times the rows, the same few megabytes: a task that streams is written a row group at a time."""
    few = peak(tmp_path, 2_000)
    many = peak(tmp_path, 40_000)
    assert many < 1.5 * few + 1_000_000
    assert pyarrow.parquet.ParquetFile(tmp_path / "40000.parquet").num_row_groups == 40


@pytest.mark.parametrize("name", ["countdown-3", "telelogs-synthetic", "telelogs-compact"])
def test_streams_have_the_problems_in_the_same_order(name):
    """Exported and trained on in TRL: the same problems."""
    from itertools import islice

    task = hysteretic.tasks.load(name)
    for split in ("train", "test"):
        assert tuple(islice(task.stream(split, seed=5), 20)) == tuple(task.problems(split, seed=5, count=20))


def own_data(folder, rows=30):
    """A data file of so many problems and its reward; flags of export for it."""
    lines = [json.dumps({"prompt": f"{number}?", "answer": number}) for number in range(rows)]
    (folder / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "mine.py").write_text("def right(response, answer):\n    return response == str(answer)\n")
    return ["--reward", f"{folder}/mine.py:right"]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FEW = ["--train-problems", "5", "--validation-problems", "3"]


def test_the_same_export_again_changes_nothing(tmp_path, capsys):
    """A script that exports and trains can be run twice."""
    out = tmp_path / "out"
    assert export(out, *FEW) == 0
    before = contents(out)
    capsys.readouterr()
    assert export(out, *FEW) == 0
    assert "already holds this export" in capsys.readouterr().out
    assert contents(out) == before
    (out / "validation.parquet").unlink()
    assert export(out, *FEW) == 0
    assert contents(out) == before


@pytest.mark.parametrize(
    ("flags", "task", "message"),
    [
        (FEW, "countdown-4", "task was 'countdown-3' and is 'countdown-4'"),
        ([*FEW, "--seed", "1"], "countdown-3", "seed was 0 and is 1"),
        ([*FEW, "--task-options", '{"largest": 50}'], "countdown-3", "task_options was {} and is {'largest': 50}"),
        (["--train-problems", "6", *FEW[2:]], "countdown-3", "problems was 5 and is 6"),
        ([*FEW[:2], "--validation-problems", "4"], "countdown-3", "problems was 3 and is 4"),
        ([*FEW, "--validation-split", "train"], "countdown-3", "split was 'test' and is 'train'"),
    ],
)
def test_another_export_in_the_folder_is_refused_with_what_differs(tmp_path, capsys, flags, task, message):
    """Training on whatever lies in a folder is training on another task."""
    export(tmp_path, *FEW)
    assert export(tmp_path, *flags, task=task) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "--data of" in error or "another --data" in error


def test_a_data_file_that_changed_and_files_of_others_are_another_export(tmp_path, capsys):
    """The words are the same, the problems are not."""
    flags, out = own_data(tmp_path), tmp_path / "out"
    task = str(tmp_path / "data.jsonl")
    assert export(out, *flags, task=task) == 0
    own_data(tmp_path, rows=31)
    assert export(out, *flags, task=task) == 2
    assert "file was '" in capsys.readouterr().err
    (out / "train.parquet").write_bytes(b"something else")
    assert export(out, *flags, task=task) == 2
    assert "it does not record what it was made from" in capsys.readouterr().err


def test_a_small_data_set_gives_what_it_has(tmp_path, capsys):
    """200 are usual, not needed, as in `hysteretic train`; a number that was asked for is needed."""
    flags, task = own_data(tmp_path), str(tmp_path / "data.jsonl")
    assert export(tmp_path / "out", *flags, task=task) == 0
    rows = pyarrow.parquet.read_metadata(tmp_path / "out" / "validation.parquet").num_rows
    assert 0 < rows < 10
    assert export(tmp_path / "deep" / "new", *flags, "--validation-problems", "20", task=task) == 2
    assert "--validation-problems" in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()


def test_a_task_that_streams_few_problems_gives_what_it_has(tmp_path):
    """The other way in which a task tells its problems."""
    few = [Problem(str(n), "q", 1) for n in range(3)]

    class Few(Endless):
        name = "few"

        def stream(self, split="train", seed=0):
            return iter(few)

    assert list(drawn(Few(), "test", 0, 200, is_required=False)) == few
    with pytest.raises(ValueError, match="--validation-problems"):
        list(drawn(Few(), "test", 0, 200))


@pytest.mark.parametrize(
    ("error", "message"),
    [(ValueError("no more"), "no more"), (OSError(28, "No space left on device"), "No space left")],
)
def test_an_export_that_fails_half_way_changes_neither_file(tmp_path, capsys, monkeypatch, error, message):
    """Validation is written first; the old training problems beside new validation problems might be the same."""
    out = tmp_path / "out"
    export(out, *FEW)
    before = contents(out)
    written = []

    def failing(path, *others):
        if written:
            path.write_bytes(b"half")
            raise UsageError(str(error)) if isinstance(error, ValueError) else error
        written.append(path)
        return write(path, *others)

    monkeypatch.setattr("hysteretic.launch.export.write", failing)
    assert export(out, *FEW, "--seed", "1", "--overwrite") == 2
    assert message in capsys.readouterr().err
    assert contents(out) == before
