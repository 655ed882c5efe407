"""Every objective beside plain float64 loops (value, gradient, alpha, diagnostics), and degenerate batches."""

import math
from dataclasses import dataclass
from unittest import mock

import pytest
import torch
from oracle.objective_loops import MAX_LENGTH, PRESETS, Spec, batch_of
from rollouts import SEEDS, rollout

import hysteretic as hy
from hysteretic.parts import HasAlpha

COMPOSITIONS = {
    "gspo + adaptive": (
        hy.gspo().replace(weight=hy.AdaptiveWeight()),
        PRESETS["gspo"]._replace(weight=("adaptive", 0.1)),
    ),
    "sapo + adaptive": (
        hy.sapo().replace(weight=hy.AdaptiveWeight(0.3)),
        PRESETS["sapo"]._replace(weight=("adaptive", 0.3)),
    ),
    "grpo + adaptive": (
        hy.grpo().replace(weight=hy.AdaptiveWeight()),
        PRESETS["grpo"]._replace(weight=("adaptive", 0.1)),
    ),
    "dr-grpo + fixed": (
        hy.dr_grpo(MAX_LENGTH).replace(weight=hy.FixedWeight(0.25)),
        PRESETS["dr-grpo"]._replace(weight=("fixed", 0.25)),
    ),
    "cispo + shift": (
        hy.cispo().replace(weight=hy.ShiftedBaseline(-0.3)),
        PRESETS["cispo"]._replace(weight=("shift", -0.3)),
    ),
    "cap + sequence": (
        hy.Objective(hy.SequenceRatio(), hy.CapGate(1.01), hy.FixedWeight(0.5), hy.PerResponseLength()),
        Spec("sequence", ("cap", 1.01), ("fixed", 0.5), "response"),
    ),
    "soft + sequence": (
        hy.Objective(
            hy.SequenceRatio(), hy.SoftGate(0.5, 3.0), hy.AdaptiveWeight(), hy.ConstantLength(5), hy.NoScale()
        ),
        Spec("sequence", ("soft", 0.5, 3.0), ("adaptive", 0.1), 5, "none"),
    ),
    "mean scale + sequence + adaptive": (
        hy.gspo().replace(weight=hy.AdaptiveWeight(), scale=hy.MeanScale()),
        PRESETS["gspo"]._replace(weight=("adaptive", 0.1), scale="mean"),
    ),
    "root scale + soft + fixed": (
        hy.sapo().replace(weight=hy.FixedWeight(0.3), scale=hy.RootScale()),
        PRESETS["sapo"]._replace(weight=("fixed", 0.3), scale="root"),
    ),
    "focal scale + cap + shift": (
        hy.cispo().replace(weight=hy.ShiftedBaseline(-0.3), scale=hy.FocalScale(2.5)),
        PRESETS["cispo"]._replace(weight=("shift", -0.3), scale=("focal", 2.5)),
    ),
    "grpo + entropy": (
        hy.grpo().replace(weight=hy.EntropyWeight(0.2).with_entropy(0.3)),
        PRESETS["grpo"]._replace(weight=("entropy", 0.2, 0.5, 0.3)),
    ),
    "one-sided clip": (
        hy.hpo().replace(gate=hy.ClipGate(1.0, math.inf)),
        Spec(gate=("clip", 1.0, math.inf), weight=("fixed", 0.6)),
    ),
}


CASES = {**{name: (hy.make(name).with_max_length(MAX_LENGTH), spec) for name, spec in PRESETS.items()}, **COMPOSITIONS}


@dataclass
class HalfWeight:
    """A weight by a user: not frozen, not hashable, without alpha."""

    factor: float = 0.5

    def __call__(self, advantages, statistics):
        return advantages.where(advantages >= 0, self.factor * advantages)


class PlainRatio:
    """A ratio by a user, without dataclass."""

    def __call__(self, log_ratio, mask):
        return log_ratio.clamp(-20, 20).exp()

    __hash__ = None


@dataclass
class HardGate:
    """The clip again, by a user."""

    low: float = 0.2

    def __call__(self, ratio, advantages, logprobs):
        return torch.minimum(ratio * advantages, ratio.clamp(1 - self.low, 1 + self.low) * advantages)

    def clipped(self, ratio, advantages):
        return torch.where(advantages > 0, ratio > 1 + self.low, ratio < 1 - self.low) & (advantages != 0)


@dataclass
class TokenMean:
    """A length by a user."""

    tokens: int = 0

    def __call__(self, lengths, statistics):
        return torch.ones_like(lengths) / max(statistics.tokens, 1)


CASES["parts of a user's own"] = (
    hy.Objective(PlainRatio(), HardGate(), HalfWeight(), TokenMean()),
    Spec(weight=("fixed", 0.5)),
)


def output_of(objective, batch, **options):
    """The whole batch as one micro-batch, from rewards to loss."""
    advantages = objective.advantages(batch.rewards, batch.group_size)
    statistics = hy.BatchStatistics.of(advantages, batch.mask)
    weighted = objective.weigh(advantages, statistics)
    return objective.loss(batch.logprobs, batch.old, weighted, batch.mask, statistics, **options), statistics


def relative(ours, exact):
    """|ours - exact| / |exact|, Euclidean."""
    ours, exact = torch.as_tensor(ours).double(), torch.as_tensor(exact, dtype=torch.float64)
    return float((ours - exact).norm() / exact.norm())


def test_every_preset_has_its_loops():
    """A preset without an entry in the oracle would pass unseen."""
    assert set(hy.ALGORITHMS) == set(PRESETS)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", CASES)
def test_value_and_gradient_are_those_of_the_loops(name, seed):
    """Float64 to 1e-10: any slip of a mask, a sign, a bound or a normaliser is larger."""
    objective, spec = CASES[name]
    batch = rollout(seed, constant=0.1 if spec.scale in ("std", "none") else 1.0)
    output, statistics = output_of(objective, batch)
    output.loss.backward()
    exact = batch_of(spec, *batch.lists())
    assert abs(output.loss.item() - exact.loss) < 1e-10 * exact.size
    assert relative(batch.logprobs.grad, exact.gradient) < 1e-10
    if isinstance(objective.weight, HasAlpha):
        assert objective.alpha(statistics) == pytest.approx(exact.alpha, rel=1e-12)
    else:
        assert objective.alpha(statistics) is None


@pytest.mark.parametrize("name", CASES)
def test_float32_agrees_to_a_millionth(name):
    """The same from float32 log-probs and rewards: what a trainer has."""
    objective, spec = CASES[name]
    batch = rollout(dtype=torch.float32)
    output, _ = output_of(objective, batch)
    output.loss.backward()
    exact = batch_of(spec, *batch.lists())
    assert output.loss.dtype == torch.float32
    assert abs(output.loss.item() - exact.loss) < 1e-6 * exact.size
    assert relative(batch.logprobs.grad, exact.gradient) < 1e-6


@pytest.mark.parametrize("name", CASES)
def test_diagnostics_are_those_of_the_loops(name):
    """People trust a metric on a dashboard; each is recomputed here, as total and count."""
    objective, spec = CASES[name]
    batch = rollout(13)
    output, _ = output_of(objective, batch, gradient_mass=True)
    exact = batch_of(spec, *batch.lists()).diagnostics
    assert set(output.metrics) == set(exact)
    for figure, (total, count) in exact.items():
        tally = output.metrics[figure]
        assert float(tally.total) == pytest.approx(total, rel=1e-10, abs=1e-14), figure
        assert float(tally.count) == pytest.approx(count, rel=1e-10), figure
        assert not tally.total.requires_grad


def test_the_batches_of_these_tests_reach_every_branch():
    """Clipping on both sides, both signs, silence, an empty response: else agreement would say little."""
    for seed in SEEDS:
        batch = rollout(seed)
        exact = batch_of(PRESETS["a-hpo"], *batch.lists())
        assert 0.1 < exact.alpha < 1
        sequence = batch_of(PRESETS["gspo"], *batch.lists())
        for figures in [exact.diagnostics, sequence.diagnostics]:
            assert 0 < figures["positive_mass"][0] < figures["positive_mass"][1]
            assert figures["clip_low"][0] > 0
            assert figures["clip_high"][0] > 0
        assert batch.mask.sum(dim=1).min() == 0
        assert hy.silent_groups(batch.rewards, batch.group_size).any()


@pytest.mark.parametrize("name", CASES)
def test_without_old_logprobs_the_ratio_is_one_and_the_gradient_stays(name):
    """None means on-policy: the value at rho = 1, not a loss that is constant."""
    objective, _ = CASES[name]
    batch = rollout()
    same = batch._replace(old=batch.logprobs.detach().clone())
    given, _ = output_of(objective, same)
    absent, _ = output_of(objective, batch._replace(old=None))
    (expected,) = torch.autograd.grad(given.loss, batch.logprobs)
    (gradient,) = torch.autograd.grad(absent.loss, batch.logprobs)
    assert absent.loss.item() == given.loss.item()
    assert torch.equal(gradient, expected)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", CASES)
def test_on_policy_mass_is_the_gradient_at_ratio_one(name):
    """The mass is told before the first update, from lengths alone; autograd says the same."""
    objective, _ = CASES[name]
    batch = rollout(17)._replace(old=None)
    advantages = hy.group_advantages(batch.rewards, batch.group_size, objective.scale)
    statistics = hy.BatchStatistics.of(advantages, batch.mask)
    weighted = objective.weigh(advantages, statistics)
    output = objective.loss(batch.logprobs, None, weighted, batch.mask, statistics, gradient_mass=True)
    positive, negative = objective.on_policy_mass(weighted, batch.mask.sum(dim=1), statistics)
    assert positive == pytest.approx(float(output.metrics["positive_mass"].total), rel=1e-12)
    assert negative == pytest.approx(float(output.metrics["negative_mass"].total), rel=1e-12)
    halves = [objective.on_policy_mass(weighted[i::2], batch.mask.sum(dim=1)[i::2], statistics) for i in [0, 1]]
    assert sum(half[0] for half in halves) == pytest.approx(positive, rel=1e-12)


def test_on_policy_mass_survives_half_precision():
    """In bfloat16 a length of 1001 would be 1000, and in float16 one of 70,000 infinite."""
    objective, lengths = hy.a_hpo(), torch.tensor([1001, 70_001])
    weighted = torch.tensor([1.0, -0.5])
    statistics = hy.BatchStatistics.of_lengths(weighted, lengths)
    exact = objective.on_policy_mass(weighted, lengths, statistics)
    for dtype in [torch.bfloat16, torch.float16]:
        assert objective.on_policy_mass(weighted.to(dtype), lengths, statistics) == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_old_logprobs_that_carry_gradient_are_constants(name):
    """The same tensor twice, or a forgotten no_grad: undetached, the two gradients cancel to exactly zero."""
    objective, spec = CASES[name]
    batch = rollout()
    exact = batch_of(spec, *batch._replace(old=batch.logprobs.detach()).lists())
    scale = torch.ones(len(batch.rewards), dtype=torch.float64, requires_grad=True)
    advantages = objective.advantages(batch.rewards, batch.group_size)
    statistics = hy.BatchStatistics.of(advantages, batch.mask)
    weighted = objective.weigh(advantages, statistics)
    for old in [batch.logprobs, batch.logprobs * 1.0]:
        output = objective.loss(batch.logprobs, old, weighted * scale, batch.mask, statistics)
        (gradient,) = torch.autograd.grad(output.loss, batch.logprobs, retain_graph=True)
        assert output.loss.item() == pytest.approx(exact.loss, abs=1e-10 * exact.size)
        assert relative(gradient, exact.gradient) < 1e-10
        assert torch.autograd.grad(output.loss, scale, allow_unused=True) == (None,)


@pytest.mark.parametrize("name", CASES)
def test_several_updates_scale_value_and_gradient(name):
    """K steps on a Kth of the batch each have the size of one step on all of it."""
    objective, spec = CASES[name]
    batch = rollout()
    output, _ = output_of(objective, batch, updates=4, gradient_mass=True)
    output.loss.backward()
    exact = batch_of(spec, *batch.lists())
    assert abs(output.loss.item() - 4 * exact.loss) < 4e-10 * exact.size
    assert relative(batch.logprobs.grad / 4, exact.gradient) < 1e-10
    total, count = exact.diagnostics["positive_mass"]
    assert output.metrics["positive_mass"].mean == pytest.approx(total / count, rel=1e-10)


def test_the_backward_pass_for_gradient_mass_is_made_only_when_asked_for():
    """It costs as much as the loss's own backward pass over the log-probs."""
    batch = rollout()
    with mock.patch.object(torch.autograd, "grad", wraps=torch.autograd.grad) as grad:
        plain, _ = output_of(hy.a_hpo(), batch)
        assert grad.call_count == 0
        full, _ = output_of(hy.a_hpo(), batch, gradient_mass=True)
        assert grad.call_count == 1
    assert set(full.metrics) - set(plain.metrics) == {"positive_mass", "negative_mass"}


# ── degenerate batches ────────────────────────────────────────────────────────────────────────────────────────────


def all_objectives():
    return pytest.mark.parametrize("objective", [case[0] for case in CASES.values()], ids=list(CASES))


@all_objectives()
def test_a_micro_batch_without_trained_tokens_has_a_finite_zero_gradient(objective):
    """All its responses were truncated: nothing to learn, and no 0/0 that would reach the weights."""
    statistics = hy.BatchStatistics(responses=8, tokens=20, positives=1, negatives=3)
    for mask in [torch.zeros(2, 3), torch.zeros(2, 0), torch.zeros(0, 3)]:
        logprobs = torch.randn(mask.shape).requires_grad_()
        weighted = torch.tensor([1.0, -1.0])[: len(mask)]
        output = objective.loss(logprobs, logprobs.detach() - 1, weighted, mask, statistics, gradient_mass=True)
        output.loss.backward()
        assert output.loss.item() == 0.0
        assert torch.equal(logprobs.grad, torch.zeros_like(logprobs))
        assert all(tally.mean == 0.0 for tally in output.metrics.values())


@all_objectives()
def test_a_batch_without_trained_tokens_has_loss_zero(objective):
    """Not one token in the whole batch: every normaliser would be 0."""
    logprobs = torch.zeros(2, 3, requires_grad=True)
    statistics = hy.BatchStatistics.of(torch.zeros(2), torch.zeros(2, 3))
    output = objective.loss(logprobs, None, torch.tensor([1.0, -1.0]), torch.zeros(2, 3), statistics)
    output.loss.backward()
    assert output.loss.item() == 0.0
    assert torch.equal(logprobs.grad, torch.zeros(2, 3))


@all_objectives()
@pytest.mark.parametrize("jump", [80.0, -80.0, 1e4, -1e4, math.inf])
def test_one_huge_ratio_leaves_loss_and_gradient_finite(objective, jump):
    """exp(80) overflows float32; one token whose old log-prob is broken must not end the run."""
    for weighted in [torch.tensor([1.0, -1.0]), torch.tensor([-1.0, 1.0])]:
        logprobs = torch.tensor([[-1.0, -2.0], [-1.0, -0.5]], requires_grad=True)
        old = logprobs.detach().clone()
        old[0, 0] -= jump
        statistics = hy.BatchStatistics(2, 4, 1, 1)
        output = objective.loss(logprobs, old, weighted, torch.ones(2, 2), statistics, gradient_mass=True)
        output.loss.backward()
        assert math.isfinite(output.loss.item())
        assert logprobs.grad.isfinite().all()
        assert all(math.isfinite(tally.mean) for tally in output.metrics.values())


def test_log_ratios_within_twenty_are_untouched():
    """The clamp is against breakage: inside +-20 it changes nothing, outside it stops the gradient."""
    logprobs = torch.tensor([[-1.0, -1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    old = logprobs.detach() - torch.tensor([[19.9, 20.1, -19.9]], dtype=torch.float64)
    weighted, mask = torch.tensor([-1.0], dtype=torch.float64), torch.ones(1, 3)
    objective = hy.dapo().replace(gate=hy.ClipGate(1.0, 0.2))
    objective.loss(logprobs, old, weighted, mask, hy.BatchStatistics(1, 3, 0, 1)).loss.backward()
    expected = torch.tensor([[math.exp(19.9) / 3, 0.0, math.exp(-19.9) / 3]], dtype=torch.float64)
    torch.testing.assert_close(logprobs.grad, expected, rtol=1e-12, atol=0)


@all_objectives()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logprobs_are_computed_in_float32(objective, dtype):
    """A sum over tokens in bfloat16 keeps two digits; the gradient comes back in the log-probs' own type."""
    batch = rollout(dtype=dtype)
    rewards = batch.rewards.double()
    output, _ = output_of(objective, batch._replace(rewards=rewards))
    exact = batch._replace(rewards=rewards, logprobs=batch.logprobs.detach().double(), old=batch.old.double())
    output.loss.backward()
    assert output.loss.dtype == torch.float32
    assert batch.logprobs.grad.dtype == dtype
    assert output.loss.item() == pytest.approx(output_of(objective, exact)[0].loss.item(), rel=1e-5, abs=1e-6)


def test_alpha_where_one_sign_is_missing():
    """No negatives: nothing to weigh, alpha 1. No positives: the floor, and the loss is finite."""
    objective, mask = hy.a_hpo(alpha_min=0.2), torch.ones(2, 3)
    only_positives, only_negatives = torch.tensor([1.0, 2.0]), torch.tensor([-1.0, -2.0])
    statistics = hy.BatchStatistics.of(only_positives, mask)
    assert objective.alpha(statistics) == 1.0
    assert torch.equal(objective.weigh(only_positives, statistics), only_positives)
    statistics = hy.BatchStatistics.of(only_negatives, mask)
    assert objective.alpha(statistics) == 0.2
    torch.testing.assert_close(objective.weigh(only_negatives, statistics), torch.tensor([-0.2, -0.4]))


def test_gradients_are_not_computed_where_none_are_wanted():
    """Evaluation under no_grad: the loss and clip fractions; asking for the mass is an error, not a 0."""
    batch = rollout()
    with torch.no_grad():
        output, _ = output_of(hy.a_hpo(), batch)
    exact = batch_of(PRESETS["a-hpo"], *batch.lists())
    assert output.loss.item() == pytest.approx(exact.loss, rel=1e-10)
    assert "positive_mass" not in output.metrics
    with torch.no_grad(), pytest.raises(ValueError, match="gradient_mass needs logprobs that carry a gradient"):
        output_of(hy.a_hpo(), batch, gradient_mass=True)
    assert float(output.metrics["clip_low"].total) == exact.diagnostics["clip_low"][0]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"updates": 0}, "updates is 0"),
        ({"logprobs": torch.zeros(2)}, r"logprobs is \[2\]"),
        ({"old_logprobs": torch.zeros(2, 4)}, r"old_logprobs is \[2, 4\]"),
        ({"mask": torch.zeros(2, 4)}, r"mask is \[2, 4\]"),
        ({"mask": torch.zeros(2)}, r"mask is \[2\]"),
        ({"weighted": torch.zeros(2, 1)}, r"weighted is \[2, 1\]"),
        ({"weighted": torch.zeros(3)}, r"weighted is \[3\]"),
    ],
)
def test_shapes_that_do_not_fit_are_an_error(change, found):
    """All of these would broadcast into some number."""
    arguments = {
        "logprobs": torch.zeros(2, 3),
        "old_logprobs": torch.zeros(2, 3),
        "weighted": torch.zeros(2),
        "mask": torch.ones(2, 3),
    }
    with pytest.raises(ValueError, match=found):
        hy.grpo().loss(**{**arguments, **change}, statistics=hy.BatchStatistics(2, 6, 1, 1))
