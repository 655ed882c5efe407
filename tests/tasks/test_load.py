"""From a name to a task, and what a wrong name is told."""

import doctest
import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from telelogs_questions import question

import hysteretic.tasks
from hysteretic.tasks import TASKS, load
from hysteretic.tasks.countdown import Countdown

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_task.py"

MINE = """
from __future__ import annotations
from dataclasses import dataclass
from pathlib import Path

@dataclass
class Mine:
    level: int = 1
    name: str = "mine"
    def problems(self, split="train", seed=0, count=None):
        return []
    def score(self, problem, response):
        return None

class Nothing:
    pass

class Needy:
    def __init__(self, rows):
        pass

def make(**options):
    return Mine(**options)

def positional(level, /):
    return Mine(level)

number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)


def test_every_listed_task_loads_under_its_name(tmp_path):
    """`hysteretic list` shows TASKS: a name that does not load would be a lie. (Gated data comes from the user.)"""
    rows = [{"question": question(n), "answer": "C3"} for n in range(2)]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    gated = {"telelogs", "telelogs-randomised"}
    for name, description in TASKS.items():
        task = load(name, **{"source": str(tmp_path / "test.json")} if name in gated else {})
        assert task.name == name
        assert description
        assert len(task.problems("test", 0, 2)) == 2


def test_options_reach_the_task():
    """A built-in task takes its fields as options; its size is its name."""
    assert load("countdown-4", largest=20, prompt="plain") == Countdown(4, largest=20, prompt="plain")


def test_the_example_in_the_repository_is_a_task():
    """The README and docs/own-task.md send people to this file; the page shows all of it."""
    assert EXAMPLE.read_text() in (EXAMPLE.parents[1] / "docs" / "own-task.md").read_text()
    task = load(f"{EXAMPLE}:ReverseWord", letters=5)
    train, test = task.problems("train", 0, 50), task.problems("test", 0, 50)
    assert len({p.id for p in train + test}) == 100
    assert train == task.problems("train", 0, 50) != task.problems("train", 1, 50)
    word = re.search("'([a-z]{5})'", train[0].prompt)[1]
    assert task.score(train[0], f"It is {word[::-1]}").reward == 1.0
    assert task.score(train[0], f"{word[::-1]} it is").reward == 0.0
    assert task.score(train[0], "").reward == 0.0


def test_a_class_or_a_factory_of_a_file_makes_a_task(mine):
    """A dataclass with postponed annotations needs its module to be findable: a trap of loading by path."""
    assert load("mine.py:Mine", level=3).level == 3
    assert load("mine.py:make", level=4).level == 4
    assert load("hysteretic.tasks.countdown:Countdown", size=2).name == "countdown-2"


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("countdwon-3", {}, ValueError, "Did you mean 'countdown-3'"),
        ("zzz", {}, ValueError, ", ".join(TASKS)),
        ("countdown-3", {"largset": 9}, ValueError, "Did you mean 'largest'"),
        ("countdown-3", {"size": 4}, ValueError, "no option 'size'; its options are largest, "),
        ("mine.py:Mine", {"speed": 1}, ValueError, "no option 'speed'; its options are level, name"),
        ("mine.py:Nothing", {"speed": 1}, ValueError, "it has no options"),
        ("mine.py", {}, ValueError, "mine.py:MyTask"),
        ("mine.py:Mime", {}, ValueError, "Mine, Nothing, Needy. Did you mean 'Mine'"),
        ("mine.py:Nothing", {}, ValueError, "name, problems, score"),
        ("mine.py:number", {}, ValueError, "mine.py:number is int"),
        ("none.py:Mine", {}, FileNotFoundError, "none.py is not a file"),
        ("mine.py:", {}, ValueError, "'mine.py:'"),
        ("no_such_package_here:Mine", {}, ImportError, "No module 'no_such_package_here'"),
        ("data.jsonl", {}, ValueError, "--reward my_reward.py:is_right"),
        ("mine.py:Needy", {}, ValueError, "--task_options '{\"rows\": ...}'"),
        ("org/name", {}, ValueError, "the option 'reward'"),
        ("data.jsonl", {"rewrad": "x"}, ValueError, "no option 'rewrad'; its options are reward, "),
    ],
)
def test_a_wrong_name_or_option_is_told_what_is_right(mine, name, options, error, message):
    """What was found, what there is, and the nearest match."""
    with pytest.raises(error) as raised:
        load(name, **options)
    assert message in str(raised.value)


def test_an_error_in_the_file_of_the_user_passes_unchanged(mine, tmp_path):
    """Their own traceback says most; a broken file leaves nothing half-imported."""
    (tmp_path / "broken.py").write_text("import no_such_package_here\n")
    before = set(sys.modules)
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_package_here'"):
        load("broken.py:Task")
    assert not [name for name in set(sys.modules) - before if "broken" in name]


def test_the_docstring_examples_run():
    """What the documentation of the public names shows is what happens."""
    pytest.importorskip("transformers", reason="not in the environment of the core alone")
    names = ["hysteretic.tasks", "hysteretic.models", "hysteretic.tasks.telelogs"]
    for package in map(importlib.import_module, tuple(names)):
        names += [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
    found = [doctest.testmod(importlib.import_module(name)) for name in names if ".tiny_" not in name]
    assert sum(result.failed for result in found) == 0
    assert sum(result.attempted for result in found) > 30


def test_telelogs_is_imported_on_demand():
    """The package of tasks does not depend on one of its tasks."""
    code = "import sys, hysteretic.tasks; sys.exit('hysteretic.tasks.telelogs' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tasks_import_nothing_heavy():
    """The command line lists tasks in half a second: the package of tasks uses the standard library alone."""
    root = Path(hysteretic.tasks.__file__).parent
    modules = sorted(f"hysteretic.tasks.{path.stem}" for path in root.glob("*.py") if path.stem != "__init__")
    code = (
        "import sys, types\n"
        f"package = types.ModuleType('hysteretic'); package.__path__ = [{str(root.parent)!r}]\n"
        "sys.modules['hysteretic'] = package\n"
        f"import hysteretic.tasks, {', '.join(modules)}\n"
        "heavy = {'torch', 'numpy', 'datasets', 'pyarrow', 'transformers', 'trl', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
