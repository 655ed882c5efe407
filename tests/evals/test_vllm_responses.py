"""Responses from vLLM, with stand-ins: what is refused before any work, adapters, and the engine of a run.

`make test-vllm` runs vLLM itself.
"""

import json
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from policy import random_policy
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import import_utils

from hysteretic.cli import main
from hysteretic.common.errors import UsageError
from hysteretic.evals.vllm import check_heads, engine, respond_within_run
from hysteretic.tasks.task import Problem
from hysteretic.trl import HPOTrainer

EASY = ["--task", "countdown-3", "--task-options", '{"largest": 9, "largest_target": 20, "prompt": "terse"}']
USED = ["--use_vllm", "true", "--vllm_mode", "colocate"]


@pytest.fixture
def commands(quick, random_model, tmp_path):
    """Commands that use vLLM, by name, and the folder or file that each would write."""
    pairs = dict(zip(quick[::2], quick[1::2], strict=True))
    own = [word for pair in pairs.items() if pair[0] not in ("--disable_tqdm", "--learning_rate") for word in pair]
    model, out = ["--model", str(random_model)], str(tmp_path / "out")
    return {
        "train": ["train", *quick, *USED, "--output", out],
        "compare": ["compare", *own, *USED, "--algorithms", "grpo,a-hpo", "--seeds", "2", "--output", out],
        "probe": ["probe", *EASY, *model, "--vllm", "--problems", "2", "--output", out],
        "eval": ["eval", *EASY, *model, "--vllm", "--problems", "2", "--output", out],
    }


@pytest.mark.parametrize("command", ["train", "compare", "probe", "eval"])
@pytest.mark.parametrize("version", [None, "0.21.0", "0.99.0"])
def test_a_missing_or_unsupported_vllm_is_told_before_any_work(
    commands, tmp_path, capsys, monkeypatch, command, version
):
    """TRL warns of a version outside its range and goes on; what to install is said instead."""

    def is_vllm_available():
        if version is not None:
            warnings.warn(
                f"TRL currently supports vLLM versions from 0.22.0 to 0.31.0. You have version {version} installed. "
                "We recommend installing a supported version to avoid compatibility issues.",
                stacklevel=2,
            )
        return version is not None

    assert HPOTrainer  # TRL looks for vLLM when it is imported, too
    monkeypatch.setattr(import_utils, "is_vllm_available", is_vllm_available)
    monkeypatch.setattr("hysteretic.models.loading.has_vllm", lambda: version is not None)
    assert main(commands[command]) == 2
    said = capsys.readouterr().err
    assert "not installed" in said if version is None else f"0.22.0 to 0.31.0. You have version {version}" in said
    assert 'pip install "trl[vllm]"' in said
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name != ".lock"]


def test_a_vllm_that_trl_cannot_import_is_told_without_a_traceback(tmp_path):
    """TRL imports from every vLLM that is there, used or not; an old or new one lacks some of these modules."""
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text('__version__ = "0.99.0"')
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "hysteretic", "train", "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert done.returncode == 2
    assert "You have version 0.99.0" in done.stderr
    assert "TRL cannot work with the version of vLLM that is installed (No module named 'vllm.utils')" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["train", "probe", "eval"])
def test_heads_that_vllm_lacks_are_told_before_any_work(commands, vllm_stand_in, tmp_path, capsys, command):
    """Those of the random model have size 16 / 2 = 8."""
    vllm_stand_in.head_sizes = [32, 64]
    assert main(commands[command]) == 2
    assert "have size 8, and vLLM on a CPU has kernels for 32, 64 only" in capsys.readouterr().err
    assert vllm_stand_in.options is None
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name != ".lock"]


def test_heads_that_cannot_be_split_are_refused(random_model, vllm_stand_in):
    check_heads(str(random_model), 2)
    with pytest.raises(UsageError, match="cannot split the 2 attention heads"):
        check_heads(str(random_model), 3)


def test_eval_takes_all_its_responses_from_the_engine(commands, vllm_stand_in, tmp_path):
    assert main([*commands["eval"], "--samples", "3", "--max-completion-length", "6", "--seed", "5"]) == 0
    greedy, sampled = (asked["parameters"] for asked in vllm_stand_in.asked)
    assert (greedy["n"], greedy["temperature"]) == (1, 0.0)
    assert (sampled["n"], sampled["temperature"], sampled["max_tokens"]) == (3, 1.0, 6)
    assert vllm_stand_in.options["seed"] == 5
    assert json.loads((tmp_path / "out").read_text())["sampled"]["pass@1"]["problems"] == 2


def test_responses_are_not_generated_twice(capsys):
    assert main(["eval", *EASY, "--responses", "some.jsonl", "--vllm"]) == 2
    assert "--responses gives the responses" in capsys.readouterr().err


def test_an_adapter_is_merged_into_its_model_for_the_engine(random_model, vllm_stand_in, tmp_path):
    """A run with LoRA saves the adapter alone, which vLLM does not load as a model."""
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(random_model), LoraConfig(r=2, init_lora_weights=False)
    ).eval()
    model.save_pretrained(tmp_path / "adapter")
    AutoTokenizer.from_pretrained(random_model).save_pretrained(tmp_path / "adapter")
    ids = torch.arange(12)[None] + 5
    with engine(str(tmp_path / "adapter"), "auto", 0, 32), torch.no_grad():
        path = vllm_stand_in.options["model"]
        merged = AutoModelForCausalLM.from_pretrained(path).eval()
        torch.testing.assert_close(merged(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(merged(ids).logits, AutoModelForCausalLM.from_pretrained(random_model)(ids).logits)
        assert AutoTokenizer.from_pretrained(path).eos_token == AutoTokenizer.from_pretrained(random_model).eos_token


class Generation:
    """Stands for TRL's VLLMGeneration on one of several ranks: answers with the last token of the prompt."""

    def __init__(self, rank=0, ranks=1):
        device = torch.device("cpu")
        self.accelerator = SimpleNamespace(process_index=rank, num_processes=ranks, device=device)
        self.temperature, self.top_p, self.top_k, self.min_p, self.repetition_penalty = 0.7, 0.9, 20, 0.1, 1.2
        self.generation_kwargs, self.max_completion_length = {"stop": ["x"]}, 500
        self.calls = []

    def sync_weights(self):
        self.calls.append("sync")

    def generate(self, prompts, images, num_generations):
        self.calls.append((self.temperature, self.top_p, self.top_k, self.max_completion_length, num_generations))
        self.draws = torch.rand(2).tolist()
        return prompts, [prompt[-1:] for prompt in prompts], None, None


PROBLEMS = [Problem(str(i), f"{i:03d}:{i}", i) for i in range(5)]


@pytest.mark.parametrize(("samples", "temperature"), [(0, 0.0), (3, 1.0)])
def test_the_engine_of_a_run_has_its_settings_back_afterwards(samples, temperature):
    generation, tokenizer = Generation(), random_policy()[1]
    before, state = dict(vars(generation)), torch.get_rng_state()
    found = respond_within_run(generation, tokenizer, PROBLEMS, samples, 8)
    assert found == [[str(i)] * max(samples, 1) for i in range(5)]
    assert generation.calls == ["sync", (temperature, 1.0, 0, 8, max(samples, 1))]
    assert {name: value for name, value in vars(generation).items() if name in before} == before
    assert torch.equal(torch.get_rng_state(), state)
    first = generation.draws
    torch.rand(1)
    respond_within_run(generation, tokenizer, PROBLEMS, samples, 8)
    assert generation.draws == first  # a resumed run draws the same evaluation


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_ranks_share_the_problems_and_each_gives_equally_many(ranks, monkeypatch):
    """Seven ranks for five problems: some repeat the last one, and what they answer is dropped."""
    tokenizer, counts = random_policy()[1], set()
    texts = []
    for rank in range(ranks):
        generation = Generation(rank, ranks)
        kept = generation.generate
        generation.generate = lambda prompts, *rest, kept=kept: counts.add(len(prompts)) or kept(prompts, *rest)
        gathered = []
        monkeypatch.setattr("hysteretic.evals.vllm.gather_object", lambda rows, into=gathered: into.extend(rows) or [])
        respond_within_run(generation, tokenizer, PROBLEMS, 2, 8)
        texts += gathered
    assert len(counts) == 1
    monkeypatch.setattr("hysteretic.evals.vllm.gather_object", lambda rows: texts)
    assert respond_within_run(Generation(0, ranks), tokenizer, PROBLEMS, 2, 8) == [[str(i)] * 2 for i in range(5)]
