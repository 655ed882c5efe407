"""What does `import hysteretic` cost, and does every public name exist?"""

import doctest
import importlib
import subprocess
import sys

import pytest

import hysteretic


def modules_after(statement):
    """Top-level modules that a fresh interpreter has loaded after the statement."""
    program = f"{statement}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_import_alone_loads_no_torch():
    """`hysteretic --help` must answer in half a second; torch alone takes longer."""
    heavy = {"torch", "numpy", "trl", "transformers", "datasets", "accelerate", "peft", "altair"}
    assert not modules_after("import hysteretic") & heavy


@pytest.mark.parametrize("command", ["compare", "report"])
def test_a_comparison_is_read_and_reported_without_torch(command):
    """Mistakes and reports are quick, and the runs' fork server imports TRL while the settings are checked."""
    assert not modules_after(f"import hysteretic.cli.{command}") & {"torch", "trl", "transformers", "datasets"}


def test_the_maths_loads_torch_and_no_engine():
    """Who brings a loop of their own needs neither TRL nor transformers."""
    loaded = modules_after("import hysteretic; hysteretic.a_hpo().alpha(hysteretic.BatchStatistics(8, 80, 1, 7))")
    assert "torch" in loaded
    assert not loaded & {"trl", "transformers", "datasets", "accelerate", "peft", "altair"}


def test_every_public_name_resolves_and_is_listed_once():
    """The list is written by hand."""
    assert len(set(hysteretic.__all__)) == len(hysteretic.__all__)
    assert sorted(hysteretic.__all__) == hysteretic.__all__
    assert dir(hysteretic) == hysteretic.__all__
    for name in hysteretic.__all__:
        assert getattr(hysteretic, name) is not None
    namespace = {}
    exec("from hysteretic import *", namespace)
    assert set(hysteretic.__all__) <= set(namespace)


@pytest.mark.parametrize("name", [name for name in hysteretic.__all__ if name != "ALGORITHMS"])
def test_every_public_name_says_what_it_is(name):
    """And in its own words: a dataclass without a docstring would get its signature for one."""
    thing = getattr(hysteretic, name)
    assert thing.__doc__
    assert not thing.__doc__.startswith(f"{name}(")
    if isinstance(thing, type):
        methods = [value for key, value in vars(thing).items() if not key.startswith("_") and callable(value)]
        inherited_meaning = {"alpha_for", "clipped"}  # said once, in the protocol of the part
        assert all(method.__doc__ or method.__name__ in inherited_meaning for method in methods)


@pytest.mark.parametrize("name", ["advantages", "parts", "objective", "presets"])
def test_the_examples_in_docstrings_are_right(name):
    """Every public name of the core has one; it is the first thing that is copied."""
    module = importlib.import_module(f"hysteretic.{name}")
    found = doctest.testmod(module)
    assert found.failed == 0
    public = [thing for key, thing in vars(module).items() if key in hysteretic.__all__ and callable(thing)]
    own = [thing for thing in public if thing.__module__ == module.__name__ and thing is not hysteretic.LossOutput]
    assert own
    assert all(">>> " in thing.__doc__ for thing in own)


def test_an_unknown_name_is_answered_with_those_there_are():
    """`hysteretic.ahpo` should not end in a search through the sources."""
    with pytest.raises(AttributeError, match=r"no attribute 'ahpo'; it offers .*a_hpo"):
        _ = hysteretic.ahpo
