"""The lean update on a sharded model, on two gloo ranks: FSDP2, and ZeRO-2 and ZeRO-3 where DeepSpeed is installed."""

import json

import pytest
from policy import random_policy
from ranks import run_worker


@pytest.mark.parametrize("way", ["fsdp2", "zero2", "zero3"])
def test_the_lean_update_of_a_sharded_model_is_that_of_trls_whole_way(way, tmp_path):
    """Gradients of every update, gathered; what was pushed through the model; and the weights that are saved.

    A rank without rows makes forward passes of two tokens, since weights are gathered by all ranks together: without
    them gloo fails or waits for ever.
    """
    if way != "fsdp2":
        pytest.importorskip("deepspeed", reason="run with `make test-deepspeed`")
    random_policy()[0].save_pretrained(tmp_path / "policy")
    printed = run_worker("sharded_worker.py", way, tmp_path, tmp_path / "policy")
    found = json.loads(printed.splitlines()[-1])

    assert len(found["gradients"]) >= 6
    assert {name: error for name, error in found["gradients"].items() if not error < 1e-5} == {}
    tokens = found["tokens"]
    assert tokens["logged"] == tokens["lean"] == tokens["by hand"]
    assert tokens["plain"] == tokens["plain by hand"] > 10 * tokens["lean"]
    assert tokens["of a rank without rows"] == 2
    for kind, weights in found["weights"].items():
        assert weights["moved"] > 1e-3
        assert weights["saved"] == weights["resumed"] == 0, kind
