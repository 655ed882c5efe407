"""HPOTrainer with colocated vLLM in float32, and one engine for many trainers: it takes long to start."""

import torch
from accelerate.utils import set_seed
from policy import low_first_byte, prompts, settings
from transformers import AutoTokenizer, Qwen2ForCausalLM

from hysteretic.trl import HPOConfig, HPOTrainer

COLOCATED = {
    "use_vllm": True,
    "vllm_mode": "colocate",
    "vllm_gpu_memory_utilization": 0.1,
    "vllm_max_model_length": 128,
}


def in_float32(**options):
    """TRL's engine, but in float32: TRL names no dtype, and vLLM then makes bfloat16 of a model saved in float32."""
    from vllm import LLM

    return LLM(**{**options, "dtype": "float32", "enforce_eager": True})


class OneEngine:
    """Stands for vllm.LLM in TRL. All models must have the shape of the first."""

    def __init__(self):
        self.llm = None

    def __call__(self, **options):
        if self.llm is None:
            self.llm = in_float32(**{**options, "max_num_seqs": 64})
        return self.llm

    def load(self, model):
        """Give the engine the weights of this model."""
        runner = self.llm.llm_engine.model_executor.driver_worker.model_runner
        runner.model.load_weights(model.named_parameters())
        self.llm.reset_prefix_cache()


def vllm_trainer(folder, output, reward=low_first_byte, trainer=HPOTrainer, peft_config=None, callbacks=(), **changes):
    """A trainer that is ready to train."""
    set_seed(0)
    return trainer(
        Qwen2ForCausalLM.from_pretrained(folder),
        reward,
        HPOConfig(**settings(output, **{**COLOCATED, **changes})),
        train_dataset=prompts(),
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=peft_config,
        callbacks=list(callbacks),
    )


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def logged(trainer, key):
    """The values of one metric, one per update."""
    return [row[key] for row in trainer.state.log_history if key in row]
