"""Is every key of the printed command one of verl's, with a value that verl takes? verl's own configuration says so."""

import math
import shlex
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from batches import mask_of, sparse_batch
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_weights
from verl.trainer.ppo.utils import need_critic

from hysteretic.cli import main
from hysteretic.common.errors import UsageError
from hysteretic.config.recipes import recipes
from hysteretic.launch.overrides import value_of
from hysteretic.launch.verl_keys import of_correction
from hysteretic.verl.composed import check
from hysteretic.verl.estimator import weight_of
from hysteretic.verl.settings import _note_on_dual_clip
from hysteretic.verl.trainer import _Reporting

RECIPES = [name for name in sorted(recipes()) if not name.startswith("tiny-")]
ALGORITHMS = {
    "grpo": [],
    "dr-grpo": [],
    "dapo": [],
    "gspo": ["--weight", "adaptive"],
    "sapo": ["--weight", "fixed", "--alpha", "0.4"],
    "cispo": ["--beta", "0.001"],
    "positive-only": [],
    "adaptive-grpo": [],
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
    assert config.actor_rollout_ref.actor.loss_agg_mode == "seq-mean-token-mean"


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


def test_a_flag_that_verl_refuses_is_told_before_anything_is_written(capsys):
    """verl's own checks, where it is installed."""
    recipe = "qwen2.5-1.5b-countdown-4-full"
    assert main(["launch", "verl", recipe, "--print", "--set", "trainer.save_freq=[1"]) == 2
    assert "verl's configuration rejects these settings" in capsys.readouterr().err
    words = ["--set", "actor_rollout_ref.actor.use_dynamic_bsz=False"]
    words += ["--set", "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=null"]
    assert main(["launch", "verl", recipe, "--print", *words]) == 2
    assert "verl rejects these settings" in capsys.readouterr().err


def test_a_ray_that_is_running_already_is_told_of_the_trainers(capsys):
    """On one node main_ppo joins it, and its processes do not have this one's environment."""
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    config = configuration(capsys, "qwen2.5-1.5b-countdown-4-full")
    merged = OmegaConf.merge(get_ppo_ray_runtime_env(config), config.ray_kwargs.ray_init.runtime_env)
    assert merged.env_vars.VERL_USE_EXTERNAL_MODULES == "hysteretic.verl.trainer"


@pytest.mark.parametrize(
    "name", ["123", "true", "Null", "1e5", "0.5_3.0", "a b", "ä", "[x]", "a,b", "it's", "\\'", "x\\", ""]
)
def test_names_stay_text_and_what_they_are(name):
    """Hydra and OmegaConf make numbers, lists and settings of some."""
    assert read_back(name) == name


@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=12))
@settings(max_examples=100, deadline=None)
def test_any_text_stays_what_it_is_or_is_refused(text):
    """Quotes, backslashes, braces, brackets."""
    if "${" in text:
        with pytest.raises(UsageError, match="the name of a setting"):
            value_of(text)
    else:
        assert read_back(text) == text


def read_back(text):
    found = OmegaConf.create({"key": OverridesParser.create().parse_override(f"key={value_of(text)}").value()})
    OmegaConf.resolve(found)
    return found.key


@pytest.mark.parametrize("mode", ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"])
@pytest.mark.parametrize("bounds", [(None, 3.0), (0.5, 2.0), (None, None)])
def test_the_correction_for_vllm_is_that_of_trl(mode, bounds):
    """The weights: verl's function with the settings of ours, and the lines of TRL's GRPOTrainer."""
    lower, upper = bounds if mode.endswith("mask") else (None, bounds[1])
    training = SimpleNamespace(
        use_vllm=True,
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode=mode,
        vllm_importance_sampling_clip_min=lower,
        vllm_importance_sampling_clip_max=upper,
    )
    settings_ = {key.rpartition(".")[2]: value for key, value in of_correction(training).items()}
    assert settings_.pop("calculate_log_probs") is True
    mask = mask_of([1, 5, 8, 3], 8)
    difference = 0.7 * torch.randn(4, 8, generator=torch.Generator().manual_seed(0)) * mask
    found, _ = compute_rollout_correction_weights(difference, mask, **settings_)
    ratio = torch.exp(difference.sum(dim=-1, keepdim=True) if mode.startswith("sequence") else difference)
    if mode.endswith("truncate"):
        ratio = ratio if upper is None else ratio.clamp(max=upper)
    else:
        ratio = ratio.masked_fill((ratio < (lower or 0)) | (ratio > (upper or math.inf)), 0.0)
    torch.testing.assert_close(found, ratio.expand(4, 8) * mask)


def test_the_commands_of_docs_are_approved_by_verl(tmp_path):
    """docs/verl.md, By hand: what stands there composes and passes verl's checks and this package's."""
    page = (Path(__file__).parents[2] / "docs" / "verl.md").read_text(encoding="utf-8")
    block = page.partition("## By hand")[2].partition("```bash\n")[2].partition("```")[0]
    words = shlex.split(block.replace("\\\n", " "), comments=True)
    config = check(words[words.index("verl.trainer.main_ppo") + 1 :])
    assert config.algorithm.adv_estimator == "a_hpo"
    assert not _note_on_dual_clip(config.actor_rollout_ref.actor)
    assert "VERL_USE_EXTERNAL_MODULES=hysteretic.verl.trainer" in words


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
    config.actor_rollout_ref.actor.loss_agg_mode = "token-mean"
    with pytest.raises(ValueError, match="loss_agg_mode is token-mean"):
        HPOTrainerSync(config)
    config.algorithm.adv_estimator = "grpo"
    with pytest.raises(ValueError, match=r"reports on the estimators hpo, a_hpo, adaptive_grpo; found .*=grpo"):
        HPOTrainerSync(config)


class StandIn:
    """In the place of a trainer of verl, which needs GPUs."""

    def __init__(self, config):
        self.config = config

    def _compute_advantage(self, batch, metrics):
        ADV_ESTIMATOR_REGISTRY["a_hpo"](*sparse_batch()[:3], config=self.config.algorithm)
        return batch


def test_the_trainer_is_verls_own_under_its_own_name_and_reports(capsys, caplog):
    """verl's code asks for the mode by name; notes go to the log; rows of one rollout are seen before advantages."""
    made = type("Made", (_Reporting, StandIn), {"mode": "colocate_async"})
    trainer = made(configuration(capsys, "qwen2.5-1.5b-countdown-4-full"))
    assert trainer.config.trainer.v1.trainer_mode == "colocate_async"
    assert any("ppo_mini_batch_size is 32" in record.message for record in caplog.records)
    metrics = {}
    trainer._compute_advantage(SimpleNamespace(keys=["a_0_0", "a_1_0"]), metrics)
    assert 0 < metrics["hpo/alpha"] < 1
    with pytest.raises(ValueError, match="A rollout has several rows"):
        trainer._compute_advantage(SimpleNamespace(keys=["a_0_0", "a_0_1"]), metrics)


def test_rows_of_one_rollout_are_refused():
    """The trainer sees verl's keys, which tell rows of one rollout from rollouts."""
    from hysteretic.verl.trainer import check_single_rows

    check_single_rows(["a_0_0", "a_1_0", "b_0_0"])
    with pytest.raises(ValueError, match=r"A rollout has several rows \(a_1_0 and a_1_1\)"):
        check_single_rows(["a_0_0", "a_1_0", "a_1_1"])


def test_the_version_is_one_that_is_claimed():
    """make test-verl runs this with the oldest and with the newest."""
    from hysteretic.verl.supported import NEWEST, OLDEST

    assert version("verl") in (OLDEST, NEWEST)
