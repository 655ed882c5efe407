"""What does a recipe become in verl? Here without verl; tests/verl/test_launch.py asks verl itself."""

import json
import shlex
import subprocess

import pytest
import yaml

from hysteretic.cli import main
from hysteretic.cli.launch import _beside_python
from hysteretic.common.errors import UsageError
from hysteretic.config.recipes import read_recipe, recipes
from hysteretic.models.tokenizer import build_tokenizer

RECIPE = "qwen2.5-1.5b-countdown-4-full"


def launch(capsys, *words, recipe=RECIPE):
    code = main(["launch", "verl", recipe, "--print", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def settings_of(script):
    """verl's settings in the printed command."""
    words = shlex.split(script.replace("\\\n", " ").rpartition(" && ")[2])
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
        "actor_rollout_ref.actor.loss_agg_mode": "seq-mean-token-mean",
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
        (["--algorithm", "maxrl"], {"adv_estimator": "hpo", "scale": "mean", "norm_adv_by_std_in_grpo": "False"}),
        (["--algorithm", "f-grpo", "--focal_gamma", "2"], {"scale": "focal", "gamma": "2.0", "length": "response"}),
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
    words = shlex.split(script.replace("\\\n", " ").rpartition(" && ")[2])
    assert code == 0
    assert words[:5] == ["ray", "job", "submit", "--address", "http://127.0.0.1:8265"]
    assert "ray_kwargs" not in script  # Ray refuses a job whose ray.init sets a variable that the job sets
    assert '"VERL_USE_EXTERNAL_MODULES": "hysteretic.verl.trainer"' in words[words.index("--runtime-env-json") + 1]
    assert settings_of(script)["trainer.nnodes"] == "4"
    assert settings_of(script)["data.train_batch_size"] == "128"
    assert "installed on every node" in notes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--mask_truncated_completions", "true"], "mask_truncated_completions (no known counterpart in verl)"),
        (["--alpha_ema", "0.5"], "--without alpha_ema"),
        (["--sign_rewards", "is_right"], "sign_rewards (verl has one reward per response"),
        (["--algorithm", "asymre"], "not Shift"),
        (["--algorithm", "grpo", "--weight", "entropy"], "nothing about entropy"),
        (["--lr_scheduler_type", "linear"], "linear; verl has constant, constant_with_warmup, cosine"),
        (["--scale_rewards", "batch"], "scale_rewards (verl divides by the group's"),
        (["--algorithm", "sapo", "--length", "batch"], "sapo always uses each response's own length"),
        (["--gpus-per-node", "3"], "256 responses, which 3 (GPUs) does not divide"),
        (["--per_device_train_batch_size", "12", "--gradient_accumulation_steps", "1"], "12 responses, which 8"),
        (["--nodes", "0"], "--nodes is 0"),
        (["--set", "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum"], "would change the recipe's objective"),
        (["--report_to", "azure_ml"], "verl reports to wandb"),
        (["--num_generations", "1"], "at least 2 generations"),
        (["--vllm_max_model_length", "1000"], "--max-prompt-length"),
        (["--model", "tiny"], "model is tiny"),
        (["--task", "countdown-9"], "There is no task"),
        (["--lr_scheduler_type", "polynomial", "--report_to", "azure_ml"], "--without report_to"),
        (["--max_steps", "-1", "--num_train_epochs", "0.5"], "num_train_epochs (0.5; verl counts whole epochs"),
        (["--save_strategy", "epoch"], "save_strategy (epoch"),
        (["--max_steps", "-1", "--save_steps", "0.1"], "save_steps (0.1, a fraction"),
        (["--use_peft", "true", "--lora_dropout", "0"], "lora_target_modules (not set: PEFT has defaults"),
        (["--use_peft", "true", "--lora_target_modules", "q_proj"], "lora_dropout (0.05"),
        (
            [
                *("--vllm_importance_sampling_mode", "token_truncate", "--vllm_importance_sampling_clip_min", "0.5"),
            ],
            "verl truncates from above only",
        ),
        (["--train_problems", "100"], "There are 100 training problems, but a step needs 128"),
        (["--lr_schedular_type", "cosine"], "Did you mean '--lr_scheduler_type'?"),
        (["--node", "4"], "--node is not a flag of `hysteretic launch` or `hysteretic train`. Did you mean '--nodes'?"),
        (["--learning_rate", "fast"], "argument --learning_rate"),
        (["stray"], "stray"),
        (["--set", "actor_rollout_ref.actor.optim.lr"], "write --set KEY=VALUE"),
        (["--set", "=3"], "write --set KEY=VALUE"),
    ],
)  # fmt: skip
def test_what_verl_cannot_do_is_refused_by_name(capsys, words, message):
    """Before data is written or a GPU is taken."""
    code, script, error = launch(capsys, *words)
    assert code == 2
    assert message in error
    assert script == ""


def test_every_refusal_is_shown_at_once_and_can_be_left_out(capsys):
    """All at once, not one per attempt."""
    flags = ["--mask_truncated_completions", "true", "--adam_epsilon", "1e-6"]
    _, _, error = launch(capsys, *flags)
    assert "mask_truncated_completions" in error
    assert "adam_epsilon" in error
    code, _, notes = launch(capsys, *flags, "--without", "adam_epsilon", "--without", "mask_truncated_completions")
    assert code == 0
    assert "adam_epsilon is left out" in notes


def test_refusals_of_every_kind_are_shown_at_once(capsys, tmp_path):
    """A setting, the batch, the prompt length, the problems, the folder and --set: six tries in one."""
    (tmp_path / "something").touch()
    flags = ["--alpha_ema", "0.5", "--gpus-per-node", "3", "--vllm_max_model_length", "1000", "--task", "countdown-9"]
    flags += ["--output", str(tmp_path), "--set", "algorithm.use_kl_in_reward=True", "--set", "nothing"]
    code, _, error = launch(capsys, *flags)
    assert code == 2
    for message in [
        "alpha_ema (the estimators keep no state",
        "which 3 (GPUs) does not divide",
        "--max-prompt-length",
        "There is no task 'countdown-9'",
        "is not empty",
        "--set algorithm.use_kl_in_reward=True would change",
        "--set nothing is not an override",
    ]:
        assert error.count(message) == 1, message


@pytest.mark.parametrize("flags", [[], ["--nodes", "2"]])
def test_modules_that_the_environment_names_for_verl_are_kept(capsys, monkeypatch, flags):
    """Ours is added to a user's own plug-ins, once."""
    for named in ("my.plugin, other", "my.plugin,other,hysteretic.verl.trainer"):
        monkeypatch.setenv("VERL_USE_EXTERNAL_MODULES", named)
        _, script, _ = launch(capsys, *flags)
        assert "my.plugin,other,hysteretic.verl.trainer" in script
        assert script.count("hysteretic.verl.trainer") == script.count("my.plugin")


def test_float32_is_computed_in_float32(capsys):
    """bf16: false is mixed precision with fp32 parameters, in the reference model too."""
    key = "fsdp_config.mixed_precision.param_dtype"
    code, script, notes = launch(capsys, "--bf16", "false", "--beta", "0.1")
    assert code == 0, notes
    found = settings_of(script)
    assert found[f"+actor_rollout_ref.actor.{key}"] == found[f"+actor_rollout_ref.ref.{key}"] == "fp32"
    assert "bf16 is false: verl computes in fp32 too" in notes
    _, script, _ = launch(capsys)
    assert key not in script


def tokenizer_in(folder, *tokens, template=None, model_type="qwen2"):
    """A folder with a configuration and a small tokenizer."""
    tokenizer = build_tokenizer(tokens)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return ["--model", str(folder)]


def test_a_tokenizer_without_what_verls_agent_loop_asks_for_is_refused(capsys, tmp_path):
    """verl finds out in each rollout process, after the weights are loaded."""
    _, _, error = launch(capsys, *tokenizer_in(tmp_path))
    assert "lacks a chat template and the token <|im_end|>" in error
    _, _, error = launch(capsys, *tokenizer_in(tmp_path, template="{{ messages }}"))
    assert "lacks the token <|im_end|>" in error
    code, _, _ = launch(capsys, *tokenizer_in(tmp_path, "<|im_end|>", template="{{ messages }}"))
    assert code == 0
    code, _, _ = launch(capsys, *tokenizer_in(tmp_path, template="{{ messages }}", model_type="llama"))
    assert code == 0
    code, _, notes = launch(capsys, "--model", "no/such-model")
    assert code == 0
    assert "no/such-model is not on this machine and was not checked" in notes


def test_running_without_verl_says_where_to_get_it(capsys, monkeypatch, tmp_path):
    """Nothing is written first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hysteretic.cli.launch.find_spec", lambda name: None)
    assert main(["launch", "verl", RECIPE]) == 2
    assert "verl is not installed here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_refusal_of_one_flag_is_one_line(capsys):
    """The usage of `train` alone has more than two hundred lines."""
    for words in (["--lr_schedular_type", "cosine"], ["--learning_rate", "fast"]):
        _, _, error = launch(capsys, *words)
        assert len(error.splitlines()) == 1


def test_a_reason_is_given_once(capsys):
    """alpha_ema was named twice."""
    _, _, error = launch(capsys, "--alpha_ema", "0.5")
    assert error.count("alpha_ema (") == 1
    assert "the estimators keep no state between steps" in error


@pytest.mark.parametrize(
    ("flags", "name", "key", "value"),
    [
        (["--lr_scheduler_type", "linear"], "lr_scheduler_type", "optim.lr_scheduler_type", "constant"),
        (["--alpha_ema", "0.5"], "alpha_ema", "adv_estimator", "a_hpo"),
        (["--report_to", "azure_ml"], "report_to", "logger", "[console]"),
        (["--save_strategy", "epoch"], "save_strategy", "save_freq", "1000000"),
        (["--max_steps", "-1", "--num_train_epochs", "2.5"], "num_train_epochs", "total_epochs", "1"),
        (["--use_peft", "true", "--lora_dropout", "0"], "lora_target_modules", "target_modules", "all-linear"),
        (
            ["--vllm_importance_sampling_mode", "token_truncate", "--vllm_importance_sampling_clip_min", "0.5"],
            "vllm_importance_sampling_clip_min",
            "rollout_is_threshold",
            "3.0",
        ),
    ],
)
def test_what_is_left_out_is_what_verl_does_by_itself(capsys, flags, name, key, value):
    """The refused value does not reach verl's command."""
    code, script, notes = launch(capsys, *flags, "--without", name)
    assert code == 0, notes
    assert f"{name} is left out" in notes
    assert next(found for each, found in settings_of(script).items() if each.endswith(f".{key}")) == value


@pytest.mark.parametrize(
    ("flags", "name", "message"),
    [
        ([], "learning_rate", "--without learning_rate: verl supports it. Settings that can be left out: none"),
        (["--adam_epsilon", "1e-6"], "adam_epsilom", "Did you mean 'adam_epsilon'?"),
        (["--algorithm", "sapo", "--length", "batch"], "length", "change it, it cannot be left out"),
        (["--algorithm", "asymre"], "weight", "change it, it cannot be left out"),
    ],
)
def test_only_what_is_refused_can_be_left_out(capsys, flags, name, message):
    """And not what the objective is made of: it would be another."""
    code, _, error = launch(capsys, *flags, "--without", name)
    assert code == 2
    assert message in error


@pytest.mark.parametrize(
    "word",
    [
        "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-sum",
        "++actor_rollout_ref.actor.clip_ratio_low=0.3",
        "actor_rollout_ref.actor.clip_ratio_c=3",
        "actor_rollout_ref.actor.policy_loss={loss_mode: gpg}",
        "actor_rollout_ref.actor.policy_loss.clip_cov_ratio=0.1",
        "actor_rollout_ref.actor={}",
        "actor@actor_rollout_ref.actor=dp_actor",
        "algorithm.norm_adv_by_std_in_grpo=False",
        "algorithm.use_kl_in_reward=True",
        "+algorithm.hpo={alpha_min: 0.9}",
        "++algorithm.hpo.alpha_min=0.9",
        "~algorithm.hpo",
        "actor_rollout_ref.rollout.n=4",
        "actor_rollout_ref.rollout.temperature=0.1",
        "actor_rollout_ref.rollout.top_p=0.1",
        "actor_rollout_ref.rollout.top_k=1",
        "actor_rollout_ref.actor.ppo_mini_batch_size=128",
        "actor_rollout_ref.actor.entropy_coeff=0.1",
        "data.train_batch_size=8",
        "actor_rollout_ref.actor.optim.lr=1",
        "trainer.use_v1=False",
    ],
)
def test_settings_of_verl_that_say_what_is_trained_are_the_recipes(capsys, word):
    """verl silently takes the last of two values."""
    code, _, error = launch(capsys, "--set", word)
    assert code == 2
    assert "would change the recipe's objective or batch" in error


@pytest.mark.parametrize(
    "word",
    [
        "actor_rollout_ref.actor.fsdp_config.param_offload=True",
        "actor_rollout_ref.rollout.gpu_memory_utilization=0.7",
        "++actor_rollout_ref.model.override_config.attn_implementation=flash_attention_2",
        "actor_rollout_ref.rollout.n=8",
        "trainer.v1.trainer_mode=hpo_colocate_async",
    ],
)
def test_settings_of_verl_about_speed_and_memory_are_added_last(capsys, word):
    """As is one that the recipe says, too."""
    code, script, error = launch(capsys, "--set", word)
    assert code == 0, error
    assert shlex.split(script.replace("\\\n", " "))[-1] == word


def test_a_recipe_is_launched_with_the_batch_it_is_written_for(capsys):
    """The recipe states it as `processes`."""
    for name in recipes():
        if not name.startswith("tiny-"):
            code, script, error = launch(capsys, "--gpus-per-node", "4", recipe=name)
            assert code == 0, error
            found = settings_of(script)
            assert found["data.train_batch_size"] == "128", name
            assert found["actor_rollout_ref.actor.ppo_mini_batch_size"] == "32", name
    _, script, notes = launch(capsys, recipe="qwen2.5-7b-countdown-4-full")
    assert "batch is that of 8 processes" in notes


def test_the_folder_of_a_run_that_was_trained_knows_its_processes(capsys, tmp_path):
    """Where its settings state none, run.json beside them says how many it ran on."""
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings_without("qwen2.5-7b-countdown-4-full", "processes")))
    (tmp_path / "run.json").write_text('{"processes": 4}')
    _, script, _ = launch(capsys, recipe=str(config))
    assert settings_of(script)["data.train_batch_size"] == "64"


def test_runs_that_differ_have_folders_that_differ(capsys):
    """verl writes over what it finds."""
    changes = [
        [],
        ["--algorithm", "hpo"],
        ["--algorithm", "hpo", "--alpha", "0.3"],
        ["--learning_rate", "3e-6"],
        ["--seed", "1"],
        ["--set", "actor_rollout_ref.actor.fsdp_config.param_offload=True"],
        ["--processes", "2"],
        ["--adam_epsilon", "1e-6", "--without", "adam_epsilon"],
        ["--task_options", '{"largest": 30}'],
    ]
    folders = set()
    for flags in changes:
        code, script, error = launch(capsys, *flags)
        assert code == 0, error
        folders.add(settings_of(script)["trainer.default_local_dir"])
    _, script, _ = launch(capsys, recipe=RECIPE.replace("full", "lora"))
    folders.add(settings_of(script)["trainer.default_local_dir"])
    assert len(folders) == len(changes) + 1
    _, script, _ = launch(capsys, "--output", "runs/mine")
    assert settings_of(script)["trainer.default_local_dir"].endswith("runs/mine")
    assert settings_of(script)["trainer.experiment_name"] == RECIPE


def test_a_run_is_not_written_over_and_goes_on_only_from_its_checkpoint(capsys, tmp_path):
    """verl does the first, and begins anew without the second, both in silence."""
    output = ["--output", str(tmp_path)]
    (tmp_path / "something").touch()
    assert "is not empty; give another --output, or --resume" in launch(capsys, *output)[2]
    assert "There is no checkpoint to resume from" in launch(capsys, *output, "--resume")[2]
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("20")
    code, script, _ = launch(capsys, *output, "--resume")
    assert code == 0
    assert settings_of(script)["trainer.resume_mode"] == "auto"
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "config.yaml").write_text("mask_truncated_completions: true\n")
    assert "holds a run of `hysteretic train`" in launch(capsys, *output, "--resume")[2]


def settings_without(recipe, *names):
    return {key: value for key, value in read_recipe(recipe).items() if key not in names}


def own_data(folder, rows):
    """A recipe with a data file of so many problems, and its reward function."""
    lines = [json.dumps({"prompt": f"{number}?", "answer": number}) for number in range(rows)]
    (folder / "data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (folder / "mine.py").write_text("def right(response, answer):\n    return response == str(answer)\n")
    return ["--task", str(folder / "data.jsonl"), "--task_options", "{}", "--reward", f"{folder / 'mine.py'}:right"]


def test_your_own_data_is_looked_at_before_a_gpu_is_taken(capsys, tmp_path):
    """As `hysteretic train` does: whether it is there, and fills a step. And that verl will show it as a chat."""
    flags = own_data(tmp_path, 200)
    code, script, notes = launch(capsys, *flags, "--train_problems", "150")
    assert code == 0, notes
    assert "The prompts are plain strings" in notes
    assert f"--reward {tmp_path / 'mine.py'}:right" in script
    flags = own_data(tmp_path, 100)
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(settings_without(RECIPE, "train_problems", "eval_problems")))
    code, _, error = launch(capsys, *flags, recipe=str(config))
    assert code == 2
    assert "training problems, but a step needs 128" in error
    (tmp_path / "data.jsonl").unlink()
    code, _, error = launch(capsys, *flags, recipe=str(config))
    assert code == 2
    assert "data.jsonl" in error


def test_a_number_of_validation_problems_that_nobody_asked_for_is_not_asked_of_the_export(capsys, tmp_path):
    """A small data set has fewer than the usual 200."""
    flags = own_data(tmp_path, 200)
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(settings_without(RECIPE, "train_problems", "eval_problems")))
    code, script, error = launch(capsys, *flags, recipe=str(config))
    assert code == 0, error
    assert "--validation-problems" not in script


@pytest.mark.parametrize(
    ("flags", "note"),
    [
        (["--weight_decay", "0.1"], "verl decays biases and norms too"),
        (["--dtype", "bfloat16"], "in fp32 (also frozen ones"),
        (["--warmup_steps", "10"], "no effect with lr_scheduler_type constant"),
        (["--warmup_steps", "10", "--lr_scheduler_type", "cosine"], "the first rollout changes nothing"),
        (["--vllm_mode", "server"], "vllm_mode is server; verl runs vLLM itself"),
        (["--tokens_per_micro_batch", "100"], "verl gets enough for both"),
        (["--max_bad_updates", "3"], "verl skips every update whose gradient is not finite"),
        (["--task", "telelogs-compact", "--task_options", "{}"], "The prompts are plain strings"),
        (["--max_steps", "801"], "not a multiple of 4"),
        (["--use_vllm", "false"], "generates with vLLM anyway"),
    ],
)
def test_what_is_otherwise_in_verl_is_said(capsys, flags, note):
    """And done."""
    code, _, notes = launch(capsys, *flags)
    assert code == 0, notes
    assert note in notes


def test_a_command_of_this_environment_is_found_though_it_is_not_activated(monkeypatch, tmp_path):
    """`verl-env/bin/hysteretic launch ...` finds the ray beside it."""
    (tmp_path / "ray").touch()
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    assert _beside_python("ray") == str(tmp_path / "ray")
    with pytest.raises(UsageError, match="no-such is not installed here"):
        _beside_python("no-such")


def test_a_job_exports_and_then_starts_verl_with_data_that_is_there_left_alone(capsys, monkeypatch, tmp_path):
    """A job needs no verl on the machine that sends it. An export that fails starts nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ray").touch()
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    started = []
    monkeypatch.setattr(
        "subprocess.run", lambda words, **_: started.append(words) or subprocess.CompletedProcess(words, 7)
    )
    words = ["launch", "verl", RECIPE, "--nodes", "2", "--train_problems", "130", "--eval_problems", "2"]
    assert main(words) == 7
    assert main(words) == 7
    said = capsys.readouterr().out
    assert "already holds this export" in said
    assert [words[0] for words in started] == [str(tmp_path / "ray")] * 2
    assert main([*words, "--data_problem_seed", "1"]) == 2
    assert "seed was 0 and is 1" in capsys.readouterr().err
    assert len(started) == 2


def test_a_note_is_given_once_by_launch_and_its_export(capsys, monkeypatch, tmp_path):
    """Both know that plain prompts become messages."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ray").touch()
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("subprocess.run", lambda words, **_: subprocess.CompletedProcess(words, 0))
    words = ["launch", "verl", RECIPE, "--nodes", "2", *own_data(tmp_path, 200), "--train_problems", "150"]
    assert main([*words, "--eval_problems", "2"]) == 0
    assert capsys.readouterr().out.count("The prompts are plain strings") == 1


def test_the_printed_lines_stop_where_the_export_fails(capsys):
    """They are one command."""
    _, script, _ = launch(capsys)
    assert script.startswith("hysteretic export ")
    assert " && \\\nVERL_USE_EXTERNAL_MODULES=" in script
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
