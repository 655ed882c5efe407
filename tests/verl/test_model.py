"""Does verl's engine build a model and run it in the environment that docs/verl.md installs, TRL and no flash-attn?"""

from types import SimpleNamespace

import pytest
import torch
from tensordict import TensorDict
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from verl.utils import tensordict_utils as tu
from verl.workers.config import HFModelConfig
from verl.workers.engine.fsdp import transformer_impl

import hysteretic.verl  # noqa: F401 - what every process of a run has imported
from hysteretic.launch.verl_keys import ATTENTION

SIZES = {
    "vocab_size": 37,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
MODELS = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
LENGTHS = (7, 4, 9)
"""Of three rows that are packed into one."""


def built(folder, kind, tied):
    """The engine of verl around a model of this kind, by its own _build_module, as `hysteretic launch verl` sets it."""
    config, model = MODELS[kind]
    torch.manual_seed(0)
    original = model(config(**SIZES, tie_word_embeddings=tied)).eval()
    original.save_pretrained(folder)
    engine = object.__new__(transformer_impl.FSDPEngineWithLMHead)  # its __init__ wants GPUs
    engine.__dict__.update(
        model_config=HFModelConfig(
            path=str(folder), load_tokenizer=False, override_config={"attn_implementation": ATTENTION}
        ),
        engine_config=SimpleNamespace(model_dtype="fp32", forward_only=False, entropy_checkpointing=False),
        device_mesh=SimpleNamespace(get_coordinate=lambda: [0]),
        use_remove_padding=True,
        ulysses_sequence_parallel_size=1,
        use_ulysses_sp=False,
        pad_to_length=False,
    )
    engine.module = engine._build_module()
    return engine, original


def nested(rows):
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_is_built_and_reads_packed_rows_as_it_reads_each_alone(tmp_path, kind, tied):
    """_build_module failed for every model where TRL was installed. And verl packs rows into one (use_remove_padding),
    where attention must not reach from one into the next; in the attention that needs no further package."""
    engine, original = built(tmp_path, kind, tied)
    ids = [torch.randint(1, 37, (length,)) for length in LENGTHS]
    micro_batch = TensorDict(
        {"input_ids": nested(ids), "position_ids": nested(torch.arange(length) for length in LENGTHS)},
        batch_size=len(LENGTHS),
    )
    tu.assign_non_tensor(micro_batch, temperature=1.0, use_remove_padding=True)
    inputs, _ = engine.prepare_model_inputs(micro_batch)
    assert inputs["input_ids"].shape == (1, sum(LENGTHS))
    with torch.no_grad():
        packed = engine.module(**inputs, use_cache=False).logits[0].split(LENGTHS)
        for own, row in zip(packed, ids, strict=True):
            torch.testing.assert_close(own, original(input_ids=row[None]).logits[0], rtol=1e-5, atol=1e-6)
    assert next(engine.module.parameters()).dtype == torch.float32
