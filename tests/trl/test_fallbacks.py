"""Which settings and models go the lean way, and which TRL's, with a reason told once."""

import dataclasses
import logging

import pytest
import torch
import transformers
from packed_runs import PLAIN, SEVERAL, logs, trained
from peft import PromptTuningConfig
from policy import random_policy
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from hysteretic.lean.packed import Packed
from hysteretic.trl import HPOTrainer, compat


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


@pytest.mark.parametrize(
    ("changes", "own", "words"),
    [
        ({"top_k": None}, {}, "top_k is None"),
        ({"top_k": None}, {"top_k": 3}, "top_k is None"),
        ({"top_p": None}, {"top_p": 0.5}, "top_p is None"),
        ({"min_p": None}, {"min_p": 0.4}, "min_p"),
        ({"repetition_penalty": None}, {"repetition_penalty": 1.5}, "repetition_penalty"),
        ({"max_completion_length": None}, {}, "max_completion_length is None"),
        ({"max_completion_length": None, "algorithm": "sapo"}, {}, "max_completion_length is None"),
    ],
    ids=str,
)
def test_none_in_sampling_means_what_it_means_in_trl(tmp_path, changes, own, words, caplog):
    """The model's generation config, or transformers' default (50 for top_k, not all tokens); and a line says so."""
    rewards = []
    with caplog.at_level(logging.WARNING, logger="hysteretic"):
        for name, way in (("lean", {}), ("plain", PLAIN)):
            model = random_policy()[0]
            for key, value in own.items():
                setattr(model.generation_config, key, value)
            run = trained(tmp_path / name, model=model, **{"generation_kwargs": None, **changes}, **way)
            rewards.append(run.batches[0]["completion_ids"])
    assert torch.equal(*rewards)
    assert words in caplog.text


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


def policy_with_min_p():
    policy = random_policy()[0]
    policy.generation_config.min_p = 0.9
    return policy


def dynamic_rope_policy():
    config = random_policy()[0].config
    config.rope_parameters = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    return Qwen2ForCausalLM(config)


def experts_policy():
    config = MixtralConfig(
        vocab_size=262, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_local_experts=2, output_router_logits=True, sliding_window=None,
    )  # fmt: skip
    return MixtralForCausalLM(config)


def virtual_tokens():
    return PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("not all layers of Qwen2ForCausalLM attend to the whole text", {"model": sliding_policy}),
        ("within a stream", {"model": absolute_policy}),
        ("repetition_penalty is 1.2", {"repetition_penalty": 1.2}),
        ("generation_kwargs sets min_new_tokens", {"generation_kwargs": {"min_new_tokens": 2}}),
        ("look at each micro-batch", {"entropy_coef": 0.01}),
        ("the adapter adds virtual tokens", {"peft_config": virtual_tokens()}),
        ("look at each micro-batch", {"top_entropy_quantile": 0.5}),
        ("cache_implementation is 'dynamic'", {"cache_implementation": "dynamic"}),
        ("the model's generation config sets min_p", {"model": policy_with_min_p}),
        ("its positions (dynamic) depend on the length", {"model": dynamic_rope_policy}),
        pytest.param(
            "balancing loss of experts",
            {"model": experts_policy},
            marks=pytest.mark.skipif(
                transformers.__version__ == "5.0.0", reason="it cannot generate with output_router_logits"
            ),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
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


def test_half_precision_is_told_from_a_wrong_stream(tmp_path, monkeypatch):
    """A bf16 model whose logits are large goes the lean way; one whose stream is wrong does not."""
    policy = random_policy()[0].to(torch.bfloat16)
    lean = trained(tmp_path / "right", model=policy, max_steps=1)
    assert lean._packs
    assert lean._samples
    right = Packed.of

    def late(*arguments):
        packed = right(*arguments)
        return dataclasses.replace(packed, position_ids=packed.position_ids * 3)

    monkeypatch.setattr(compat.Packed, "of", late)
    assert not trained(tmp_path / "wrong", model=random_policy()[0].to(torch.bfloat16), max_steps=1)._packs


def given_responses(prompts, trainer):
    """A rollout function: responses of 2 to 11 tokens with the log-probs of an engine, some tokens an environment's."""
    draw = torch.Generator().manual_seed(trainer.state.global_step)
    responses = [torch.randint(5, 250, (2 + i % 10,), generator=draw).tolist() for i in range(len(prompts))]
    return {
        "prompt_ids": trainer.processing_class(prompts)["input_ids"],
        "completion_ids": responses,
        "logprobs": [[-5.0 - 0.1 * j for j in range(len(row))] for row in responses],
        "env_mask": [[int((i + j) % 3 > 0) for j in range(len(row))] for i, row in enumerate(responses)],
    }


@pytest.mark.parametrize("algorithm", ["grpo", "gspo", "sapo", "cispo", "a-hpo"])
@pytest.mark.parametrize("engine", ["rollout function", "vllm"])
def test_responses_of_another_engine(tmp_path, monkeypatch, algorithm, engine):
    """Tokens of an environment, and vLLM's correction, which needs the old log-probs of all responses; off-policy
    masks by the engine's log-probs. The weights after four updates are those of the plain way, and so is the entropy,
    which comes with the old log-probs of all responses."""
    weights, entropies = [], []
    changes = {**SEVERAL, "max_steps": 4, "algorithm": algorithm, "off_policy_mask_threshold": 1.0}
    for ways in ({}, PLAIN):
        if engine == "vllm":
            monkeypatch.setattr(HPOTrainer, "_generate_single_turn", lambda self, ids, *_: as_vllm(self, ids))
            monkeypatch.setattr(HPOTrainer, "train", vllm_train(HPOTrainer.train))
            run = trained(tmp_path / str(len(weights)), **changes, **ways)
            monkeypatch.undo()
        else:
            run = trained(tmp_path / str(len(weights)), rollout_func=given_responses, **changes, **ways)
        weights.append(run.weights)
        entropies.append(run.state.log_history[0]["entropy"])
    if engine == "vllm":
        assert entropies[0] == pytest.approx(entropies[1], rel=1e-4)
    assert weights[0][0].ne(weights[0][-1]).any()
    torch.testing.assert_close(weights[0][-1], weights[1][-1], rtol=1e-3, atol=5e-5)


def as_vllm(trainer, prompt_ids):
    given = given_responses(["000:"] * len(prompt_ids), trainer)
    return given["completion_ids"], given["logprobs"]


def vllm_train(train):
    """As with vLLM, but for its server: set once the trainer is made."""

    def train_as_with_vllm(self, *arguments, **options):
        self.use_vllm = True
        return train(self, *arguments, **options)

    return train_as_with_vllm
