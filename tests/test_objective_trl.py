"""Ours beside TRL's own _compute_loss, value and gradient, for every way of cutting the batch."""

import pytest
import torch
from oracle.trl_loss import trl_loss
from rollouts import SEEDS, rollout

import hysteretic as hy

MAX_LENGTH = 9

# our objective, TRL's settings; a-hpo and its kin are a TRL loss on weighted advantages
PAIRS = {
    "grpo": (hy.grpo(), {"loss_type": "grpo"}),
    "dapo": (hy.dapo(), {"loss_type": "dapo", "high": 0.28}),
    "dr-grpo": (hy.dr_grpo(MAX_LENGTH), {"loss_type": "dr_grpo", "max_length": MAX_LENGTH}),
    "sapo": (hy.sapo(), {"loss_type": "sapo"}),
    "cispo": (hy.cispo(), {"loss_type": "cispo", "high": 5.0}),
    "gspo": (hy.gspo(), {"loss_type": "grpo", "low": 3e-4, "high": 4e-4, "sequence": True}),
    "hpo": (hy.hpo(), {"loss_type": "dapo"}),
    "a-hpo": (hy.a_hpo(), {"loss_type": "dapo"}),
    "adaptive-grpo": (hy.adaptive_grpo(), {"loss_type": "grpo"}),
    "luspo + a-hpo": (
        hy.gspo().replace(weight=hy.AdaptiveWeight(), length=hy.ConstantLength(1)),
        {"loss_type": "luspo", "low": 3e-4, "high": 4e-4, "sequence": True},
    ),
    "positive-only": (hy.positive_only(), {"loss_type": "dapo"}),
    "asymre": (hy.asymre(), {"loss_type": "dapo"}),
    "gspo + a-hpo": (
        hy.gspo().replace(weight=hy.AdaptiveWeight()),
        {"loss_type": "grpo", "low": 3e-4, "high": 4e-4, "sequence": True},
    ),
    "sapo + a-hpo": (hy.sapo().replace(weight=hy.AdaptiveWeight()), {"loss_type": "sapo"}),
}

CUTS = [(1, 1), (4, 4), (4, 2), (16, 1)]  # micro-batches a batch, of which so many an optimiser step


def prepared(objective, batch):
    advantages = objective.advantages(batch.rewards, batch.group_size)
    statistics = hy.BatchStatistics.of(advantages, batch.mask)
    return objective.weigh(advantages, statistics), statistics


def losses(name, batch, micro_batches, accumulation):
    """For each micro-batch: (its rows, our loss, TRL's loss on ours' weighted advantages, TRL's metrics)."""
    objective, settings = PAIRS[name]
    weighted, statistics = prepared(objective, batch)
    for rows in torch.arange(len(weighted)).chunk(micro_batches):
        theirs, metrics = trl_loss(
            batch.logprobs[rows],
            batch.old[rows],
            weighted[rows],
            batch.mask[rows],
            batch_tokens=statistics.tokens,
            accumulation=accumulation,
            micro_batches=micro_batches,
            **settings,
        )
        output = objective.loss(
            batch.logprobs[rows],
            batch.old[rows],
            weighted[rows],
            batch.mask[rows],
            statistics,
            updates=micro_batches // accumulation,
        )
        yield rows, output, theirs, metrics


@pytest.mark.parametrize(("micro_batches", "accumulation"), CUTS)
@pytest.mark.parametrize("name", PAIRS)
def test_each_micro_batch_has_trl_s_loss_and_gradient(name, micro_batches, accumulation):
    """TRL scales to one optimiser step: K = micro_batches / accumulation times the part of the batch."""
    for seed in SEEDS[:2]:
        batch = rollout(seed)
        for rows, output, theirs, _ in losses(name, batch, micro_batches, accumulation):
            assert theirs.dtype == torch.float64
            (expected,) = torch.autograd.grad(theirs, batch.logprobs)
            (gradient,) = torch.autograd.grad(output.loss, batch.logprobs)
            torch.testing.assert_close(output.loss, theirs, rtol=1e-10, atol=1e-14, msg=f"rows {rows}")
            torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("name", PAIRS)
def test_float32_agrees_with_trl_to_a_millionth(name):
    """As above in the precision in which trainers run, for the whole batch in one piece."""
    batch = rollout(dtype=torch.float32)
    _, output, theirs, _ = next(losses(name, batch, 1, 1))
    (expected,) = torch.autograd.grad(theirs, batch.logprobs)
    (gradient,) = torch.autograd.grad(output.loss, batch.logprobs)
    torch.testing.assert_close(output.loss, theirs, rtol=1e-6, atol=1e-7)
    assert (gradient - expected).norm() <= 1e-6 * expected.norm()
    assert expected.norm() > 0


@pytest.mark.parametrize("name", ["grpo", "dapo", "hpo", "a-hpo", "cispo"])
def test_clip_fractions_are_trl_s(name):
    """Both logs may stand side by side in one dashboard."""
    for seed in SEEDS:
        _, output, _, metrics = next(losses(name, rollout(seed), 1, 1))
        if name == "cispo":
            assert output.metrics["clip_high"].mean == pytest.approx(metrics["cispo_clip_ratio"][0], abs=1e-7)
        else:
            assert output.metrics["clip_low"].mean == pytest.approx(metrics["clip_ratio/low_mean"][0], abs=1e-7)
            assert output.metrics["clip_high"].mean == pytest.approx(metrics["clip_ratio/high_mean"][0], abs=1e-7)


def test_hysteresis_on_advantages_is_not_trl_s_plain_dapo():
    """The comparison can fail: without the weight the same batch has another gradient."""
    batch = rollout()
    weighted, statistics = prepared(hy.a_hpo(), batch)
    plain, _ = prepared(hy.dapo(), batch)
    assert hy.a_hpo().alpha(statistics) < 1
    gradients = [
        torch.autograd.grad(
            trl_loss(
                batch.logprobs,
                batch.old,
                advantages,
                batch.mask,
                loss_type="dapo",
                batch_tokens=statistics.tokens,
                accumulation=1,
                micro_batches=1,
            )[0],
            batch.logprobs,
        )[0]
        for advantages in (weighted, plain)
    ]
    assert (gradients[0] - gradients[1]).norm() > 0.01 * gradients[1].norm()
