"""What does a recipe become in verl? Here without verl; tests/verl/test_launch.py asks verl itself."""

import shlex

import pytest

from hysteretic.cli import main

RECIPE = "qwen2.5-1.5b-countdown-4-full"


def launch(capsys, *words, recipe=RECIPE):
    code = main(["launch", "verl", recipe, "--print", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def settings_of(script):
    """verl's settings in the printed command."""
    words = shlex.split(script.replace("\\\n", " ").splitlines()[-1])
    return dict(word.split("=", 1) for word in words if "=" in word and "." in word.split("=")[0])


def test_the_recipes_numbers_arrive(capsys):
    """128 prompts x 8 responses, 4 updates; 800 updates are 200 of verl's steps."""
    code, script, notes = launch(capsys)
    found = settings_of(script)
    assert code == 0
    assert script.splitlines()[0].startswith("hysteretic export --task countdown-4 --format verl")
    for key, value in {
        "data.train_batch_size": "128",
        "actor_rollout_ref.rollout.n": "8",
        "actor_rollout_ref.actor.ppo_mini_batch_size": "32",
        "trainer.total_training_steps": "200",
        "trainer.save_freq": "20",
        "data.max_prompt_length": "512",
        "data.max_response_length": "1024",
        "actor_rollout_ref.actor.optim.lr": "1e-06",
        "actor_rollout_ref.actor.fsdp_config.model_dtype": "fp32",
        "actor_rollout_ref.actor.loss_agg_mode": "token-mean",
        "algorithm.adv_estimator": "a_hpo",
        "actor_rollout_ref.model.path": "Qwen/Qwen2.5-1.5B-Instruct",
    }.items():
        assert found[key] == value, key
    assert "128 prompts x 8 responses and 4 updates of 256" in notes
    assert "ppo_mini_batch_size is smaller than train_batch_size" in notes


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--algorithm", "hpo", "--alpha", "0.3"], {"adv_estimator": "hpo", "alpha": "0.3"}),
        (["--algorithm", "grpo"], {"adv_estimator": "hpo", "alpha": "1.0", "length": "response"}),
        (["--algorithm", "grpo", "--weight", "adaptive"], {"loss_agg_mode": "seq-mean-token-mean"}),
        (["--algorithm", "dr-grpo"], {"loss_agg_mode": "seq-mean-token-sum-norm", "loss_scale_factor": "1024"}),
        (["--algorithm", "gspo", "--weight", "adaptive"], {"loss_mode": "gspo", "clip_ratio_low": "0.0003"}),
        (["--algorithm", "sapo"], {"loss_mode": "sapo", "tau_neg": "1.05", "length": "response"}),
        (["--algorithm", "cispo"], {"loss_mode": "cispo", "clip_ratio_high": "4.0", "clip_ratio_low": "1.0"}),
        (["--algorithm", "dapo"], {"clip_ratio_high": "0.28", "clip_ratio_low": "0.2"}),
        (["--beta", "0.01"], {"use_kl_loss": "True", "kl_loss_coef": "0.01"}),
        (["--scale_rewards", "none"], {"norm_adv_by_std_in_grpo": "False"}),
        (["--tokens_per_micro_batch", "9000"], {"use_dynamic_bsz": "True", "ppo_max_token_len_per_gpu": "9000"}),
        (["--report_to", "wandb"], {"logger": "[console,wandb]"}),
        (["--eval_problems", "0"], {"val_before_train": "False", "test_freq": "-1"}),
    ],
)  # fmt: skip
def test_flags_of_train_are_translated_too(capsys, flags, expected):
    """By the last part of verl's key."""
    code, script, _ = launch(capsys, *flags)
    assert code == 0
    found = {key.rpartition(".")[2]: value for key, value in settings_of(script).items()}
    assert {key: found.get(key) for key in expected} == expected


def test_several_nodes_go_through_ray(capsys):
    """The environment travels in the job's runtime_env; the batch does not depend on the number of GPUs."""
    code, script, notes = launch(capsys, "--nodes", "4", "--gpus-per-node", "8")
    words = shlex.split(script.replace("\\\n", " ").splitlines()[-1])
    assert code == 0
    assert words[:5] == ["ray", "job", "submit", "--address", "http://127.0.0.1:8265"]
    assert '"VERL_USE_EXTERNAL_MODULES": "hysteretic.verl.trainer"' in words[words.index("--runtime-env-json") + 1]
    assert settings_of(script)["trainer.nnodes"] == "4"
    assert settings_of(script)["data.train_batch_size"] == "128"
    assert "installed on every node" in notes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mask_truncated_completions", "true"], "mask_truncated_completions (verl has no counterpart known here)"),
        (["--alpha_ema", "0.5"], "--without alpha_ema"),
        (["--algorithm", "asymre"], "not Shift"),
        (["--lr_scheduler_type", "linear"], "linear; verl has constant and cosine"),
        (["--scale_rewards", "batch"], "scale_rewards (verl divides by the group's"),
        (["--algorithm", "sapo", "--length", "batch"], "sapo always takes each response's own length"),
        (["--gpus-per-node", "3"], "256 responses, which 3 (GPUs) does not divide"),
        (["--per_device_train_batch_size", "12", "--gradient_accumulation_steps", "1"], "12 responses, which 8"),
        (["--nodes", "0"], "--nodes is 0"),
        (["--set", "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum"], "would train another objective"),
        (["--report_to", "azure_ml"], "verl reports to wandb"),
        (["--num_generations", "1"], "at least 2 generations"),
        (["--vllm_max_model_length", "1000"], "--max-prompt-length"),
        (["--model", "tiny"], "model is tiny"),
        (["--task", "countdown-9"], "No task is called"),
    ],
)  # fmt: skip
def test_what_verl_cannot_do_is_refused_by_name(capsys, words, message):
    """Before data is written or a GPU is taken."""
    code, script, error = launch(capsys, *words)
    assert code == 2
    assert message in error
    assert script == ""


def test_every_refusal_is_shown_at_once_and_can_be_left_out(capsys):
    """Not one a try."""
    flags = ["--mask_truncated_completions", "true", "--adam_epsilon", "1e-6"]
    _, _, error = launch(capsys, *flags)
    assert "mask_truncated_completions" in error
    assert "adam_epsilon" in error
    code, _, notes = launch(capsys, *flags, "--without", "adam_epsilon", "--without", "mask_truncated_completions")
    assert code == 0
    assert "adam_epsilon is left out" in notes


def test_running_without_verl_says_where_to_get_it(capsys, monkeypatch, tmp_path):
    """Nothing is written first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hysteretic.lab.launch.find_spec", lambda name: None)
    assert main(["launch", "verl", RECIPE]) == 2
    assert "verl is not installed here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
