"""Overhead of A-HPO over GRPO: time per rollout with its updates, and time in the code that HPOTrainer adds.

    python benchmarks/overhead.py --rounds 15 --threads 1 --json

Four trainers alternate on the same model, prompts and seed: A-HPO with the lean options off (drop_silent,
share_prompts, drop_finished), which does all of TRL's work; the same with alpha fixed at 1; TRL's GRPOTrainer with the
equivalent loss (loss_type "dapo"); and A-HPO by default, with the lean options on. Timings of whole runs are noisy, so
the added code is also timed separately, with the lean options off: the time in HPOTrainer's methods minus the TRL
methods that they call, and its two callbacks (guard, random state). Not included: checking the values of the reward
function, tens of microseconds per rollout.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from statistics import median, quantiles
from typing import Any
from unittest import mock

import torch
import transformers
import trl
from datasets import Dataset
from transformers import PrinterCallback, ProgressCallback, Qwen2Config, Qwen2ForCausalLM, TrainerCallback, set_seed
from trl import GRPOConfig, GRPOTrainer

from hysteretic.models.tokenizer import build_tokenizer
from hysteretic.trl import HPOConfig, HPOTrainer
from hysteretic.trl.guard import Guard
from hysteretic.trl.preemption import LastUpdate

PROMPTS, RESPONSES, LENGTH, UPDATES = 32, 8, 16, 4
PLAIN: dict[str, Any] = {"drop_silent": False, "share_prompts": False, "drop_finished": False}
"""A-HPO without its savings; benchmarks/step_time.py measures those."""
METHODS = (
    "_generate_and_score_completions",
    "_generate_single_turn",
    "_get_per_token_logps_and_entropies",
    "_calculate_rewards",
    "_get_train_sampler",
    "_prepare_inputs",
    "training_step",
    "_get_grad_norm",
    "compute_loss",
    "log",
    "_load_optimizer_and_scheduler",
)
"""The methods of GRPOTrainer that HPOTrainer extends and that a run calls (except for saving)."""
NAMES = ("a-hpo", "alpha-1", "trl", "a-hpo-lean")
"""The trainers; the others are compared with the first."""


def clocked(kind: str, name: str) -> Callable[..., Any]:
    """A method that calls that of the next class and adds the seconds to self.clock[kind]."""

    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        after = Extended if kind == "with" else Stock
        start = time.perf_counter()
        try:
            return getattr(super(after, self), name)(*arguments, **options)
        finally:
            self.clock[kind] += time.perf_counter() - start

    return method


class Stock(GRPOTrainer):
    """TRL's methods, timed."""


class Extended(HPOTrainer, Stock):
    """HPOTrainer's methods, timed; they call the TRL methods."""

    clock: defaultdict[str, float]


for _name in METHODS:
    setattr(Stock, _name, clocked("without", _name))
    setattr(Extended, _name, clocked("with", _name))


def clocked_callback(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a callback, whose seconds all count as added code."""

    def timed(self: Any, *arguments: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(self, *arguments, **options)
        finally:
            Extended.clock["with"] += time.perf_counter() - start

    return timed


@contextmanager
def clocked_callbacks() -> Iterator[None]:
    """Time the two callbacks; afterwards they are what they were."""
    with ExitStack() as stack:
        for callback, name in ((Guard, "on_pre_optimizer_step"), (LastUpdate, "on_step_end")):
            stack.enter_context(mock.patch.object(callback, name, clocked_callback(getattr(callback, name))))
        yield


class Stopwatch(TrainerCallback):
    """Seconds from start to end of training: one rollout and its updates, without building the trainer."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.seconds = time.perf_counter() - self.start


def policy() -> tuple[Any, Any]:
    """A Qwen2 of 10 million random parameters over the tiny model's byte tokenizer."""
    tokenizer = build_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=320,
        intermediate_size=1280,
        num_hidden_layers=6,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    return Qwen2ForCausalLM(config), tokenizer


def sparse_reward(completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float]:
    """1 for about a sixth of the responses of a random model."""
    return [float(ids[0] < 45) for ids in completion_ids]


def run(name: str, seed: int, prompts: int = PROMPTS) -> tuple[float, float, int]:
    """Seconds of one rollout with its updates, seconds of added code in it, and number of parameters."""
    set_seed(seed)
    model, tokenizer = policy()
    with tempfile.TemporaryDirectory() as folder:
        fields: dict[str, Any] = {
            "output_dir": folder,
            "num_generations": RESPONSES,
            "per_device_train_batch_size": prompts * RESPONSES // UPDATES,
            "steps_per_generation": UPDATES,
            "gradient_accumulation_steps": 1,
            "max_completion_length": LENGTH,
            "max_steps": UPDATES,
            "learning_rate": 1e-6,
            "logging_steps": 1,
            "seed": seed,
            "gradient_checkpointing": False,
            "report_to": "none",
            "use_cpu": True,
            "bf16": False,
            "disable_tqdm": True,
            "save_strategy": "no",
            "dataloader_pin_memory": False,
        }
        args: Any
        if name == "a-hpo-lean":
            args = HPOConfig(algorithm="a-hpo", **fields)
        elif name == "a-hpo":
            args = HPOConfig(algorithm="a-hpo", weight="adaptive", length="batch", **PLAIN, **fields)
        elif name == "alpha-1":
            args = HPOConfig(algorithm="hpo", alpha=1.0, **PLAIN, **fields)
        else:
            args = GRPOConfig(loss_type="dapo", epsilon=0.2, **fields)
        kind = Stock if name == "trl" else Extended
        watch = Stopwatch()
        data = Dataset.from_dict({"prompt": [f"{i:03d}:" for i in range(prompts)]})
        kind.clock = defaultdict(float)
        trainer = kind(model, sparse_reward, args, train_dataset=data, processing_class=tokenizer, callbacks=[watch])
        trainer.remove_callback(PrinterCallback)
        trainer.remove_callback(ProgressCallback)
        with clocked_callbacks() if kind is Extended else nullcontext():
            trainer.train()
        added = trainer.clock["with"] - trainer.clock["without"] if name in ("a-hpo", "alpha-1") else 0.0
    return watch.seconds, added, sum(parameter.numel() for parameter in model.parameters())


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return {"median": median(values), "quartile_1": low, "quartile_3": high}


def measure(rounds: int, threads: int, prompts: int = PROMPTS) -> dict[str, Any]:
    """The results of all rounds after one warm-up run; the trainers take turns at going first."""
    torch.set_num_threads(threads)
    names = list(NAMES)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    added: dict[str, list[float]] = {name: [] for name in names}
    parameters = 0
    run(names[0], 0, prompts)
    for seed in range(1, rounds + 1):
        turn = seed % len(names)
        for name in names[turn:] + names[:turn]:
            took, extra, parameters = run(name, seed, prompts)
            seconds[name].append(took)
            added[name].append(extra)
    ours = seconds["a-hpo"]
    return {
        "seconds_per_rollout": {name: spread(values) for name, values in seconds.items()},
        "added_milliseconds_per_rollout": spread([1e3 * value for value in added["a-hpo"]]),
        "added_percent": spread([100 * extra / took for extra, took in zip(added["a-hpo"], ours, strict=True)]),
        "a_hpo_over_percent": {
            other: spread([100 * (a / b - 1) for a, b in zip(ours, seconds[other], strict=True)]) for other in NAMES[1:]
        },
        "setting": {
            "parameters": parameters,
            "prompts": prompts,
            "responses_a_prompt": RESPONSES,
            "tokens_a_response": LENGTH,
            "updates_a_rollout": UPDATES,
            "seeds": list(range(1, rounds + 1)),
            "threads": threads,
            "cores": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 1),
            "torch": torch.__version__,
            "trl": trl.__version__,
            "transformers": transformers.__version__,
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, and with --json one line of JSON last."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="Measured rounds of the four trainers (at least 2).")
    parser.add_argument("--threads", type=int, default=1, help="Threads of torch.")
    parser.add_argument("--prompts", type=int, default=PROMPTS, help="Prompts per rollout (published: the default).")
    parser.add_argument("--json", action="store_true", help="Print the results as one line of JSON, last.")
    choice = parser.parse_args(arguments)
    if choice.rounds < 2 or choice.prompts < 1:
        parser.error(f"--rounds is {choice.rounds} and --prompts {choice.prompts}; they must be at least 2 and 1.")
    transformers.logging.set_verbosity_error()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    results = measure(choice.rounds, choice.threads, choice.prompts)

    def show(label: str, unit: str, values: dict[str, float]) -> None:
        print(f"{label:38}{values['median']:9.3f} {unit:3}[{values['quartile_1']:.3f}, {values['quartile_3']:.3f}]")

    for name, values in results["seconds_per_rollout"].items():
        show(f"rollout and {UPDATES} updates, {name}", "s", values)
    show("code added by A-HPO, per rollout", "ms", results["added_milliseconds_per_rollout"])
    show("the same, fraction of the rollout", "%", results["added_percent"])
    for other, values in results["a_hpo_over_percent"].items():
        show(f"whole runs, A-HPO over {other}", "%", values)
    if choice.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
