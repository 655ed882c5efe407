"""Which settings and models go the lean way, and which TRL's, with a reason told once."""

import logging

import pytest
import torch
from lean_runs import PLAIN, SEVERAL, logs, trained
from peft import PromptTuningConfig
from policy import random_policy
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM


@pytest.mark.parametrize(
    "changes",
    [
        {"gradient_checkpointing": True},
        {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}},
        {"bf16": True},
        {"num_train_epochs": 1, "max_steps": -1, "num_iterations": 2},
        {"temperature": 0.7},
        {"generation_kwargs": {"top_k": 5}},
        {"top_p": 0.9},
        {"min_p": 0.05},
    ],
    ids=str,
)
def test_settings_of_trl_go_the_lean_way_too(tmp_path, changes, caplog):
    """The same rewards and losses as plainly, nothing falls back."""
    several = {**SEVERAL, "max_steps": 4}
    with caplog.at_level(logging.WARNING, logger="hysteretic"):
        lean = trained(tmp_path / "lean", **{**several, **changes})
    assert not [record for record in caplog.records if record.name.startswith("hysteretic")]
    plain = trained(tmp_path / "plain", **{**several, **changes, **PLAIN})
    rough = 5e-2 if "bf16" in changes else 1e-4
    for ours, theirs in zip(logs(lean)[:4], logs(plain)[:4], strict=True):
        assert ours.get("reward") == theirs.get("reward")
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=rough)


def sliding_policy():
    config = Qwen2Config(
        vocab_size=262, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, use_sliding_window=True, sliding_window=8, max_window_layers=1, pad_token_id=0,
    )  # fmt: skip
    return Qwen2ForCausalLM(config)


def absolute_policy():
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=262, n_embd=16, n_layer=1, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    )


def virtual_tokens():
    return PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("not all layers of Qwen2ForCausalLM attend to the whole text", {"model": sliding_policy}),
        ("log-probabilities within a stream differ", {"model": absolute_policy}),
        ("repetition_penalty is 1.2", {"repetition_penalty": 1.2}),
        ("generation_kwargs sets min_new_tokens", {"generation_kwargs": {"min_new_tokens": 2}}),
        ("look at each micro-batch", {"entropy_coef": 0.01}),
        ("the adapter adds virtual tokens", {"peft_config": virtual_tokens()}),
        ("look at each micro-batch", {"top_entropy_quantile": 0.5}),
    ],
    ids=str,
)
def test_what_cannot_be_exact_goes_trls_way_and_says_why_once(tmp_path, caplog, reason, changes):
    """The run is the plain one; each part that falls back is named once with one reason."""
    changes = dict(changes)
    make = changes.pop("model", lambda: random_policy()[0])
    curves = []
    for ways in ({}, PLAIN):
        with caplog.at_level(logging.WARNING, logger="hysteretic"):
            torch.manual_seed(0)
            model = make()
            curves.append(
                logs(
                    trained(tmp_path / str(len(curves)), model=model, **{**SEVERAL, "max_steps": 8}, **changes, **ways)
                )
            )
    told = [r.getMessage() for r in caplog.records if r.name.startswith("hysteretic") and reason in r.getMessage()]
    assert len(told) == 1
    for ours, theirs in zip(*curves, strict=True):
        assert ours.get("reward") == theirs.get("reward")
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-4)
