"""Text of any encoding in data files: it is read, or the message names file, row and remedy."""

import csv
import io
import json

import pytest

from hysteretic.cli import main
from hysteretic.common.errors import UsageError
from hysteretic.tasks import load
from hysteretic.tasks.checked import draw
from hysteretic.tasks.countdown import Countdown
from hysteretic.tasks.exported import exported_row
from hysteretic.tasks.rows import read_tables
from hysteretic.tasks.task import Problem

ROWS = [{"prompt": f"Où est le café {n}?", "answer": "là"} for n in range(40)]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = "prompt,answer\n" + "".join(f"{row['prompt']},{row['answer']}\n" for row in ROWS)
HALF = '{"prompt": "Which animal is \\ud83d?", "answer": "a fox"}\n'
UNICODE = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reward.py").write_text("def is_right(response, answer):\n    return answer in response\n")
    return tmp_path


@pytest.mark.parametrize("encoding", UNICODE)
@pytest.mark.parametrize(("name", "text"), [("a.jsonl", JSONL), ("a.csv", CSV), ("a.json", json.dumps(ROWS))])
def test_unicode_is_read_whatever_its_encoding(folder, name, text, encoding):
    """PowerShell writes UTF-16, Excel a byte order mark; neither is the user's mistake."""
    (folder / name).write_bytes(text.encode(encoding))
    assert read_tables(name) == {"all": ROWS}


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", JSONL), ("a.csv", CSV), ("a.json", JSONL)])
def test_another_encoding_is_named_with_file_line_and_remedy(folder, name, text):
    """Excel's plain CSV is Windows-1252. Guessing could change answers in silence: other 8-bit encodings look alike."""
    start, _, rest = text.partition("là")
    (folder / name).write_bytes((start + "la" + rest).encode("cp1252"))
    line = start.split("ù")[0].count("\n") + 1
    with pytest.raises(ValueError, match=rf"{name} line {line} is not UTF-8.*'ù' in Windows-1252.*iconv"):
        read_tables(name)


def test_a_damaged_utf16_file_is_named(folder):
    """A lone surrogate in its bytes."""
    (folder / "a.jsonl").write_bytes(b"\xff\xfe" + '{"prompt": "a"}\n'.encode("utf-16-le") + b"\x3d\xd8\x0a\x00")
    with pytest.raises(ValueError, match=r"a.jsonl line 2 is not valid UTF-16.*Save it as UTF-8"):
        read_tables("a.jsonl")


def test_a_field_longer_than_the_csv_modules_limit_is_read(folder):
    """131,072 characters is less than a long prompt; the limit of other code in the process stays."""
    before = csv.field_size_limit()
    (folder / "a.csv").write_text(f"prompt,answer\n{'x' * 200_000},b\n")
    assert len(read_tables("a.csv")["all"][0]["prompt"]) == 200_000
    assert csv.field_size_limit() == before


def test_line_breaks_within_a_quoted_field_are_kept(folder):
    """As the csv module writes them."""
    rows = [{"prompt": "one\ntwo\u2028three", "answer": 'say "yes", twice'}]
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, rows[0])
    table.writeheader()
    table.writerows(rows)
    (folder / "a.csv").write_bytes(text.getvalue().encode())
    assert read_tables("a.csv")["all"] == rows


def test_half_a_surrogate_pair_is_named_by_every_command_and_nothing_is_left(folder, capsys):
    """Valid JSON, but no tokenizer and no data set takes it; `show` accepted it and `train` raised."""
    pytest.importorskip("transformers", reason="not in the environment of the core alone")
    (folder / "a.jsonl").write_text(JSONL + HALF)
    flags = ["--task", "a.jsonl", "--reward", "reward.py:is_right"]
    for command in (["show"], ["eval", "--model", "tiny"], ["probe", "--model", "tiny"], ["train", "--model", "tiny"]):
        assert main([*command, *flags]) == 2
        said = capsys.readouterr().err
        assert "a.jsonl, row 40, has half of a surrogate pair (\\ud83d) in column 'prompt'" in said
        assert "Traceback" not in said
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == ["a.jsonl", "reward.py"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "answer": "\ud83d"},
        {"prompt": "a", "answer": {"text": ["\udc00"]}},
        {"prompt": [{"role": "user", "content": "\ud83d"}], "answer": "a"},
    ],
)
def test_half_a_surrogate_pair_is_found_at_any_depth(folder, row):
    (folder / "a.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match="row 0, has half of a surrogate pair"):
        load("a.jsonl", reward="reward.py:is_right").problems()


def test_a_whole_surrogate_pair_is_text(folder):
    """JSON escapes every emoji as two halves."""
    (folder / "a.jsonl").write_text('{"prompt": "\\ud83e\\udd8a?", "answer": "fox"}')
    assert read_tables("a.jsonl")["all"][0]["prompt"] == "🦊?"


class Mine:
    """A user's task with these prompts."""

    name = "mine"

    def __init__(self, *prompts):
        self._problems = [Problem(f"mine:{i}", prompt, "a") for i, prompt in enumerate(prompts)]

    def problems(self, split="train", seed=0, count=None):
        return self._problems

    def score(self, problem, response):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        (["fine", "half \ud83d"], "mine has half of a surrogate pair .*'mine:1'"),
        (["fine", [{"role": "user", "content": "hi"}]], "both plain text and chat messages .*'mine:0' and 'mine:1'"),
    ],
)
def test_prompts_of_a_task_of_ones_own_are_checked_too(prompts, said):
    """They would fail in pyarrow, when the run's data set is made."""
    with pytest.raises(UsageError, match=said):
        draw(Mine(*prompts), "train", 0, None)


def test_responses_of_another_encoding_are_read_or_named(folder, capsys):
    """`eval --responses` reads files of the same kinds."""
    pytest.importorskip("transformers", reason="not in the environment of the core alone")
    problem = Countdown(3).problems("test", count=1)[0]
    line = json.dumps({"problem": problem.id, "response": "été"}, ensure_ascii=False)
    flags = ["eval", "--task", "countdown-3", "--problems", "1", "--responses", "r.jsonl"]
    (folder / "r.jsonl").write_bytes(line.encode("utf-16"))
    assert main(flags) == 0
    capsys.readouterr()
    (folder / "r.jsonl").write_bytes(line.encode("cp1252"))
    assert main(flags) == 2
    assert "r.jsonl line 1 is not UTF-8" in capsys.readouterr().err


def test_a_hub_set_whose_files_differ_in_columns_says_what_to_do(folder, monkeypatch, capsys):
    """By the real package, from a folder; its own error is a DatasetGenerationError without the reason."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    (folder / "org" / "sums").mkdir(parents=True)
    (folder / "org" / "sums" / "a.jsonl").write_text(json.dumps({"prompt": "a", "answer": "b"}))
    (folder / "org" / "sums" / "b.jsonl").write_text(json.dumps({"prompt": "a", "answer": "b", "extra": 1}))
    assert main(["show", "--task", "org/sums", "--reward", "reward.py:is_right"]) == 2
    said = capsys.readouterr().err
    for words in ("'org/sums'", "extra", "column names don't match", "set config"):
        assert words in said


def test_half_a_surrogate_pair_is_not_exported():
    """Parquet holds UTF-8; without the check, pyarrow's error names neither task nor problem."""
    for problem in (Problem("mine:7", "\ud83d", "a"), Problem("mine:7", "a", {"text": "\ud83d"})):
        with pytest.raises(ValueError, match=r"'mine:7' has half of a surrogate pair \(\\ud83d\)"):
            exported_row("mine", {}, problem, "train", 0)


def test_a_comparison_reports_bad_data_before_its_runs(folder, capsys):
    """Not once per run, in the logs; and it leaves no folder."""
    pytest.importorskip("transformers", reason="not in the environment of the core alone")
    (folder / "a.jsonl").write_text(HALF + JSONL)
    flags = ["--task", "a.jsonl", "--reward", "reward.py:is_right", "--model", "tiny", "--max_steps", "2"]
    assert main(["compare", *flags, "--algorithms", "grpo,a-hpo", "--seeds", "2", "--output", "out"]) == 2
    assert "a.jsonl, row 0, has half of a surrogate pair" in capsys.readouterr().err
    assert not (folder / "out").exists()
