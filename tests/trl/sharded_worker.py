"""The lean update beside TRL's whole way on a sharded model; run under torchrun: WAY FOLDER POLICY.

WAY is fsdp2, zero2 or zero3; POLICY is a folder with a model.

Prints one JSON line on the first rank: {check: {case: number}}.
"""

import json
import logging
import os
import sys
from pathlib import Path

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from gradient_worker import always_wrong, relative_error
from gradient_worker import cases as oracle_cases
from packed_runs import PLAIN, SEVERAL, Kept, trained
from peft import LoraConfig
from policy import flat, random_policy
from safetensors.torch import load_file
from transformers import Qwen2ForCausalLM

FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}


def one_right(prompts, **_):
    """One response of the batch, on the rank that draws the first prompt."""
    return [float(i == 0 and prompts[0].startswith("000")) for i in range(len(prompts))]


BY_TOKENS = {"tokens_per_micro_batch": 40}
CASES = {
    "micro-batches of an update, checkpointed": {**SEVERAL, **BY_TOKENS, "gradient_checkpointing": True},
    "two iterations of one accumulated update": {**BY_TOKENS, "num_iterations": 2, "max_steps": 2},
    "one right, so one rank has no row": {**SEVERAL, "reward": one_right},
    "all silent": {**SEVERAL, "max_steps": 2, "reward": always_wrong},
    "reference model": {**SEVERAL, **BY_TOKENS, "beta": 0.1},
    "LoRA": {**SEVERAL, "peft_config": LoraConfig(r=2, lora_alpha=2, init_lora_weights=False)},
}
ORACLE = "gspo 4 updates"


class Sharded(Kept):
    """Keeps the whole gradient of every update."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.gradients = []

    def _get_grad_norm(self, model, grad_norm=None):
        if not self.is_deepspeed_enabled:
            self.gradients.append(flat(p.grad for p in model.parameters() if p.grad is not None))
        return super()._get_grad_norm(model, grad_norm)

    def training_step(self, *arguments, **options):
        if self.is_deepspeed_enabled and not hasattr(self, "engine"):  # which steps within the last backward pass
            self.engine = self.accelerator.deepspeed_engine_wrapped.engine
            self.engine.step = self.keeping_gradient(self.engine.step)
        return super().training_step(*arguments, **options)

    def keeping_gradient(self, step):
        from deepspeed.utils import safe_get_full_grad

        def keep_and_step(*arguments, **options):
            trained = [p for p in self.model.parameters() if p.requires_grad]
            self.gradients.append(flat(safe_get_full_grad(p) for p in trained))
            return step(*arguments, **options)

        return keep_and_step


def run(folder, **changes):
    """A run of four updates at learning rate 0, unless changed."""
    given = {"shuffle_dataset": False, "kind": Sharded, **WAY, "learning_rate": 0.0}
    return trained(folder, **{**given, **changes})


def gradient_error(name, folder):
    """The largest relative error of the lean gradients, by update."""
    changes = {"max_steps": 4, **CASES[name], "learning_rate": 0.0}
    runs = []
    for way in ({}, {**PLAIN, "tokens_per_micro_batch": None}):
        model = Qwen2ForCausalLM.from_pretrained(sys.argv[3]) if "beta" in changes else None
        runs.append(run(folder, model=model, **{**changes, **way}))
    lean, plain = runs
    assert lean._plans
    assert lean._packs
    assert len(lean.gradients) == len(plain.gradients) == changes["max_steps"]
    sizes = [float(gradient.norm()) for gradient in plain.gradients]
    assert (max(sizes) > 1e-4) == (name != "all silent"), "nothing to compare"
    return max(
        float((ours - theirs).norm() / max(size, 1e-12))
        for ours, theirs, size in zip(lean.gradients, plain.gradients, sizes, strict=True)
    )


def two_groups(prompts, **_):
    """Rewards differ within the groups of two prompts, which one rank has drawn."""
    return [float(i % 2) if int(prompt[:3]) < 2 else 0.0 for i, prompt in enumerate(prompts)]


def tokens(folder):
    """Tokens of an update: logged, by hand, those that passed through the embeddings of both ranks, and plainly."""
    data = Dataset.from_dict({"prompt": [f"{i:03d}: {'x' * 35}" for i in range(32)]})
    lean = run(folder, data=data, reward=two_groups)
    plain = run(folder, data=data, reward=two_groups, **PLAIN)
    kept = lean.batches[0]["advantages"] != 0
    by_hand = sum(gather_object(lean.batches[0]["completion_mask"][kept].sum(dim=1).tolist())) + 2 * 39
    one_right_here = run(folder, reward=one_right, **{**SEVERAL, "max_steps": 1, "algorithm": "positive-only"})
    return {
        "logged": lean.state.log_history[0]["hpo/forwarded_tokens"],
        "by hand": by_hand,
        "lean": sum(gather_object(lean.tokens.update)),
        "plain": sum(gather_object(plain.tokens.update)),
        "plain by hand": sum(gather_object([32 * (40 + plain.batches[0]["completion_ids"].shape[1])])),
        "of a rank without rows": min(gather_object([sum(one_right_here.tokens.update)])),
    }


def saved(folder, kind):
    """The largest difference of the model that is saved, and of a run resumed from a checkpoint, from the weights."""
    os.environ["FSDP_STATE_DICT_TYPE"] = f"{kind}_STATE_DICT"
    ways = {"learning_rate": 1e-2, "max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    whole = run(folder, **ways)
    whole.save_model(str(folder / "final"))
    whole.accelerator.wait_for_everyone()
    again = run(folder, **ways, resume=folder / "checkpoint-1")
    found = load_file(folder / "final" / "model.safetensors")
    names = [name for name, _ in random_policy()[0].named_parameters()]
    end = whole.weights[-1]
    return {
        "saved": float((torch.cat([found[name].flatten() for name in names]) - end).abs().max()),
        "resumed": float((again.weights[-1] - end).abs().max()),
        "moved": float((whole.weights[0] - end).abs().max()),
    }


def zero(stage):
    config = dict.fromkeys(("train_batch_size", "train_micro_batch_size_per_gpu"), "auto")
    config |= {"gradient_accumulation_steps": "auto", "zero_force_ds_cpu_optimizer": False}
    whole = {"stage3_gather_16bit_weights_on_model_save": True} if stage == 3 else {}
    return {"deepspeed": {**config, "zero_optimization": {"stage": stage, **whole}}}


WAY = {} if sys.argv[1] == "fsdp2" else zero(int(sys.argv[1][-1]))

if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    folder = Path(sys.argv[2])
    if not WAY:
        os.environ.update(FSDP2)
    found = {
        "gradients": {name: gradient_error(name, folder / "gradients") for name in CASES},
        "tokens": tokens(folder / "tokens"),
        "weights": {kind: saved(folder / kind, kind) for kind in (["SHARDED"] if WAY else ["FULL", "SHARDED"])},
    }
    if not WAY:
        found["gradients"]["of the pure objective"] = relative_error(ORACLE, dict(oracle_cases())[ORACLE])
    if torch.distributed.get_rank() == 0:
        print(json.dumps(found))
