"""`hysteretic train --dry-run`: every recipe makes its update, its options on; a broken one says what is broken."""

import json
import tempfile
import warnings

import pytest
import torch
from peft import PeftModel
from thorough import one_quick

from hysteretic.cli import main
from hysteretic.cli.train import dry_run_words
from hysteretic.config.recipes import recipes
from hysteretic.config.settings import parse
from hysteretic.dry_run.rehearsal import MACHINE, FailedError, rehearse
from hysteretic.dry_run.settings import ALWAYS
from hysteretic.sizing.published import published_config
from hysteretic.tasks.telelogs import synthetic
from hysteretic.trl.compat import base_model

NAMES = sorted(recipes())
CLASSES = {"qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}
MATRICES = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.fixture(autouse=True, scope="module")
def drives_are_drawn_once():
    """A dry run draws all problems of the run; a third of the recipes draw the same thousand synthetic drives."""
    draw, drawn = synthetic.draw, {}

    def once(*drive):
        if repr(drive) not in drawn:
            drawn[repr(drive)] = draw(*drive)
        return drawn[repr(drive)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "draw", once)
        yield


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path, monkeypatch):
    """Neither in the temporary folder nor where the command was given."""
    for name in ("temporary", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "here")
    yield
    assert [*(tmp_path / "temporary").glob("hysteretic*"), *(tmp_path / "here").iterdir()] == []


def dry(*words):
    return rehearse(parse([*words, "--use_cpu", "true"], machine=MACHINE))


QUICK = ["qwen2.5-1.5b-telelogs-full", "qwen2.5-1.5b-countdown-3-lora", "tiny-countdown-3"]


@pytest.mark.parametrize("name", one_quick([*QUICK, *(name for name in NAMES if name not in QUICK)], len(QUICK)))
def test_every_recipe_makes_its_update_with_its_options_on(name):
    """What the file asks for is read off the trainer, after its update."""
    asked = parse(["--config", name, "--use_cpu", "true"])
    found = dry(name)
    trainer, model = found.trainer, base_model(found.trainer.model)
    config, published = model.config, published_config(asked.run.model)

    if published is not None:
        assert type(model).__name__ == CLASSES[published["model_type"]]
        assert config.tie_word_embeddings == published["tie_word_embeddings"]
        ratio = published["num_attention_heads"] // published["num_key_value_heads"]
        assert config.num_attention_heads == ratio * config.num_key_value_heads
        assert config.num_key_value_heads == 2
        assert config.rope_parameters["rope_theta"] == published["rope_theta"]
        assert config.rope_parameters.get("factor") == published.get("rope_scaling", {}).get("factor")
        assert (model.model.layers[0].self_attn.q_proj.bias is not None) == (published["model_type"] == "qwen2")
        assert (trainer.processing_class.bos_token is not None) == (published["model_type"] == "llama")
    assert sum(weight.numel() for weight in model.parameters()) < 40_000

    weights = {path: weight.dtype for path, weight in trainer.model.named_parameters()}
    frozen = {dtype for path, dtype in weights.items() if "lora_" not in path}
    wanted = torch.bfloat16 if asked.model.dtype == "bfloat16" else torch.float32
    assert frozen == {wanted}
    assert isinstance(trainer.model, PeftModel) == asked.model.use_peft == name.endswith("-lora")
    if asked.model.use_peft:
        adapted = {path.split(".lora_")[0].rpartition(".")[2] for path in weights if "lora_" in path}
        assert adapted == MATRICES
        assert {dtype for path, dtype in weights.items() if "lora_" in path} == {torch.float32}
        assert "14 of 28 trainable tensors" in found.report.checked["update"]  # the B of every pair, which begins at 0
    else:
        moved, of = found.report.checked["update"].split("; ")[1].split(" trainable")[0].split(" of ")
        assert moved == of

    assert trainer.accelerator.mixed_precision == ("bf16" if asked.training.bf16 else "no")
    assert model.is_gradient_checkpointing == asked.training.gradient_checkpointing
    assert ("checkpointing on" in found.report.checked["parameters"]) == asked.training.gradient_checkpointing
    for setting in ("algorithm", "num_generations", "beta", "temperature", "max_grad_norm", "adam_beta2"):
        assert getattr(trainer.args, setting) == getattr(asked.training, setting), setting
    assert trainer.objective == asked.training.objective()
    assert trainer.args.updates_per_rollout() == 2  # the run's own are four; old log-probabilities are needed in both
    assert ("vLLM (colocate) with generation in this process" in found.report.replaced) == asked.training.use_vllm
    assert any("which are not available" in line for line in found.report.replaced) == (asked.run.task == "telelogs")
    assert "checkpoint-1 and model written" in found.report.checked["files"]


def test_the_command_says_what_was_checked_shrunk_and_replaced(capsys):
    assert main(["train", "--dry-run", "llama-3.2-3b-telelogs-lora"]) == 0
    printed = capsys.readouterr().out
    for words in (
        "passed in",
        "LlamaForCausalLM: 6 query heads, 2 key heads, tied embeddings, rope llama3",
        "4,812 in bfloat16, 2,432 in float32; autocast to bf16; gradient checkpointing on",
        "Llama 3's headers",
        "LoRA of rank 8 on down_proj",
        "from 128 prompts x 8 responses to 2 x 8",
        "the data of telelogs, which are not available here, with problems of telelogs-synthetic",
        "not checked",
    ):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 110


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--dry-run", "a.yaml"], ["a.yaml"]),
        (["--dry_run", "--config", "a.yaml"], ["--config", "a.yaml"]),
        (["a.yaml", "--seed", "1", "--dry-run"], ["a.yaml", "--seed", "1"]),
        (["--seed", "1", "--dry-run", "a.yaml", "--beta", "0"], ["a.yaml", "--seed", "1", "--beta", "0"]),
        (["--config", "a.yaml"], None),
    ],
)
def test_the_recipe_may_stand_alone(words, left):
    assert dry_run_words(words) == left


def test_train_takes_the_recipe_alone_too():
    """Whoever drops --dry-run from a command that passed has the run itself."""
    assert parse(["tiny-telelogs-compact"]).run == parse(["--config", "tiny-telelogs-compact"]).run


@pytest.mark.parametrize(
    "flags",
    one_quick(
        [
            ["--beta", "0.1"],
            ["--algorithm", "gspo", "--weight", "adaptive", "--num_iterations", "2"],
            ["--algorithm", "dr-grpo", "--mask_truncated_completions", "true"],
            ["--num_generations", "2", "--gradient_accumulation_steps", "1", "--steps_per_generation", "2"],
            ["--dtype", "auto", "--optim", "adafactor", "--save_strategy", "no"],
            ["--no_share_prompts", "--no_drop_silent", "--no_drop_finished", "--bf16", "false"],
        ]
    ),
)
def test_other_options_go_through(flags):
    """A reference model, masked truncations, small groups, no checkpoint: what the run would do, done once."""
    found = dry("llama-3.2-3b-countdown-3-full", *flags)
    assert (found.trainer.ref_model is not None) == ("--beta" in flags)
    assert found.trainer.args.mask_truncated_completions == ("--mask_truncated_completions" in flags)
    assert ("checkpoint-1" in found.report.checked["files"]) == ("--save_strategy" not in flags)


def test_what_needs_a_gpu_is_replaced_by_name():
    flags = ["--load_in_4bit", "true", "--attn_implementation", "flash_attention_2", "--optim", "paged_adamw_8bit"]
    found = dry("qwen2.5-1.5b-countdown-3-lora", *flags, "--torch_compile", "true")
    told = " ".join(found.report.replaced)
    for words in ("vLLM", "4 bits (bitsandbytes)", "flash_attention_2", "paged_adamw_8bit", "torch_compile"):
        assert words in told


def test_a_saved_model_is_read_with_its_own_tokenizer(quick):
    """A folder: its configuration and tokenizer, none of its weights."""
    found = dry(*quick)
    assert "its folder; random weights" in found.report.checked["model"]
    assert "its own tokenizer" in found.report.checked["prompts"]


def with_template(folder, random_model, template):
    """A copy of a model whose tokenizer has a chat template."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(random_model)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_bytes((random_model / "config.json").read_bytes())
    return str(folder)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--lora_target_modules", "q_prj", "v_proj"], "'q_prj', which is not a module of Qwen/Qwen2.5-1.5B-Instruct"),
        (["--lora_target_modules", "q_prj"], "linear modules are down_proj, gate_proj, k_proj"),
        (["--num_generations", "7"], "num_generations (7)"),
        (["--gradient_accumulation_steps", "48"], "gradient_accumulation_steps (48) does not divide"),
        (["--train_problems", "3"], "a rollout needs 128"),
        (["--task", "countdown-5"], "There is no task 'countdown-5'"),
        (["--resume", "--output", "runs/none"], "cannot resume"),
        (["--model", "no/such-model"], "no/such-model"),
    ],
)
def test_a_broken_setting_is_reported_as_by_train(flags, said, capsys):
    """Exit code 2, one message, nothing else."""
    assert main(["train", "--dry-run", "qwen2.5-1.5b-countdown-3-lora", *flags]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ messages[0].role }}:", "drops the prompt"),
        ("{{ raise_exception('no system') }}", "fails on problem"),
        (None, "has no chat template"),
    ],
)
def test_a_chat_template_that_drops_the_prompt_is_rejected(template, said, random_model, tmp_path, capsys):
    """A run would train on questions that the model never sees."""
    model = with_template(tmp_path / "model", random_model, template)
    assert main(["train", "--dry-run", "qwen2.5-1.5b-countdown-3-full", "--model", model]) == 2
    assert said in capsys.readouterr().err


def with_reward(folder, body):
    """Flags of a task of 60 rows and a reward function of this body."""
    (folder / "data.jsonl").write_text("".join(json.dumps({"prompt": f"{i}:", "answer": i}) + "\n" for i in range(60)))
    (folder / "rewards.py").write_text(f"def score(response, answer):\n    {body}\n")
    return ["--model", "tiny", "--task", str(folder / "data.jsonl"), "--per_device_train_batch_size", "16"]


def test_a_rollout_of_few_groups_is_reported_although_the_dry_run_shrinks_it(tmp_path):
    """As by the run: TRL's defaults make a rollout of one group."""
    flags = [*with_reward(tmp_path, "return 1.0"), "--reward", f"{tmp_path / 'rewards.py'}:score"]
    one_group = ["--num_generations", "16", "--steps_per_generation", "1", "--gradient_accumulation_steps", "1"]
    with pytest.warns(UserWarning, match="A rollout has 1 group"):
        assert main(["train", "--dry-run", *flags, *one_group]) == 0
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="A rollout has")
        assert main(["train", "--dry-run", *flags, *one_group, "--algorithm", "grpo"]) == 0


@pytest.mark.parametrize("flags", [["--train_problems", "100"], ["--eval_problems", "30"]])
def test_more_problems_than_the_file_has_are_refused_as_by_train(flags, tmp_path, capsys):
    """The run itself would end there, so a dry run that needs fewer must not pass."""
    given = [*with_reward(tmp_path, "return 1.0"), "--reward", f"{tmp_path / 'rewards.py'}:score", *flags]
    assert main(["train", "--dry-run", *given]) == 2
    assert f"{flags[1]} problems of split" in capsys.readouterr().err


@pytest.mark.parametrize("reward", ["missing.py:score", "rewards.py:scores"])
def test_a_missing_reward_is_reported_before_any_work(reward, tmp_path, capsys):
    flags = with_reward(tmp_path, "return 1.0")
    assert main(["train", "--dry-run", *flags, "--reward", str(tmp_path / reward)]) == 2
    assert reward.partition(":")[0] in capsys.readouterr().err


def test_a_reward_of_ones_own_is_called_and_a_spread_is_added(tmp_path):
    """Every response is worth 1, so that without a spread there were no gradient."""
    found = dry(*with_reward(tmp_path, "return 1.0"), "--reward", f"{tmp_path / 'rewards.py'}:score")
    assert "mean 1;" in found.report.checked["rewards"]
    assert "26 of 26" in found.report.checked["update"]


@pytest.mark.parametrize("words", [["--algorithm", "maxrl"], ["--algorithm", "f-grpo"], ["--scale", "root"]], ids=str)
def test_an_objective_for_rewards_of_0_and_1_makes_its_update(words):
    """The spread that is added to other rewards would be refused."""
    assert dry("tiny-countdown-3", *words).trainer.state.log_history[0]["hpo/silent_share"] == 0


def test_a_graded_reward_is_reported_where_the_objective_refuses_it(tmp_path, capsys):
    flags = [*with_reward(tmp_path, "return 0.25"), "--reward", f"{tmp_path / 'rewards.py'}:score"]
    assert main(["train", "--dry-run", *flags, "--algorithm", "maxrl"]) == 1
    assert "rewards must be 0 or 1" in capsys.readouterr().err


def test_a_reward_that_fails_in_the_rollout_ends_with_1_and_its_name(tmp_path, capsys):
    flags = with_reward(tmp_path, "return None")
    assert main(["train", "--dry-run", *flags, "--reward", f"{tmp_path / 'rewards.py'}:score"]) == 1
    said = capsys.readouterr().err
    assert "in the rollout, the update, or saving" in said
    assert "rewards.py:score returned None" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_and_leaves_nothing(number, tmp_path, capsys):
    """While responses are scored; the fixture looks for what is left."""
    flags = with_reward(tmp_path, f"import os, signal; os.kill(os.getpid(), signal.{number}); return 1.0")
    assert main(["train", "--dry-run", *flags, "--reward", f"{tmp_path / 'rewards.py'}:score"]) == 130
    assert "stopped" in capsys.readouterr().err


def test_an_update_that_moves_nothing_fails(monkeypatch):
    """The check itself: a learning rate of 0."""
    monkeypatch.setitem(ALWAYS, "learning_rate", 0.0)
    with pytest.raises(FailedError, match="No weight changed"):
        dry("tiny-countdown-3")


def test_a_dry_run_needs_no_output_folder(tmp_path):
    """One that is taken already is no obstacle, and stays as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("mine")
    dry("tiny-countdown-3", "--output", str(tmp_path / "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious.txt"]
