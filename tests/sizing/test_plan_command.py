"""`hysteretic plan`: what it prints, what it refuses, and whether every recipe fits where its first line says."""

import json
import re

import pytest
from published_models import CONFIGS, write_config
from thorough import one_quick

from hysteretic.cli import main
from hysteretic.config.recipes import recipes

NAMES = sorted(recipes())
CARDS = {"80": "a100-80", "48": "l40s", "24": "4090"}
COUNTS = {"one GPU": 1, "four GPUs": 4, "eight GPUs": 8}


@pytest.fixture(scope="module")
def configs(tmp_path_factory):
    """Folders with nothing but a config.json, by the beginning of a recipe's name."""
    return {name: write_config(tmp_path_factory.mktemp(name), name) for name in CONFIGS}


def hardware_of(recipe):
    """(GPU, how many, way) that `hysteretic list` names."""
    count, size, way = re.search(r"for (\w+ GPUs?) of (\d+) GB(?: with (\w+)\.yaml)?$", recipes()[recipe]).groups()
    return CARDS[size], COUNTS[count], way or "ddp"


def plan_json(capsys, *arguments):
    code = main(["plan", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("recipe", one_quick([name for name in NAMES if not name.startswith("tiny-")]))
def test_every_recipe_fits_on_the_hardware_it_names(recipe, configs, capsys):
    """With a tenth to spare, for the formulas have not been calibrated."""
    gpu, gpus, way = hardware_of(recipe)
    model = configs[next(name for name in CONFIGS if recipe.startswith(name))]
    flags = ["--model", model, "--gpu", gpu, "--way", way]
    code, found = plan_json(capsys, recipe, *flags)
    peak = found["memory_bytes"][way]["peak"] / 2**30
    assert found["fits"] == "yes", f"{peak:.1f} of {found['gpu']['memory']} GiB; {found['change']}"
    assert code == 0
    assert found["work"]["gpus"] == gpus
    assert found["work"]["gpus"] * found["work"]["rows"] * found["work"]["rounds"] == 1024
    assert found["seconds"]["step"] > 0
    assert not [warning for warning in found["warnings"] if "rounded away" in warning]


@pytest.mark.parametrize("recipe", ["tiny-countdown-3", "tiny-telelogs-compact"])
def test_the_tiny_model_fits_anywhere(recipe, capsys):
    """Its prompts are read with its own tokenizer."""
    code, found = plan_json(capsys, recipe, "--gpu", "4GiB")
    assert (code, found["fits"]) == (0, "yes")
    assert "64 prompts" in found["tokens"]["prompt_source"]
    assert found["model"]["parameters"] < 1_000_000


@pytest.mark.parametrize(
    "flags",
    one_quick(
        [
            ["qwen2.5-7b-countdown-3-full", "--gpus", "8"],
            ["qwen2.5-7b-countdown-3-full", "--gpus", "4", "--gpu", "a100-40"],
            ["qwen2.5-7b-countdown-3-lora", "--gpu", "24GiB", "--silent-share", "0.9", "--beta", "0.1"],
            ["qwen2.5-7b-countdown-3-lora", "--use_vllm", "false", "--tokens_per_micro_batch", "16384"],
        ]
    ),
)
def test_a_plan_is_readable_in_a_hundred_columns(flags, configs, capsys):
    """And says what it rests on."""
    main(["plan", *flags, "--model", configs["qwen2.5-7b"]])
    printed = capsys.readouterr().out
    folder = configs["qwen2.5-7b"]
    long = [line for line in printed.splitlines() if len(line.replace(folder, "MODEL")) > 100 and folder not in line]
    assert not long
    for words in (
        "weights",
        "optimiser",
        "activations",
        "LM head tiles",
        "peak",
        "fit",
        "Uncalibrated",
        "7,615,616,512",
    ):
        assert words in printed


def test_what_does_not_fit_exits_1_with_a_change_that_does(configs, capsys):
    """The flags that it proposes are flags: given, the plan fits."""
    flags = ["llama-3.2-3b-countdown-3-lora", "--model", configs["llama-3.2-3b"], "--gpu", "4090"]
    flags += ["--vllm_gpu_memory_utilization", "0.6"]
    code, found = plan_json(capsys, *flags)
    assert (code, found["fits"]) == (1, "no")
    code, again = plan_json(capsys, *flags, *found["change"].split())
    assert (code, again["fits"] != "no") == (0, True)


def test_flags_of_train_count(configs, capsys):
    flags = ["qwen2.5-1.5b-countdown-3-full", "--model", configs["qwen2.5-1.5b"]]
    _, full = plan_json(capsys, *flags)
    _, lora = plan_json(capsys, *flags, "--use_peft", "true", "--lora_target_modules", "all-linear", "--lora_r", "8")
    _, bf16 = plan_json(capsys, *flags, "--dtype", "bfloat16")
    assert lora["model"]["adapter"] == 18_464_768 // 2
    assert bf16["memory_bytes"]["ddp"]["static"] == full["memory_bytes"]["ddp"]["static"] / 2
    assert any("rounded away" in warning for warning in bf16["warnings"])


def test_several_gpus_divide_the_batch_as_they_would(configs, capsys):
    """A generation_batch_size is of all processes: TRL finds steps_per_generation from it."""
    flags = ["--model", configs["qwen2.5-1.5b"], "--per_device_train_batch_size", "4", "--num_generations", "8"]
    flags += [
        "--generation_batch_size",
        "64",
        "--gradient_accumulation_steps",
        "1",
        "--prompt-tokens",
        "50",
        "--save_steps",
        "16",
    ]
    found = {n: plan_json(capsys, *flags, "--gpus", str(n))[1]["work"]["rounds"] for n in (1, 2, 4)}
    assert found == {1: 16, 2: 8, 4: 4}


def test_bf16_is_what_a_gpu_would_use(configs, capsys):
    """This machine has no GPU, and runs on it are fp32; the plan is for another."""
    flags = ["--model", configs["qwen2.5-1.5b"], "--prompt-tokens", "50"]
    assert plan_json(capsys, *flags)[1]["work"]["is_mixed"]
    assert not plan_json(capsys, *flags, "--bf16", "false")[1]["work"]["is_mixed"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "tiny", "--gpu", "h1000"], ["h1000", "Did you mean 'h100'"]),
        (["--model", "tiny", "--gpus", "0"], ["--gpus is 0", "1 or more"]),
        (["--model", "tiny", "--gpus", "-2"], ["--gpus is -2"]),
        (["--model", "tiny", "--prompt-tokens", "0"], ["--prompt-tokens is 0"]),
        (["--model", "tiny", "--silent-share", "1"], ["--silent-share is 1"]),
        (["--model", "tiny", "--response-tokens", "500"], ["--response-tokens is 500", "max_completion_length"]),
        (["--model", "no/where"], ["no/where", "config.json", "hf auth login"]),
        (["qwen2.5-7b-countdown-3-ful"], ["Did you mean 'qwen2.5-7b-countdown-3-full'"]),
        (["BROKEN"], ["broken.yaml", "not valid YAML"]),
        (["UNKNOWN"], ["lerning_rate", "learning_rate"]),
        (["--model", "tiny", "--algorithm", "a-hpo", "--loss_type", "bnpo"], ["loss_type", "bnpo"]),
        (["--model", "tiny", "--num_generations", "7"], ["num_generations", "7"]),
        (["--model", "EMPTY", "--prompt-tokens", "9"], ["config.json"]),
        (["--model", "tiny", "--task", "countdown3"], ["countdown3"]),
    ],
)
def test_a_mistake_is_named_with_its_mend(arguments, words, tmp_path, capsys):
    (tmp_path / "broken.yaml").write_text("task: [")
    (tmp_path / "unknown.yaml").write_text("lerning_rate: 1e-4\n")
    (tmp_path / "empty").mkdir()
    made = {"BROKEN": "broken.yaml", "UNKNOWN": "unknown.yaml", "EMPTY": "empty"}
    code = main(["plan", *(str(tmp_path / made[word]) if word in made else word for word in arguments)])
    said = capsys.readouterr().err
    assert code == 2
    assert all(word in said for word in words), said
    assert "Traceback" not in said


def test_an_unknown_flag_is_refused(capsys):
    assert main(["plan", "--model", "tiny", "--gpuz", "2"]) == 2
    assert "--gpuz is not a flag" in capsys.readouterr().err
