"""A random model in a folder, the flags of a run that takes a second, and a stand-in for vLLM."""

import gc
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
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
