"""These tests need vLLM, which cannot share the environment of the others: `make test-vllm`. Elsewhere they are not
collected.

The folder is not called vllm: tests/ is on the import path, and TRL would take it for the package.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
collect_ignore_glob = [] if find_spec("vllm") else ["test_*.py"]

sys.path[:0] = [str(HERE.parent / "trl"), str(HERE / "plugin")]
ON_A_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine's core is not a process of its own, which imports all again
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONPATH": os.pathsep.join([str(HERE / "plugin"), str(HERE.parent), os.environ.get("PYTHONPATH", "")]),
}
if find_spec("vllm"):
    os.environ.update(ON_A_CPU)


@pytest.fixture(scope="session")
def policy_folder(tmp_path_factory):
    """A random model that vLLM takes: its attention on a CPU has no heads smaller than 32."""
    from policy import random_policy

    folder = tmp_path_factory.mktemp("policy")
    model, tokenizer = random_policy(width=64)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def engine_of_session():
    from one_engine import OneEngine

    return OneEngine()


@pytest.fixture
def engine(engine_of_session, monkeypatch):
    """TRL's colocated engine is the same for all trainers of a session; each brings its weights by TRL's own sync."""
    from trl.generation import vllm_generation

    monkeypatch.setattr(vllm_generation, "LLM", engine_of_session)
    return engine_of_session
