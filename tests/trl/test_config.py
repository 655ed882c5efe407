"""HPOConfig: names and keys become the objective they say, on TRL's own loss where it has one."""

import re

import pytest
from policy import settings

import hysteretic as hy
from hysteretic.trl import HPOConfig


def config(**changes):
    return HPOConfig(**settings("unused", **changes))


@pytest.mark.parametrize("name", sorted(hy.ALGORITHMS))
def test_each_name_is_its_preset(name):
    preset = hy.ALGORITHMS[name]
    expected = preset(10) if name == "dr-grpo" else preset()
    assert config(algorithm=name).objective() == expected


@pytest.mark.parametrize(
    ("name", "loss_type", "level", "scale"),
    [
        ("grpo", "grpo", "token", "group"),
        ("dr-grpo", "dr_grpo", "token", "none"),
        ("dapo", "dapo", "token", "group"),
        ("gspo", "grpo", "sequence", "group"),
        ("sapo", "sapo", "token", "group"),
        ("cispo", "cispo", "token", "group"),
        ("hpo", "dapo", "token", "group"),
        ("a-hpo", "dapo", "token", "group"),
    ],
)
def test_an_algorithm_runs_on_trls_own_loss(name, loss_type, level, scale):
    made = config(algorithm=name)
    assert (made.loss_type, made.importance_sampling_level, made.scale_rewards) == (loss_type, level, scale)


def test_parts_are_exchanged_by_key():
    made = config(algorithm="grpo", weight="adaptive", alpha_min=0.2, scale_rewards="none").objective()
    assert made == hy.grpo().replace(weight=hy.AdaptiveWeight(0.2), scale="none")
    assert config(algorithm="gspo", weight="adaptive").objective() == hy.gspo().replace(weight=hy.AdaptiveWeight())


def test_trls_own_fields_change_the_parts():
    assert config(algorithm="hpo", epsilon=0.1).objective().gate == hy.ClipGate(0.1, 0.1)
    assert config(algorithm="dapo", epsilon_high=0.3).objective().gate == hy.ClipGate(0.2, 0.3)
    assert config(algorithm="sapo", sapo_temperature_neg=1.2).objective().gate == hy.SoftGate(1.0, 1.2)
    assert config(algorithm="cispo", epsilon_high=4.0).objective().gate == hy.CapGate(4.0)


@pytest.mark.parametrize("name", sorted(hy.ALGORITHMS))
def test_settled_fields_make_the_same_objective_again(name):
    """A config is rebuilt from its fields on resume and by accelerate; it must not drift."""
    once = config(algorithm=name)
    keys = ["loss_type", "importance_sampling_level", "epsilon", "epsilon_high", "scale_rewards"]
    again = config(algorithm=name, **{key: getattr(once, key) for key in keys})
    assert again.objective() == once.objective()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": "ahpo"}, ["'ahpo'", "Did you mean 'a-hpo'", "grpo"]),
        ({"weight": "adaptiv"}, ["weight is 'adaptiv'", "adaptive"]),
        ({"length": "mean"}, ["length is 'mean'", "batch"]),
        ({"loss_type": "grpo"}, ["loss_type is 'grpo'", "dapo", "length="]),
        ({"loss_type": "bnpo"}, ["loss_type is 'bnpo'"]),
        ({"algorithm": "gspo", "importance_sampling_level": "token"}, ["importance_sampling_level", "ratio="]),
        ({"alpha": 0.3}, ["alpha is 0.3", "algorithm='hpo'"]),
        ({"algorithm": "hpo", "alpha_min": 0.3}, ["alpha_min is 0.3", "a-hpo"]),
        ({"algorithm": "hpo", "alpha": 1.5}, ["alpha is 1.5", "[0, 1]"]),
        ({"algorithm": "asymre", "baseline_shift": 0.2}, ["delta is 0.2"]),
        ({"algorithm": "hpo", "alpha_ema": 0.5}, ["alpha_ema is 0.5", "adaptive"]),
        ({"alpha_ema": 1.0}, ["alpha_ema is 1.0"]),
        ({"steps_per_generation": 3, "gradient_accumulation_steps": 2, "num_generations": 2}, ["multiple of"]),
        ({"num_generations": 1}, ["at least 2"]),
    ],
)
def test_contradictions_are_refused_with_the_mend(changes, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        config(**changes)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_checkpoint_inside_a_rollout_is_warned_of():
    with pytest.warns(UserWarning, match="multiple of 4"):
        config(steps_per_generation=4, gradient_accumulation_steps=1, save_strategy="steps", save_steps=6)
