"""The example that a newcomer reads first runs, trains, and computes what it says."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from policy import random_policy
from transformers import AutoModelForCausalLM

import hysteretic as hy
import hysteretic.models
from hysteretic.tasks import Score
from hysteretic.tasks.countdown import Countdown

OWN_LOOP = Path(__file__).parent.parent / "examples" / "own_loop.py"


def starts_low(_task, _problem, response):
    """About a sixth of a random policy's responses succeed."""
    return Score(float(response[:1] < "9"), is_correct=False, has_format=False)


@pytest.fixture
def run_own_loop(tmp_path, monkeypatch):
    """Run the example with a random policy; returns its variables."""
    model, tokenizer = random_policy()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(hysteretic.models, "tiny_model", lambda: tmp_path, raising=False)
    monkeypatch.setattr(Countdown, "score", starts_low)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["own_loop.py", "--tokens", "12", *arguments])
        return runpy.run_path(str(OWN_LOOP))

    return run


def test_own_loop_trains(run_own_loop, tmp_path, capsys):
    """Two rollouts: a line for each, alpha at work, other weights than before."""
    after = run_own_loop("--rollouts", "2")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["rollout 1", "rollout 2"]
    for line in lines:
        reward, alpha = map(float, re.search(r"reward (\S+), alpha (\S+),", line).groups())
        assert 0 < reward < 0.5
        assert 0.1 <= alpha < 1
    before = AutoModelForCausalLM.from_pretrained(tmp_path)
    moved = [bool((a != b).any()) for a, b in zip(before.parameters(), after["policy"].parameters(), strict=True)]
    assert all(moved)


@pytest.mark.parametrize("algorithm", ["dr-grpo", "asymre"])
def test_own_loop_runs_any_algorithm(run_own_loop, capsys, algorithm):
    """One whose length is the engine's longest, and one without alpha."""
    found = run_own_loop("--rollouts", "1", "--algorithm", algorithm)
    assert found["objective"] == hy.make(algorithm).with_max_length(12)
    assert ("alpha" in capsys.readouterr().out) == (algorithm == "dr-grpo")


def test_own_loop_computes_the_gradient_of_its_batch(run_own_loop):
    """With padding, masks, micro-batches and four updates: against one row at a time, not padded, in one sum."""
    found = run_own_loop("--rollouts", "1", "--learning-rate", "0")
    policy, mask, attention, tokens = (found[name] for name in ("policy", "mask", "attention", "tokens"))
    rows = found["update"]  # of the last update, at weights that never moved
    T = mask.shape[1]
    total = 0.0
    for row in rows.tolist():
        text = tokens[row][attention[row].bool()]
        length = int(mask[row].sum())
        assert length == T or text[-1] == found["tokenizer"].eos_token_id
        logits = policy(text[None]).logits[0, -length - 1 : -1]
        logprobs = logits.log_softmax(-1).gather(1, text[-length:, None]).T
        torch.testing.assert_close(logprobs[0].detach(), found["old"][row, :length], rtol=1e-4, atol=1e-5)
        total = total + (logprobs * found["weighted"][row]).sum() / found["statistics"].tokens * found["UPDATES"]
    assert (mask.sum(dim=1) < T).any()
    expected = torch.autograd.grad(-total, list(policy.parameters()))

    policy.zero_grad()
    for part in rows.split(found["MICRO"]):
        logprobs = found["logprobs_of"](tokens[part], attention[part], T)
        output = found["objective"].loss(
            logprobs,
            found["old"][part],
            found["weighted"][part],
            mask[part],
            found["statistics"],
            updates=found["UPDATES"],
        )
        output.loss.backward()
        assert output.metrics["kl"].mean < 1e-8
    for parameter, gradient in zip(policy.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=1e-5)
    assert found["statistics"] == hy.BatchStatistics.of(found["advantages"], mask)
