"""A wheel builds, holds what a user needs, and answers from where it is installed."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


def test_a_wheel_holds_code_types_model_and_recipes_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for needed in [
        "hysteretic/objective.py",
        "hysteretic/py.typed",
        "hysteretic/models/tiny_countdown/model.safetensors",
        "hysteretic/models/tiny_telelogs/model.safetensors",
        "hysteretic/recipes/tiny-telelogs-compact.yaml",
        "hysteretic/recipes/tiny-countdown-3.yaml",
        "hysteretic/compare/demo.yaml",
        "hysteretic/recipes/combinations.yaml",
        "hysteretic/recipes/models/qwen2.5-7b.yaml",
        "hysteretic/recipes/shared/published.yaml",
        *(f"hysteretic/{page}.{kind}" for page in ("compare/report", "html/base") for kind in ("html", "css", "js")),
    ]:
        assert needed in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"hysteretic"}
    assert wheel.stat().st_size < 2.5e6  # two models of about 0.9 MB are most of it


def test_an_installed_wheel_lists_its_recipes_and_is_found_by_inspect(wheel, tmp_path):
    """From its own folder, not from this checkout."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path), str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    (installed,) = distributions(path=[str(tmp_path)])
    assert ("inspect_ai", "hysteretic.evals.inspect_tasks") in {(p.group, p.value) for p in installed.entry_points}
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = "import hysteretic, sys; from hysteretic.cli import main; print(hysteretic.__file__); main(['list'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr
    assert "qwen2.5-7b-countdown-3-full" in done.stdout
