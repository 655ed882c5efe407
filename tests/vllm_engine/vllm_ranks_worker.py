"""HPOTrainer on two ranks, each with an engine of its own; run under torchrun. Prints what it found as a JSON line."""

import json
import sys
from pathlib import Path

import torch
from accelerate.utils import gather_object
from one_engine import in_float32, logged, vllm_trainer, weights
from transformers import AutoTokenizer
from trl.generation import vllm_generation

from hysteretic.evals.generate import respond
from hysteretic.evals.vllm import respond_within_run
from hysteretic.tasks.task import Problem
from hysteretic.trl import HPOTrainer

MOVING = {"steps_per_generation": 2, "gradient_accumulation_steps": 1, "max_steps": 6, "learning_rate": 1e-2}


class Kept(HPOTrainer):
    def _generate_and_score_completions(self, inputs):
        batch = super()._generate_and_score_completions(inputs)
        self.completions = batch["completion_ids"].tolist()
        return batch


def main(folder, output):
    torch.set_num_threads(1)
    vllm_generation.LLM = in_float32
    trainer = vllm_trainer(folder, output, trainer=Kept, **MOVING)
    before = weights(trainer.model)
    trainer.train()
    model = trainer.accelerator.unwrap_model(trainer.model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    problems = [Problem(str(i), f"{i:03d}:", i) for i in range(5)]  # not a multiple of the ranks
    responses = respond_within_run(trainer.vllm_generation, tokenizer, problems, 0, 8)
    sampled = respond_within_run(trainer.vllm_generation, tokenizer, problems, 3, 8)
    assert [len(row) for row in sampled] == [3] * 5
    ranks = gather_object([(weights(model), trainer.completions)])
    if trainer.accelerator.is_main_process:
        found = {
            "leaves out": trainer._leaves_out,
            "differences": logged(trainer, "sampling/sampling_logp_difference/max"),
            "moved": float((weights(model) - before).abs().max()),
            "weights apart": float((ranks[0][0] - ranks[1][0]).abs().max()),
            "rollouts are equal": ranks[0][1] == ranks[1][1],
            "responses": responses,
            "expected": respond(model, tokenizer, problems, 0, 8),
        }
        print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
