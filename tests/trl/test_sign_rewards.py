"""Which rewards decide signs and silence: sign_rewards, the warning where it is missing, and few groups per rollout."""

import json
import logging
import warnings

import pytest
import torch
from packed_runs import PLAIN, logs, trained
from policy import prompts, random_policy, settings
from ranks import run_worker

from hysteretic.trl import HPOConfig, HPOTrainer
from hysteretic.trl.rewards import Signs
from hysteretic.trl.weighting import few_groups

NAN = float("nan")


def is_right(completion_ids, **_):
    """1 for one response of the first group, 0 for everything else: nearly nothing is right."""
    return [float(row == 1) for row in range(len(completion_ids))]


def never_right(completion_ids, **_):
    return [0.0] * len(completion_ids)


def graded(completion_ids, **_):
    """A number that differs within every group: rises over its four rows."""
    return [0.1 * (row % 4) for row in range(len(completion_ids))]


def run_of(folder, *rewards, **changes):
    return trained(folder, list(rewards), algorithm="adaptive-grpo", **changes)


def by_row(trainer):
    """The rows as drawn, [8 groups, 4 responses], with TRL's own advantage and the one that is trained on."""
    return trainer.batches[0]["advantages"].view(-1, 4)


def test_a_graded_reward_hides_sparsity_and_sign_rewards_does_not(tmp_path):
    """alpha is that of 1 right response against the 3 wrong ones beside it, and 7 of 8 groups are silent."""
    hidden = logs(run_of(tmp_path / "a", is_right, graded))[0]
    assert (hidden["hpo/silent_share"], hidden["hpo/alpha"]) == (0, 1.0)
    shown = logs(run_of(tmp_path / "b", is_right, graded, sign_rewards=["is_right"]))[0]
    assert shown["hpo/silent_share"] == 7 / 8
    assert shown["hpo/alpha"] == pytest.approx(1 / 3)
    assert (shown["hpo/positive_share"], shown["hpo/negative_share"]) == (1 / 32, 3 / 32)
    assert shown["reward"] == hidden["reward"]


def test_advantages_stay_those_of_all_rewards_and_alpha_falls_on_wrong_responses(tmp_path):
    """Where nothing is right or wrong by the signs, the graded reward is trained on as it is."""
    plain = by_row(trained(tmp_path / "a", [is_right, graded], algorithm="grpo"))
    signed = by_row(run_of(tmp_path / "b", is_right, graded, sign_rewards=["is_right"]))
    torch.testing.assert_close(signed[1:], plain[1:])
    assert (plain[1:].abs().sum(dim=1) > 1).all()
    factor = torch.tensor([1 / 3, 1.0, 1 / 3, 1 / 3])
    torch.testing.assert_close(signed[0], plain[0] * factor)


@pytest.mark.parametrize("way", [{}, PLAIN], ids=["lean", "plain"])
def test_a_group_that_is_silent_by_its_signs_alone_is_still_trained_on(tmp_path, way):
    """drop_silent looks at the weighted advantages of all rewards."""
    trainer = run_of(tmp_path, never_right, graded, sign_rewards=["never_right"], **way)
    log = logs(trainer)[0]
    assert log["hpo/silent_share"] == 1
    assert log["grad_norm"] > 0
    if not way:
        assert trainer.steps[-1].kept == 32


def test_all_groups_silent_in_the_sum_are_left_out_with_sign_rewards_too(tmp_path):
    trainer = run_of(tmp_path, never_right, never_right, sign_rewards=["never_right_2"])
    assert logs(trainer)[0]["grad_norm"] == 0
    assert trainer.steps[-1].kept == 0


def test_gradients_are_the_same_lean_and_plain(tmp_path):
    weights = [
        run_of(tmp_path / name, is_right, graded, sign_rewards=["is_right"], learning_rate=1e-3, **way).weights[-1]
        for name, way in (("lean", {}), ("plain", PLAIN))
    ]
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-6)


def test_all_functions_named_is_the_same_as_none(tmp_path):
    """With one function the option changes nothing."""
    named, unnamed = (
        run_of(tmp_path / name, is_right, **options)
        for name, options in (("a", {"sign_rewards": ["is_right"]}), ("b", {}))
    )
    torch.testing.assert_close(by_row(named), by_row(unnamed))
    keys = [key for key in logs(named)[0] if key.startswith("hpo/")]
    assert [logs(named)[0][key] for key in keys] == [logs(unnamed)[0][key] for key in keys]


def test_a_weight_of_zero_may_decide_signs_without_shaping(tmp_path):
    trainer = run_of(tmp_path, is_right, graded, sign_rewards=["is_right"], reward_weights=[0.0, 1.0])
    assert logs(trainer)[0]["hpo/alpha"] == pytest.approx(1 / 3)


def test_signs_are_those_of_the_plain_sum_of_the_named_columns():
    rewards = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, 0.5], [1.0, 0.0], [1.0, NAN], [NAN, 2.0]])
    signs = Signs.of(rewards, 2)
    assert signs.of_responses.tolist() == [1, -1, 0, 0, -1, 1]
    assert signs.is_silent.tolist() == [False, False, True, True, False, False]


def test_a_response_without_a_named_reward_silences_its_group():
    signs = Signs.of(torch.tensor([[1.0], [NAN], [0.0], [1.0], [NAN], [NAN]]), 2)
    assert signs.of_responses.tolist() == [0, 0, -1, 1, 0, 0]
    assert signs.is_silent.tolist() == [True, True, False, False, True, True]


def test_counts_are_those_of_all_ranks(tmp_path):
    """One rank has the only right response."""
    run_worker("sign_rewards_worker.py", tmp_path)
    found = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert found[0]["metrics"] == found[1]["metrics"]
    assert found[0]["metrics"]["hpo/alpha"] == pytest.approx(1 / 3)
    assert found[0]["metrics"]["hpo/silent_share"] == 7 / 8
    scaled = [[row for row, factor in enumerate(rank["factors"]) if factor < 0.99] for rank in found]
    assert scaled == [[], [1, 2, 3]]


@pytest.mark.parametrize(
    ("names", "words"), [(["is_rigth"], "Did you mean 'is_right'"), (["nothing_like_it"], "is_right, graded")]
)
def test_a_name_that_no_function_has_is_refused(tmp_path, names, words):
    with pytest.raises(ValueError, match=words):
        run_of(tmp_path, is_right, graded, sign_rewards=names)


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_names_that_say_nothing_are_refused(names, tmp_path):
    with pytest.raises(ValueError, match="sign_rewards is"):
        HPOConfig(**settings(tmp_path, sign_rewards=names))


SEVERAL = {"max_steps": 6, "steps_per_generation": 4, "gradient_accumulation_steps": 4}


def warned(caplog, *arguments, **changes):
    with caplog.at_level(logging.WARNING, logger="hysteretic"):
        run_of(*arguments, **changes)
    return [record.getMessage() for record in caplog.records if "sign_rewards" in record.getMessage()]


@pytest.mark.parametrize("reward", [is_right, never_right])
def test_a_run_in_which_graded_rewards_hide_sparsity_says_so_once(tmp_path, caplog, reward):
    """Stock metrics look healthy: every group informative, alpha 1."""
    (message,) = warned(caplog, tmp_path, reward, graded, **SEVERAL)
    assert f"set sign_rewards: [{reward.__name__}]" in message


def mostly_right(completion_ids, **_):
    return [float(row % 4 > 0) for row in range(len(completion_ids))]


@pytest.mark.parametrize(
    ("rewards", "changes"),
    [
        ([is_right], {}),
        ([mostly_right, graded], {}),
        ([is_right, graded], {"sign_rewards": ["is_right"]}),
        ([is_right, graded], {"weight": "uniform"}),
        ([is_right, graded], {"reward_weights": [0.0, 1.0]}),
        ([is_right, graded], {"max_steps": 4}),
    ],
    ids=["one", "often right", "sign_rewards", "no weight", "a metric only", "a short run"],
)
def test_a_run_in_which_nothing_is_hidden_says_nothing(tmp_path, caplog, rewards, changes):
    assert not warned(caplog, tmp_path, *rewards, **{**SEVERAL, **changes})


# Few groups per rollout.


def built(folder, **changes):
    """The messages of making a trainer, and its config."""
    model, tokenizer = random_policy()
    config = HPOConfig(**{**settings(folder), "num_generations": 8, "gradient_accumulation_steps": 1, **changes})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        HPOTrainer(model, is_right, config, train_dataset=prompts(), processing_class=tokenizer)
    return [str(each.message) for each in caught if "groups" in str(each.message)], config


def test_trls_default_rollout_of_one_group_is_warned_of_with_what_to_set(tmp_path):
    """8 responses per device, 8 per prompt, one accumulation step: alpha would be that of one prompt."""
    (message,), config = built(tmp_path)
    assert config.generation_batch_size == 8
    assert "A rollout has 1 group (8 responses" in message
    assert "steps_per_generation=32" in message
    assert "gradient_accumulation_steps=8" in message
    silent, advised = built(tmp_path, steps_per_generation=32, gradient_accumulation_steps=8)
    assert not silent
    assert (advised.generation_batch_size // 8, advised.updates_per_rollout()) == (32, 4)


@pytest.mark.parametrize("rows", [1, 3, 6, 64])
def test_the_advice_on_few_groups_is_one_that_the_config_accepts(tmp_path, rows):
    start = HPOConfig(**{**settings(tmp_path), "num_generations": 6, "per_device_train_batch_size": 6})
    start.per_device_train_batch_size, start.generation_batch_size = rows, 6
    message = few_groups(start)
    found = {name: int(message.split(f"{name}=")[1].split()[0]) for name in
             ("steps_per_generation", "gradient_accumulation_steps")}  # fmt: skip
    advised = HPOConfig(**{**settings(tmp_path), "num_generations": 6, "per_device_train_batch_size": rows, **found})
    assert advised.generation_batch_size // 6 >= 32
    assert advised.updates_per_rollout() == 4


@pytest.mark.parametrize("changes", [{"algorithm": "grpo"}, {"steps_per_generation": 4}], ids=str)
def test_a_rollout_that_serves_its_objective_is_not_warned_of(tmp_path, changes):
    messages, _ = built(tmp_path, **changes)
    assert not messages
