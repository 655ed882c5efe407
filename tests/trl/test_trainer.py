"""HPOTrainer around the loss: what it logs, how rewards may fail, what a checkpoint keeps."""

import json
import math
from pathlib import Path

import pytest
import torch
from policy import low_first_byte, prompts, random_policy, settings

import hysteretic as hy
from hysteretic.trl import HPOConfig, HPOTrainer, RewardError

FIGURES = ["alpha", "positive_share", "negative_share", "silent_share", "positive_mass", "negative_mass", "mean_length"]


def trainer_of(folder, reward=low_first_byte, objective=None, **changes):
    model, tokenizer = random_policy()
    args = HPOConfig(**settings(folder, **changes))
    return HPOTrainer(model, reward, args, train_dataset=prompts(), processing_class=tokenizer, objective=objective)


def updates_of(trainer):
    return [line for line in trainer.state.log_history if "loss" in line]


def test_every_update_logs_the_figures_of_its_rollout(tmp_path):
    """Two updates per rollout: the second one generates nothing and must log the same metrics."""
    trainer = trainer_of(tmp_path, steps_per_generation=4, gradient_accumulation_steps=2, max_steps=4)
    trainer.train()
    lines = [{name: line[f"hpo/{name}"] for name in FIGURES} for line in updates_of(trainer)]
    assert len(lines) == 4
    assert lines[0] == lines[1]
    assert lines[2] == lines[3]
    assert lines[0] != lines[2]


def test_logged_figures_are_those_of_the_rewards(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.train()
    line, rewards = updates_of(trainer)[0], trainer.group_rewards.rewards[:, 0]
    advantages = hy.group_advantages(rewards, 4)
    positives, negatives = int((advantages > 0).sum()), int((advantages < 0).sum())
    assert positives
    assert negatives
    assert line["hpo/positive_share"] == positives / 32
    assert line["hpo/negative_share"] == negatives / 32
    assert line["hpo/silent_share"] == pytest.approx(1 - (positives + negatives) / 32)
    assert line["hpo/alpha"] == hy.adaptive_alpha(positives, negatives, 0.1)
    assert line["hpo/mean_length"] == pytest.approx(line["completions/mean_length"])


@pytest.mark.parametrize("constant", [0.1, 10.1])
def test_constant_groups_leave_alpha_untouched(tmp_path, constant):
    """Float noise gives eight equal rewards of 0.1 a negative advantage in plain float32; counted, it ruins alpha."""

    def reward(prompts, completion_ids, **_):
        varied = low_first_byte(prompts, completion_ids)
        return [constant if int(p[:3]) % 2 else r for p, r in zip(prompts, varied, strict=True)]

    trainer = trainer_of(tmp_path, reward, num_generations=8, per_device_train_batch_size=16, seed=5)
    trainer.train()
    advantages = hy.group_advantages(trainer.group_rewards.rewards[:, 0], 8)
    line = updates_of(trainer)[0]
    expected = hy.adaptive_alpha(int((advantages > 0).sum()), int((advantages < 0).sum()), 0.1)
    assert line["hpo/alpha"] == expected
    assert line["hpo/silent_share"] >= 0.25


def test_all_silent_changes_nothing(tmp_path):
    """No group carries signal: alpha is 1 by definition, the gradient 0, the weights what they were."""
    trainer = trainer_of(tmp_path, lambda completions, **_: [0.0] * len(completions), learning_rate=1e-2)
    before = [parameter.clone() for parameter in trainer.model.parameters()]
    trainer.train()
    line = updates_of(trainer)[0]
    assert (line["hpo/alpha"], line["hpo/silent_share"], line["grad_norm"]) == (1.0, 1.0, 0.0)
    assert all(torch.equal(old, new) for old, new in zip(before, trainer.model.parameters(), strict=True))


def test_a_weight_of_ones_own_reaches_the_loss(tmp_path):
    class Halve:
        def __call__(self, advantages_B, statistics):
            return advantages_B / 2

        def alpha(self, statistics):
            return 0.5

    full = trainer_of(tmp_path / "a", objective=hy.dapo())
    full.train()
    halved = trainer_of(tmp_path / "b", objective=hy.dapo().replace(weight=Halve()))
    halved.train()
    assert updates_of(halved)[0]["grad_norm"] == pytest.approx(updates_of(full)[0]["grad_norm"] / 2, rel=1e-5)
    assert updates_of(full)[0]["grad_norm"] > 0


def test_a_gate_that_trl_has_not_is_refused(tmp_path):
    with pytest.raises(TypeError, match="own loop"):
        trainer_of(tmp_path, objective=hy.dapo().replace(gate=lambda ratio, advantages, logprobs: ratio))


def test_a_plain_grpo_config_is_refused():
    with pytest.raises(TypeError, match="HPOConfig"):
        HPOTrainer(random_policy()[0], low_first_byte, args=object())


def fails(value):
    def reward(completions, **_):
        return [0.0, 1.0, value] + [0.0] * (len(completions) - 3)

    return reward


def raises_on_third(prompts, completions, **_):
    if len(prompts) > 2 or prompts[0].startswith("x"):
        raise KeyError("no such answer")
    return [0.0] * len(prompts)


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (fails(None), ["reward", "None", "row 2"]),
        (fails(math.nan), ["reward", "nan", "row 2"]),
        (fails(math.inf), ["reward", "inf", "row 2"]),
        (fails("1"), ["reward", "str", "row 2"]),
        (fails(torch.zeros(2)), ["reward", "Tensor", "row 2"]),
        (lambda completions, **_: [0.0], ["1 rewards for 32"]),
        (lambda completions, **_: None, ["NoneType", "list of 32"]),
        (raises_on_third, ["raises_on_third", "KeyError", "this batch"]),
        ([fails(None), fails(None)], ["row 2", "all returned None"]),
    ],
)
def test_a_failing_reward_stops_before_training_and_names_itself(tmp_path, reward, words):
    trainer = trainer_of(tmp_path, reward)
    with pytest.raises(RewardError) as caught:
        trainer.train()
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_row_that_raises_is_named(tmp_path):
    def reward(prompts, completions, **_):
        assert not any(prompt == prompts_seen[4] for prompt in prompts), "cannot judge this"
        return [0.0] * len(prompts)

    prompts_seen = []

    def recording(prompts, completions, **_):
        if not prompts_seen:
            prompts_seen.extend(prompts)
        return reward(prompts, completions)

    with pytest.raises(RewardError, match="on row 4: cannot judge this"):
        trainer_of(tmp_path, recording).train()


def test_a_reward_error_is_passed_on_as_it_is(tmp_path):
    """A task names its problem itself; wrapping that again only buries it."""

    def reward(completions, **_):
        raise RewardError("problem 7 has no answer")

    with pytest.raises(RewardError, match=r"^problem 7 has no answer$"):
        trainer_of(tmp_path, reward).train()


async def async_none(completions, **_):
    return [None] * len(completions)


def test_an_async_reward_is_watched_too(tmp_path):
    with pytest.raises(RewardError, match="async_none returned None for row 0"):
        trainer_of(tmp_path, async_none).train()


def test_one_of_two_rewards_may_skip_rows(tmp_path):
    """None means "does not apply" in TRL when another function scores the row."""
    trainer = trainer_of(tmp_path, [low_first_byte, fails(None)])
    trainer.train()
    assert updates_of(trainer)


def test_no_finished_update_is_lost_when_a_reward_fails(tmp_path):
    """The third rollout fails; the checkpoint that is left goes on from update 4 to the end."""
    calls = []

    def reward(prompts, completion_ids, **_):
        calls.append(len(calls))
        if len(calls) == 3:
            raise OSError("judge is offline")
        return low_first_byte(prompts, completion_ids)

    changes = {"steps_per_generation": 4, "gradient_accumulation_steps": 2, "max_steps": 6, "learning_rate": 1e-3}
    with pytest.raises(RewardError, match="judge is offline"):
        trainer_of(tmp_path, reward, **changes).train()
    checkpoint = tmp_path / "checkpoint-4"
    assert (checkpoint / "trainer_state.json").is_file()
    resumed = trainer_of(tmp_path, low_first_byte, **changes)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.state.global_step == 6


def test_a_resumed_run_ends_where_an_undisturbed_one_does(tmp_path):
    """Same weights bit for bit, the averaged alpha included."""
    changes = {
        "steps_per_generation": 4,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-2,
        "alpha_ema": 0.9,
        "lr_scheduler_type": "constant",
        "save_strategy": "steps",
        "save_steps": 4,
        "max_steps": 8,
    }
    whole = trainer_of(tmp_path / "whole", **changes)
    whole.train()
    resumed = trainer_of(tmp_path / "resumed", **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert updates_of(resumed)[-1]["hpo/alpha"] == updates_of(whole)[-1]["hpo/alpha"]


def test_averaged_alpha_follows_its_recursion(tmp_path):
    plain = trainer_of(tmp_path / "a", max_steps=4, lr_scheduler_type="constant")
    plain.train()
    averaged = trainer_of(tmp_path / "b", max_steps=4, lr_scheduler_type="constant", alpha_ema=0.8)
    averaged.train()
    alphas = [line["hpo/alpha"] for line in updates_of(plain)]  # learning rate 0: the same rollouts in both
    expected = [alphas[0]]
    for alpha in alphas[1:]:
        expected.append(0.8 * expected[-1] + 0.2 * alpha)
    assert len(set(alphas)) > 1
    assert [line["hpo/alpha"] for line in updates_of(averaged)] == pytest.approx(expected)


def test_the_model_card_cites_the_paper(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.create_model_card(model_name="somebody")
    card = Path(tmp_path, "README.md").read_text()
    assert "2605.30201" in card
    assert "Hysteretic Policy Optimization" in card


def test_a_checkpoint_says_what_alpha_was(tmp_path):
    trainer = trainer_of(tmp_path, save_strategy="steps", save_steps=1, alpha_ema=0.5)
    trainer.train()
    state = json.loads((tmp_path / "checkpoint-1" / "hpo_state.json").read_text())
    assert state["smoothed_alpha"] == updates_of(trainer)[0]["hpo/alpha"]
