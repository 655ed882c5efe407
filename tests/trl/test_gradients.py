"""HPOTrainer computes the pure objective: parameter gradients agree on one and on two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from policy import random_policy

WORKER = Path(__file__).with_name("gradient_worker.py")
BOUND = 1e-5
"""Relative error of the gradient; 5e-7 to 2e-6 is measured, by CPU (float32, different order of summation)."""


def errors_of(command):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=540)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("processes", [1, 2])
def test_parameter_gradients_are_the_pure_objectives(processes):
    """Eleven presets and seven compositions; accumulation 1, 2, 4; several updates; truncation masks; LoRA; and
    constant groups of 0.1 and 10.1. The reference runs each row alone, from the rewards on."""
    launch = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    errors = errors_of([sys.executable, *launch, str(WORKER)])
    assert len(errors) == 43
    assert {name: error for name, error in errors.items() if not error < BOUND} == {}


def test_what_two_ranks_log_is_that_of_the_plain_way(tmp_path):
    """Means over the whole batch of both ranks, however rows are spread over them; a KL term; a rank without rows."""
    policy, tokenizer = random_policy()
    policy.save_pretrained(tmp_path / "policy")
    tokenizer.save_pretrained(tmp_path / "policy")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    worker = WORKER.with_name("log_worker.py")
    found = errors_of([sys.executable, *launch, str(worker), str(tmp_path / "policy"), str(tmp_path)])
    assert len(found) == 6
    assert found == {name: {} for name in found}
