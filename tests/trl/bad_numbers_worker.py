"""Bad numbers on one of two ranks; run under torchrun. Writes one JSON file per rank."""

import json
import sys
from pathlib import Path

import torch
from policy import prompts, random_policy, settings

from hysteretic.trl import HPOConfig, HPOTrainer
from hysteretic.trl.guard import BadUpdateError

RANK = 1


def trainer_of(folder, reward, **changes):
    model, tokenizer = random_policy()
    config = HPOConfig(
        **settings(folder, max_steps=2, learning_rate=1e-2, gradient_accumulation_steps=2, **changes),
        ddp_find_unused_parameters=False,
    )
    return HPOTrainer(
        model=model, reward_funcs=reward, args=config, train_dataset=prompts(48), processing_class=tokenizer
    )


def is_here():
    return torch.distributed.get_rank() == RANK


def by_text(completions, **_):
    return [float(sum(map(ord, completion)) % 3 == 0) for completion in completions]


def flawed(completions, **_):
    """The second row of this rank's part has none."""
    rewards = by_text(completions)
    return [rewards[0], float("nan"), *rewards[2:]] if is_here() else rewards


def a_loss_that_is_nan_here(folder, allowed):
    """What a rank ends with: the error's message, or how far its weights are from those it began with."""
    trainer = trainer_of(folder, by_text, max_bad_updates=allowed, drop_silent=False, share_prompts=False)
    before = torch.cat([parameter.detach().flatten().clone() for parameter in trainer.model.parameters()])
    inner = trainer._compute_loss
    trainer._compute_loss = lambda model, inputs: inner(model, inputs) * (float("nan") if is_here() else 1.0)
    try:
        trainer.train()
    except BadUpdateError as error:
        return str(error)
    after = torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()])
    return float((after - before).abs().max())


def a_reward_that_is_missing_here(folder):
    """Which groups of the whole batch are left out on this rank, and how many responses are counted."""
    trainer = trainer_of(folder, flawed, max_unscored=10)
    trainer.train()
    left_out = trainer.group_rewards.is_excluded.view(-1, 4).any(dim=1).nonzero().flatten().tolist()
    return left_out, trainer.extra_state()["unscored"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = {
        "stopped": a_loss_that_is_nan_here(f"{sys.argv[1]}/a", 0),
        "left out": a_loss_that_is_nan_here(f"{sys.argv[1]}/b", 2),
        "unscored": a_reward_that_is_missing_here(f"{sys.argv[1]}/c"),
    }
    Path(sys.argv[1], f"rank{torch.distributed.get_rank()}.json").write_text(json.dumps(found))
