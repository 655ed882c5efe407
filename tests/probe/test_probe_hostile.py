"""`hysteretic probe` with bad input and interrupted; its numbers are also recomputed independently."""

import json
from itertools import combinations
from statistics import fmean

import numpy as np
import pytest
import torch
from filelock import FileLock
from probe.test_probe import EASY, FEW, probed

from hysteretic.cli import main
from hysteretic.probe import probe
from hysteretic.probe.record import describe
from hysteretic.probe.sampling import ProbeSettings, Sampled
from hysteretic.probe.summary import headline, percent, rows, sentences
from hysteretic.tasks.task import Problem, Score

TASK = """\
from hysteretic.tasks.task import Problem, Score


class Mine:
    name = "mine"

    def problems(self, split="train", seed=0, count=None):
        return [Problem(f"p{i}", f"{i}:", i) for i in range(count)]

    def score(self, problem, response):
        return Score(1.0, True, True)


class NaN(Mine):
    def score(self, problem, response):
        return Score(float("nan"), False, False)


class Infinite(Mine):
    def score(self, problem, response):
        return Score(float("inf"), False, False)


class Text(Mine):
    def score(self, problem, response):
        return Score("1", True, True)


class Number(Mine):
    def score(self, problem, response):
        return 1.0


class Raises(Mine):
    def score(self, problem, response):
        raise RuntimeError("no luck")


class Empty(Mine):
    def problems(self, split="train", seed=0, count=None):
        return []


class Twice(Mine):
    def problems(self, split="train", seed=0, count=None):
        return [Problem("p0", f"{i}:", i) for i in range(count)]
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NaN", ["p0", "nan", "finite reward"]),
        ("Infinite", ["p0", "inf", "finite reward"]),
        ("Text", ["p0", "'1'", "finite reward"]),
        ("Number", ["p0", "1.0", "finite reward"]),
        ("Raises", ["p0", "RuntimeError", "no luck"]),
        ("Empty", ["mine has no problems in split"]),
        ("Twice", ["4 problems with the id 'p0'"]),
    ],
)
@pytest.mark.parametrize("command", ["probe", "eval"])
def test_a_task_that_breaks_its_word_is_named(command, name, words, random_model, tmp_path, capsys):
    """A NaN would be a silent group and a wrong answer; nothing that is shown would say so."""
    file = tmp_path / "mine.py"
    file.write_text(TASK)
    flags = ["--task", f"{file}:{name}", "--model", str(random_model), "--problems", "4", "--samples", "2"]
    assert main([command, *flags, "--max-completion-length", "4", "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
    assert not list((tmp_path / "out").glob("*.json"))
    assert not (tmp_path / "out").is_file()


def test_training_refuses_two_problems_of_one_name(random_model, tmp_path, capsys):
    """It finds a response's problem by its id, and would hold one's response against the other's answer."""
    file = tmp_path / "mine.py"
    file.write_text(TASK)
    flags = ["--task", f"{file}:Twice", "--model", str(random_model), "--train_problems", "4", "--use_cpu", "true"]
    assert main(["train", *flags, "--bf16", "false", "--max_steps", "1", "--output", str(tmp_path / "out")]) == 2
    assert "4 problems with the id 'p0'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--temperature", "inf"], "--temperature is inf"),
        (["--temperature", "nan"], "--temperature is nan"),
        (["--informative", "nan"], "--informative is nan"),
        (["--problems", "1000000000"], "1000000000 problems requested"),
        (["--prompts-per-batch", str(10**18)], "at most 1000000"),
        (["--seed", "-1"], "--seed is -1"),
        (["--seed", str(2**64)], f"--seed is {2**64}"),
        (["--model", ""], "Cannot load the model ''"),
        (["--output", "x" * 300], "File name too long"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(random_model, tmp_path, flags, said, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = [*EASY, *FEW, "--model", str(random_model), "--output", "out"]
    assert main(["probe", *base, *flags]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert not list(tmp_path.glob("**/*.json"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to put the model on")
def test_a_device_that_is_not_there_is_named(random_model, tmp_path, capsys):
    base = [*EASY, *FEW, "--model", str(random_model), "--output", str(tmp_path / "out")]
    assert main(["probe", *base, "--device", "cuda"]) == 2
    assert "--device" in capsys.readouterr().err


def test_an_interrupted_probe_leaves_the_earlier_one(random_model, tmp_path, monkeypatch, capsys):
    """Ctrl-C while it samples; and the folder is free afterwards."""
    out = tmp_path / "out"
    command = ["probe", *EASY, *FEW, "--model", str(random_model), "--output", str(out)]
    assert main(command) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(probe, "sample_task", interrupted)
        assert main([*command, "--seed", "1"]) == 130
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert main([*command, "--seed", "1"]) == 0
    assert probed(out)["seed"] == 1


def test_two_probes_never_write_one_folder_at_once(random_model, tmp_path, capsys):
    """The page of one would stand beside the numbers of the other."""
    out = tmp_path / "out"
    out.mkdir()
    command = ["probe", *EASY, *FEW, "--model", str(random_model), "--output", str(out)]
    with FileLock(out / ".lock"):
        assert main(command) == 2
        assert "Another `hysteretic probe` is running" in capsys.readouterr().err
    (out / "probe.json.123.part").write_text("{")  # of one that was killed while it wrote
    assert main(command) == 0


def test_every_figure_that_is_shown_is_what_counting_gives():
    """From all subsets of a problem's responses, one by one; nothing of hysteretic.sparsity is used."""
    rng = np.random.default_rng(5)
    rewards = (rng.random((40, 7)) < rng.beta(0.3, 1.2, (40, 1))).astype(float)
    problems = [Problem(f"p{i}", "", "") for i in range(len(rewards))]
    scores = [[Score(float(r), bool(r), True) for r in row] for row in rewards]
    settings = ProbeSettings(
        task="t",
        model="m",
        split="train",
        samples=7,
        group_sizes=[4, 6],
        prompts_per_batch=20,
        informative=0.4,
        temperature=1.0,
    )
    record = describe(Sampled([["x"] * len(row) for row in scores], scores, 11.0, 30.0, "hand"), problems, settings)
    silent = {}
    for row, cells in zip([row for row in record["curve"] if row["group_size"] in (4, 6)], rows(record), strict=True):
        size = row["group_size"]
        by_problem = [[sum(group) for group in combinations(each, size)] for each in rewards]
        silent[size] = fmean(fmean(c in (0, size) for c in counts) for counts in by_problem)
        successes = fmean(fmean(counts) for counts in by_problem)
        alike = fmean(fmean(c * (c == size) for c in counts) for counts in by_problem)
        failed = fmean(fmean((size - c) * (c == 0) for c in counts) for counts in by_problem)
        positives, negatives = successes - alike, size - successes - failed
        needed = next(n for n in range(1, 1000) if n * (1 - silent[size]) >= 0.4 * 20 - 1e-9)
        assert row["silent"]["value"] == pytest.approx(silent[size])
        assert row["alpha"] == pytest.approx(max(0.1, positives / negatives))
        assert row["informative_responses"]["value"] == pytest.approx(20 * size * (1 - silent[size]))
        assert row["tokens"] == 20 * (11 + size * 30)
        assert row["prompts_needed"] == needed
        assert row["tokens_needed"] == needed * (11 + size * 30)
        assert cells[1].startswith(f"{100 * silent[size]:.1f} %")
        assert cells[3] == f"{20 * size * (1 - silent[size]):.0f} of {20 * size}"
        assert cells[4] == f"{max(0.1, positives / negatives):.2f}"
    never, always = fmean(rewards.sum(1) == 0), fmean(rewards.sum(1) == 7)
    said = " ".join(sentences(record))
    assert f"Success rate {100 * rewards.mean():.1f} %" in said
    assert f"{percent(never)} of problems were never solved, {percent(always)} always" in said
    assert headline(record).startswith(
        "Starts, with 20 prompts per batch and groups of 4: "
        f"expect {20 * (1 - silent[4]):.1f} informative groups per batch, "
        f"and none in {percent(silent[4] ** 20)} of"
    )
    largest = [row for row in record["curve"] if row["informative"] >= 0.4]
    assert record["smallest_group"] == min(row["group_size"] for row in largest)
    json.dumps(record, allow_nan=False)


def test_without_an_informative_group_no_empty_chart_is_shown(random_model, tmp_path):
    """And the page's title names the data by its file, not by where it lies on this machine."""
    data, rewards = tmp_path / "mine.jsonl", tmp_path / "rewards.py"
    data.write_text("".join(json.dumps({"prompt": f"{i:02d}:", "answer": i}) + "\n" for i in range(20)))
    for value, charts in [("0", 2), ("len(response) % 2", 4)]:
        rewards.write_text(f"def score(response, answer):\n    return {value}\n")
        flags = ["--task", str(data), "--reward", f"{rewards}:score", "--model", str(random_model), *FEW]
        assert main(["probe", *flags, "--output", str(tmp_path / "out")]) == 0
        page = (tmp_path / "out" / "index.html").read_text()
        assert page.count("<figure>") == charts
        assert f"<title>Will {random_model.name} start learning on mine.jsonl?</title>" in page
        assert str(tmp_path) not in page


@pytest.mark.parametrize(
    ("share", "words"),
    [
        *[(0, "0 %"), (1, "100 %"), (0.5, "50 %"), (0.0163, "1.6 %"), (0.0006, "0.1 %")],
        *[(2.4e-6, "less than 0.1 %"), (1 - 1e-9, "over 99.9 %"), (0.999, "99.9 %")],
    ],
)
def test_what_is_rare_is_not_called_never(share, words):
    assert percent(share) == words
