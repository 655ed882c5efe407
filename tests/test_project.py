"""The files around the package agree with each other: version, citation, changelog, workflows, make targets."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import hysteretic

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_written_once():
    """pyproject takes it from the package; CITATION.cff and the changelog name the same."""
    assert re.search(r'^dynamic = \["version"\]', read("pyproject.toml"), re.MULTILINE)
    assert yaml.safe_load(read("CITATION.cff"))["version"] == hysteretic.__version__
    assert re.search(r"^## \[([^\]]+)\]", read("CHANGELOG.md"), re.MULTILINE)[1] == hysteretic.__version__


def test_citations_name_the_article_completely_and_alike():
    """The page, the model card and CITATION.cff."""
    from hysteretic.trl import HPOTrainer

    def fields(bibtex):
        found = re.findall(r"(\w+)\s*=\s*\{(.*?)\},?\s*(?=\n\s*\w+\s*=|\n?\s*\}\s*$)", bibtex.strip(), re.DOTALL)
        return {name: re.sub(r"[{}]|\s+", " ", value).split() for name, value in found}

    page = fields(re.search(r"```bibtex\n(.*?)```", read("docs/citing.md"), re.DOTALL)[1])
    assert set(page) >= {"title", "author", "year", "eprint", "archivePrefix", "url"}
    assert page == fields(HPOTrainer._paper["citation"])
    (article,) = yaml.safe_load(read("CITATION.cff"))["references"]
    assert article["title"].replace(":", " :").split() == " ".join(page["title"]).replace(":", " :").split()
    assert article["url"] == page["url"][0]


def test_workflows_call_make_targets_that_exist():
    """Each job is one make target, so that it can be repeated anywhere."""
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            matrix = job["strategy"]["matrix"]
            called = {*matrix["target"], *(extra["target"] for extra in matrix["include"])}
            assert called <= TARGETS
            assert called >= {"check", "test", "test-core", "test-trl-oldest", "test-verl", "docs"}
            (command,) = [step["run"] for step in job["steps"] if "run" in step]
            assert command == "make ${{ matrix.target }} PYTHON=python"


def test_every_issue_form_and_hook_file_is_yaml_with_what_github_requires():
    """A form without these is not shown."""
    form = yaml.safe_load(read(".github/ISSUE_TEMPLATE/bug.yml"))
    assert {"name", "description", "body"} <= set(form)
    assert any("hysteretic env" in field["attributes"].get("label", "") for field in form["body"])
    pins = {
        hook["repo"].rsplit("/", 1)[-1]: hook.get("rev")
        for hook in yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    }
    constraints = dict(line.split("==") for line in read("constraints.txt").splitlines() if "==" in line)
    assert pins["ruff-pre-commit"] == f"v{constraints['ruff']}"
    assert pins["codespell"] == f"v{constraints['codespell']}"


def test_make_help_names_every_target():
    """Whatever can be made is explained."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    said = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert {line.split()[0] for line in said.splitlines()} == TARGETS
