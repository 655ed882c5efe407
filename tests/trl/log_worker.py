"""What HPOTrainer logs on several ranks, lean and plain; run under torchrun. Prints one JSON line: {case: differences}.

Prompts are of unequal lengths and few responses have a gradient, so that ranks get unequal rows, and some none.
"""

import json
import logging
import sys

import torch
from datasets import Dataset
from packed_runs import PLAIN, SEVERAL, logs, trained
from transformers import Qwen2ForCausalLM

DATA = Dataset.from_dict({"prompt": [f"{i:03d}: " + "x" * (11 * i % 37) for i in range(31)] + ["!"]})
CASES = {
    "a-hpo": {},
    "gspo two iterations": {"algorithm": "gspo", "num_iterations": 2, "max_steps": 8},
    "beta": {"beta": 0.1, "num_iterations": 2, "max_steps": 8},
    "beta by tokens": {"beta": 0.1, "tokens_per_micro_batch": 60, "gradient_accumulation_steps": 2},
    "checkpointing by tokens": {"gradient_checkpointing": True, "tokens_per_micro_batch": 40},
    "one right": {"reward": "one right"},
}


def one_right(prompts, **_):
    """One response of the batch, on one rank."""
    return [float(i == 0 and prompts[0] == DATA[0]["prompt"]) for i in range(len(prompts))]


def differences(folder, name):
    """Logged values, and weights at the end, that differ by more than a thousandth."""
    changes = {**SEVERAL, "max_steps": 4, "shuffle_dataset": False, **CASES[name]}
    reward = {"reward": one_right} if changes.pop("reward", None) else {}
    runs = []
    for ways in ({}, {**PLAIN, "tokens_per_micro_batch": None}):
        model = Qwen2ForCausalLM.from_pretrained(sys.argv[1])
        runs.append(trained(f"{folder}/{len(runs)}", model=model, data=DATA, **reward, **{**changes, **ways}))
    found = {}
    for step, (ours, theirs) in enumerate(zip(*map(logs, runs), strict=True)):
        for key, value in theirs.items():
            # Left-out responses' entropy is that at sampling; extremes of a step are not means of micro-batches.
            is_exact = key != "entropy" and not (key.endswith(("_min", "_max")) and "clip" in key)
            if is_exact and not abs(ours[key] - value) <= 1e-3 * max(1, abs(value)):
                found[f"{key} at update {step + 1}"] = [ours[key], value]
    gap = float((runs[0].weights[-1] - runs[1].weights[-1]).abs().max())
    return {**found, **({"weights": gap} if not gap < 2e-4 else {})}


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    results = {name: differences(sys.argv[2], name) for name in CASES}
    if torch.distributed.get_rank() == 0:
        print(json.dumps(results))
