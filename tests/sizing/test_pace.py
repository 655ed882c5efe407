"""Seconds follow from the formulas, checked by hand where one term rules."""

from dataclasses import replace

import pytest

from hysteretic.sizing.gpus import GPU, GPUS
from hysteretic.sizing.memory import memory
from hysteretic.sizing.pace import BANDWIDTH, COMPUTE, LAUNCH, LINK, pace

H100 = GPUS["h100"]
FLAGS = ["--dtype", "bfloat16", "--per_device_train_batch_size", "8", "--max_completion_length", "1000"]
VLLM = ["--use_vllm", "true", "--vllm_mode", "colocate"]


def test_decoding_one_group_reads_the_weights_once_a_token(models, work):
    """Few responses: bandwidth dominates. 8 responses, 1000 steps, 2 bytes per parameter, their keys and values."""
    model = models["qwen2.5-7b"][0]
    asked = work(*FLAGS, *VLLM, "--steps_per_generation", "1", prompt=100)
    found = pace(model, asked, "ddp", GPUS["h200"])
    keys = 8 * 500 * (100 + 250) * model.cache_bytes(2)
    reading = (2 * model.parameters * 1000 + keys) / (BANDWIDTH * 4.8e12)
    prompts = 2 * model.linear_parameters * 100 / (COMPUTE * 989e12)
    assert found.generation == pytest.approx(reading + prompts)


def test_an_update_is_four_forward_passes_with_checkpointing(models, work):
    """Forward, recomputed, and twice that backward: 8 operations per parameter and token; LoRA 6."""
    alone, adapted = models["qwen2.5-7b"]
    asked = work(*FLAGS, "--steps_per_generation", "4", "--gradient_checkpointing", "true", prompt=20)
    n = asked.forwarded()[0]
    for model, is_lora, operations, head in ((alone, False, 8, 8), (adapted, True, 6, 6)):
        seconds = pace(model, replace(asked, is_lora=is_lora), "ddp", H100).update
        by_hand = operations * model.linear_parameters * n
        by_hand += operations / 2 * 4 * model.layers * model.attention * n * (20 + 500) / 2
        by_hand += head * model.head_parameters * asked.forwarded()[1]
        assert seconds == pytest.approx(by_hand / (COMPUTE * 989e12))


def test_silent_responses_cost_no_update(models, work):
    model = models["qwen2.5-1.5b"][0]
    asked = work(*FLAGS, "--steps_per_generation", "4")
    half = replace(asked, silent=0.5)
    assert pace(model, half, "ddp", H100).update == pytest.approx(pace(model, asked, "ddp", H100).update / 2)
    kept = replace(half, drops_silent=False)
    assert pace(model, kept, "ddp", H100).update == pace(model, asked, "ddp", H100).update


def test_prompts_are_read_once_where_they_are_shared(work):
    """All eight responses in one update: P - 1 + 8 T of a prompt; a quarter of them in each: fewer meet."""
    one = work(*FLAGS, "--steps_per_generation", "1", prompt=101)
    assert one.forwarded() == (100 + 8 * 500, 8 * 500)
    quarter = work(*FLAGS, "--steps_per_generation", "4", prompt=101)
    expected = 4 * (1 - 0.75**8) * 100 + 8 * 500
    assert quarter.forwarded()[0] == pytest.approx(expected)
    assert replace(quarter, shares_prompts=False).forwarded()[0] == 8 * 101 + 8 * 500


def test_slow_links_rule_where_everything_is_sharded(models, work):
    """ZeRO-3 gathers all parameters twice and sends gradients in every micro-batch."""
    model = models["qwen2.5-7b"][0]
    flags = [*FLAGS, "--gradient_accumulation_steps", "4", "--steps_per_generation", "4"]
    found = pace(model, work(*flags, gpus=8), "zero3", replace(H100, link=1.0))
    assert found.update == pytest.approx(7 / 8 * 4 * 2 * 3 * model.parameters / (LINK * 1e9))
    assert pace(model, work(*flags), "ddp", replace(H100, link=1e-9)).update < 100


def test_transformers_decoding_is_slowed_by_launches(models, work):
    """A small model's step is mostly Python."""
    model = models["qwen2.5-1.5b"][0]
    found = pace(model, work(*FLAGS, "--steps_per_generation", "1", prompt=10), "ddp", GPUS["h200"])
    assert found.generation == pytest.approx(1000 * 28 * LAUNCH, rel=0.01)


def test_a_rollout_and_its_steps_add_up(models, work):
    flags = ["--steps_per_generation", "4", "--gradient_accumulation_steps", "2", "--num_iterations", "3"]
    flags += ["--save_steps", "6"]
    found = pace(models["qwen2.5-1.5b"][0], work(*FLAGS, *flags), "ddp", H100)
    assert found.updates_a_rollout == 6
    assert found.old_log_probs > 0
    assert found.rollout == pytest.approx(found.generation + found.old_log_probs + 6 * found.update)
    assert found.step == pytest.approx(found.rollout / 6)


def test_one_update_a_rollout_needs_no_old_log_probs(models, work):
    """As TRL: the policy that sampled is the one that is updated; but vLLM's probabilities are its own."""
    flags = [*FLAGS, "--steps_per_generation", "2", "--gradient_accumulation_steps", "2"]
    model = models["qwen2.5-1.5b"][0]
    assert pace(model, work(*flags), "ddp", H100).old_log_probs == 0
    assert pace(model, work(*flags, *VLLM), "ddp", H100).old_log_probs > 0


def test_no_seconds_without_a_speed_or_room(models, work):
    model = models["qwen2.5-7b"][0]
    assert pace(model, work(*FLAGS), "ddp", GPU("24GiB", 24)) is None
    assert pace(model, work(*FLAGS, *VLLM), "ddp", GPUS["4090"]) is None


def test_a_small_cache_makes_responses_take_turns(models, work):
    """Half the cache, twice the steps, once it holds less than the rollout (prompts once, responses at their mean)."""
    model = models["qwen2.5-7b"][0]
    flags = [*FLAGS, *VLLM, "--steps_per_generation", "64", "--save_steps", "64", "--vllm_gpu_memory_utilization"]
    tokens = 64 * 200 + 512 * 500
    seconds, turns = [], []
    for share in ("0.21", "0.2"):
        asked = work(*flags, share)
        cache = memory(model, asked, "ddp", H100).engine_cache
        turns.append(tokens / cache)
        seconds.append(pace(model, asked, "ddp", H100).generation)
    weights = 2 * model.parameters / (BANDWIDTH * 3.35e12)
    assert min(turns) > 2
    assert seconds[1] - seconds[0] == pytest.approx(500 * (turns[1] - turns[0]) * weights)
