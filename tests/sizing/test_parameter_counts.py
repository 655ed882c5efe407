"""What a model is made of is counted, not estimated."""

import json

import pytest
from transformers import Qwen2Config

from hysteretic.sizing.architecture import architecture, read_config


@pytest.mark.parametrize(
    ("name", "parameters", "adapter"),
    [
        ("qwen2.5-1.5b", 1_543_714_304, 18_464_768),
        ("llama-3.2-3b", 3_212_749_824, 24_313_856),
        ("qwen2.5-7b", 7_615_616_512, 40_370_176),
    ],
)
def test_counts_are_those_published(models, name, parameters, adapter):
    """The models' own counts, and those that PEFT prints for rank 16 on all linear layers."""
    alone, adapted = models[name]
    assert (alone.parameters, alone.adapter) == (parameters, 0)
    assert (adapted.parameters, adapted.adapter) == (parameters, adapter)


def test_a_layer_and_the_rest_add_up(models):
    """Embedding, head where it is its own, and a norm are all that is outside the layers."""
    for alone, _ in models.values():
        outside = alone.head_parameters * (1 if alone.has_tied_head else 2) + alone.hidden
        assert alone.layers * alone.block_parameters + outside == alone.parameters


def test_matrices_of_a_small_layer_by_hand():
    config = Qwen2Config(
        hidden_size=8,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=50,
    )
    found = architecture(config, "small")
    assert found.linear_parameters == 3 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 32)
    assert (found.attention, found.keys) == (8, 4)
    assert found.cache_bytes(2) == 2 * 3 * 4 * 2


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"model_type": "nonesuch"})])
def test_a_configuration_that_cannot_be_read_says_what_to_do(tmp_path, content):
    if content:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json: --model FOLDER"):
        read_config(str(tmp_path))


def test_a_mixture_of_experts_is_refused():
    """Its activations and its speed are those of the experts chosen, which the formulas do not know."""
    config = pytest.importorskip("transformers").MixtralConfig(num_hidden_layers=1)
    with pytest.raises(ValueError, match="mixture of experts"):
        architecture(config, "mixtral")
