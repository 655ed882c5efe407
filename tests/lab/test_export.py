"""Are exported files what verl reads, for as many problems as are asked?"""

import json
import tracemalloc

import pyarrow.parquet
import pytest

import hysteretic.tasks
from hysteretic.cli import main
from hysteretic.lab.export import drawn, rows_of, write
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
            "ask for fewer",
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
