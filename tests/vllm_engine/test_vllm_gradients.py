"""With vLLM, too, HPOTrainer computes the pure objective, and the lean update is the plain one."""

import logging

import pytest
import torch
from gradient_worker import KeepGradients, Watched, reference_gradients, rows_of
from one_engine import logged, vllm_trainer, weights
from policy import random_policy
from trl.generation.vllm_generation import VLLMGeneration

from hysteretic.trl.packing import PackedUpdates

BOUND = 1e-5
PLAIN = {"drop_silent": False, "share_prompts": False, "drop_finished": False}
ONE = {"steps_per_generation": 4, "gradient_accumulation_steps": 4}
FOUR = {"steps_per_generation": 4, "gradient_accumulation_steps": 1}


def corrected(mode, at_most, **changes):
    return {
        **FOUR,
        "vllm_importance_sampling_mode": mode,
        "vllm_importance_sampling_clip_max": at_most,
        **changes,
    }


OFF = {"vllm_importance_sampling_correction": False}
CASES = {
    "off, 1 update": {**ONE, **OFF},
    "off, 4 updates": {**FOUR, **OFF},
    "off, gspo": {**FOUR, **OFF, "algorithm": "gspo"},
    "default": FOUR,
    "default, 1 update": ONE,
    "token_truncate": corrected("token_truncate", 1.02),
    "token_truncate from below": corrected("token_truncate", 1.3, vllm_importance_sampling_clip_min=0.9),
    "token_mask": corrected("token_mask", 1.02),
    "sequence_truncate": corrected("sequence_truncate", 1.02),
    "sequence_mask": corrected("sequence_mask", 1.02),
    "grpo token_mask": corrected("token_mask", 1.02, algorithm="grpo"),
    "cispo token_truncate": corrected("token_truncate", 1.02, algorithm="cispo"),
    "sapo sequence_truncate": corrected("sequence_truncate", 1.02, algorithm="sapo"),
    "gspo token_truncate": corrected("token_truncate", 1.02, algorithm="gspo"),
    "gspo token_mask": corrected("token_mask", 1.02, algorithm="gspo", length="batch"),
    "gspo sequence_truncate": corrected("sequence_truncate", 1.02, algorithm="gspo"),
}


class WatchedWithVLLM(Watched):
    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        self.correction, self.mask = batch.get("importance_sampling_ratio"), batch["completion_mask"].bool()
        return batch


@pytest.fixture
def other_weights(engine, policy_folder, monkeypatch):
    """vLLM samples from a policy near that of the trainer, so that the correction has something to correct."""

    def load(generation):
        near = generation.accelerator.unwrap_model(generation.model)
        model = random_policy(width=64)[0]
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for moved, parameter in zip(model.parameters(), near.parameters(), strict=True):
                moved.copy_(parameter + 0.01 * torch.randn(parameter.shape, generator=noise))
        engine.load(model)

    monkeypatch.setattr(VLLMGeneration, "sync_weights", load)


@pytest.mark.parametrize("ways", [{}, PLAIN], ids=["lean", "plain"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_pure_objectives(other_weights, policy_folder, tmp_path, case, ways):
    """Ratios, clips and corrections differ from 1. `factor_of` in gradient_worker.py says what the correction does."""
    keep = KeepGradients()
    trainer = vllm_trainer(
        policy_folder,
        tmp_path,
        trainer=WatchedWithVLLM,
        callbacks=[keep],
        generation_kwargs=None,
        **CASES[case],
        **ways,
    )
    trainer.seen, trainer.cut = [], []
    trainer.args.max_steps = trainer.args.updates_per_rollout()
    trainer.train()
    assert trainer._leaves_out is trainer._packs is (not ways)
    accumulation = trainer.args.gradient_accumulation_steps
    steps = [
        [row for micro_batch in trainer.seen[first : first + accumulation] for row in rows_of(micro_batch)]
        for first in range(0, len(trainer.seen), accumulation)
    ]
    references = list(reference_gradients(trainer, steps))
    assert len(references) == len(keep.steps) == trainer.args.max_steps
    assert max(float(reference.norm()) for reference in references) > 1e-4
    errors = [
        float((ours - reference).norm() / reference.norm().clamp(min=1e-12))
        for ours, reference in zip(keep.steps, references, strict=True)
    ]
    assert max(errors) < BOUND
    check_bites(trainer, case)


def check_bites(trainer, case):
    """The correction is there and does what its mode says, so that the comparison is one of something."""
    ratio = trainer.correction
    if "off" in case:
        assert ratio is None
        return
    values = ratio[trainer.mask] if ratio.shape[1] > 1 else ratio.flatten()
    assert values.std() > 0.01
    bound = trainer.vllm_importance_sampling_clip_max
    assert float(values.max()) <= bound
    if "truncate" in case:
        assert (values == bound).any()
        assert (values < bound).any()
    if "mask" in case:
        assert (values == 0).any()
        assert (values > 0).any()


@pytest.mark.parametrize("changes", [{}, {"algorithm": "gspo"}, corrected("token_truncate", 2.0), OFF], ids=str)
def test_a_lean_run_is_the_plain_one(engine, policy_folder, tmp_path, changes, caplog, monkeypatch):
    """Three rollouts, weights and what is logged; the entropy is that of all responses, though many are left out."""
    monkeypatch.setattr(logging.getLogger("hysteretic"), "propagate", True)
    runs = []
    for ways in ({}, PLAIN):
        # Several updates would change the entropy between sampling and the last of them, which lean runs do not follow.
        trainer = vllm_trainer(
            policy_folder, tmp_path, max_steps=3, learning_rate=1e-3, **{**ONE, **changes, **ONE}, **ways
        )
        trainer.train()
        runs.append(trainer)
    lean, plain = runs
    assert lean._leaves_out
    assert max(logged(lean, "hpo/silent_share")) > 0
    assert max(logged(lean, "hpo/forwarded_tokens")) < min(logged(plain, "num_tokens"))
    torch.testing.assert_close(weights(lean.model), weights(plain.model), rtol=1e-3, atol=2e-5)
    names = {
        key for key in plain.state.log_history[0] if key.startswith(("sampling/", "reward", "completions/", "hpo/"))
    }
    assert ("sampling/sampling_logp_difference/mean" in names) == ("vllm_importance_sampling_correction" not in changes)
    for name in names | {"entropy", "loss", "grad_norm"}:
        bound = {"abs": 1e-4, "rel": 1e-3}
        if name == "entropy" and changes == OFF:
            bound = {"abs": 0.3}  # of about 4 nats: estimated from one token per position
        assert logged(lean, name) == pytest.approx(logged(plain, name), **bound), name
    said = [record for record in caplog.records if "is an estimate" in record.message]
    assert len(said) == (1 if changes == OFF else 0)


def test_without_the_entropy_at_sampling_the_logged_entropy_would_differ(engine, policy_folder, tmp_path, monkeypatch):
    """The control: the comparison above notices a mean over the responses that are trained on alone."""
    monkeypatch.setattr(PackedUpdates, "_entropy_at_sampling", lambda self, batch: None)
    found = []
    for ways in ({}, PLAIN):
        trainer = vllm_trainer(policy_folder, tmp_path, max_steps=1, **ONE, **ways)
        trainer.train()
        found += logged(trainer, "entropy")
    assert abs(found[0] - found[1]) > 1e-3
