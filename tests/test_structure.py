"""The shape of the package: no import cycles. Which room may import which is the contract of `lint-imports`."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp")  # comes with import-linter

SMALLEST = 40
"""Lines of a module that is not a command or an __init__."""
MOST_FILES = 20
"""In one folder."""


def test_no_module_imports_itself_through_others():
    """Imports within functions and under TYPE_CHECKING count too: a cycle means that neither file stands alone."""
    graph = grimp.build_graph("hysteretic", exclude_type_checking_imports=False)
    arrows = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_folders_and_files_keep_a_size_that_can_be_surveyed():
    """A file of a few lines belongs in another; a folder of many files hides what it holds."""
    package = Path(__file__).parents[1] / "src" / "hysteretic"
    files = [path for path in package.rglob("*.py") if path.name not in ("__init__.py", "__main__.py")]
    small = {
        str(path.relative_to(package)): lines
        for path in files
        if path.parent.name != "cli" and (lines := len(path.read_text(encoding="utf-8").splitlines())) < SMALLEST
    }
    assert not small
    for folder in {path.parent for path in files}:
        assert len(list(folder.glob("*.py"))) <= MOST_FILES, folder
