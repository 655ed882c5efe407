"""The stand-in of a dry run: small, of the same class, and built as the model is."""

import pytest
import torch
from transformers import (
    AutoConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    MistralConfig,
    MixtralConfig,
    Phi3Config,
    Qwen2MoeConfig,
    Qwen3Config,
)

from hysteretic.common.errors import UsageError
from hysteretic.dry_run.checks import CheckError, Watch, check_update
from hysteretic.dry_run.model import random_model, shrunk
from hysteretic.dry_run.tokenizer import CHATML, LLAMA3, build

CONFIGS = [
    Qwen3Config(hidden_size=2560, num_attention_heads=32, num_key_value_heads=8, head_dim=128, num_hidden_layers=36),
    MistralConfig(num_key_value_heads=8),
    Gemma2Config(num_hidden_layers=26),
    Phi3Config(partial_rotary_factor=0.75, pad_token_id=0),
    MixtralConfig(num_local_experts=8),
    Qwen2MoeConfig(num_experts=60, num_key_value_heads=16),
    GPT2Config(),
    GPTNeoXConfig(),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_other_architectures_shrink_and_compute(config):
    """Experts, kinds of layers, partial rotary positions, heads wider than the hidden size: two layers of each."""
    tokenizer = build(CHATML)
    small = shrunk(config, tokenizer)
    assert type(small) is type(config)
    model = random_model(small)
    assert sum(weight.numel() for weight in model.parameters()) < 60_000
    keys = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    queries = config.num_attention_heads // keys
    small_keys = getattr(small, "num_key_value_heads", None) or small.num_attention_heads
    assert small.num_attention_heads == queries * small_keys
    assert set(getattr(small, "layer_types", None) or []) == set(getattr(config, "layer_types", None) or [])
    ids = torch.tensor([tokenizer("3,7,5=26:")["input_ids"]])
    assert torch.isfinite(model(input_ids=ids).logits).all()


def test_weights_are_the_same_on_every_rank_and_no_seed_is_used_up():
    small = shrunk(CONFIGS[0], build(CHATML))
    torch.manual_seed(7)
    first, drawn = random_model(small).state_dict(), torch.rand(1)
    torch.manual_seed(7)
    assert torch.rand(1) == drawn
    assert all(torch.equal(weight, first[name]) for name, weight in random_model(small).state_dict().items())


def test_a_model_that_reads_images_is_refused():
    with pytest.raises(UsageError, match="multimodal"):
        shrunk(AutoConfig.for_model("qwen2_5_vl"), build(CHATML))


@pytest.mark.parametrize(
    ("family", "text"),
    [
        (CHATML, "<|im_start|>user\nhé 1\n<|im_end|>\n<|im_start|>assistant\n"),
        (
            LLAMA3,
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhé 1<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
    ],
)
def test_the_template_of_a_family_is_one_token_a_mark_and_one_a_byte(family, text):
    tokenizer = build(family)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "hé 1\n"}], add_generation_prompt=True)
    assert tokenizer.decode(ids["input_ids"]) == text
    marks = sum(text.count(mark) for mark in family.special)
    bare = text
    for mark in family.special:
        bare = bare.replace(mark, "")
    assert len(ids["input_ids"]) == marks + len(bare.encode())
    assert tokenizer.eos_token_id in range(len(family.special))


def watched(trainable=("a",), moved=("a",), bad=(), has_gradient=True):
    watch = Watch()
    watch.trainable, watch.moved, watch.bad_gradients = set(trainable), set(moved), set(bad)
    watch.has_gradient = has_gradient
    return watch


@pytest.mark.parametrize(
    ("watch", "history", "said"),
    [
        (watched(), [], "No update was made"),
        (watched(), [{"loss": float("nan")}], "loss is nan"),
        (watched(), [{"loss": 0.0, "grad_norm": float("inf")}], "gradient norm is inf"),
        (watched(bad=["a"]), [{"loss": 0.0}], "gradient of a is not finite"),
        (watched(has_gradient=False), [{"loss": 0.0}], "All gradients are 0"),
        (watched(moved=[]), [{"loss": 0.0}], "No weight changed"),
        (watched(moved=["a", "frozen"]), [{"loss": 0.0}], "frozen is frozen, but changed"),
    ],
)
def test_an_update_that_is_none_is_told(watch, history, said):
    with pytest.raises(CheckError, match=said):
        check_update(watch, history)
    assert check_update(watched(), [{"loss": 0.5, "grad_norm": 1.0}]).startswith("loss 0.5, gradient norm 1; 1 of 1")
