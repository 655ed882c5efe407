"""HPOTrainer computes the pure objective: parameter gradients agree on one and on two processes."""

import json

import pytest
from policy import random_policy
from ranks import run_worker
from thorough import one_quick

import hysteretic as hy

BOUND = 1e-5
"""Relative error of the gradient; 5e-7 to 2e-6 is measured, by CPU (float32, different order of summation)."""


@pytest.mark.parametrize("processes", one_quick([2, 1]))
def test_parameter_gradients_are_the_pure_objectives(processes):
    """Every preset and seven compositions; accumulation 1, 2, 4; several updates; truncation masks; LoRA; and
    constant groups of 0.1 and 10.1. The reference runs each row alone, from the rewards on."""
    errors = json.loads(run_worker("gradient_worker.py", processes=processes).splitlines()[-1])
    assert len(errors) == 34 + len(hy.ALGORITHMS), "update the number when you add a case to gradient_worker.py"
    assert {name: error for name, error in errors.items() if not error < BOUND} == {}


def test_what_two_ranks_log_is_that_of_the_plain_way(tmp_path):
    """Means over the whole batch of both ranks, however rows are spread over them; a KL term; a rank without rows."""
    policy, tokenizer = random_policy()
    policy.save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    found = json.loads(run_worker("log_worker.py", tmp_path / "policy", tmp_path).splitlines()[-1])
    assert len(found) == 6
    assert found == {name: {} for name in found}
