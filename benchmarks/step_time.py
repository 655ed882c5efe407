"""Speed of a step when only tokens that have a gradient are computed: HPOTrainer against TRL's GRPOTrainer.

    python benchmarks/step_time.py --work a --json
    python benchmarks/step_time.py --work c --ranks 2
    python benchmarks/step_time.py --work b --vllm

    a  the tiny model on countdown-3 from its sparse start: a rollout of 32 x 8 responses and its 4 updates
    b  2 prompts of 2,300 tokens, 8 responses of 64 to 256 tokens each, one update; no group is silent
    c  as b with 5 prompts, 4 of them silent; the responses are given, not generated, so the step is the update phase
    d  32 prompts of 8 tokens, 8 responses of 64 tokens, no group silent: nothing to save
    b-49k, c-49k, b-151k, c-151k  as b and c with a vocabulary of 49,152 or 151,936, responses given
    smallest  a few rows of 8 tokens: only to see that the script runs
    growth  update phase only, for group sizes 4 to 64, prompts of 128 to 8,192 tokens, and 64 to 4,096 rows a step

The trainers alternate in one process on the same weights, prompts, seed and loss (TRL's "dapo", epsilon 0.2) at
learning rate 0, so that every round starts from the same policy. In b both generate each response to 256 tokens and
then truncate it to its length. The update phase is the step without generation and rewards. Peak memory is the
resident set of a separate process for each trainer, from the first old log-prob or loss on. Not included: what a run
does once, HPOTrainer's comparison of both computations on a few synthetic rows. Ratios are stock over ours.

With --ranks the model is sharded over so many processes of this machine by FSDP2 (gloo). The work is the same in all:
each rank takes its part of a micro-batch's rows. Seconds are the slowest rank's; memory is not measured.

With --vllm (b and d) a colocated vLLM generates for both trainers, in float32; it cannot be given the responses of the
other works, and does not take the heads of the tiny model. On a CPU vLLM needs the plug-in of the tests:
PYTHONPATH=tests/vllm_engine/plugin VLLM_ENABLE_V1_MULTIPROCESSING=0 VLLM_CPU_KVCACHE_SPACE=1.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import math
import multiprocessing
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from accelerate.utils import gather_object
from datasets import Dataset
from overhead import Stopwatch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    Qwen2Config,
    Qwen2ForCausalLM,
    set_seed,
)
from trl import GRPOConfig, GRPOTrainer

import hysteretic.tasks
from hysteretic.dry_run.sharding import allow_fsdp_on_cpus
from hysteretic.models import tiny_model
from hysteretic.models.tokenizer import build_tokenizer
from hysteretic.rewards.reward_function import as_dataset, task_reward
from hysteretic.trl import HPOConfig, HPOTrainer

SHORTEST, LONGEST = 64, 256
RANK, RANKS = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
}
"""What `accelerate launch` makes of TRL's fsdp2.yaml."""


@dataclass(frozen=True)
class Work:
    """What one step does. silent: how many prompts (the first ones) have only responses with reward 0.

    vocabulary: entries of a tied output layer; None for the bytes of the tokenizer, not tied. vllm: vLLM generates.
    config: of a model with random bf16 weights in place of the small one. cuda: on a GPU.
    """

    prompts: int
    prompt_tokens: int
    responses: int = 8
    longest: int = LONGEST
    shortest: int = SHORTEST
    rows: int = 8
    updates: int = 1
    silent: int = 0
    is_tiny: bool = False
    generates: bool = True
    vocabulary: int | None = None
    vllm: bool = False
    config: Mapping[str, Any] | None = None
    cuda: bool = False


WORKS = {
    "a": Work(prompts=32, prompt_tokens=0, rows=64, updates=4, longest=72, is_tiny=True),
    "b": Work(prompts=2, prompt_tokens=2300),
    "c": Work(prompts=5, prompt_tokens=2300, silent=4, generates=False),
    "d": Work(prompts=32, prompt_tokens=8, rows=64, updates=4, longest=64, shortest=64),
    **{
        f"{name}-{vocabulary // 1000}k": Work(
            prompts=prompts, prompt_tokens=2300, silent=silent, generates=False, vocabulary=vocabulary
        )
        for vocabulary in (49_152, 151_936)
        for name, prompts, silent in (("b", 2, 0), ("c", 5, 4))
    },
    "smallest": Work(prompts=4, prompt_tokens=8, rows=32, longest=8, shortest=8),
}


class Measured:
    """Timers and counters around the phases of a trainer; responses truncated to planned lengths."""

    work: Work
    seed: int

    def reset(self) -> None:
        self.outside = 0.0
        self.forwarded = 0
        self.peak: int | None = None

    @contextlib.contextmanager
    def _outside_the_update(self) -> Iterator[None]:
        self._wait()
        start = time.perf_counter()
        try:
            yield
        finally:
            self._wait()
            self.outside += time.perf_counter() - start

    def _wait(self) -> None:
        if self.work.cuda:
            torch.cuda.synchronize()

    def _generate_single_turn(self, prompt_ids: Any, *arguments: Any, **options: Any) -> Any:
        with self._outside_the_update():
            if self.work.is_tiny:
                return super()._generate_single_turn(prompt_ids, *arguments, **options)  # type: ignore[misc]
            lengths = random.Random(self.seed + 1000 * RANK)
            logprobs = None
            if self.work.generates:
                tokens, logprobs = super()._generate_single_turn(prompt_ids, *arguments, **options)  # type: ignore[misc]
            else:
                tokens = [[lengths.randrange(6, 250) for _ in range(self.work.longest)] for _ in prompt_ids]
            cut = [row[: lengths.randint(self.work.shortest, self.work.longest)] for row in tokens]
            torch.cuda.reset_peak_memory_stats() if self.work.cuda else forget_peak()
            return cut, logprobs and [row[: len(kept)] for row, kept in zip(logprobs, cut, strict=True)]

    def _calculate_rewards(self, *arguments: Any, **options: Any) -> Any:
        with self._outside_the_update():
            return super()._calculate_rewards(*arguments, **options)  # type: ignore[misc]


class Stock(Measured, GRPOTrainer):
    """TRL's trainer, measured."""


class Ours(Measured, HPOTrainer):
    """HPOTrainer, measured."""


def random_policy(prompt_tokens: int, vocabulary: int | None = None) -> tuple[Any, Any]:
    """A Qwen2 of 11 million random parameters over the byte tokenizer, which never ends a response."""
    tokenizer = build_tokenizer()
    config = Qwen2Config(
        vocab_size=vocabulary or len(tokenizer),
        hidden_size=384,
        intermediate_size=1920,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=prompt_tokens + 4 * LONGEST,
        tie_word_embeddings=vocabulary is not None,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = Qwen2ForCausalLM(config)
    if vocabulary is not None:
        return model, tokenizer
    model.lm_head = torch.nn.Linear(config.hidden_size, config.vocab_size)
    torch.nn.init.normal_(model.lm_head.weight, std=config.initializer_range)
    torch.nn.init.zeros_(model.lm_head.bias)
    model.lm_head.bias.data[[tokenizer.pad_token_id, tokenizer.eos_token_id]] = -1e9
    return model, tokenizer


def material(work: Work, seed: int) -> tuple[Any, Any, Dataset, Callable[..., Any]]:
    """Policy, tokenizer, prompts and reward."""
    set_seed(seed)
    if work.is_tiny:
        path = tiny_model()
        options = {"largest": 9, "largest_target": 99, "prompt": "terse", "guess_rate_below": 0.06}
        task = hysteretic.tasks.load("countdown-3", **options)
        problems = task.problems(seed=seed, count=work.prompts)
        tokenizer = AutoTokenizer.from_pretrained(path)
        return AutoModelForCausalLM.from_pretrained(path), tokenizer, as_dataset(problems), task_reward(task, problems)
    letters = random.Random(seed)
    prompts = [
        f"{i:04d}" + "".join(chr(letters.randrange(97, 123)) for _ in range(work.prompt_tokens - 4))
        for i in range(work.prompts)
    ]

    def reward(prompts: list[str], **_: Any) -> list[float]:
        return [float(i % 2) if int(prompt[:4]) >= work.silent else 0.0 for i, prompt in enumerate(prompts)]

    vocabulary = len(build_tokenizer()) if work.vllm else work.vocabulary
    if work.config is None:
        policy = random_policy(work.prompt_tokens, vocabulary)
    else:
        policy = (
            AutoModelForCausalLM.from_config(AutoConfig.for_model(**work.config), dtype="bfloat16"),
            build_tokenizer(),
        )
    return *policy, Dataset.from_dict({"prompt": prompts}), reward


def step(kind: type[Any], work: Work, seed: int) -> dict[str, float]:
    """Seconds, tokens and memory of one step."""
    model, tokenizer, data, reward = material(work, seed)
    responses = work.prompts * work.responses
    rows = work.rows // RANKS
    accumulation = responses // (rows * RANKS) // work.updates
    fields: dict[str, Any] = {
        "num_generations": work.responses,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulation,
        "steps_per_generation": accumulation * work.updates,
        "max_completion_length": work.longest,
        "max_steps": work.updates,
        "learning_rate": 0.0,
        "epsilon": 0.2,
        "seed": seed,
        "gradient_checkpointing": False,
        "report_to": "none",
        "use_cpu": not work.cuda,
        "bf16": work.config is not None,
        "disable_tqdm": True,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
        "logging_steps": 1,
    }
    if work.vllm:
        fields |= {"use_vllm": True, "vllm_mode": "colocate", "generation_kwargs": {"ignore_eos": True}}
        fields |= {"vllm_max_model_length": work.prompt_tokens + LONGEST}  # of the engine that all steps share
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w", encoding="utf-8") as nowhere,  # a file: vLLM asks for its descriptor
        contextlib.redirect_stdout(nowhere),
    ):
        if work.vllm:
            model.save_pretrained(folder)  # where vLLM reads it
            tokenizer.save_pretrained(folder)
            model.name_or_path = folder
        if kind is Ours:
            args: Any = HPOConfig(output_dir=folder, algorithm="dapo", epsilon_high=0.2, **fields)
        else:
            args = GRPOConfig(output_dir=folder, loss_type="dapo", **fields)
        allow_fsdp_on_cpus()
        trainer = kind(model, reward, args, train_dataset=data, processing_class=tokenizer)
        trainer.remove_callback(PrinterCallback)
        trainer.work, trainer.seed = work, seed
        trainer.reset()

        def count(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
            if torch.is_grad_enabled():
                trainer.forwarded += inputs[0].numel()

        model.get_input_embeddings().register_forward_pre_hook(count)
        if kind is Ours:
            trainer._decide()
        watch = Stopwatch()
        trainer.add_callback(watch)
        trainer.train()
        seconds = watch.seconds
    if RANKS > 1 and not trainer.is_fsdp_enabled:
        raise SystemExit("accelerate did not shard the model on this machine; use the version in constraints.txt.")
    everywhere = gather_object([(seconds, seconds - trainer.outside, float(trainer.forwarded))])
    of_step, of_update, forwarded = zip(*everywhere, strict=True)
    measured = {"step": max(of_step), "update": max(of_update), "forwarded": sum(forwarded)}
    if work.cuda:
        measured["peak"] = torch.cuda.max_memory_allocated()
    if kind is Ours:
        logs = [log for log in trainer.state.log_history if "hpo/forwarded_tokens" in log]
        measured["with_gradient"] = sum(log["hpo/forwarded_tokens"] * log["hpo/gradient_token_share"] for log in logs)
    return measured


def share_engine() -> None:
    """One vLLM engine for all trainers of this process, in float32; TRL names no dtype. Weights are synced by TRL."""
    from trl.generation import vllm_generation

    start = vllm_generation.LLM
    started: list[Any] = []

    def engine(**options: Any) -> Any:
        if not started:
            started.append(start(**options | {"dtype": "float32"}))
        return started[0]

    vllm_generation.LLM = engine


def forget_peak() -> None:
    """Reset the peak memory that Linux records for this process."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_in_child(kind_name: str, work: Work, threads: int, answer: Any) -> None:
    set_up(threads)
    step(Stock if kind_name == "stock" else Ours, replace(work, generates=False), 0)
    status = Path("/proc/self/status").read_text()
    answer.send(int(status.split("VmHWM:")[1].split()[0]) * 1024)


def peak_memory(work: Work, threads: int) -> dict[str, int]:
    """Peak bytes of the update phase, each trainer in a fresh process (responses given, not generated)."""
    peaks = {}
    for name in ("stock", "ours"):
        receiver, sender = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("spawn").Process(target=_peak_in_child, args=(name, work, threads, sender))
        child.start()
        child.join()
        if child.exitcode != 0:
            raise SystemExit(f"The {name} step for peak memory ended with exit code {child.exitcode}.")
        peaks[name] = receiver.recv()
    return peaks


def spread(values: list[float]) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def measure(name: str, work: Work, rounds: int, threads: int, memory: bool = True) -> dict[str, Any]:
    """Alternating rounds of stock and ours, after a small warm-up step of each."""
    for kind in (Stock, Ours):
        step(kind, replace(work, longest=8, shortest=8) if work.vllm else WORKS["smallest"], 0)
    taken: dict[str, list[dict[str, float]]] = {"stock": [], "ours": []}
    for seed in range(1, rounds + 1):
        for which in ("stock", "ours") if seed % 2 else ("ours", "stock"):
            taken[which].append(step(Stock if which == "stock" else Ours, work, seed))
    of = {which: {key: [one[key] for one in taken[which]] for key in taken[which][0]} for which in taken}
    with_gradient = statistics.mean(of["ours"]["with_gradient"])
    result: dict[str, Any] = {
        "work": name,
        "step_ratio": statistics.median(map(_ratio, of["stock"]["step"], of["ours"]["step"])),
        "update_ratio": statistics.median(map(_ratio, of["stock"]["update"], of["ours"]["update"])),
        "memory_ratio": None,
        "seconds": {
            f"{which} {phase}": spread(of[which][phase]) for which in ("stock", "ours") for phase in ("step", "update")
        },
        "update_tokens": {which: statistics.mean(of[which]["forwarded"]) for which in of},
        "gradient_token_share": {which: with_gradient / statistics.mean(of[which]["forwarded"]) for which in of},
        "update_share": {which: statistics.median(map(_ratio, of[which]["update"], of[which]["step"])) for which in of},
        "setting": vars(work) | {"rounds": rounds, "threads": threads, "ranks": RANKS},
    }
    if memory:
        peaks: Mapping[str, float] = peak_memory(work, threads)
    elif work.cuda:
        peaks = {which: max(of[which]["peak"]) for which in of}
    if memory or work.cuda:
        result |= {"peak_bytes": peaks, "memory_ratio": peaks["stock"] / peaks["ours"]}
    return result


def _ratio(stock: float, ours: float) -> float:
    return stock / ours


def exponent(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of log seconds on log size."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(s) for s in seconds]).slope


def growth(rounds: int, threads: int) -> dict[str, Any]:
    """Update phase by group size and by prompt length, one prompt per step; and by rows, short ones."""
    base = Work(prompts=1, prompt_tokens=512, shortest=128, longest=128, generates=False)
    short = Work(prompts=8, prompt_tokens=32, shortest=32, longest=32, rows=64, generates=False)
    series = {
        "group size": {G: replace(base, responses=G, rows=min(G, 8)) for G in (4, 8, 16, 32, 64)},
        "prompt of": {P: replace(base, prompt_tokens=P) for P in (128, 512, 1024, 2048, 4096, 8192)},
        "rows": {rows: replace(short, prompts=rows // 8) for rows in (64, 256, 1024, 4096)},
    }
    results, exponents = {}, {}
    for varied, works in series.items():
        taken: dict[str, list[float]] = {"stock": [], "ours": []}
        for size, work in works.items():
            one = measure(varied, work, rounds, threads, memory=False)
            results[f"{varied} {size}"] = {key: one[key] for key in ("update_ratio", "seconds", "update_tokens")}
            for which in taken:
                taken[which].append(one["seconds"][f"{which} update"]["median"])
            print(f"{varied} {size:<6} {one['update_ratio']:6.2f} x", flush=True)
        exponents[varied] = {which: exponent(list(works), seconds) for which, seconds in taken.items()}
        print(f"{varied}: " + ", ".join(f"{which} grows as {value:.2f}" for which, value in exponents[varied].items()))
    return {
        "work": "growth",
        "cases": results,
        "exponents": exponents,
        "setting": {"rounds": rounds, "threads": threads},
    }


def machine() -> dict[str, Any]:
    """The machine and the library versions of the measurements."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "trl": trl.__version__,
        "transformers": transformers.__version__,
    }


def set_up(threads: int) -> None:
    """Set the number of threads, and silence warnings."""
    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)


def on_ranks(ranks: int, arguments: Sequence[str]) -> int:
    """Run this script in so many processes; the first one prints."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    return subprocess.run([sys.executable, *launch, __file__, *arguments], env=os.environ | FSDP2).returncode


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table, and with --json one line of JSON last."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", choices=[*WORKS, "growth"], default="a")
    parser.add_argument("--rounds", type=int, default=3, help="Measured rounds, each with both trainers.")
    parser.add_argument("--ranks", type=int, default=1, help="Processes over which FSDP2 shards the model.")
    parser.add_argument("--vllm", action="store_true", help="vLLM generates, in this process.")
    parser.add_argument("--threads", type=int, help="Threads of torch in a process; all cores by default.")
    parser.add_argument("--json", action="store_true", help="Print the results as one line of JSON, last.")
    parser.add_argument("--save", type=Path, help="Also write the results and the machine to this file.")
    choice = parser.parse_args(arguments)
    threads = max((os.cpu_count() or 1) // choice.ranks, 1) if choice.threads is None else choice.threads
    if min(choice.rounds, threads, choice.ranks) < 1:
        parser.error("--rounds, --threads and --ranks must be at least 1.")
    if choice.ranks > 1 and (choice.work == "growth" or WORKS[choice.work].rows % choice.ranks):
        parser.error(f"--work {choice.work} cannot be cut into equal micro-batches for {choice.ranks} ranks.")
    if choice.vllm and (choice.ranks > 1 or choice.work not in ("b", "d")):
        parser.error("--vllm goes with --work b or d, in one process.")
    if choice.ranks > RANKS:
        raise SystemExit(on_ranks(choice.ranks, sys.argv[1:] if arguments is None else arguments))
    set_up(threads)
    with contextlib.redirect_stdout(sys.stdout if RANK == 0 else io.StringIO()):
        report(choice, threads)


def report(choice: argparse.Namespace, threads: int) -> None:
    """Measure what was asked for, and print and save it."""
    if choice.work == "growth":
        results = growth(choice.rounds, threads)
    else:
        work = replace(WORKS[choice.work], vllm=choice.vllm)
        if choice.vllm:
            share_engine()
        results = measure(choice.work, work, choice.rounds, threads, memory=RANKS == 1 and not choice.vllm)
        for name, values in results["seconds"].items():
            print(f"{name:14}{values['median']:9.2f} s   [{values['least']:.2f}, {values['most']:.2f}]")
        for name in ("step_ratio", "update_ratio", "memory_ratio"):
            if results[name] is not None:
                print(f"{name:14}{results[name]:9.2f} x")
        for which, fraction in results["update_share"].items():
            print(f"update, {which:6}{fraction:9.0%} of the step")
        for which, fraction in results["gradient_token_share"].items():
            print(f"update, {which:6}{results['update_tokens'][which]:9.0f} tokens, {fraction:.1%} with a gradient")
    results["machine"] = machine()
    if choice.save and RANK == 0:
        choice.save.write_text(json.dumps(results, indent=1) + "\n")
    if choice.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
