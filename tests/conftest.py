"""A random model in a folder, the flags of a run that takes a second, an installed task, and a stand-in for vLLM."""

import gc
import subprocess
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace

import pytest
from policy import random_policy
from quick_runs import quick_flags


def pytest_collection_finish(session):
    """What was imported stays: trainers call gc.collect(), which need not look through all of it each time."""
    gc.freeze()


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model, tokenizer = random_policy()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def quick(random_model):
    """Flags for `hysteretic train`: two rollouts of four problems, two updates each."""
    return quick_flags(random_model)


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """A folder with the task of examples/letter_count as pip installs it, offline."""
    folder = tmp_path_factory.mktemp("packages")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    source = Path(__file__).parents[1] / "examples" / "letter_count"
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(source)]
    subprocess.run(command, check=True, timeout=120)
    return folder


@pytest.fixture
def letter_count(packages, monkeypatch):
    """The task letter-count is installed."""
    monkeypatch.syspath_prepend(packages)
    yield
    sys.modules.pop("letter_count", None)


class VLLMStandIn:
    """What the package uses of vLLM: `options` of the engine, and what it was `asked`. It answers 3 tokens."""

    def __init__(self):
        self.asked, self.options, self.head_sizes = [], None, [8, 32]

    def start(self, **options):
        self.options = options
        return SimpleNamespace(generate=self.generate)

    def generate(self, prompts, parameters):
        self.asked.append({"prompts": prompts, "parameters": parameters})
        output = SimpleNamespace(token_ids=[1, 2, 3])
        return [SimpleNamespace(outputs=[output] * parameters["n"]) for _ in prompts]


@pytest.fixture
def vllm_stand_in(monkeypatch):
    import_module("hysteretic.trl")  # TRL looks for vLLM when it is imported, too
    stand_in = VLLMStandIn()
    heads = SimpleNamespace(get_supported_head_sizes=lambda: stand_in.head_sizes)
    modules = {
        "vllm": SimpleNamespace(__spec__=ModuleSpec("vllm", None), LLM=stand_in.start, SamplingParams=dict),
        "vllm.platforms": SimpleNamespace(current_platform=SimpleNamespace(is_cpu=lambda: True)),
        "vllm.v1.attention.backends.cpu_attn": SimpleNamespace(CPUAttentionBackend=heads),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(import_module("trl.import_utils"), "is_vllm_available", lambda: True)
    return stand_in
