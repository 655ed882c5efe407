"""A random model in a folder, and the flags of a run that takes a second."""

import pytest
from policy import random_policy
from quick_runs import quick_flags


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
