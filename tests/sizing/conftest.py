"""Architectures and work, made once."""

import pytest
from peft import LoraConfig
from published_models import CONFIGS, write_config

from hysteretic.cli.plan import parse_for
from hysteretic.sizing.architecture import architecture, read_config
from hysteretic.sizing.work import work_of


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """By name: (alone, with an adapter of rank 16 on all matrices)."""
    found = {}
    for name in CONFIGS:
        config = read_config(write_config(tmp_path_factory.mktemp(name), name))
        peft = LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
        found[name] = architecture(config, name), architecture(config, name, peft)
    return found


@pytest.fixture(scope="session")
def work():
    """A function of flags: the work of a run on `gpus` GPUs with prompts of 200 tokens."""

    def of(*flags, gpus=1, prompt=200, **options):
        return work_of(parse_for(gpus, ["--model", "some/model", *flags]), gpus, prompt, **options)

    return of
