"""sign_rewards on two ranks; run under torchrun. Writes one JSON file a rank: metrics, and the factor of each response."""

import json
import sys
from pathlib import Path

import torch
from policy import prompts, random_policy, settings

from hysteretic.trl import HPOConfig, HPOTrainer


def is_right(completion_ids, **_):
    """One right response, the first of the second rank."""
    return [float(torch.distributed.get_rank() == 1 and row == 0) for row in range(len(completion_ids))]


def graded(completion_ids, **_):
    return [0.1 * (row % 4) for row in range(len(completion_ids))]


def advantages_of(folder, **changes):
    model, tokenizer = random_policy()
    config = HPOConfig(
        **settings(folder, gradient_accumulation_steps=2, algorithm="grpo", **changes), ddp_find_unused_parameters=False
    )
    trainer = HPOTrainer(model, [is_right, graded], config, train_dataset=prompts(48), processing_class=tokenizer)
    kept = []
    original = trainer._generate_and_score_completions
    trainer._generate_and_score_completions = lambda inputs: kept.append(original(inputs)) or kept[-1]
    trainer.train()
    return kept[0]["advantages"], trainer._rollout_metrics


if __name__ == "__main__":
    torch.set_num_threads(1)
    plain, _ = advantages_of(f"{sys.argv[1]}/a")
    signed, metrics = advantages_of(f"{sys.argv[1]}/b", weight="adaptive", sign_rewards=["is_right"])
    found = {"metrics": metrics, "factors": (signed / plain).nan_to_num(1.0).tolist()}
    Path(sys.argv[1], f"rank{torch.distributed.get_rank()}.json").write_text(json.dumps(found))
