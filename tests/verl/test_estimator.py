"""Are the advantages that verl is given those of HPO? Called as verl calls them, and through its compute_advantage."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from batches import algorithm, by_hand, mask_of, sparse_batch, token_level, uids
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from verl import DataProto
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.ray_trainer import compute_advantage

from hysteretic.parts import AdaptiveWeight
from hysteretic.verl import estimator
from hysteretic.verl.estimator import estimate, watched
from hysteretic.verl.settings import check_run

ESTIMATORS = {name: core_algos.get_adv_estimator_fn(name) for name in ("hpo", "a_hpo", "adaptive_grpo")}


def call(name, batch, **settings_):
    rewards, mask, uid, *_ = batch
    return ESTIMATORS[name](token_level_rewards=rewards, response_mask=mask, index=uid, config=algorithm(**settings_))


@pytest.mark.parametrize("by_std", [True, False])
@pytest.mark.parametrize(
    ("name", "options", "alpha"), [("a_hpo", {}, None), ("adaptive_grpo", {}, None), ("hpo", {"alpha": 0.3}, 0.3)]
)
def test_values_are_those_of_plain_loops(name, options, alpha, by_std):
    """Advantages, and as returns the unweighted ones, 0 where nothing is trained."""
    batch = sparse_batch()
    advantages, returns = call(name, batch, hpo=options, norm_adv_by_std_in_grpo=by_std)
    weighted, unweighted, _ = by_hand(batch[3], batch[2], batch[4], alpha=alpha, by_std=by_std)
    assert (unweighted < 0).any()
    for found, expected in [(advantages, weighted), (returns, unweighted)]:
        torch.testing.assert_close(found, torch.tensor(expected).float()[:, None] * batch[1], atol=1e-6, rtol=1e-6)


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_the_order_of_rows_does_not_matter(seed):
    """verl sorts rows for balance before it asks for advantages."""
    batch = sparse_batch(seed=seed)
    order = torch.randperm(len(batch[2]), generator=torch.Generator().manual_seed(seed))
    shuffled = (batch[0][order], batch[1][order], batch[2][order.numpy()])
    for before, after in zip(call("a_hpo", batch), call("a_hpo", shuffled), strict=True):
        assert torch.equal(before[order], after)


def test_through_compute_advantage_on_a_dataproto():
    """The way of verl's trainers: by name, with a DictConfig, on a DataProto."""
    rewards, mask, uid, plain, lengths = sparse_batch()
    data = DataProto.from_dict(
        tensors={"token_level_rewards": rewards, "response_mask": mask}, non_tensors={"uid": uid}
    )
    data = compute_advantage(data, adv_estimator="a_hpo", num_repeat=8, config=algorithm(hpo={"alpha_min": 0.0}))
    weighted, _, alpha = by_hand(plain, uid, lengths, floor=0.0)
    torch.testing.assert_close(data.batch["advantages"], torch.tensor(weighted).float()[:, None] * mask)
    assert 0 < alpha < 1


def test_alpha_and_shares_can_be_read_in_verls_metrics():
    """Without this project's trainer: from critic/advantages/min and critic/returns/min; with it, by name."""
    from verl.trainer.ppo.metric_utils import compute_data_metrics

    batch = sparse_batch(seed=3)
    with watched() as seen:
        advantages, returns = call("a_hpo", batch)
    _, unweighted, alpha = by_hand(batch[3], batch[2], batch[4])
    data = DataProto.from_dict(
        tensors={
            "token_level_scores": batch[0],
            "token_level_rewards": batch[0],
            "response_mask": batch[1],
            "advantages": advantages,
            "returns": returns,
            "prompts": torch.ones(len(batch[1]), 3),
            "responses": torch.ones(batch[1].shape),
            "attention_mask": torch.cat([torch.ones(len(batch[1]), 3), batch[1]], dim=1),
        }
    )
    metrics = compute_data_metrics(data, use_critic=False)
    assert metrics["critic/advantages/min"] / metrics["critic/returns/min"] == pytest.approx(alpha, rel=1e-6)
    assert seen == pytest.approx(
        {
            "hpo/alpha": alpha,
            "hpo/positive_share": (unweighted > 0).mean(),
            "hpo/negative_share": (unweighted < 0).mean(),
            "hpo/silent_share": (unweighted == 0).mean(),
            "hpo/mean_length": batch[4].mean(),
        }
    )


def test_equal_rewards_are_silent_where_verls_grpo_gives_them_signs():
    """Eight rewards of 0.1 in float32: verl's grpo leaves signs that would be counted; silence is of rewards."""
    mask = mask_of([4] * 16, 4)
    rewards = token_level([0.1] * 8 + [1.0] + [0.0] * 7, mask)
    index = uids(2, 8)
    plain, _ = core_algos.compute_grpo_outcome_advantage(rewards, mask, index)
    assert (plain[:8] != 0).any()
    with watched() as seen:
        advantages, _ = call("a_hpo", (rewards, mask, index))
    assert (advantages[:8] == 0).all()
    assert seen["hpo/alpha"] == pytest.approx(1 / 7)
    assert seen["hpo/silent_share"] == 0.5


def test_padding_rows_are_not_counted():
    """verl fills a batch up with rows of a uid of their own in which nothing is trained."""
    batch = sparse_batch()
    rewards, mask, uid, *_ = batch
    padded = (
        torch.cat([rewards, torch.zeros(5, rewards.shape[1])]),
        torch.cat([mask, torch.zeros(5, mask.shape[1])]),
        np.concatenate([uid, np.array(["pad0"] * 4 + ["pad1"], dtype=object)]),
    )
    with watched() as without:
        expected = call("a_hpo", batch)
    with watched() as with_padding:
        found = call("a_hpo", padded)
    assert without == with_padding
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other[: len(one)])
        assert (other[len(one) :] == 0).all()


def test_an_empty_response_belongs_to_its_group_but_its_sign_is_not_counted():
    """An aborted response failed too, and shows how good the others are; but it has no token to be trained on."""
    mask = mask_of([3, 3, 3, 0], 3)
    rewards = token_level([1.0, 0.0, 0.0, 0.0], mask)
    with watched() as seen:
        advantages, _ = call("a_hpo", (rewards, mask, uids(1, 4)))
    assert seen["hpo/alpha"] == pytest.approx(1 / 2)
    assert float(advantages[0, 0]) == pytest.approx(0.75 / (0.5 + 1e-4), rel=1e-5)
    assert (advantages[3] == 0).all()


def test_a_batch_of_padding_alone_gives_zeros():
    """Nothing to learn from is no error."""
    advantages, _ = call("a_hpo", (torch.zeros(2, 3), torch.zeros(2, 3), uids(2, 1)))
    assert (advantages == 0).all()


def test_groups_that_lost_rollouts_are_compared_within_what_is_left():
    """verl keeps a prompt whose rollouts failed in part; one response alone has advantage 0."""
    batch = sparse_batch(prompts=3, responses=4, rate=0.5, seed=1)
    keep = [0, 1, 2, 3, 4, 5, 6, 8]  # groups of 4, 3 and 1
    left = tuple(part[keep] for part in batch)
    advantages, _ = call("a_hpo", left)
    weighted, _, _ = by_hand(left[3], left[2], left[4])
    torch.testing.assert_close(advantages, torch.tensor(weighted).float()[:, None] * left[1], atol=1e-6, rtol=1e-6)
    assert (advantages[-1] == 0).all()


def root(**changes):
    """As much of verl's configuration as is looked at."""
    config = OmegaConf.create(
        {
            "algorithm": {"adv_estimator": "a_hpo", "norm_adv_by_std_in_grpo": True},
            "data": {"train_batch_size": 4},
            "actor_rollout_ref": {
                "rollout": {"n": 8},
                "actor": {
                    "loss_agg_mode": "token-mean",
                    "ppo_mini_batch_size": 4,
                    "policy_loss": {"loss_mode": "vanilla"},
                },
            },
        }
    )
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value, force_add=True)
    return config


@pytest.mark.parametrize(
    ("message", "rows", "config"),
    [
        ("rollout.n is 1", 8, root(actor_rollout_ref__rollout__n=1)),
        ("Every prompt has one response.*rollout.n >= 2", 1, None),
        (
            "8 rows, but actor_rollout_ref.rollout.n is 4.*several rows per rollout",
            8,
            root(actor_rollout_ref__rollout__n=4),
        ),
        (
            "loss_agg_mode is seq-mean-token-mean.*token-mean",
            8,
            root(actor_rollout_ref__actor__loss_agg_mode="seq-mean-token-mean"),
        ),
        (
            "length=batch is token-mean.*hpo.length=response",
            8,
            root(actor_rollout_ref__actor__loss_agg_mode="seq-mean-token-mean"),
        ),
        (
            r"sapo loss always uses seq-mean-token-mean, but \S+ is token-mean; set \+algorithm.hpo.length=response",
            8,
            root(actor_rollout_ref__actor__policy_loss__loss_mode="sapo"),
        ),
        ("use_kl_in_reward is true.*no group is silent.*use_kl_loss", 8, root(algorithm__use_kl_in_reward=True)),
        *(
            (
                f"loss_mode is {name}; a_hpo supports vanilla",
                8,
                root(actor_rollout_ref__actor__policy_loss__loss_mode=name),
            )
            for name in ("geo_mean", "gpg", "clip_cov", "kl_cov", "dro", "dppo_tv", "bypass_mode")
        ),
        ("no option 'alpha_mni'. Did you mean 'alpha_min'", 8, root(algorithm__hpo={"alpha_mni": 0.1})),
        ("alpha is set.*adv_estimator=hpo", 8, root(algorithm__hpo={"alpha": 0.1})),
        ("alpha_min is 1.5", 8, root(algorithm__hpo={"alpha_min": 1.5})),
        ("alpha_min is 'low'", 8, root(algorithm__hpo={"alpha_min": "low"})),
        ("algorithm.hpo is 0.3", 8, root(algorithm__hpo=0.3)),
        ("length is 'token'", 8, root(algorithm__hpo={"length": "token"})),
    ],
)
def test_what_would_train_something_else_is_refused(message, rows, config):
    """With what was found and what to set."""
    rewards, mask, uid, *_ = sparse_batch(prompts=4, responses=rows)
    with pytest.raises(ValueError, match=message):
        ESTIMATORS["a_hpo"](rewards, mask, uid, config=None if config is None else config.algorithm)


def test_the_weight_alone_with_each_responses_own_length_is_had_by_saying_so():
    """README's best arm is the adaptive weight with GRPO's length; loss_agg_mode must agree with it."""
    config = root(algorithm__hpo={"length": "response"}, actor_rollout_ref__actor__loss_agg_mode="seq-mean-token-mean")
    rewards, mask, uid, *_ = batch = sparse_batch(prompts=4)
    found, _ = ESTIMATORS["a_hpo"](rewards, mask, uid, config=config.algorithm)
    assert torch.equal(found, call("a_hpo", batch)[0])


def test_adaptive_grpo_asks_for_each_responses_own_length():
    """The same advantages as a_hpo's, with the loss_agg_mode of GRPO; another one is refused."""
    rewards, mask, uid, *_ = batch = sparse_batch(prompts=4)
    name = {"algorithm__adv_estimator": "adaptive_grpo"}
    config = root(**name, actor_rollout_ref__actor__loss_agg_mode="seq-mean-token-mean")
    found, _ = ESTIMATORS["adaptive_grpo"](rewards, mask, uid, config=config.algorithm)
    assert torch.equal(found, call("a_hpo", batch)[0])
    with pytest.raises(ValueError, match=r"set actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean"):
        ESTIMATORS["adaptive_grpo"](rewards, mask, uid, config=root(**name).algorithm)


@dataclass
class HalfWeight:
    """A weight by a user: not frozen, not hashable, without alpha."""

    factor: float = 0.5

    def __call__(self, advantages, statistics):
        return advantages.where(advantages >= 0, self.factor * advantages)


def test_the_scale_is_that_of_the_settings():
    """algorithm.hpo.scale before verl's switch; one success in eight counts 7 with the mean, by hand."""
    rewards = torch.zeros(8, 1)
    rewards[0] = 1.0
    batch = (rewards, torch.ones(8, 1), np.array(["a"] * 8, dtype=object))
    for settings_, first in [({"scale": "mean"}, 7.0), ({"scale": "none"}, 0.875), ({"scale": "root"}, 0.875 * 8**0.5)]:
        _, plain = call("hpo", batch, hpo=settings_)
        assert float(plain[0, 0]) == pytest.approx(first, rel=1e-6)
    for settings_, message in [({"scale": "men"}, "Did you mean 'mean'"), ({"gamma": 2.0}, "gamma is set, but")]:
        with pytest.raises(ValueError, match=message):
            call("hpo", batch, hpo=settings_)


def test_a_weight_of_a_users_own_is_taken():
    """As hpo's of the same value; no alpha is reported, for it has none."""
    rewards, mask, uid, *_ = batch = sparse_batch()
    with watched() as seen:
        advantages, _ = estimate(rewards, mask, uid, HalfWeight())
    assert torch.equal(advantages, call("hpo", batch, hpo={"alpha": 0.5})[0])
    assert "hpo/alpha" not in seen
    assert "hpo/mean_length" in seen


def test_mini_batches_are_explained_once(caplog):
    """Allowed: alpha is of the step, the mean length of each mini-batch. Not a line a step."""
    config = root(actor_rollout_ref__actor__ppo_mini_batch_size=2)
    rewards, mask, uid, *_ = sparse_batch(prompts=4)
    for _ in range(3):
        ESTIMATORS["a_hpo"](rewards, mask, uid, config=config.algorithm)
    said = [record.message for record in caplog.records if "ppo_mini_batch_size is 2" in record.message]
    assert len(said) == 1
    assert "the mean length is that of each mini-batch" in said[0]


@pytest.mark.parametrize(
    ("loss", "cap", "is_noted"), [("vanilla", 3.0, True), ("vanilla", 1e9, False), ("cispo", 3.0, False)]
)
def test_verls_cap_on_what_a_negative_costs_is_noted(loss, cap, is_noted):
    """verl's default; HPO has none, and only the vanilla loss reads it."""
    config = root(actor_rollout_ref__actor__clip_ratio_c=cap, actor_rollout_ref__actor__policy_loss__loss_mode=loss)
    assert any("clip_ratio_c is 3.0" in note and "=1e9" in note for note in check_run(config)) == is_noted


def test_lost_rollouts_are_told_once_whatever_their_number(caplog, monkeypatch):
    """Not a line a step."""
    monkeypatch.setattr(estimator, "_said", set())
    for keep in (5, 9, 13):
        rewards, mask, uid, *_ = sparse_batch(prompts=4, responses=4, rate=0.5, seed=1)
        call("a_hpo", (rewards[:keep], mask[:keep], uid[:keep]))
    assert sum("one response left" in record.message for record in caplog.records) == 1


def test_process_rewards_of_equal_sums_are_silent():
    """Summed in float32 they differ: 0.0625 is lost beside 2^24, where it comes first."""
    large = 2.0**24
    rewards = torch.tensor([[0.0625, large, -large], [large, -large, 0.0625]])
    assert rewards[0].sum() != rewards[1].sum()
    advantages, _ = call("a_hpo", (rewards, torch.ones(2, 3), uids(1, 2)))
    assert (advantages == 0).all()


@pytest.mark.parametrize(("dtype", "large"), [(torch.float16, 2048.0), (torch.bfloat16, 256.0)])
def test_short_floats_are_not_summed_as_such(dtype, large):
    """2048 and 1 are 2048 in float16: all responses alike, and nothing learned."""
    rewards = torch.tensor([[large, 1.0], [large, 0.0]], dtype=dtype)
    advantages, _ = call("a_hpo", (rewards, torch.ones(2, 2), uids(1, 2)))
    assert advantages.dtype == dtype
    assert advantages[0, 0] > 0 > advantages[1, 0]


def test_whole_numbers_as_rewards_have_advantages():
    """In their own type every advantage would be cut to 0."""
    mask = mask_of([3, 3, 3, 3], 3)
    rewards = token_level([1.0, 0.0, 0.0, 0.0], mask)
    expected, _ = call("a_hpo", (rewards, mask, uids(1, 4)))
    found, _ = call("a_hpo", (rewards.long(), mask, uids(1, 4)))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_rewards_too_far_apart_for_their_type_are_refused():
    """Finite each, but an infinite advantage would be no error in verl."""
    mask = mask_of([3, 3, 3], 3)
    rewards = token_level([3e38, -3e38, -3e38], mask)
    with pytest.raises(ValueError, match=r"advantage of row 0 \(uid prompt-0\) overflows torch.float32"):
        call("a_hpo", (rewards, mask, uids(1, 3)), norm_adv_by_std_in_grpo=False)


def test_a_reward_that_is_no_number_is_named():
    """The row and the prompt, not a NaN loss."""
    rewards, mask, uid, *_ = sparse_batch()
    rewards[9, 0] = float("nan")
    with pytest.raises(ValueError, match=r"row 9 \(uid prompt-1\) is nan"):
        call("a_hpo", (rewards, mask, uid))


def test_without_uid_there_are_no_groups():
    """An estimator of verl need not be given one."""
    rewards, mask, *_ = sparse_batch()
    with pytest.raises(ValueError, match="no uid"):
        ESTIMATORS["hpo"](rewards, mask, config=algorithm())


def test_a_hundred_thousand_responses(capsys):
    """The whole step's work of the estimator. Timings decide nothing here; the bound catches a loop over rows in torch
    (verl's own grpo takes fifty times as long)."""
    import time

    responses, tokens = 100_000, 128
    mask = mask_of(np.random.default_rng(0).integers(1, tokens + 1, responses), tokens)
    rewards = token_level((np.arange(responses) % 11 == 0).astype(np.float32), mask)
    index = uids(responses // 8, 8)
    started = time.perf_counter()
    estimate(rewards, mask, index, AdaptiveWeight(), group_size=8)
    seconds = time.perf_counter() - started
    with capsys.disabled():
        print(f"\nadvantages of {responses:,} responses of up to {tokens} tokens: {seconds:.3f} s")
    assert seconds < 20


def test_the_script_that_times_it_runs(tmp_path):
    """benchmarks/verl_estimator.py on its smallest batch."""
    script = Path(__file__).parents[2] / "benchmarks" / "verl_estimator.py"
    words = ["--largest", "1000", "--output", str(tmp_path / "verl_estimator")]
    subprocess.run([sys.executable, str(script), *words], check=True, timeout=300)
    assert (tmp_path / "verl_estimator.md").is_file()
