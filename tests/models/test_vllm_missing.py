"""vLLM asked for where it is not installed: exit 2, what to install, and nothing left behind."""

from __future__ import annotations

import pytest
import torch

from hysteretic.cli import main
from hysteretic.models import loading

RECIPE = "qwen2.5-1.5b-countdown-3-lora"


@pytest.fixture(autouse=True)
def without_vllm(monkeypatch, tmp_path):
    """An empty working folder on a machine without vLLM."""
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--config", RECIPE, "--use_cpu", "true"],
        ["train", "--use_vllm", "true", "--vllm_mode", "server"],
        ["probe", "--task", "countdown-3", "--model", "tiny", "--vllm"],
    ],
)
def test_a_run_says_so_before_it_makes_anything(words, capsys, without_vllm):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "vLLM is not installed here" in said
    assert "pip install" in said
    assert "Traceback" not in said
    assert list(without_vllm.iterdir()) == []


def test_a_dry_run_is_refused_where_the_run_could_be_made_and_says_so_elsewhere(capsys, without_vllm, monkeypatch):
    """On a laptop a dry run of a recipe is what it is for; the report says what the run needs besides."""
    assert main(["train", "--dry-run", RECIPE]) == 0
    said = capsys.readouterr().out
    assert "missing here" in said
    assert "vLLM, which the run itself needs: pip install" in said
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert main(["train", "--dry-run", RECIPE]) == 2
    assert "vLLM is not installed here" in capsys.readouterr().err
    assert list(without_vllm.iterdir()) == []
