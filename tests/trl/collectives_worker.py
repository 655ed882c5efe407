"""How often do the ranks talk to each other? Run under torchrun; prints one JSON line on the first rank.

Counts calls of torch.distributed that this package makes, not those of TRL, transformers or DDP, in runs of R rollouts
with U updates each: {"R U": calls}.
"""

import functools
import json
import logging
import sys
import tempfile
from pathlib import Path

import torch
from policy import low_first_byte, prompts, random_policy, settings

import hysteretic
from hysteretic.trl import HPOConfig, HPOTrainer

OURS = str(Path(hysteretic.__file__).parent)
THEIRS = tuple(str(Path(sys.modules[name].__file__).parent) for name in ("trl", "transformers"))
CALLS = (
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "broadcast",
    "broadcast_object_list",
)


def is_ours():
    """Whether the innermost caller of the three packages is this one."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith((OURS, *THEIRS)):
            return file.startswith(OURS)
        frame = frame.f_back
    return False


def count_calls(counted):
    def counting(function):
        @functools.wraps(function)
        def call(*arguments, **options):
            counted.append(function.__name__) if is_ours() else None
            return function(*arguments, **options)

        return call

    for name in CALLS:
        setattr(torch.distributed, name, counting(getattr(torch.distributed, name)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    counted, found = [], {}
    count_calls(counted)
    for rollouts, updates in [(1, 1), (2, 1), (1, 2)]:
        counted.clear()
        model, tokenizer = random_policy()
        with tempfile.TemporaryDirectory() as folder:
            config = HPOConfig(
                **settings(folder, max_steps=rollouts * updates, steps_per_generation=2 * updates,
                           gradient_accumulation_steps=2),
            )  # fmt: skip
            HPOTrainer(model, low_first_byte, config, train_dataset=prompts(64), processing_class=tokenizer).train()
        found[f"{rollouts} {updates}"] = len(counted)
    if torch.distributed.get_rank() == 0:
        print(json.dumps(found))
