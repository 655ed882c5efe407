"""`HPOTrainer(objective=...)` computes all of that objective; silence is that of the rewards that count."""

import pytest
import torch
from policy import low_first_byte, prompts, random_policy, settings

import hysteretic as hy
from hysteretic.parts import UniformWeight
from hysteretic.trl import HPOConfig, HPOTrainer


def trainer_of(folder, rewards=low_first_byte, objective=None, **changes):
    model, tokenizer = random_policy()
    config = HPOConfig(**settings(folder, **changes))
    return HPOTrainer(model, rewards, config, train_dataset=prompts(), processing_class=tokenizer, objective=objective)


@pytest.mark.parametrize(
    ("objective", "asked", "computed"),
    [(hy.dr_grpo(10), None, "none"), (hy.a_hpo(), "none", "group"), (hy.a_hpo(), "batch", "batch")],
)
def test_the_objectives_scale_is_the_one_computed(tmp_path, objective, asked, computed):
    """Without this, dr_grpo() given as an objective would still be divided by the standard deviation."""
    trainer = trainer_of(tmp_path, objective=objective, scale_rewards=asked)
    assert trainer.scale_rewards == computed


def test_an_average_that_would_do_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="alpha_ema"):
        trainer_of(tmp_path, objective=hy.a_hpo().replace(weight=UniformWeight()), alpha_ema=0.5)


def test_a_reward_of_weight_zero_or_a_none_breaks_no_silence(tmp_path):
    """Only what enters the advantages says whether a group is silent."""
    trainer = trainer_of(
        tmp_path, [low_first_byte, low_first_byte], multi_objective_aggregation="normalize_then_sum",
        reward_weights=[1.0, 0.0],
    )  # fmt: skip
    nan = float("nan")
    first = [0.1, 0.1, 0.1, 0.1, 1, nan, 1, 1, 0, nan, 1, 0]
    trainer._batch_rewards = torch.tensor([first, list(range(12))]).T
    assert trainer._silence()[1].tolist() == [True] * 8 + [False] * 4
