"""Bytes by part, against known numbers and against what torch actually saves."""

import math
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2Config

from hysteretic.sizing.architecture import architecture
from hysteretic.sizing.gpus import GIB, GPU, GPUS, gpu_of
from hysteretic.sizing.memory import CONTEXT, NCCL, WAYS, layer_bytes, memory

H100 = GPUS["h100"]
LORA = ["--use_peft", "true", "--lora_target_modules", "all-linear"]


@pytest.mark.parametrize(
    ("name", "fp32", "bf16", "lora"),
    [
        ("qwen2.5-1.5b", 23.0, 11.5, 3.2),
        ("llama-3.2-3b", 47.9, 23.9, 6.3),
        ("qwen2.5-7b", 113.5, 56.7, 14.8),
    ],
)
def test_static_memory_is_what_is_known(models, work, name, fp32, bf16, lora):
    """Weights, gradients and AdamW: 16 bytes per parameter in fp32, 8 in bf16; with LoRA 2, and 16 of the adapter."""
    alone, adapted = models[name]
    found = [
        memory(alone, work(), "ddp", H100),
        memory(alone, work("--dtype", "bfloat16"), "ddp", H100),
        memory(adapted, work("--dtype", "bfloat16", *LORA), "ddp", H100),
    ]
    assert [each.static / GIB for each in found] == pytest.approx([fp32, bf16, lora], rel=0.05)


def test_ways_of_spreading_by_hand(models, work):
    """P parameters in bf16 on eight GPUs."""
    model, P = models["qwen2.5-7b"][0], 7_615_616_512
    held = {way: memory(model, work("--dtype", "bfloat16", gpus=8), way, H100) for way in WAYS}
    weights, optimiser, gradients = (
        {way: part(each) for way, each in held.items()}
        for part in (
            lambda m: m.fixed["weights"],
            lambda m: m.fixed["optimiser"],
            lambda m: m.update["gradients"],
        )
    )
    assert weights == pytest.approx({"ddp": 2 * P, "zero2": 2 * P, "zero3": P / 4, "fsdp2": P / 2})
    assert optimiser == pytest.approx({"ddp": 4 * P, "zero2": 1.5 * P, "zero3": 1.5 * P, "fsdp2": P})
    assert gradients == pytest.approx({"ddp": 2 * P, "zero2": P / 4, "zero3": P / 4, "fsdp2": P / 2})
    assert held["ddp"].fixed["buffers"] == 2 * P
    assert {each.fixed["context"] for each in held.values()} == {CONTEXT + NCCL}


@pytest.mark.parametrize("kind", [Qwen2Config, LlamaConfig])
@pytest.mark.parametrize(
    ("dtype", "flags"),
    [
        ("float32", ["--bf16", "false"]),
        ("bfloat16", []),
        ("float32", []),
        ("bfloat16", LORA),
    ],
    ids=["fp32", "bf16", "autocast", "lora"],
)
def test_a_layer_saves_what_transformers_saves(work, kind, dtype, flags):
    """Bytes of distinct tensors kept for the backward pass, of a model with four layers less those of one with two."""
    rows, length = 4, 50  # 200 tokens, which no weight has
    asked = work("--dtype", dtype, *flags)

    def config(layers):
        return kind(
            hidden_size=256,
            intermediate_size=1024,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            vocab_size=300,
        )

    def adapter():
        return LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM") if asked.is_lora else None

    def saved(layers):
        model = AutoModelForCausalLM.from_config(config(layers), dtype=getattr(torch, dtype))
        if asked.is_lora:
            model = get_peft_model(model, adapter()).get_base_model()
        parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
        shapes = {tuple(sorted(p.shape)) for p in model.parameters()}
        sizes, alive = {}, []

        def note(tensor):
            storage = tensor.untyped_storage()
            # autocast's copies of weights are a part of their own
            is_weight = storage.data_ptr() in parameters or tuple(sorted(tensor.shape)) in shapes
            if not is_weight:
                sizes[storage.data_ptr()] = storage.nbytes()
                alive.append(tensor)
            return tensor

        ids = torch.randint(5, 300, (rows, length))
        mask = torch.ones_like(ids)
        mask[0, :3] = 0  # padding: as in training, and keys are repeated for each head
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=asked.is_mixed),
        ):
            out = model.model(input_ids=ids, attention_mask=mask, use_cache=False)
        return sum(sizes.values()), out

    measured = (saved(4)[0] - saved(2)[0]) / 2 / (rows * length)
    assert sum(layer_bytes(architecture(config(2), "small", adapter()), asked)) == pytest.approx(measured, rel=0.05)


def test_checkpointing_keeps_a_layers_input_only(models, work):
    """r h bytes a token and layer, and the final norm's."""
    model = models["qwen2.5-1.5b"][0]
    flags = ["--per_device_train_batch_size", "8", "--max_completion_length", "800"]
    on = work(*flags, "--gradient_checkpointing", "true")
    off = work(*flags, "--gradient_checkpointing", "false")
    tokens = on.micro_batch()[0]
    kept = memory(model, on, "ddp", H100).update["activations"]
    assert kept == tokens * model.hidden * (4 * model.layers + 4 + 4 + 2)
    assert memory(model, off, "ddp", H100).update["activations"] > 10 * kept


def test_the_head_is_a_tile_and_a_gradient_whatever_the_tokens(models, work):
    """TRL's fused head: 4096 tokens by 32,768 words at a time; logits of all tokens are never there."""
    alone, adapted = models["qwen2.5-7b"]

    def head(model, *flags):
        asked = work("--dtype", "bfloat16", "--max_completion_length", "1024", *flags)
        return memory(model, asked, "ddp", H100).update["LM head tiles"]

    tile, tokens = 4096 * 32768 * 2, 8 * 1024
    assert head(adapted, *LORA) == tile + tokens * 3584 * 6
    assert head(alone) == tile + tokens * 3584 * 6 + 152064 * 3584 * 6
    more = head(adapted, *LORA, "--per_device_train_batch_size", "32")
    assert more - head(adapted, *LORA) == 3 * tokens * 3584 * 6


def test_micro_batches_as_streams_and_rows(work):
    """Prompts once where a rollout is one update; else a group may be spread over several."""
    flags = ["--per_device_train_batch_size", "8", "--num_generations", "8", "--max_completion_length", "100"]
    one = work(*flags, "--steps_per_generation", "1", "--gradient_accumulation_steps", "1")
    several = work(*flags, "--steps_per_generation", "4", "--gradient_accumulation_steps", "1")
    assert one.micro_batch() == (199 + 800, 800, 8 * 300)
    assert several.micro_batch() == (8 * 299, 800, 8 * 300)
    assert replace(one, shares_prompts=False).micro_batch() == (8 * 300, 800, 8 * 300)


@pytest.mark.parametrize("bound", [1, 299, 1000, 100_000])
def test_tokens_per_micro_batch_bounds_tokens(work, bound):
    """Though never below one response with its prompt."""
    asked = work("--max_completion_length", "100", "--tokens_per_micro_batch", str(bound))
    assert asked.micro_batch()[0] == pytest.approx(max(bound, 299))


def test_a_reference_model_is_there_with_a_kl_term_and_no_adapter(models, work):
    alone, adapted = models["qwen2.5-1.5b"]
    beta = ["--beta", "0.04"]
    assert memory(alone, work(), "ddp", H100).fixed["reference"] == 0
    assert memory(alone, work(*beta), "ddp", H100).fixed["reference"] == 4 * alone.parameters
    assert memory(adapted, work(*beta, *LORA), "ddp", H100).fixed["reference"] == 0
    assert memory(alone, work(*beta, gpus=4), "zero3", H100).fixed["reference"] == alone.parameters / 2


def test_vllm_takes_its_share_and_gives_it_back_asleep(models, work):
    model = models["qwen2.5-1.5b"][0]
    flags = ["--use_vllm", "true", "--vllm_mode", "colocate", "--vllm_gpu_memory_utilization", "0.3"]
    awake, asleep = (
        memory(model, work(*flags, "--vllm_enable_sleep_mode", sleeps), "ddp", H100) for sleeps in ("false", "true")
    )
    assert awake.generation["vLLM"] == asleep.generation["vLLM"] == pytest.approx(0.3 * H100.bytes + GIB)
    assert awake.moments["update"] - asleep.moments["update"] == pytest.approx(0.3 * H100.bytes)
    per_token = 2 * 28 * 2 * 128 * 2
    assert awake.engine_cache == pytest.approx((0.3 * H100.bytes - 1.5 * GIB - 2 * model.parameters) / per_token)
    server = memory(model, work("--use_vllm", "true", "--vllm_mode", "server"), "ddp", H100)
    assert server.generation["vLLM"] == server.generation["cache"] == 0


def test_a_share_that_holds_no_response_does_not_fit(models, work):
    flags = ["--use_vllm", "true", "--vllm_mode", "colocate", "--vllm_gpu_memory_utilization"]
    small = memory(models["qwen2.5-7b"][1], work(*flags, "0.15", *LORA), "ddp", H100)
    assert small.is_engine_too_small
    assert small.fits(GPU("huge", 10_000)) == "no"


def test_without_vllm_the_cache_holds_the_rollout(models, work):
    """Prompts once a group, responses at their longest, in the weights' type."""
    model = models["qwen2.5-1.5b"][0]
    flags = ["--per_device_train_batch_size", "8", "--steps_per_generation", "4", "--num_generations", "8"]
    asked = work(*flags, "--max_completion_length", "100", "--dtype", "bfloat16")
    tokens, scores = 4 * 200 + 32 * 100, 5 * 4 * 32 * 151936
    assert memory(model, asked, "ddp", H100).generation["cache"] == tokens * 2 * 28 * 256 * 2 + scores


def test_fits_tight_and_no(models, work):
    held = memory(models["qwen2.5-1.5b"][0], work(), "ddp", H100)
    size = held.peak / GIB
    assert [held.fits(GPU("x", size * factor)) for factor in (1.2, 1.05, 0.99)] == ["yes", "tight", "no"]


def test_only_the_larger_of_layer_and_head_counts(models, work):
    held = memory(models["qwen2.5-1.5b"][0], work(), "ddp", H100)
    layer, head = held.update["one layer at work"], held.update["LM head tiles"]
    both = sum(held.fixed.values()) + sum(held.update.values())
    assert held.moments["update"] == pytest.approx(both - min(layer, head))


@pytest.mark.parametrize(
    ("text", "size"), [("h100", 79.1), ("H100", 79.1), ("24GiB", 24), ("24gb", 22.35), ("1.5 GiB", 1.5)]
)
def test_gpus_by_name_and_size(text, size):
    assert gpu_of(text).memory == pytest.approx(size, abs=0.01)


@pytest.mark.parametrize(
    ("text", "words"), [("h1000", "Did you mean 'h100'"), ("", "Known: h200"), ("0GiB", "above 0"), ("24", "24GiB")]
)
def test_a_gpu_that_is_none_is_named(text, words):
    with pytest.raises(ValueError, match=words):
        gpu_of(text)


def test_every_part_is_finite_and_not_negative(models, work):
    for alone, adapted in models.values():
        for model, flags in ((alone, []), (adapted, LORA)):
            for way in WAYS:
                held = memory(model, work(*flags, gpus=4), way, H100)
                parts = [*held.fixed.values(), *held.generation.values(), *held.update.values(), *held.step.values()]
                assert all(math.isfinite(part) and part >= 0 for part in parts)


def test_buffers_of_sharded_ways_by_hand(models, work):
    """DeepSpeed's buckets and gathered parameters; FSDP2's two layers and embeddings, with gradients where trained."""
    alone, adapted = models["qwen2.5-7b"]
    asked, lora = work("--dtype", "bfloat16", gpus=8), work("--dtype", "bfloat16", *LORA, gpus=8)
    outside = alone.parameters - alone.layers * alone.block_parameters
    gathered = 2 * (2 * alone.block_parameters + outside)
    assert memory(alone, asked, "zero2", H100).fixed["buffers"] == 2 * 500_000_000
    assert memory(alone, asked, "zero3", H100).fixed["buffers"] == 2 * 1_500_000_000
    assert memory(alone, asked, "fsdp2", H100).fixed["buffers"] == 2 * gathered
    assert memory(adapted, lora, "fsdp2", H100).fixed["buffers"] == gathered


def test_deepspeeds_step_holds_gradients_in_fp32_as_well(models, work):
    """2 bytes per parameter, and 4 more for its partition."""
    held = memory(models["qwen2.5-7b"][0], work("--dtype", "bfloat16", gpus=8), "zero2", H100)
    assert held.step["gradients"] == pytest.approx(6 * 7_615_616_512 / 8)
