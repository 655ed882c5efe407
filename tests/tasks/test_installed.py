"""Tasks of other installed packages: found by every command, and a broken package hurts only who uses it."""

import json
import subprocess
import sys
import warnings
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest

import hysteretic.tasks
from hysteretic.cli import main
from hysteretic.common.errors import SettingWarning
from hysteretic.tasks import TASKS, load
from hysteretic.tasks.exported import compute_score, exported_row

EXAMPLE = Path(__file__).parents[2] / "examples" / "letter_count"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes a distribution with a module and entry points, as an installer would."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = []

    def write(distribution, module, code, **tasks):
        (tmp_path / f"{module}.py").write_text(code)
        folder = tmp_path / f"{distribution}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {reference}" for name, reference in tasks.items()]
        (folder / "entry_points.txt").write_text("\n".join(["[hysteretic.tasks]", *lines, ""]))
        modules.append(module)
        invalidate_caches()

    yield write
    for module in modules:
        sys.modules.pop(module, None)


def listed(capsys):
    """The tasks of `hysteretic list` by name, and what it warns of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert main(["list"]) == 0
    lines = capsys.readouterr().out.partition("algorithms:")[0].splitlines()[1:]
    tasks = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    return tasks, "\n".join(str(one.message) for one in said)


def test_the_example_is_listed_shown_evaluated_exported_and_scored(letter_count, tmp_path, capsys, monkeypatch):
    """As a built-in task, by its name, with its fields as options."""
    monkeypatch.chdir(tmp_path)
    tasks, errors = listed(capsys)
    assert tasks["letter-count"].startswith("Count a letter in two words.")
    assert tasks["letter-count"].endswith("(hysteretic-letter-count 0.1.0)")
    assert "letter" not in errors
    assert main(["show", "--task", "letter-count"]) == 0
    task = load("letter-count", letters="r")
    problems = task.problems("test", count=4)
    rows = [{"problem": p.id, "response": str(p.answer + (i == 0))} for i, p in enumerate(problems)]
    Path("responses.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["--task", "letter-count", "--task-options", '{"letters": "r"}']
    assert main(["eval", *words, "--problems", "4", "--responses", "responses.jsonl", "--output", "found.json"]) == 0
    assert json.loads(Path("found.json").read_text())["given"]["pass@1"]["value"] == 0.75
    assert main(["export", *words, "--output", "exported", "--train-problems", "8", "--validation-problems", "4"]) == 0
    row = exported_row("letter-count", {"letters": "r"}, problems[0], "test", 0)
    truth = row["reward_model"]["ground_truth"]
    assert compute_score(row["data_source"], str(problems[0].answer), truth, row["extra_info"])["acc"] == 1


def test_the_example_is_probed(letter_count, tmp_path, monkeypatch):
    """A command with a model, at its smallest."""
    monkeypatch.chdir(tmp_path)
    small = ["--problems", "2", "--samples", "2", "--max-completion-length", "2"]
    assert main(["probe", "--task", "letter-count", "--model", "tiny", "--output", "probed", *small]) == 0


def test_the_test_of_the_example_passes():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE)]
    subprocess.run(command, check=True, timeout=120, cwd=EXAMPLE)


def test_finding_tasks_imports_none_of_them(letter_count):
    """Names are read from metadata; a package that imports torch slows down only its own task."""
    assert hysteretic.tasks.names() == [*TASKS, "letter-count"]
    assert "letter_count" not in sys.modules


def test_an_unknown_name_is_told_what_other_packages_have(letter_count):
    with pytest.raises(
        ValueError, match=r"'leter-count'. Did you mean 'letter-count'.*Of other packages: letter-count"
    ):
        load("leter-count")
    with pytest.raises(ValueError, match=r"letter-count .of the package hysteretic-letter-count 0.1.0. has no option"):
        load("letter-count", words=3)


BROKEN = {
    "missing": ("import no_such_package_here\n", "broken_task:Task", "No module named 'no_such_package_here'"),
    "raises": ("1 / 0\n", "broken_task:Task", "ZeroDivisionError"),
    "exits": ("import sys\nsys.exit('bye')\n", "broken_task:Task", "SystemExit: bye"),
    "syntax": ("def (\n", "broken_task:Task", "SyntaxError"),
    "renamed": ("class Task: pass\n", "broken_task:Tusk", "it defines Task"),
    "gone": ("", "no_such_module_here:Task", "No module 'no_such_module_here'"),
    "number": ("Task = 3\n", "broken_task:Task", "broken_task:Task is int"),
    "other": ("class Task:\n    name = 'x'\n    def score(self): pass\n", "broken_task:Task", "lacks problems"),
    "no-colon": ("", "broken_task", "'broken_task' does not name a class"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_package_is_named_where_it_is_used_and_breaks_nothing_else(package, capsys, name):
    """The others are listed and load as before."""
    code, reference, said = BROKEN[name]
    package("bad-tasks", "broken_task", code, **{name: reference})
    with pytest.raises((ImportError, ValueError)) as raised:
        load(name)
    assert "bad-tasks 1.0" in str(raised.value)
    assert said in str(raised.value)
    tasks, errors = listed(capsys)
    assert "bad-tasks 1.0" in errors
    assert name not in tasks
    assert set(TASKS) <= set(tasks)
    assert load("countdown-3").name == "countdown-3"
    assert main(["show", "--task", name]) == 2
    assert "bad-tasks 1.0" in capsys.readouterr().err


def test_a_function_that_returns_no_task_is_named_with_its_package(package):
    package("bad-tasks", "broken_task", "def make():\n    return 3\n", made="broken_task:make")
    with pytest.raises(ValueError, match=r"made .of the package bad-tasks 1.0. gave a int, which is not a task"):
        load("made")


TASK = """
class Task:
    name = "mine"
    def problems(self, split="train", seed=0, count=None): return []
    def score(self, problem, response): return None
"""


def test_a_built_in_name_stays_the_built_in_task(package, capsys):
    package("greedy-tasks", "greedy_task", TASK, **{"countdown-3": "greedy_task:Task", "mine": "greedy_task:Task"})
    assert load("countdown-3").name == "countdown-3"
    assert load("mine").name == "mine"
    tasks, errors = listed(capsys)
    assert "greedy-tasks" not in tasks["countdown-3"]
    assert tasks["mine"] == "(greedy-tasks 1.0)"
    assert "'countdown-3' of the package greedy-tasks 1.0 is not used" in errors


def test_a_name_that_two_packages_register_is_neither(package):
    """Which comes first depends on the order of folders; both are named, with what to write instead."""
    package("one-task", "one_task", TASK, mine="one_task:Task")
    package("two-task", "two_task", TASK, mine="two_task:Task")
    with pytest.raises(ValueError, match=r"one-task 1.0 and two-task 1.0.*one_task:Task or two_task:Task"):
        load("mine")
    assert load("two_task:Task").name == "mine"
    with pytest.warns(SettingWarning, match=r"one-task 1.0 and two-task 1.0"):
        assert "mine" not in hysteretic.tasks.available()


@pytest.mark.parametrize("name", ["org/name", "data.jsonl", "task.py", "-x"])
def test_a_name_that_means_something_else_is_not_taken(package, name):
    """It would be a file or a data set of the hub anywhere else."""
    package("odd-tasks", "odd_task", TASK, **{name: "odd_task:Task"})
    assert name not in hysteretic.tasks.names()
    with pytest.warns(SettingWarning, match="odd-tasks 1.0 is not used"):
        hysteretic.tasks.available()


def test_a_partial_of_a_class_is_described_by_the_class(package):
    code = "import functools\n" + TASK.replace('name = "mine"', '"""Mine."""\n    name = "mine"')
    package("mine", "partial_task", code + "\nmade = functools.partial(Task)\n", mine="partial_task:made")
    assert hysteretic.tasks.available()["mine"] == "Mine. (mine 1.0)"
    assert load("mine").name == "mine"


def test_the_page_on_tasks_shows_the_entry_point_of_the_example():
    page = (EXAMPLE.parents[1] / "docs" / "own-task.md").read_text(encoding="utf-8")
    shown = page.split("```toml\n")[1].split("```")[0]
    assert shown in (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points."hysteretic.tasks"]' in shown


def test_help_reads_no_metadata():
    """`hysteretic --help` answers in half a second whatever is installed."""
    code = (
        "import sys; from hysteretic.cli import main; main(['--help']); sys.exit('importlib.metadata' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0
    assert import_module("hysteretic.tasks.installed").GROUP == "hysteretic.tasks"
