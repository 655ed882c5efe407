"""Do verl's own losses, fed with the estimators' advantages, compute this package's objectives? Value and gradient."""

import pytest
import torch
from batches import sparse_batch
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.workers.config import FSDPActorConfig

import hysteretic as hy
from hysteretic.parts import (
    AdaptiveWeight,
    BatchMeanLength,
    CapGate,
    ClipGate,
    ConstantLength,
    FixedWeight,
    PerResponseLength,
    SoftGate,
    UniformWeight,
)
from hysteretic.verl.estimator import estimate
from hysteretic.verl.settings import losses_with_own_length

NO_DUAL_CLIP = 1e9
"""verl's vanilla loss also caps the cost of a negative at clip_ratio_c (3) times its advantage; HPO has no such cap."""


def actor(mode, loss_agg_mode, **settings):
    config = FSDPActorConfig(
        strategy="fsdp",
        rollout_n=8,
        ppo_micro_batch_size_per_gpu=1,
        loss_agg_mode=loss_agg_mode,
        clip_ratio_c=NO_DUAL_CLIP,
        **settings,
    )
    object.__setattr__(config.policy_loss, "loss_mode", mode)
    return config


CASES = {
    "hpo": (hy.hpo(0.3), "vanilla", "token-mean", {}),
    "a-hpo": (hy.a_hpo(), "vanilla", "token-mean", {}),
    "grpo": (hy.grpo(), "vanilla", "seq-mean-token-mean", {}),
    "adaptive-grpo": (hy.adaptive_grpo(), "vanilla", "seq-mean-token-mean", {}),
    "dapo": (hy.dapo(), "vanilla", "token-mean", {"clip_ratio_high": 0.28}),
    "maxrl": (hy.maxrl(), "vanilla", "token-mean", {}),
    "f-grpo adaptive": (hy.f_grpo(0.5).replace(weight=AdaptiveWeight()), "vanilla", "seq-mean-token-mean", {}),
    "dr-grpo": (hy.dr_grpo(64), "vanilla", "seq-mean-token-sum-norm", {"loss_scale_factor": 64}),
    "gspo": (hy.gspo(), "gspo", "seq-mean-token-mean", {"clip_ratio_low": 3e-4, "clip_ratio_high": 4e-4}),
    "gspo adaptive": (
        hy.gspo().replace(weight=AdaptiveWeight()),
        "gspo",
        "seq-mean-token-mean",
        {"clip_ratio_low": 3e-4, "clip_ratio_high": 4e-4},
    ),
    "gspo adaptive batch": (
        hy.gspo().replace(weight=AdaptiveWeight(), length=BatchMeanLength()),
        "gspo",
        "token-mean",
        {"clip_ratio_low": 3e-4, "clip_ratio_high": 4e-4},
    ),
    "sapo": (hy.sapo(), "sapo", "seq-mean-token-mean", {}),
    "sapo adaptive": (hy.sapo().replace(weight=AdaptiveWeight()), "sapo", "seq-mean-token-mean", {}),
    "cispo": (hy.cispo(), "cispo", "token-mean", {"clip_ratio_low": 1.0, "clip_ratio_high": 4.0}),
    "cispo fixed": (
        hy.cispo().replace(weight=FixedWeight(0.5)),
        "cispo",
        "token-mean",
        {"clip_ratio_low": 1.0, "clip_ratio_high": 4.0},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_verls_loss_is_the_objective(name):
    """Each against the objective of hysteretic.objective, whose own oracles are elsewhere; in micro-batches of 12."""
    objective, mode, loss_agg_mode, settings = CASES[name]
    if mode in losses_with_own_length() and isinstance(objective.length, BatchMeanLength):
        pytest.skip("this verl's gspo always takes each response's own length; check_run refuses the combination")
    rewards, mask, uid, plain, _ = sparse_batch(prompts=6, longest=20, rate=0.3)
    random = torch.Generator().manual_seed(0)
    logprobs = -torch.rand(mask.shape, generator=random).double() - 0.1
    old = logprobs + 0.3 * torch.randn(mask.shape, generator=random).double() * (0.01 if mode == "gspo" else 1.0)

    advantages, _ = estimate(rewards.double(), mask, uid, objective.weight, objective.scale)
    config = actor(mode, loss_agg_mode, **settings)
    config.global_batch_info.update(
        dp_size=1,
        batch_num_tokens=int(mask.sum()),
        global_batch_size=len(mask),
        loss_scale_factor=config.loss_scale_factor,
    )
    theirs = logprobs.clone().requires_grad_()
    their_loss = 0.0
    for rows in torch.arange(len(mask)).split(12):
        loss, _ = get_policy_loss_fn(mode)(
            old_log_prob=old[rows],
            log_prob=theirs[rows],
            advantages=advantages[rows],
            response_mask=mask[rows].bool(),
            loss_agg_mode=loss_agg_mode,
            config=config,
        )
        loss.backward()
        their_loss += float(loss.detach())

    plain_advantages = objective.advantages(torch.as_tensor(plain).double(), 8)
    statistics = hy.BatchStatistics.of(plain_advantages, mask)
    ours = logprobs.clone().requires_grad_()
    our_loss = objective.loss(ours, old, objective.weigh(plain_advantages, statistics), mask, statistics).loss
    our_loss.backward()

    assert ours.grad.abs().max() > 0
    torch.testing.assert_close(theirs.grad, ours.grad, rtol=1e-6, atol=1e-9)
    assert their_loss == pytest.approx(our_loss.item(), rel=1e-6, abs=1e-9)


def test_the_cases_cover_every_gate_and_length_of_the_package():
    """A part that is never compared could differ."""
    used = [case[0] for case in CASES.values()]
    assert {type(objective.gate) for objective in used} == {ClipGate, SoftGate, CapGate}
    assert {type(objective.length) for objective in used} == {PerResponseLength, BatchMeanLength, ConstantLength}
    assert {type(objective.weight) for objective in used} == {UniformWeight, FixedWeight, AdaptiveWeight}


def test_verls_dual_clip_is_another_objective():
    """What NO_DUAL_CLIP is for: with verl's default of 3, a negative with ratio above 3 has no gradient."""
    old, new = torch.zeros(1, 1).double() - 5, torch.zeros(1, 1).double() - 1  # ratio e^4
    gradients = []
    for cap in (3.0, NO_DUAL_CLIP):
        config = FSDPActorConfig(strategy="fsdp", rollout_n=8, ppo_micro_batch_size_per_gpu=1, clip_ratio_c=cap)
        leaf = new.clone().requires_grad_()
        loss, _ = get_policy_loss_fn("vanilla")(
            old_log_prob=old,
            log_prob=leaf,
            advantages=-torch.ones(1, 1).double(),
            response_mask=torch.ones(1, 1, dtype=torch.bool),
            loss_agg_mode="token-mean",
            config=config,
        )
        loss.backward()
        gradients.append(float(leaf.grad))
    assert gradients[0] == 0
    assert gradients[1] > 50
