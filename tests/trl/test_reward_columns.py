"""Every column of the reward matrix is watched, whoever makes it: functions, partials, reward models, environments."""

import functools
import json
import logging
import re
from pathlib import Path

import pytest
import torch
import transformers
import trl
from packaging import version
from policy import prompts, random_policy, settings
from ranks import run_worker
from reward_models import judge
from transformers import set_seed

from hysteretic.trl import HPOConfig, HPOTrainer, RewardError
from hysteretic.trl.rewards import GroupRewards

NAN, INF = float("nan"), float("inf")


def by_text(completions, **_):
    return [float(sum(map(ord, completion)) % 3 == 0) for completion in completions]


def trainer_of(folder, rewards, processing=None, **changes):
    model, tokenizer = random_policy()
    options = {} if processing is None else {"reward_processing_classes": processing}
    trainer_options = {name: changes.pop(name) for name in ("eval_dataset",) if name in changes}
    config = HPOConfig(**settings(folder, **{"max_steps": 3, "learning_rate": 1e-2, "max_grad_norm": 1.0, **changes}))
    return HPOTrainer(
        model, rewards, config, train_dataset=prompts(48), processing_class=tokenizer, **options, **trainer_options
    )


def judged(folder, flaws, beside=(), **changes):
    """A trainer with a reward model whose second batch has these flaws, after the functions beside it."""
    model, tokenizer = judge(flaws, at_batch=2)
    return trainer_of(folder, [*beside, model], [None] * len(beside) + [tokenizer], **changes)


@pytest.mark.parametrize("beside", [[], [by_text]], ids=["alone", "beside a rule"])
@pytest.mark.parametrize("flaw", [NAN, INF, -INF, 1e30], ids=str)
def test_a_bad_number_of_a_reward_model_stops_the_run_and_saves_it(tmp_path, flaw, beside):
    """Stock TRL takes a NaN for "does not apply" and trains on infinity."""
    trainer = judged(tmp_path, {5: flaw}, beside)
    with pytest.raises(RewardError, match=re.escape(f"Reward model judge gave {flaw:g} for row 5 (1 response")):
        trainer.train()
    assert (tmp_path / "checkpoint-1" / "sealed.json").is_file()


@pytest.mark.parametrize("beside", [[], [by_text]], ids=["alone", "beside a rule"])
@pytest.mark.parametrize("flaw", [NAN, INF], ids=str)
def test_a_bad_number_of_a_reward_model_is_tolerated_where_that_is_allowed(tmp_path, flaw, beside):
    trainer = judged(tmp_path, {5: flaw}, beside, max_unscored=1, max_steps=2)
    trainer.train()
    assert trainer.extra_state()["unscored"] == 1
    left_out = trainer.group_rewards.is_excluded.view(-1, 4).any(dim=1)
    assert left_out.tolist() == [False, True] + [False] * 6
    rows = [json.loads(line) for line in next((tmp_path / "bad-updates").glob("*.jsonl")).open()]
    assert [row for row, line in enumerate(rows) if line["unscored"]] == [5]


def test_an_exception_in_a_reward_model_is_named_and_no_update_is_lost(tmp_path):
    trainer = judged(tmp_path, RuntimeError("out of memory"), [by_text])
    with pytest.raises(RewardError, match="Reward model judge raised RuntimeError: out of memory"):
        trainer.train()
    assert (tmp_path / "checkpoint-1" / "sealed.json").is_file()


def test_what_a_reward_model_does_on_one_rank_stops_or_spares_all(tmp_path):
    run_worker("reward_model_worker.py", tmp_path)
    found = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0] == found[1]
    assert found[0]["raises"] == "Reward model judge raised RuntimeError: out of memory"
    assert found[0]["nan"] == [[4], 1]  # 16 rows per rank: the second of the second rank is in group 4 of the batch


TEMPLATE = Path(trl.__file__).parent / "chat_templates" / "qwen2_5.jinja"


class Counter:
    """An environment that owns its reward."""

    flaw = 1.0

    def reset(self, **_):
        return None

    def add(self, number: int) -> int:
        """Add a number.

        Args:
            number: The number to add.

        Returns:
            The sum.
        """
        return number

    def get_reward(self):
        if isinstance(self.flaw, Exception):
            raise self.flaw
        return self.flaw


class AsyncCounter(Counter):
    async def get_reward(self):
        return super().get_reward()


@pytest.mark.skipif(not TEMPLATE.exists(), reason="this TRL has no template for tools")
@pytest.mark.skipif(version.parse(transformers.__version__) < version.parse("5.2"), reason="TRL wants transformers 5.2")
@pytest.mark.parametrize(
    ("flaw", "words"), [(NAN, "returned nan for row 0"), (INF, "returned inf"), (KeyError("door"), "raised KeyError")]
)
@pytest.mark.parametrize("kind", [Counter, AsyncCounter])
def test_the_reward_of_an_environment_is_watched(tmp_path, monkeypatch, kind, flaw, words):
    model, tokenizer = random_policy()
    tokenizer.chat_template = TEMPLATE.read_text()
    tokenizer.model_max_length = 4096
    monkeypatch.setattr(Counter, "flaw", flaw)
    data = prompts(8).map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})
    trainer = HPOTrainer(
        model,
        by_message,
        HPOConfig(**settings(tmp_path)),
        train_dataset=data,
        processing_class=tokenizer,
        environment_factory=kind,
    )
    with pytest.raises(RewardError, match=f"Reward function {kind.__name__} {words}"):
        trainer.train()


def by_message(completions, **_):
    return [float(len(completion)) for completion in completions]


# Names and async functions, as TRL has them.


def scaled(completions, scale, **_):
    return [scale * value for value in by_text(completions)]


class Judge:
    async def __call__(self, completions, scale=1.0, **_):
        return scaled(completions, scale)


def test_partials_have_names_and_metrics_of_their_own(tmp_path):
    """TRL names a partial after its function; two of one function would share metrics and a column."""
    functions = [functools.partial(scaled, scale=1.0), functools.partial(scaled, scale=3.0), functools.partial(by_text)]
    trainer = trainer_of(tmp_path, functions, max_steps=1)
    assert trainer.reward_func_names == ["scaled", "scaled_2", "by_text"]
    trainer.train()
    log = trainer.state.log_history[0]
    assert log["rewards/scaled_2/mean"] == pytest.approx(3 * log["rewards/scaled/mean"])
    assert log["rewards/by_text/mean"] == pytest.approx(log["rewards/scaled/mean"])
    assert len(trainer._logs["rewards"]) == 3


def test_a_partial_of_an_async_object_is_awaited(tmp_path):
    trainer = trainer_of(tmp_path, [functools.partial(Judge(), scale=2.0)], max_steps=1)
    assert trainer.reward_func_names == ["Judge"]
    trainer.train()
    assert set(trainer.group_rewards.rewards.flatten().tolist()) == {0.0, 2.0}


def test_the_users_list_of_functions_is_left_as_it_is(tmp_path):
    functions = [by_text]
    trainer_of(tmp_path, functions)
    assert functions == [by_text]


@pytest.mark.parametrize("wrong", [3, [by_text, {"a": 1}]])
def test_what_cannot_be_called_is_refused_by_name(tmp_path, wrong):
    with pytest.raises(TypeError, match="must be callable"):
        trainer_of(tmp_path, wrong)


# Rows without a reward, in evaluation and in groups that have none at all.


@pytest.mark.parametrize("group", [1, 2, 4])
def test_evaluation_groups_by_its_own_number_of_responses(tmp_path, group):
    """Rewards [nan, 0], [1, 1] of two groups of 2 have mean 0.5: a missing reward has its group's mean."""
    missing = {1: NAN, 2: NAN, 4: 0.0}

    def reward(completions, **_):
        return [missing[group], 0.0, 1.0, 1.0, *[0.0] * (len(completions) - 4)]

    trainer = trainer_of(
        tmp_path, reward, num_generations_eval=group, per_device_eval_batch_size=4, max_unscored=9, num_generations=8,
        eval_dataset=prompts(4 // group),
    )  # fmt: skip
    expected = {1: 2 / 3, 2: 0.5, 4: 0.5}
    assert trainer.evaluate()["eval_reward"] == pytest.approx(expected[group])


def test_a_group_without_any_reward_moves_no_mean():
    """It counted as 0."""
    rewards = GroupRewards.of(torch.tensor([[NAN], [NAN], [1.0], [0.5]]), 2, torch.ones(1), normalizes_first=False)
    assert rewards.rewards.nanmean() == 0.75
    assert rewards.is_neutral.tolist() == [True, True, False, False]


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
@pytest.mark.parametrize("aggregation", ["sum_then_normalize", "normalize_then_sum"])
def test_a_group_without_any_reward_changes_no_other_advantage(tmp_path, aggregation, scale):
    """TRL's baseline and standard deviation are those of the rows that have rewards."""

    def first_group_missing(completions, **_):
        return [*[NAN] * 4, *by_text(completions)[4:]]

    set_seed(0)
    trainer = trainer_of(
        tmp_path, first_group_missing, max_unscored=4, max_steps=1, scale_rewards=scale,
        multi_objective_aggregation=aggregation, drop_silent=False, algorithm="grpo",
    )  # fmt: skip
    kept = []
    original = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: kept.append(original(inputs)) or kept[-1]
    trainer.train()
    advantages, rewards = kept[0]["advantages"], trainer.group_rewards.rewards[:, 0]
    assert (advantages[:4] == 0).all()
    assert rewards[:4].isnan().all()
    assert advantages.isfinite().all()
    groups = rewards[4:].view(-1, 4)
    centred = groups - groups.mean(dim=1, keepdim=True)
    assert torch.equal(advantages[4:].sign(), centred.flatten().sign())
    assert trainer.state.log_history[0]["reward"] == pytest.approx(float(rewards.nanmean()))


def test_a_good_run_with_a_reward_model_says_nothing(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="hysteretic"):
        judged(tmp_path, {}, [by_text], max_steps=1).train()
    assert not [record for record in caplog.records if record.name.startswith("hysteretic.trl")]
