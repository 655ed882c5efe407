"""HPOConfig: names and keys become the objective they say, on TRL's own loss where it has one."""

import doctest
import inspect
import re
import warnings

import pytest
from policy import settings
from trl import GRPOConfig, GRPOTrainer

import hysteretic as hy
import hysteretic.trl.config
from hysteretic.trl import HPOConfig
from hysteretic.trl.mapping import LOSSES


def config(**changes):
    return HPOConfig(**settings("unused", **changes))


@pytest.mark.parametrize("name", sorted(hy.ALGORITHMS))
def test_each_name_is_its_preset(name):
    assert config(algorithm=name).objective() == hy.make(name).with_max_length(10)
    assert config(algorithm=name).objective_name() == name


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
        ("adaptive-grpo", "grpo", "token", "group"),
    ],
)
def test_an_algorithm_runs_on_trls_own_loss(name, loss_type, level, scale):
    made = config(algorithm=name)
    assert (made.loss_type, made.importance_sampling_level, made.scale_rewards) == (loss_type, level, scale)


def test_parts_are_exchanged_by_key():
    made = config(algorithm="grpo", weight="adaptive", alpha_min=0.2, scale_rewards="none").objective()
    assert made == hy.grpo().replace(weight=hy.AdaptiveWeight(0.2), scale=hy.NoScale())
    assert config(algorithm="gspo", weight="adaptive").objective() == hy.gspo().replace(weight=hy.AdaptiveWeight())


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "a-hpo"),
        ({"algorithm": "A_HPO", "alpha_min": 0.3}, "a-hpo"),
        ({"algorithm": "grpo", "weight": "adaptive"}, "adaptive-grpo"),
        ({"algorithm": "grpo", "weight": "adaptive", "epsilon": 0.1, "alpha_min": 0.2}, "adaptive-grpo"),
        ({"algorithm": "adaptive-grpo", "length": "batch"}, "a-hpo"),
        ({"algorithm": "gspo", "weight": "adaptive"}, "gspo-adaptive"),
        ({"algorithm": "gspo", "weight": "fixed", "length": "batch"}, "gspo-fixed-batch"),
        ({"loss_type": "grpo"}, "adaptive-grpo"),
        ({"loss_type": "dapo"}, "a-hpo"),
        ({"loss_type": "bnpo"}, "bnpo-adaptive"),
        ({"loss_type": "dr_grpo", "weight": "uniform"}, "dr-grpo-uniform"),
        ({"importance_sampling_level": "sequence"}, "dapo-adaptive-sequence"),
    ],
)
def test_an_objective_is_named_by_what_it_resolves_to(changes, name):
    """One objective, one folder name, whichever way it was asked for."""
    assert config(**changes).objective_name() == name


def test_adaptive_grpo_is_grpo_with_the_adaptive_weight():
    """Three ways of asking for the recommended run."""
    expected = config(algorithm="adaptive-grpo")
    for changes in ({"algorithm": "grpo", "weight": "adaptive"}, {"loss_type": "grpo"}):
        made = config(**changes)
        assert made.objective() == expected.objective() == hy.adaptive_grpo()
        assert (made.loss_type, made.epsilon, made.epsilon_high) == ("grpo", 0.2, 0.2)


TRLS = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo")
OWN_FIELDS = (
    *("loss_type", "importance_sampling_level", "epsilon", "scale_rewards"),
    *("sapo_temperature_pos", "sapo_temperature_neg"),
)


@pytest.mark.filterwarnings("ignore:loss_type is 'cispo'")
@pytest.mark.parametrize("level", [None, "token", "sequence"])
@pytest.mark.parametrize("loss_type", TRLS)
def test_a_loss_type_alone_keeps_that_loss_of_trls(loss_type, level):
    """A script for GRPOConfig keeps its loss when the two names are changed; the weight goes on top."""
    given = {"loss_type": loss_type} if level is None else {"loss_type": loss_type, "importance_sampling_level": level}
    made, stock = config(**given), GRPOConfig(**settings("unused", **given))
    assert [getattr(made, name) for name in OWN_FIELDS] == [getattr(stock, name) for name in OWN_FIELDS]
    assert stock.epsilon_high is None
    assert made.epsilon_high in (None, stock.epsilon)  # what TRL makes of None
    assert made.algorithm is None
    assert made.objective().weight == hy.AdaptiveWeight()
    again = config(**{name: getattr(made, name) for name in (*OWN_FIELDS, "epsilon_high")})
    assert again.objective() == made.objective()


def test_the_losses_known_here_are_all_of_trls():
    """One that TRL adds would be refused by name."""
    source = inspect.getsource(GRPOTrainer._compute_loss)
    compared = re.findall(r"self\.loss_type (?:==|in) (\[.*?\]|\S+):", source)
    assert set(re.findall(r'"(\w+)"', " ".join(compared))) == set(LOSSES) == set(TRLS)


def test_neither_algorithm_nor_loss_is_trls_default_under_the_weight():
    """So that saying TRL's default explicitly changes nothing."""
    made = config()
    assert made.algorithm == "a-hpo"
    assert made.objective() == config(loss_type=GRPOConfig(**settings("unused")).loss_type).objective() == hy.a_hpo()


def test_a_cispo_that_caps_below_one_is_kept_and_warned_of():
    """TRL's own default for epsilon_high; 5 is what the paper's readers mean."""
    with pytest.warns(UserWarning, match=r"epsilon_high to 5.0"):
        assert config(loss_type="cispo").epsilon_high is None
    assert config(loss_type="cispo", epsilon_high=5.0).objective().gate == hy.CapGate(5.0)


def test_yaml_without_a_value_is_unset():
    """`algorithm:` in YAML and a field left out are None alike."""
    made = config(algorithm=None, loss_type=None, importance_sampling_level=None, weight=None, scale_rewards=None)
    assert made.objective() == hy.a_hpo()


@pytest.mark.parametrize(("given", "settled"), [(True, "group"), (False, "none"), ("batch", "batch")])
def test_scale_rewards_may_be_a_bool_as_in_trl(given, settled):
    assert config(scale_rewards=given).scale_rewards == settled
    assert config(scale_rewards=given).objective().scale == (hy.NoScale() if settled == "none" else hy.StdScale())


def test_the_examples_in_its_docstring_are_right():
    found = doctest.testmod(hysteretic.trl.config)
    assert found.attempted >= 3
    assert found.failed == 0


def test_trls_own_fields_change_the_parts():
    assert config(algorithm="hpo", epsilon=0.1).objective().gate == hy.ClipGate(0.1, 0.1)
    assert config(algorithm="dapo", epsilon_high=0.3).objective().gate == hy.ClipGate(0.2, 0.3)
    assert config(algorithm="sapo", sapo_temperature_neg=1.2).objective().gate == hy.SoftGate(1.0, 1.2)
    assert config(algorithm="cispo", epsilon_high=4.0).objective().gate == hy.CapGate(4.0)


@pytest.mark.parametrize("name", sorted(hy.ALGORITHMS))
def test_settled_fields_make_the_same_objective_again(name):
    """A config is rebuilt from its fields on resume and by accelerate; it must not drift."""
    once = config(algorithm=name)
    keys = ["algorithm", "loss_type", "importance_sampling_level", "epsilon", "epsilon_high", "scale_rewards"]
    again = config(**{key: getattr(once, key) for key in keys})
    assert again.objective() == once.objective()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"algorithm": "ahpo"}, ["'ahpo'", "Did you mean 'a-hpo'", "grpo"]),
        ({"weight": "adaptiv"}, ["weight is 'adaptiv'", "adaptive"]),
        ({"length": "mean"}, ["length is 'mean'", "batch"]),
        ({"algorithm": "a-hpo", "loss_type": "grpo"}, ["loss_type is 'grpo'", "dapo", "drop algorithm", "length="]),
        ({"algorithm": "a-hpo", "loss_type": "bnpo"}, ["loss_type is 'bnpo'", "drop algorithm to keep"]),
        ({"loss_type": "bnpo", "length": "batch"}, ["loss_type is 'bnpo'", "Drop loss_type"]),
        ({"loss_type": "vespo", "gate": "clip"}, ["loss_type is 'vespo'", "'dapo'"]),
        ({"loss_type": "gpro"}, ["loss_type is 'gpro'", "Did you mean 'grpo'"]),
        ({"importance_sampling_level": "tokens"}, ["importance_sampling_level is 'tokens'", "token, sequence"]),
        ({"scale_rewards": "std"}, ["scale_rewards is 'std'", "group, batch, none"]),
        ({"algorithm": "gspo", "importance_sampling_level": "token"}, ["importance_sampling_level", "ratio="]),
        ({"alpha": 0.3}, ["alpha is 0.3", "algorithm='hpo'"]),
        ({"algorithm": "hpo", "alpha_min": 0.3}, ["alpha_min is 0.3", "a-hpo"]),
        ({"algorithm": "hpo", "alpha": 1.5}, ["alpha is 1.5", "[0, 1]"]),
        ({"algorithm": "asymre", "shift": 0.2}, ["shift is 0.2"]),
        ({"weight": "entropy", "entropy_below": 3.0}, ["entropy_below: below is 3.0"]),
        ({"algorithm": "grpo", "epsilon": -1.0}, ["epsilon, epsilon_high: clip is (-1.0, -1.0)"]),
        ({"algorithm": "hpo", "alpha_ema": 0.5}, ["alpha_ema is 0.5", "adaptive"]),
        ({"alpha_ema": 1.0}, ["alpha_ema is 1.0"]),
        ({"steps_per_generation": 3, "gradient_accumulation_steps": 2, "num_generations": 2}, ["multiple of"]),
        ({"num_generations": 1}, ["at least 2"]),
        ({"scale": "std", "scale_rewards": "none"}, ["scale_rewards is 'none'", "scale is 'std'; drop one of them"]),
        ({"algorithm": "f-grpo", "scale_rewards": "group"}, ["scale_rewards is 'group'", "drop scale_rewards"]),
        (
            {"scale": "root", "multi_objective_aggregation": "normalize_then_sum"},
            ["multi_objective_aggregation is", "RootScale()", "sum_then_normalize"],
        ),
    ],
)
def test_contradictions_are_refused_with_the_fix(changes, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        config(**changes)
    assert all(word in str(caught.value) for word in words), str(caught.value)


COUNTS = (
    *("num_generations", "num_generations_eval", "max_completion_length", "num_iterations", "generation_batch_size"),
    *("per_device_train_batch_size", "per_device_eval_batch_size"),
    *("gradient_accumulation_steps", "steps_per_generation"),
)


@pytest.mark.parametrize("value", [0, -1, 1.5, "4"], ids=str)
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_that_is_no_count_is_refused_by_name(name, value):
    """Some of them divided by zero, others failed in the middle of a run."""
    with pytest.raises(ValueError, match=rf"{name} is {value!r}; set it to a whole number"):
        config(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("top_k", -1),
        ("multi_objective_aggregation", "nonsense"),
        ("scale_rewards", "nonsense"),
        ("vllm_importance_sampling_mode", "nonsense"),
    ],
)
def test_a_value_that_would_fail_after_the_first_rollout_is_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value!r}"):
        config(**{name: value})


def test_vllms_own_word_for_all_tokens_is_left_to_vllm():
    assert config(top_k=-1, use_vllm=True).top_k == -1


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("num_generations", 8),
        ("num_iterations", 1),
        ("gradient_accumulation_steps", 1),
        ("per_device_train_batch_size", 8),
        ("temperature", 1.0),
        ("beta", 0.0),
        ("learning_rate", 1e-6),
        ("save_steps", 500),
        ("multi_objective_aggregation", "sum_then_normalize"),
        ("alpha_ema", 0.0),
        ("drop_silent", True),
        ("max_unscored", 0),
    ],
)
def test_none_is_the_default_where_it_could_not_work(name, default):
    """`num_generations:` in YAML is None."""
    assert getattr(config(**{name: None}), name) == default


@pytest.mark.parametrize("name", ["top_k", "top_p", "min_p", "repetition_penalty", "reward_weights", "delta"])
def test_none_stays_where_trl_gives_it_a_meaning(name):
    assert getattr(config(**{name: None}), name) is None


@pytest.mark.parametrize("changes", [{"algorithm": name} for name in sorted(hy.ALGORITHMS)] + [{"loss_type": "luspo"}])
def test_responses_may_be_unbounded_unless_the_length_divides_by_their_bound(changes):
    if changes.get("algorithm") == "dr-grpo":
        with pytest.raises(ValueError, match="max_completion_length is None, but the length 'constant'"):
            config(**changes, max_completion_length=None)
    else:
        assert config(**changes, max_completion_length=None).max_completion_length is None


@pytest.mark.parametrize(
    ("changes", "is_warned"),
    [
        ({"save_steps": 0.5, "max_steps": 8}, False),
        ({"save_steps": 0.5, "max_steps": 6}, True),
        ({"save_steps": 0.5, "max_steps": -1}, False),
        ({"save_steps": 8}, False),
    ],
    ids=str,
)
def test_a_fraction_of_the_run_is_no_count_of_updates(changes, is_warned):
    """save_steps below 1 is a ratio; of max_steps 8 it saves at 4 and 8, whole rollouts of 4 updates."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config(steps_per_generation=4, gradient_accumulation_steps=1, save_strategy="steps", **changes)
    assert any("save_steps" in str(each.message) for each in caught) == is_warned


def test_a_checkpoint_inside_a_rollout_is_warned_of():
    with pytest.warns(UserWarning, match="multiple of 4"):
        config(steps_per_generation=4, gradient_accumulation_steps=1, save_strategy="steps", save_steps=6)
