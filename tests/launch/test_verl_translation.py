"""Does each setting of a recipe arrive in verl, under verl's name and as verl means it? Values that are no defaults."""

import shlex

import pytest
from launch.test_launch import launch, settings_of

from hysteretic.config.facts import named as facts_named

ACTOR, ROLLOUT, MODEL = (f"actor_rollout_ref.{part}" for part in ("actor", "rollout", "model"))
CORRECTION = "algorithm.rollout_correction"
LORA = ["--use_peft", "true", "--lora_dropout", "0", "--lora_target_modules", "q_proj", "v_proj"]
EPOCHS = ["--max_steps", "-1", "--num_train_epochs", "3"]
"""In place of the recipe's max_steps."""

TABLE = [
    (["--algorithm", "hpo", "--alpha", "0.25"], {"algorithm.adv_estimator": "hpo", "+algorithm.hpo.alpha": "0.25"}),
    (["--algorithm", "grpo", "--scale", "mean"], {"+algorithm.hpo.scale": "mean"}),
    (
        ["--algorithm", "f-grpo", "--focal_gamma", "2"],
        {"+algorithm.hpo.scale": "focal", "+algorithm.hpo.gamma": "2.0"},
    ),
    (["--alpha_min", "0.3"], {"algorithm.adv_estimator": "a_hpo", "+algorithm.hpo.alpha_min": "0.3"}),
    (
        ["--epsilon", "0.15", "--epsilon_high", "0.33"],
        {f"{ACTOR}.clip_ratio": "0.15", f"{ACTOR}.clip_ratio_low": "0.15", f"{ACTOR}.clip_ratio_high": "0.33"},
    ),
    ([], {f"{ACTOR}.clip_ratio_c": "1000000000.0", f"{ACTOR}.policy_loss.loss_mode": "vanilla"}),
    (
        ["--algorithm", "sapo", "--sapo_temperature_pos", "1.1", "--sapo_temperature_neg", "1.2"],
        {f"{ACTOR}.tau_pos": "1.1", f"{ACTOR}.tau_neg": "1.2"},
    ),
    (
        ["--beta", "0.02"],
        {
            f"{ACTOR}.use_kl_loss": "True",
            f"{ACTOR}.kl_loss_coef": "0.02",
            f"{ACTOR}.kl_loss_type": "low_var_kl",
            "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu": "16",
        },
    ),
    (["--num_iterations", "2"], {f"{ACTOR}.ppo_epochs": "2", "trainer.total_training_steps": "100"}),
    ([], {f"{ACTOR}.shuffle": "True"}),
    (["--steps_per_generation", "16"], {f"{ACTOR}.shuffle": "False", "data.train_batch_size": "32"}),
    (["--num_generations", "16"], {f"{ROLLOUT}.n": "16", "data.train_batch_size": "64"}),
    (["--processes", "2"], {"data.train_batch_size": "256", f"{ACTOR}.ppo_mini_batch_size": "64"}),
    (
        ["--per_device_train_batch_size", "4"],
        {f"{ACTOR}.ppo_micro_batch_size_per_gpu": "4", f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu": "4"},
    ),
    (
        ["--tokens_per_micro_batch", "9000"],
        {f"{ACTOR}.use_dynamic_bsz": "True", f"{ACTOR}.ppo_max_token_len_per_gpu": "9000"},
    ),
    (["--tokens_per_micro_batch", "900"], {f"{ACTOR}.ppo_max_token_len_per_gpu": "1536"}),
    (["--max_completion_length", "512"], {"data.max_response_length": "512", "data.max_prompt_length": "1024"}),
    (["--max-prompt-length", "700"], {"data.max_prompt_length": "700"}),
    (EPOCHS, {"trainer.total_epochs": "3"}),
    (["--learning_rate", "3e-6"], {f"{ACTOR}.optim.lr": "3e-06"}),
    (["--lr_scheduler_type", "cosine"], {f"{ACTOR}.optim.lr_scheduler_type": "cosine"}),
    (["--warmup_steps", "40"], {f"{ACTOR}.optim.lr_warmup_steps": "-1"}),  # TRL's constant has none
    (
        ["--warmup_steps", "40", "--lr_scheduler_type", "constant_with_warmup"],
        {f"{ACTOR}.optim.lr_warmup_steps": "10", f"{ACTOR}.optim.lr_scheduler_type": "constant"},
    ),
    (["--warmup_steps", "0.1", "--lr_scheduler_type", "cosine"], {f"{ACTOR}.optim.lr_warmup_steps": "20"}),
    (
        ["--warmup_steps", "0.1", "--lr_scheduler_type", "cosine", *EPOCHS],
        {f"{ACTOR}.optim.lr_warmup_steps": "-1", f"{ACTOR}.optim.lr_warmup_steps_ratio": "0.1"},
    ),
    (["--weight_decay", "0.05"], {f"{ACTOR}.optim.weight_decay": "0.05"}),
    (["--adam_beta1", "0.8", "--adam_beta2", "0.95"], {f"{ACTOR}.optim.betas": "[0.8,0.95]"}),
    (["--max_grad_norm", "0.5"], {f"{ACTOR}.optim.clip_grad": "0.5", f"{ACTOR}.grad_clip": "0.5"}),
    (
        ["--max_grad_norm", "0"],  # no bound, and not gradients of 0
        {f"{ACTOR}.optim.clip_grad": "1000000000.0", f"{ACTOR}.grad_clip": "1000000000.0"},
    ),
    (["--dtype", "bfloat16"], {f"{ACTOR}.fsdp_config.model_dtype": "fp32"}),
    (["--gradient_checkpointing", "false"], {f"{MODEL}.enable_gradient_checkpointing": "False"}),
    ([], {f"+{MODEL}.override_config.attn_implementation": "sdpa"}),
    (["--attn_implementation", "eager"], {f"+{MODEL}.override_config.attn_implementation": "eager"}),
    (
        [*LORA, "--lora_r", "8", "--lora_alpha", "24"],
        {
            f"{MODEL}.lora_rank": "8",
            f"{MODEL}.lora_alpha": "24",
            f"{MODEL}.target_modules": "[q_proj,v_proj]",
            f"{ROLLOUT}.load_format": "safetensors",
        },
    ),
    (
        ["--seed", "7"],
        {
            "data.seed": "7",
            f"{ROLLOUT}.seed": "7",
            f"{ACTOR}.data_loader_seed": "7",
            f"{ACTOR}.fsdp_config.seed": "7",
        },
    ),
    (["--save_steps", "40"], {"trainer.save_freq": "10"}),
    (["--save_steps", "0.1"], {"trainer.save_freq": "20"}),
    (["--save_strategy", "no"], {"trainer.save_freq": "1000000"}),  # verl saves the last step, unless this is -1
    (["--save_total_limit", "5"], {"trainer.max_actor_ckpt_to_keep": "5"}),
    (["--report_to", "wandb"], {"trainer.logger": "[console,wandb]"}),
    (["--model", "org/other"], {f"{MODEL}.path": "org/other"}),
    (["--temperature", "0.8"], {f"{ROLLOUT}.temperature": "0.8"}),
    (["--top_p", "0.9"], {f"{ROLLOUT}.top_p": "0.9"}),
    (["--top_k", "20"], {f"{ROLLOUT}.top_k": "20"}),
    ([], {f"{ROLLOUT}.top_k": "-1", f"{ROLLOUT}.name": "vllm", "trainer.resume_mode": "disable"}),
    (["--vllm_gpu_memory_utilization", "0.7"], {f"{ROLLOUT}.gpu_memory_utilization": "0.7"}),
    (["--vllm_tensor_parallel_size", "2"], {f"{ROLLOUT}.tensor_model_parallel_size": "2"}),
    (["--vllm_enable_sleep_mode", "false"], {f"{ROLLOUT}.free_cache_engine": "False"}),
    (
        [],  # TRL's default, which verl does not share
        {
            f"{CORRECTION}.rollout_is": "sequence",
            f"{CORRECTION}.rollout_is_threshold": "'1e-09_3.0'",
            f"{ROLLOUT}.calculate_log_probs": "True",
        },
    ),
    (["--vllm_importance_sampling_correction", "false"], {f"{CORRECTION}.rollout_is": "null"}),
    (["--use_vllm", "false"], {f"{CORRECTION}.rollout_is": "null"}),
    (
        ["--vllm_importance_sampling_mode", "token_truncate", "--vllm_importance_sampling_clip_max", "2"],
        {f"{CORRECTION}.rollout_is": "token", f"{CORRECTION}.rollout_is_threshold": "2.0"},
    ),
    (
        ["--vllm_importance_sampling_mode", "token_mask", "--vllm_importance_sampling_clip_min", "0.5"],
        {f"{CORRECTION}.rollout_is_threshold": "'0.5_3.0'"},
    ),
    (["--eval_problems", "0"], {"trainer.val_before_train": "False", "trainer.test_freq": "-1"}),
    ([], {"trainer.val_before_train": "True", "trainer.test_freq": "200"}),
    ([], {"+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES": "hysteretic.verl.trainer"}),
    (
        [],
        {
            "reward.custom_reward_function.path": "'pkg://hysteretic.verl'",
            "reward.custom_reward_function.name": "compute_score",
            "trainer.v1.trainer_mode": "hpo_sync",
            "critic.enable": "False",
            "data.truncation": "error",
        },
    ),
]


@pytest.mark.parametrize(
    ("flags", "expected"), TABLE, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_setting_arrives(capsys, flags, expected):
    """128 prompts x 8 responses in 4 updates, 800 updates in all, but for what the flags say."""
    code, script, error = launch(capsys, *flags)
    assert code == 0, error
    found = settings_of(script)
    assert {key: found.get(key) for key in expected} == expected
    if flags == EPOCHS:
        assert "trainer.total_training_steps" not in found


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--data_problem_seed", "5"], ["--seed", "5"]),
        (["--train_problems", "2000"], ["--train-problems", "2000"]),
        (["--eval_problems", "50"], ["--validation-problems", "50"]),
        (["--eval_problems", "0"], ["--validation-problems", "1"]),
        (["--task_options", '{"largest": 30}'], ["--task-options", '{"largest": 30}']),
        (["--task", "countdown-3"], ["--task", "countdown-3"]),
    ],
)
def test_what_is_said_of_the_problems_goes_to_the_export(capsys, flags, expected):
    """The words that `hysteretic export` is called with."""
    code, script, _ = launch(capsys, *flags)
    assert code == 0
    words = shlex.split(script.replace("\\\n", " ").partition(" && ")[0])
    place = words.index(expected[0])
    assert words[place : place + 2] == expected


def test_a_rollout_of_a_given_size_is_that_size_for_any_number_of_processes(capsys, tmp_path):
    """generation_batch_size is of all processes; steps_per_generation, which the recipes have, is of each."""
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "task: countdown-3\nmodel: org/model\nlr_scheduler_type: constant\nvllm_max_model_length: 600\nmax_steps: 8\n"
        "num_generations: 8\nper_device_train_batch_size: 8\ngradient_accumulation_steps: 2\n"
        "generation_batch_size: 512\ntrain_problems: 500\nuse_vllm: true\n"
    )
    code, script, error = launch(capsys, "--processes", "4", recipe=str(recipe))
    assert code == 0, error
    found = settings_of(script)
    assert found["data.train_batch_size"] == "64"
    assert found[f"{ACTOR}.ppo_mini_batch_size"] == "8"


ELSEWHERE = {
    *("task", "task_options", "train_problems", "eval_problems", "data_problem_seed"),  # the test above
    *(
        "algorithm",
        "ratio",
        "gate",
        "weight",
        "length",
        "scale_rewards",
        "reward",
        "output",
        "resume",
    ),  # test_launch.py
    *("loss_type", "importance_sampling_level"),  # no value but the algorithm's is accepted
    *(
        "alpha_ema",
        "sign_rewards",
        "shift",
        "entropy_below",  # with the weight, which verl does not have
        "bf16",
        "lora_dropout",
        "vllm_mode",
    ),  # refused, or noted, but for one value
    *("gradient_accumulation_steps", "vllm_max_model_length"),  # the recipe's, in the sizes above
    "generation_batch_size",  # below
}


def test_every_translated_setting_has_its_line():
    """A translation that nothing would miss may be wrong."""
    named = {word[2:] for flags, _ in TABLE for word in flags if word.startswith("--")}
    translated = facts_named(lambda facts: facts.verl is True)
    assert translated - named - ELSEWHERE == set(), (
        "add a row to TABLE, or the name to ELSEWHERE with where it is tested"
    )


CHECKED_ELSEWHERE = {
    *("algorithm.adv_estimator", "+algorithm.hpo.length", "algorithm.norm_adv_by_std_in_grpo"),
    *(f"{ACTOR}.{key}" for key in ("loss_agg_mode", "loss_scale_factor")),
    *("trainer.nnodes", "trainer.n_gpus_per_node", "trainer.project_name", "trainer.experiment_name"),
    *("trainer.default_local_dir", "data.train_files", "data.val_files"),
}
"""In test_launch.py, here and in tests/verl, by the last part of the key; project_name changes nothing."""


def test_every_key_that_is_written_has_its_line(capsys):
    """A key that nothing would miss may be wrong."""
    named = {key for _, expected in TABLE for key in expected}
    written = set()
    for flags in ([], ["--beta", "0.1"], LORA, ["--algorithm", "sapo"], ["--algorithm", "dr-grpo"], EPOCHS):
        _, script, _ = launch(capsys, *flags, "--tokens_per_micro_batch", "9000")
        written |= set(settings_of(script))
    assert written - named - CHECKED_ELSEWHERE == set()
