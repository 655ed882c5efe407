"""Every command explains itself, and `hysteretic env` says what a bug report needs."""

import getpass
import platform
import re
from pathlib import Path

import pytest

from hysteretic import __version__
from hysteretic.cli import COMMANDS, main


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    """Complete and free of the escapes of argparse."""
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"usage: hysteretic {command}")
    assert "%%" not in text
    assert not re.search(r"%\(\w+\)", text)
    assert "None" not in text.split("options:", 1)[0]


def test_help_of_compare_names_task_and_model(capsys):
    with pytest.raises(SystemExit):
        main(["compare", "--help"])
    text = capsys.readouterr().out
    assert re.search(r"^  --task TASK  ", text, re.MULTILINE)
    assert re.search(r"^  --model MODEL  ", text, re.MULTILINE)


def test_env_lists_versions_and_devices_and_nothing_personal(capsys):
    assert main(["env"]) == 0
    text = capsys.readouterr().out
    facts = dict(line.removeprefix("- ").split(": ", 1) for line in text.splitlines())
    assert facts["python"] == platform.python_version()
    assert facts["hysteretic"] == __version__
    assert {"platform", "torch", "trl", "transformers", "devices"} <= facts.keys()
    for personal in (str(Path.home()), str(Path.cwd()), platform.node()):
        assert personal not in text
    assert f"/{getpass.getuser()}" not in text
