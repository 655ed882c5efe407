"""What must hold for every batch: cuts, order, padding, permutation, and the facts that the method rests on."""

import math
from functools import reduce
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rollouts import rollout

import hysteretic as hy

EXAMPLES = settings(max_examples=25, deadline=None, derandomize=True, database=None)

OBJECTIVES = {
    "grpo": hy.grpo(),
    "dr-grpo": hy.dr_grpo(9),
    "gspo": hy.gspo(),
    "cispo": hy.cispo(),
    "asymre": hy.asymre(),
    "a-hpo": hy.a_hpo(),
    "sapo + adaptive": hy.sapo().replace(weight=hy.AdaptiveWeight()),
    "cap + sequence + constant": hy.Objective(
        hy.SequenceRatio(), hy.CapGate(1.2), hy.FixedWeight(0.3), hy.ConstantLength(7)
    ),
}

objectives = st.sampled_from(sorted(OBJECTIVES)).map(OBJECTIVES.get)
batches = st.builds(
    rollout,
    seed=st.integers(0, 10**6),
    prompts=st.integers(2, 5),
    group_size=st.integers(2, 6),
    length=st.integers(1, 9),
    spread=st.sampled_from([0.0, 0.002, 0.3, 2.0]),
)


def prepared(objective, batch):
    advantages = objective.advantages(batch.rewards, batch.group_size)
    statistics = hy.BatchStatistics.of(advantages, batch.mask)
    return objective.weigh(advantages, statistics), statistics


def value_and_gradient(objective, logprobs, old, weighted, mask, statistics):
    logprobs = logprobs.detach().clone().requires_grad_()
    output = objective.loss(logprobs, old, weighted, mask, statistics, gradient_mass=True)
    output.loss.backward()
    return output, logprobs.grad


def whole(objective, batch):
    weighted, statistics = prepared(objective, batch)
    return value_and_gradient(objective, batch.logprobs, batch.old, weighted, batch.mask, statistics)


def close(a, b, rtol=1e-10):
    torch.testing.assert_close(a, b, rtol=rtol, atol=1e-13)


@EXAMPLES
@given(objectives, batches, st.data())
def test_losses_of_micro_batches_add_up(objective, batch, data):
    """However rows are cut over micro-batches, steps and ranks: loss, gradient and every metric are the batch's."""
    weighted, statistics = prepared(objective, batch)
    B = len(weighted)
    places = st.lists(st.integers(0, 3), min_size=B, max_size=B)
    place = torch.tensor(data.draw(places, label="micro-batch of each row"))
    logprobs = batch.logprobs.detach().clone().requires_grad_()
    parts = [(place == k).nonzero().flatten() for k in range(4)]  # empty ones too
    outputs = [
        objective.loss(
            logprobs[rows], batch.old[rows], weighted[rows], batch.mask[rows], statistics, gradient_mass=True
        )
        for rows in parts
    ]
    loss, metrics = sum(output.loss for output in outputs), sum(output.metrics for output in outputs)
    loss.backward()
    output, gradient = whole(objective, batch)
    close(loss, output.loss)
    close(logprobs.grad, gradient)
    for name, tally in output.metrics.items():
        close(metrics[name].total, tally.total)
        close(metrics[name].count, tally.count)


@EXAMPLES
@given(batches, st.randoms(use_true_random=False), st.integers(1, 5))
def test_statistics_merge_in_any_order(batch, random, cuts):
    """Ranks report in any order and any grouping."""
    advantages = hy.group_advantages(batch.rewards, batch.group_size)
    rows = list(range(len(advantages)))
    random.shuffle(rows)
    parts = [hy.BatchStatistics.of(advantages[rows[k::cuts]], batch.mask[rows[k::cuts]]) for k in range(cuts)]
    expected = hy.BatchStatistics.of(advantages, batch.mask)
    assert sum(parts) == expected
    assert reduce(lambda a, b: b + a, reversed(parts)) == expected


@EXAMPLES
@given(objectives, batches, st.sampled_from([0.0, 7.5, math.nan, math.inf, -math.inf]), st.integers(0, 4))
def test_what_stands_in_padding_changes_nothing(objective, batch, garbage, columns):
    """Log-probs of padding come from a model that was asked about nonsense; NaN times 0 would be NaN."""
    weighted, statistics = prepared(objective, batch)
    output, gradient = whole(objective, batch)
    logprobs, old = batch.logprobs.detach().clone(), batch.old.clone()
    logprobs[batch.mask == 0] = garbage
    old[batch.mask == 0] = -garbage
    B, T = batch.mask.shape
    pad = torch.full((B, columns), garbage, dtype=old.dtype)
    padded = [torch.cat([tensor, pad], dim=1) for tensor in (logprobs, old)]
    mask = torch.cat([batch.mask, torch.zeros(B, columns, dtype=batch.mask.dtype)], dim=1)
    assert hy.BatchStatistics.of(objective.advantages(batch.rewards, batch.group_size), mask) == statistics
    wide, wide_gradient = value_and_gradient(objective, *padded, weighted, mask, statistics)
    close(wide.loss, output.loss)
    close(wide_gradient[:, :T], gradient)
    assert torch.equal(wide_gradient[mask == 0], torch.zeros_like(wide_gradient[mask == 0]))
    for name, tally in output.metrics.items():
        close(wide.metrics[name].total, tally.total)


@EXAMPLES
@given(objectives, batches, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(objective, batch, random):
    """Groups may move, responses within a group may move; advantages and gradients move with them."""
    P, G = len(batch.rewards) // batch.group_size, batch.group_size
    groups = random.sample(range(P), P)
    order = torch.tensor([p * G + g for p in groups for g in random.sample(range(G), G)])
    moved = batch._replace(**{name: getattr(batch, name)[order] for name in ("logprobs", "old", "rewards", "mask")})
    output, gradient = whole(objective, batch)
    moved_output, moved_gradient = whole(objective, moved)
    close(moved_output.loss, output.loss)
    close(moved_gradient, gradient[order])


@EXAMPLES
@given(batches, st.floats(0, 1), st.sampled_from([(0.2, 0.2), (0.2, 0.28), (3e-4, 4e-4), (1.0, math.inf)]))
def test_the_weight_commutes_with_the_clip(batch, alpha, clip):
    """w min(rho A, clip(rho) A) = min(rho wA, clip(rho) wA), gradient too: hysteresis is a weight on advantages."""
    gate = hy.ClipGate(*clip)
    A = hy.group_advantages(batch.rewards, batch.group_size)[:, None]
    w = torch.where(A < 0, alpha, 1.0).double()
    x = batch.logprobs - batch.old
    outside, inside = w * gate(x.exp(), A, x), gate(x.exp(), w * A, x)
    close(outside, inside)
    gradients = [torch.autograd.grad(side.sum(), batch.logprobs, retain_graph=True)[0] for side in (outside, inside)]
    close(*gradients)


@EXAMPLES
@given(st.floats(0.05, 20), st.floats(-3, 3).filter(lambda A: abs(A) > 1e-3))
def test_the_soft_gate_has_slope_one_at_ratio_one(tau, A):
    """(4/tau) sigmoid(tau (rho - 1)): the value there is 2/tau, the slope 1 for every tau."""
    rho = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([[A]], dtype=torch.float64)
    surrogate = hy.SoftGate(tau, tau)(rho, advantages, rho)
    (slope,) = torch.autograd.grad(surrogate.sum(), rho)
    assert surrogate.item() == pytest.approx(2 / tau * A, rel=1e-12)
    assert slope.item() == pytest.approx(A, rel=1e-12)


@EXAMPLES
@given(batches, st.sampled_from([hy.UniformWeight(), hy.AdaptiveWeight()]), st.booleans())
def test_on_policy_grpo_gspo_and_sapo_have_the_same_gradient(batch, weight, is_given):
    """One update per rollout cannot distinguish them, so comparisons need several."""
    on_policy = batch._replace(old=batch.logprobs.detach() if is_given else None)
    gradients = [whole(make().replace(weight=weight), on_policy)[1] for make in (hy.grpo, hy.gspo, hy.sapo)]
    close(gradients[1], gradients[0])
    close(gradients[2], gradients[0])


@EXAMPLES
@given(batches)
def test_alpha_one_is_dapo_s_loss_with_the_symmetric_clip(batch):
    """HPO adds one number to the global token mean; at 1 nothing is added."""
    output, gradient = whole(hy.hpo(alpha=1.0), batch)
    dapo, dapo_gradient = whole(hy.dapo().replace(gate=hy.ClipGate(0.2, 0.2)), batch)
    assert output.loss.item() == dapo.loss.item()
    assert torch.equal(gradient, dapo_gradient)
    floored, _ = whole(hy.a_hpo(alpha_min=1.0), batch)
    assert floored.loss.item() == dapo.loss.item()


@EXAMPLES
@given(batches)
def test_alpha_zero_keeps_positives_only(batch):
    """Negatives then add nothing to loss or gradient, and still count in the normaliser."""
    objective = hy.positive_only()
    weighted, statistics = prepared(objective, batch)
    output, gradient = whole(objective, batch)
    rows = weighted > 0
    assert torch.equal(gradient[~rows], torch.zeros_like(gradient[~rows]))
    alone = hy.dapo().replace(gate=hy.ClipGate(0.2, 0.2))
    kept = alone.loss(batch.logprobs[rows], batch.old[rows], weighted[rows], batch.mask[rows], statistics)
    close(output.loss, kept.loss)


@EXAMPLES
@given(batches)
def test_the_mean_length_times_the_batch_is_its_tokens(batch):
    """B Lbar = sum of L_i, silent and empty responses included: HPO's mean length is the global token mean."""
    advantages = hy.group_advantages(batch.rewards, batch.group_size)
    statistics = hy.BatchStatistics.of(advantages, batch.mask)
    lengths = batch.mask.sum(dim=1)
    assert statistics.responses == len(lengths)
    assert statistics.responses * statistics.mean_length == pytest.approx(int(lengths.sum()), rel=1e-12)
    factor = hy.BatchMeanLength()(lengths.double(), statistics)
    close(factor, torch.full_like(factor, 1 / (len(lengths) * statistics.mean_length)) if lengths.sum() else factor)


# ── the expected gradient, by enumeration ─────────────────────────────────────────────────────────────────────────

LOGITS = torch.tensor([0.3, -0.4, 0.1, 0.9], dtype=torch.float64)
IS_CORRECT = torch.tensor([1.0, 0.0, 0.0, 1.0], dtype=torch.float64)


def expected_gradient(objective, is_correct, group_size=3):
    """E[-d loss / d logits] over all groups of one-token responses of a softmax policy, exactly."""
    logits = LOGITS.clone().requires_grad_()
    logprobs = torch.log_softmax(logits, dim=0)
    expected = torch.zeros_like(LOGITS)
    for group in product(range(len(LOGITS)), repeat=group_size):
        sample = torch.tensor(group)
        advantages = objective.advantages(is_correct[sample], group_size)
        mask = torch.ones(group_size, 1)
        statistics = hy.BatchStatistics.of(advantages, mask)
        weighted = objective.weigh(advantages, statistics)
        loss = objective.loss(logprobs[sample][:, None], None, weighted, mask, statistics).loss
        (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
        expected -= logprobs[sample].sum().exp().detach() * gradient
    return expected


@pytest.mark.parametrize("scale", [hy.NoScale(), hy.StdScale(), hy.MeanScale(), hy.FocalScale()])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_on_policy_alpha_scales_the_expected_gradient(alpha, scale):
    """By (1-p) + alpha p, exactly, and no more: the direction stays, with advantages divided by std or not."""
    for is_correct in [IS_CORRECT, 1 - IS_CORRECT, torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)]:
        p = float((LOGITS.softmax(0) * is_correct).sum())
        full = expected_gradient(hy.hpo(alpha=1.0).replace(scale=scale), is_correct)
        weighted = expected_gradient(hy.hpo(alpha).replace(scale=scale), is_correct)
        close(weighted, ((1 - p) + alpha * p) * full)


def test_the_expected_gradient_without_std_is_that_of_the_success_probability():
    """Alpha 1: (G-1)/G grad p, the factor being the response's own part in its baseline."""
    logits = LOGITS.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((logits.softmax(0) * IS_CORRECT).sum(), logits)
    close(expected_gradient(hy.hpo(alpha=1.0).replace(scale=hy.NoScale()), IS_CORRECT), 2 / 3 * gradient)


@pytest.mark.parametrize("group_size", [2, 3, 4])
def test_the_mean_scale_is_truncated_maximum_likelihood(group_size):
    """MaxRL, with the group's mean as the baseline: grad p times sum over k < G-1 of (1-p)^k, exactly."""
    logits = LOGITS.clone().requires_grad_()
    p = (logits.softmax(0) * IS_CORRECT).sum()
    (gradient,) = torch.autograd.grad(p, logits)
    factor = sum((1 - p.item()) ** k for k in range(group_size - 1))
    close(expected_gradient(hy.maxrl(), IS_CORRECT, group_size), factor * gradient)


@pytest.mark.parametrize("scale", [hy.NoScale(), hy.StdScale(), hy.MeanScale(), hy.FocalScale()])
def test_on_policy_adaptive_alpha_keeps_the_direction(scale):
    """Alpha then varies with the group's counts, and each count's part of the gradient points the same way."""
    full = expected_gradient(hy.hpo(alpha=1.0).replace(scale=scale), IS_CORRECT, 4)
    adaptive = expected_gradient(hy.a_hpo().replace(scale=scale), IS_CORRECT, 4)
    factor = float(adaptive.norm() / full.norm())
    close(adaptive, factor * full)
    assert 0.1 < factor < 1


def expected_gradient_of_two_steps(objective, group_size=3):
    """As `expected_gradient`, for responses (end), (go, end), (go, go) of which the last is right; with p."""
    logits = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    end, go = torch.nn.functional.logsigmoid(-logits), torch.nn.functional.logsigmoid(logits)
    logprobs = torch.stack([torch.stack([end[0], 0 * end[1]]), torch.stack([go[0], end[1]]), go])
    is_correct = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    mask = torch.tensor([[1, 0], [1, 1], [1, 1]])
    expected = torch.zeros(2, dtype=torch.float64)
    for group in product(range(3), repeat=group_size):
        sample = torch.tensor(group)
        advantages = objective.advantages(is_correct[sample], group_size)
        statistics = hy.BatchStatistics.of(advantages, mask[sample])
        weighted = objective.weigh(advantages, statistics)
        loss = objective.loss(logprobs[sample], None, weighted, mask[sample], statistics).loss
        (gradient,) = torch.autograd.grad(loss, logits, retain_graph=True)
        expected -= logprobs[sample].sum().exp().detach() * gradient
    return expected, float(go.sum().exp().detach())


def test_the_direction_is_kept_exactly_only_where_the_length_is_no_sample():
    """Scaling by (1-p) + alpha p is exact for a constant length; the others correlate with what was sampled."""
    for length, is_exact in [
        (hy.ConstantLength(2), True),
        (hy.BatchMeanLength(), False),
        (hy.PerResponseLength(), False),
    ]:
        full, p = expected_gradient_of_two_steps(hy.hpo(1.0).replace(length=length))
        weighted, _ = expected_gradient_of_two_steps(hy.hpo(0.3).replace(length=length))
        error = (weighted / full - ((1 - p) + 0.3 * p)).abs().max()
        assert (error < 1e-12) == is_exact, length
