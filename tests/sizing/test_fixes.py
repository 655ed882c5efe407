"""What is proposed fits, is small, and warnings come where they should and nowhere else."""

from dataclasses import replace

import pytest
import torch

from hysteretic.sizing.fixes import smallest_change, warnings, where_it_fits
from hysteretic.sizing.gpus import GPU, GPUS, gpu_of
from hysteretic.sizing.memory import memory

LORA = ["--use_peft", "true", "--lora_target_modules", "all-linear"]
VLLM = ["--use_vllm", "true", "--vllm_mode", "colocate", "--vllm_gpu_memory_utilization"]
CHECKPOINTING = ["--gradient_checkpointing", "true"]
BATCH = ["--num_generations", "8", "--steps_per_generation", "32", "--gradient_accumulation_steps", "8"]


def change_of(pair, work, way, gpu):
    alone, adapted = pair
    model = adapted if work.is_lora else alone
    found = smallest_change(model, adapted, work, way, gpu)
    if found is not None:
        of = adapted if found.work.is_lora else alone
        assert memory(of, found.work, found.way, gpu).fits(gpu) != "no", found.text
    return found


@pytest.mark.parametrize(
    ("flags", "gpu", "text"),
    [
        (
            ["--gradient_checkpointing", "false", "--max_completion_length", "2048"],
            "h100",
            "--gradient_checkpointing true",
        ),
        ([*VLLM, "0.9", *CHECKPOINTING], "h100", "--vllm_gpu_memory_utilization"),
        (
            ["--per_device_train_batch_size", "64", "--max_completion_length", "4096", *VLLM, "0.1", *CHECKPOINTING],
            "h100",
            "--per_device_train_batch_size",
        ),
    ],
    ids=["checkpointing", "vllm", "rows"],
)
def test_one_setting_is_enough(models, work, flags, gpu, text):
    """The first of the changes that leave the mathematics alone."""
    found = change_of(models["qwen2.5-1.5b"], work(*BATCH, *flags), "ddp", gpu_of(gpu))
    assert found.text.startswith(text)
    assert found.effort == 1
    assert (found.way, found.work.gpus, found.work.is_lora) == ("ddp", 1, False)


def test_fewer_rows_keep_the_batch(models, work):
    flags = ["--per_device_train_batch_size", "64", "--max_completion_length", "4096", *VLLM, "0.1"]
    asked = work(*BATCH, *flags, "--gradient_checkpointing", "true")
    found = change_of(models["qwen2.5-1.5b"], asked, "ddp", GPUS["h100"])
    assert found.work.responses == asked.responses
    assert found.work.updates_a_rollout == asked.updates_a_rollout


def test_more_gpus_keep_the_batch(models, work):
    asked = work(*BATCH, "--dtype", "bfloat16", *VLLM, "0.3", "--max_completion_length", "512")
    found = change_of(models["qwen2.5-7b"], asked, "zero2", GPUS["h100"])
    assert found.work.gpus > 1
    assert f"{found.work.gpus} GPUs" in found.text
    assert found.work.responses == asked.responses


def test_nothing_helps_a_model_that_is_too_large(models, work):
    assert change_of(models["qwen2.5-7b"], work(*BATCH, *VLLM, "0.5"), "ddp", GPU("small", 4)) is None


def test_where_it_fits_is_the_fewest(models, work):
    """One fewer (half as many) does not."""
    model = models["qwen2.5-7b"][0]
    asked = work("--dtype", "bfloat16", *VLLM, "0.3", "--vllm_enable_sleep_mode", "true", gpus=8)
    found = where_it_fits(model, asked, "zero3")
    assert {gpu.name for gpu, _, _ in found} >= {"h200", "h100", "a100-80"}
    for gpu, count, way in found:
        assert memory(model, replace(asked, gpus=count), way, gpu).fits(gpu) == "yes"
        if count > 1:
            assert memory(model, replace(asked, gpus=count // 2), "zero3", gpu).fits(gpu) != "yes"


@pytest.mark.parametrize(
    ("flags", "way", "words"),
    [
        ([], "ddp", ["float32 (TRL's default)"]),
        (["--dtype", "bfloat16"], "ddp", ["rounded away wherever a weight is above 0.0005"]),
        (["--dtype", "bfloat16", "--learning_rate", "1e-3"], "ddp", []),
        (["--dtype", "bfloat16"], "zero3", []),
        (LORA, "ddp", ["frozen weights are loaded in float32"]),
        (["--dtype", "bfloat16", *LORA], "ddp", []),
        (["--dtype", "bfloat16", *LORA, "--max_completion_length", "40000"], "ddp", ["the model supports 32768"]),
        (
            ["--dtype", "bfloat16", *LORA, *VLLM, "0.4", "--vllm_max_model_length", "300"],
            "ddp",
            ["vllm_max_model_length is 300"],
        ),
    ],
)
def test_warnings_where_they_belong(models, work, flags, way, words):
    alone, adapted = models["qwen2.5-1.5b"]
    asked = work(*flags, gpus=1 if way == "ddp" else 8)
    found = warnings(adapted if asked.is_lora else alone, asked, way)
    assert len(found) == len(words), found
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_bf16_rounds_away_what_the_warning_says():
    """At a learning rate of 1e-6 weights above 5e-4 stay as they are, all of them; those below a half of it move."""
    rate = 1e-6
    above = torch.linspace(rate * 2**9 * 1.01, 0.02, 1000).bfloat16()
    below = torch.linspace(1e-5, rate * 2**8, 1000).bfloat16()
    assert torch.equal(above - rate, above)
    assert bool((below - rate != below).all())
