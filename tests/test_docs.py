"""Do the pages under docs/ parse, and do their commands exist?"""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from hysteretic.cli import main

DOCS = Path(__file__).parents[1] / "docs"
BLOCKS = [
    (path.name, language, code)
    for path in sorted(DOCS.glob("*.md"))
    for language, code in re.findall(r"```(\w+)\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
]
SHELL = [(name, code) for name, language, code in BLOCKS if language == "bash"]
LAUNCHES = [
    line for _, code in SHELL for line in code.replace("\\\n", "").splitlines() if line.startswith("hysteretic launch")
]


def test_there_is_something_to_check():
    """Blocks in another language would not be looked at."""
    assert {language for _, language, _ in BLOCKS} <= {"bash", "yaml"}
    assert len(LAUNCHES) >= 5


@pytest.mark.parametrize(("name", "code"), SHELL)
def test_shell_blocks_have_no_syntax_errors(name, code):
    """bash -n reads and runs nothing."""
    subprocess.run(["bash", "-n"], input=code, text=True, check=True)


@pytest.mark.parametrize("code", [code for _, language, code in BLOCKS if language == "yaml"])
def test_yaml_blocks_parse_and_their_scripts_too(code):
    """SkyPilot's setup and run are shell."""
    content = yaml.safe_load(code)
    for key in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=content.get(key, ""), text=True, check=True)


@pytest.mark.parametrize("line", LAUNCHES)
def test_launch_commands_print_a_command(line, capsys):
    """With shell variables made numbers."""
    words = shlex.split(re.sub(r'"\$\w+"', "8", line).replace("$head", "head"))
    assert main([*words[1:], "--print"]) == 0
    assert "verl.trainer.main_ppo" in capsys.readouterr().out


def test_links_between_pages_lead_somewhere():
    """A page that was moved."""
    for path in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert target.startswith("http") or (path.parent / target).exists(), f"{path.name}: {target}"
