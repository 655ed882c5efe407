"""What docs/troubleshooting.md says about logged metrics, each checked in one update of a random model."""

import pytest
from policy import low_first_byte, prompts, random_policy, settings
from transformers import TrainerCallback

from hysteretic.trl import HPOConfig, HPOTrainer


def always(reward):
    def same_for_all(completion_ids, **_):
        return [reward] * len(completion_ids)

    return same_for_all


def logged(folder, reward, callbacks=(), **changes):
    """The metrics of each update."""
    model, tokenizer = random_policy()
    args = HPOConfig(**settings(folder, **changes))
    trainer = HPOTrainer(
        model, reward, args, processing_class=tokenizer, train_dataset=prompts(), callbacks=list(callbacks)
    )
    trainer.train()
    return [log for log in trainer.state.log_history if "loss" in log]


PLAIN = {"drop_silent": False, "share_prompts": False, "drop_finished": False}


@pytest.mark.parametrize("way", [{}, PLAIN], ids=["lean", "plain"])
@pytest.mark.parametrize("reward", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("algorithm", ["grpo", "a-hpo"])
def test_a_silent_batch_has_no_loss_and_no_gradient(tmp_path, algorithm, reward, way):
    """Whatever the reward that all get, and the algorithm."""
    (log,) = logged(tmp_path, always(reward), algorithm=algorithm, **way)
    assert log["loss"] == 0
    assert log["grad_norm"] == 0
    assert log["hpo/silent_share"] == 1
    assert log["hpo/alpha"] == 1
    assert log["reward"] == pytest.approx(reward)
    assert log.get("hpo/forwarded_tokens", 0) == 0


@pytest.mark.parametrize("algorithm", ["grpo", "dapo", "a-hpo", "hpo"])
def test_the_loss_of_the_first_update_is_the_difference_of_the_masses(tmp_path, algorithm):
    """About 0 without a weight, below 0 with one; and there is a gradient either way."""
    (log,) = logged(tmp_path, low_first_byte, algorithm=algorithm)
    assert log["loss"] == pytest.approx(log["hpo/negative_mass"] - log["hpo/positive_mass"], abs=1e-5)
    assert log["grad_norm"] > 0.1
    if algorithm == "grpo":
        assert abs(log["loss"]) < 1e-6
    if algorithm.endswith("hpo"):
        assert log["loss"] < -0.01


def test_masked_truncated_responses_leave_no_trained_token(tmp_path):
    """Groups are not silent, and there is nothing to train on all the same."""
    (log,) = logged(
        tmp_path, low_first_byte, algorithm="a-hpo", max_completion_length=2, mask_truncated_completions=True
    )
    assert log["completions/clipped_ratio"] == 1
    assert log["hpo/silent_share"] < 1
    assert (log["hpo/mean_length"], log["hpo/positive_share"], log["grad_norm"], log["loss"]) == (0, 0, 0, 0)


def test_grad_norm_is_logged_before_clipping(tmp_path):
    """So that max_grad_norm is no cause of a small one."""
    whole, clipped = (
        logged(tmp_path, low_first_byte, algorithm="a-hpo", max_grad_norm=bound)[0] for bound in (1e9, 1e-3)
    )
    assert clipped["grad_norm"] == pytest.approx(whole["grad_norm"])


def test_an_update_whose_part_of_the_rollout_is_silent_has_no_gradient(tmp_path):
    """One success among 32 responses: one group has a gradient, in the update that it falls to."""

    def first_alone(completion_ids, **_):
        return [float(i == 0) for i in range(len(completion_ids))]

    steps = {"gradient_accumulation_steps": 1, "steps_per_generation": 4, "max_steps": 4}
    logs = logged(tmp_path, first_alone, algorithm="a-hpo", **steps)
    assert {log["hpo/silent_share"] for log in logs} == {7 / 8}
    assert any(log["grad_norm"] == 0 for log in logs)
    assert any(log["grad_norm"] > 0 for log in logs)


def test_equal_rewards_are_silent_where_standard_deviations_differ_from_0(tmp_path):
    """TRL's frac_reward_zero_std misses groups of eight rewards of 0.3."""
    (log,) = logged(tmp_path, always(0.3), algorithm="a-hpo", num_generations=8)
    assert log["frac_reward_zero_std"] == 0
    assert (log["hpo/silent_share"], log["grad_norm"]) == (1, 0)


@pytest.mark.parametrize("way", [{}, PLAIN], ids=["lean", "plain"])
def test_momentum_moves_the_weights_of_a_silent_update(tmp_path, way):
    """One rollout with successes, then one without."""
    rewards = iter([low_first_byte, always(0.0)])

    def first_rollout_alone(completion_ids, **_):
        return next(rewards)(prompts=None, completion_ids=completion_ids)

    seen = []

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            seen.append(next(model.parameters()).detach().clone())

    logs = logged(tmp_path, first_rollout_alone, [Watch()], algorithm="a-hpo", max_steps=2, learning_rate=1e-3, **way)
    assert logs[0]["grad_norm"] > 0
    assert logs[1]["grad_norm"] == 0
    assert not seen[0].equal(seen[1])
