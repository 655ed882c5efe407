"""Is every key of the printed command one of verl's, with a value that verl takes? verl's own configuration says so."""

import shlex
from importlib.metadata import version

import pytest
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.trainer.ppo.utils import need_critic

from hysteretic.cli import main
from hysteretic.lab.recipes import recipes
from hysteretic.verl.composed import check
from hysteretic.verl.estimator import weight_of

RECIPES = [name for name in sorted(recipes()) if not name.startswith("tiny-")]
ALGORITHMS = {
    "grpo": [],
    "dr-grpo": [],
    "dapo": [],
    "gspo": ["--weight", "adaptive"],
    "sapo": ["--weight", "fixed", "--alpha", "0.4"],
    "cispo": ["--beta", "0.001"],
    "positive-only": [],
    "hpo": ["--alpha", "0.3"],
    "a-hpo": ["--num_iterations", "2", "--tokens_per_micro_batch", "8000", "--report_to", "wandb"],
}


def configuration(capsys, recipe, *flags):
    """verl's, as its main_ppo would compose it from the printed command, approved by its own checks and this package's
    (with LoRA verl asks vLLM, which is not installed here). Raises for a key that it does not have."""
    code = main(["launch", "verl", recipe, "--print", *flags])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    words = shlex.split(printed.out.replace("\\\n", " ").rpartition(" && ")[2])
    return check(words[words.index("verl.trainer.main_ppo") + 1 :])


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_composes(capsys, recipe):
    """With verl's own hydra configuration, and its validation passes."""
    config = configuration(capsys, recipe, "--gpus-per-node", "8")
    assert not need_critic(config)
    assert config.algorithm.adv_estimator == "a_hpo"
    assert config.actor_rollout_ref.actor.loss_agg_mode == "token-mean"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_composes(capsys, algorithm):
    """And the estimator takes its options."""
    flags = ["--algorithm", algorithm, *ALGORITHMS[algorithm]]
    config = configuration(capsys, "qwen2.5-1.5b-countdown-4-full", *flags)
    assert weight_of(config.algorithm.adv_estimator, config.algorithm)


def test_values_mean_what_they_meant(capsys):
    """Lists, numbers and names survive two shells and hydra's grammar."""
    flags = ["--output", "runs/it's a = b", "--adam_beta2", "0.95", "--report_to", "wandb", "--nodes", "2"]
    config = configuration(capsys, "qwen2.5-1.5b-countdown-4-lora", *flags, "--gpus-per-node", "4")
    assert config.trainer.default_local_dir.endswith("/runs/it's a = b")
    assert list(config.actor_rollout_ref.actor.optim.betas) == [0.9, 0.95]
    assert list(config.trainer.logger) == ["console", "wandb"]
    assert (config.trainer.nnodes, config.trainer.n_gpus_per_node) == (2, 4)
    assert config.actor_rollout_ref.actor.clip_ratio_c == 1e9


def test_the_reward_function_is_found_and_scores(capsys):
    """As verl's reward workers load it."""
    config = configuration(capsys, "qwen2.5-1.5b-countdown-4-full")
    score = get_custom_reward_fn(config)
    found = score(
        data_source="countdown-3",
        solution_str="<think>x</think> <answer>1 + 2 + 3</answer>",
        ground_truth='{"numbers": [1, 2, 3], "target": 6}',
        extra_info={"task_options": "{}", "num_turns": 2},
    )
    assert found == {"score": 1.0, "acc": 1.0, "format": 1.0}


def test_an_unknown_key_is_refused_before_a_gpu_is_taken(capsys):
    """By verl's configuration itself: this test would notice a key of ours that verl dropped."""
    assert main(["launch", "verl", "qwen2.5-1.5b-countdown-4-full", "--print", "--set", "data.no_such_key=1"]) == 2
    assert "Could not override 'data.no_such_key'" in capsys.readouterr().err


def test_on_a_machine_without_gpus_nothing_is_started(capsys, monkeypatch, tmp_path):
    """verl is here, a GPU is not."""
    monkeypatch.chdir(tmp_path)
    assert main(["launch", "verl", "qwen2.5-1.5b-countdown-4-full"]) == 2
    assert "this machine has 0 GPUs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_trainer_checks_before_it_takes_a_gpu(capsys):
    """HPOTrainerSync refuses in its constructor what check_run refuses; and other estimators."""
    from hysteretic.verl.trainer import HPOTrainerSync

    config = configuration(capsys, "qwen2.5-1.5b-countdown-4-full")
    config.actor_rollout_ref.actor.loss_agg_mode = "seq-mean-token-mean"
    with pytest.raises(ValueError, match="loss_agg_mode is seq-mean-token-mean"):
        HPOTrainerSync(config)
    config.algorithm.adv_estimator = "grpo"
    with pytest.raises(ValueError, match=r"reports on the estimators hpo, a_hpo; found .*=grpo"):
        HPOTrainerSync(config)


def test_rows_of_one_rollout_are_refused():
    """The trainer sees verl's keys, which tell rows of one rollout from rollouts."""
    from hysteretic.verl.trainer import refuse_several_rows

    refuse_several_rows(["a_0_0", "a_1_0", "b_0_0"])
    with pytest.raises(ValueError, match=r"A rollout has several rows \(a_1_0 and a_1_1\)"):
        refuse_several_rows(["a_0_0", "a_1_0", "a_1_1"])


def test_the_version_is_one_that_is_claimed():
    """make test-verl runs this with the oldest and with the newest."""
    from hysteretic.verl.supported import NEWEST, OLDEST

    assert version("verl") in (OLDEST, NEWEST)
