"""A reward model that fails on one of two ranks; run under torchrun. Writes one JSON file a rank."""

import json
import sys
from pathlib import Path

import torch
from policy import prompts, random_policy, settings
from reward_models import judge

from hysteretic.trl import HPOConfig, HPOTrainer, RewardError

RANK = 1


def by_text(completions, **_):
    return [float(sum(map(ord, completion)) % 3 == 0) for completion in completions]


def trainer_of(folder, flaws, **changes):
    model, tokenizer = random_policy()
    config = HPOConfig(
        **settings(folder, max_steps=1, gradient_accumulation_steps=2, **changes), ddp_find_unused_parameters=False
    )
    reward_model, reward_tokenizer = judge(flaws, at_batch=1)
    trainer = HPOTrainer(
        model,
        [by_text, reward_model],
        config,
        train_dataset=prompts(48),
        processing_class=tokenizer,
        reward_processing_classes=[None, reward_tokenizer],
    )
    is_here = torch.distributed.get_rank() == RANK
    reward_model.at_batch = 1 if is_here else 0
    return trainer


def message(folder):
    try:
        trainer_of(folder, RuntimeError("out of memory")).train()
    except RewardError as error:
        return str(error)
    return None


def left_out(folder):
    trainer = trainer_of(folder, {1: float("nan")}, max_unscored=1)
    trainer.train()
    groups = trainer.group_rewards.is_excluded.view(-1, 4).any(dim=1).nonzero().flatten().tolist()
    return groups, trainer.extra_state()["unscored"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {"raises": message(f"{sys.argv[1]}/a"), "nan": left_out(f"{sys.argv[1]}/b")}
    Path(sys.argv[1], f"rank{torch.distributed.get_rank()}.json").write_text(json.dumps(found))
