"""The weights of the trainer are those that vLLM samples from."""

import pytest
import torch
from one_engine import logged, vllm_trainer, weights
from peft import LoraConfig
from transformers import Qwen2ForCausalLM
from trl.generation.vllm_generation import VLLMGeneration

DIFFERENCE = "sampling/sampling_logp_difference/max"
MOVING = {"steps_per_generation": 2, "gradient_accumulation_steps": 1, "max_steps": 6, "learning_rate": 1e-2}


def run(folder, output, **changes):
    trainer = vllm_trainer(folder, output, **{**MOVING, **changes})
    before = weights(trainer.model)
    trainer.train()
    assert float((weights(trainer.model) - before).abs().max()) > 1e-2
    return logged(trainer, DIFFERENCE)


def test_weights_reach_vllm_after_every_update(engine, policy_folder, tmp_path):
    """Three rollouts with two updates each between them: its log-probs are those of the updated model."""
    assert max(run(policy_folder, tmp_path)) < 1e-4


def test_without_the_sync_the_difference_grows(engine, policy_folder, tmp_path, monkeypatch):
    """The control: the check above notices old weights."""
    sync = VLLMGeneration.sync_weights
    synced = []

    def only_once(generation):
        if not synced:
            sync(generation)
        synced.append(True)

    monkeypatch.setattr(VLLMGeneration, "sync_weights", only_once)
    found = run(policy_folder, tmp_path)
    assert found[0] < 1e-4
    assert found[-1] > 0.1
    assert len(synced) == 3


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["q_proj", "o_proj", "gate_proj", "down_proj"]])
def test_adapters_reach_vllm_merged_and_the_model_below_stays(engine, policy_folder, tmp_path, targets):
    """TRL merges LoRA into the weights that it hands over, and takes it out again."""
    adapter = LoraConfig(r=4, lora_alpha=8, target_modules=targets)
    trainer = vllm_trainer(policy_folder, tmp_path, peft_config=adapter, **{**MOVING, "learning_rate": 3e-2})
    trainer.train()
    assert max(logged(trainer, DIFFERENCE)) < 1e-4
    below = Qwen2ForCausalLM.from_pretrained(policy_folder)
    ids = torch.arange(20)[None] + 5
    with torch.no_grad():
        assert float((trainer.model(ids).logits - below(ids).logits).abs().max()) > 0.1
    trained = trainer.model.unload()
    torch.testing.assert_close(weights(trained), weights(below), rtol=0, atol=1e-5)
