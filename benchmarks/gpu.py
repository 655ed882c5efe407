"""What one GPU says, in about five minutes: step times, `plan` against torch's peak memory, and 20 real updates.

    python benchmarks/gpu.py --save results/gpu.json      on a GPU of 80 GB; it needs no network
    python benchmarks/gpu.py --smallest                   a tiny model on a CPU, only to see that the script runs

The model has the shape of Qwen2.5-1.5B-Instruct and random weights in bf16. (b) and (c) are those of step_time.py, with
responses that are given: the update phase beside TRL's trainer, and torch's peak memory in it. Then `hysteretic train`
makes 20 updates of the recipe qwen2.5-1.5b-countdown-3-full in small rollouts without vLLM: it decodes, scores and
updates. Random weights are never right, so alternate responses count as right; its peak memory is compared with what
`hysteretic plan` says of the same settings.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from step_time import WORKS, Work, machine, measure, set_up
from transformers import AutoConfig, AutoModelForCausalLM

from hysteretic.cli import main as hysteretic
from hysteretic.cli.plan import parse_for
from hysteretic.models.tokenizer import build_tokenizer
from hysteretic.sizing.gpus import gpu_of
from hysteretic.sizing.published import published_config
from hysteretic.sizing.run import plan_run

RECIPE = "qwen2.5-1.5b-countdown-3-full"
SMALL_ROLLOUTS = {
    "num_generations": 8,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 4,
    "max_completion_length": 256,
    "max_steps": 20,
    "use_vllm": "false",
    "eval_problems": 0,
    "train_problems": 64,
    "save_steps": 1000,
    "reward": "{folder}/reward.py:alternate",
    "task": "{folder}/data.jsonl",
}
SMALLEST = {"num_generations": 4, "per_device_train_batch_size": 4, "max_completion_length": 8, "max_steps": 4}
REWARD = """\
import itertools

turns = itertools.count()


def alternate(response, answer):
    return float(next(turns) % 2)
"""


def shape(is_smallest: bool) -> dict[str, Any]:
    """The configuration of the model."""
    config = dict(published_config("Qwen/Qwen2.5-1.5B-Instruct") or {})
    if is_smallest:
        config |= {"hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 1000}
    return config


def updates(config: Mapping[str, Any], is_smallest: bool) -> dict[str, Any]:
    """Seconds and peak memory of the real updates, and what `plan` says."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype="bfloat16")
        model.save_pretrained(folder / "model")
        build_tokenizer().save_pretrained(folder / "model")
        del model
        (folder / "reward.py").write_text(REWARD)
        rows = (json.dumps({"prompt": f"{i:03d}: " + "combine these numbers " * 8, "answer": i}) for i in range(80))
        (folder / "data.jsonl").write_text("\n".join(rows))
        given = {**SMALL_ROLLOUTS, **(SMALLEST | {"bf16": "false", "dtype": "float32"} if is_smallest else {})}
        words = ["--config", RECIPE, "--model", str(folder / "model"), "--task_options", "{{}}"]
        words += [word for key, value in given.items() for word in (f"--{key}", str(value))]
        words = [word.format(folder=folder) for word in words]
        planned = plan_run(parse_for(1, words), RECIPE, gpu_of("h100"), 1)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        here = [] if torch.cuda.is_available() else ["--use_cpu", "true"]
        if code := hysteretic(["train", *words, "--output", str(folder / "run"), *here]):
            raise SystemExit(code)
        seconds = time.perf_counter() - began
        logged = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None
    return {
        "settings": given,
        "seconds": seconds,
        "updates": logged,
        "peak_bytes": peak,
        "planned_bytes": planned.memories[planned.way].peak,
        "planned_moments": planned.memories[planned.way].moments,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was found, and save it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--smallest", action="store_true", help="A tiny model on a CPU.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--save", type=Path, help="A JSON file, written after every part.")
    chosen = parser.parse_args(arguments)
    if not chosen.smallest and not torch.cuda.is_available():
        raise SystemExit("There is no CUDA GPU here; --smallest shows on a CPU that the script runs.")
    set_up(torch.get_num_threads())
    config = shape(chosen.smallest)
    found: dict[str, Any] = {"machine": machine()}
    if torch.cuda.is_available():
        found["machine"]["gpu"] = torch.cuda.get_device_name()

    def keep(**part: Any) -> None:
        found.update(part)
        if chosen.save:
            chosen.save.write_text(json.dumps(found, indent=1) + "\n")

    for name in ("b", "c"):
        work: Work = replace(WORKS[name], generates=False, config=config, cuda=not chosen.smallest)
        if chosen.smallest:
            work = replace(work, prompt_tokens=64, longest=16, shortest=8)
        of_work = measure(name, work, 1 if chosen.smallest else chosen.rounds, torch.get_num_threads(), memory=False)
        print(f"({name}) update {of_work['update_ratio']:.2f} times as fast, peak memory {of_work['memory_ratio']}")
        keep(**{name: of_work})
    of_updates = updates(config, chosen.smallest)
    print(f"plan {of_updates['planned_bytes'] / 1e9:.2f} GB, torch's peak {of_updates['peak_bytes']}")
    keep(updates=of_updates)


if __name__ == "__main__":
    main()
