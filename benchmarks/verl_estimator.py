"""Cost of the advantage estimator for verl by batch size, from a thousand to ten million responses.

    python benchmarks/verl_estimator.py --output results/verl-estimator      in the environment of `make test-verl`

It runs once per step in one process, whatever the number of GPUs, so it is the only cost that grows with them. For
comparison, verl's own two estimators of the same kind. Median and range of the repetitions, one thread.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
TOKENS = 16
GROUP = 8
SLOW = 100_000
"""Largest batch for verl's own grpo, which loops over rows."""


def batch(responses: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor, Any]:
    """Sparse binary rewards on the last token; responses in shuffled order, as after verl's balancing."""
    random = numpy.random.default_rng(0)
    order = random.permutation(responses)
    rewards = torch.zeros(responses, tokens)
    rewards[:, -1] = torch.from_numpy((random.random(responses) < 0.1).astype(numpy.float32))
    names = numpy.array([f"prompt-{row}" for row in range(-(-responses // GROUP))], dtype=object)
    return rewards, torch.ones(responses, tokens), names[order // GROUP]


def seconds(function: Callable[[], Any], times: int) -> list[float]:
    """Seconds of each repetition, after one warm-up."""
    found = []
    for _ in range(times + 1):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return found[1:]


def measure(largest: int) -> list[dict[str, Any]]:
    from verl.trainer.ppo import core_algos

    from hysteretic.parts import AdaptiveWeight
    from hysteretic.verl.estimator import estimate

    rows = []
    for responses, tokens in [*((size, TOKENS) for size in SIZES if size <= largest), (100_000, 128)]:
        rewards, mask, index = batch(responses, tokens)
        times = 5 if responses <= 100_000 else 3
        row: dict[str, Any] = {"responses": responses, "tokens": tokens}
        grpo, vectorized = (core_algos.get_adv_estimator_fn(name) for name in ("grpo", "grpo_vectorized"))
        ways: dict[str, Callable[[], Any]] = {
            "a_hpo": partial(estimate, rewards, mask, index, AdaptiveWeight(), group_size=GROUP),
            "verl grpo_vectorized": partial(vectorized, rewards, mask, index),
        }
        if responses <= SLOW:
            ways["verl grpo"] = partial(grpo, rewards, mask, index)
        for name, way in ways.items():
            row[name] = seconds(way, times)
            print(responses, tokens, name, [round(value, 4) for value in row[name]], flush=True)
        rows.append(row)
    return rows


def cell(values: list[float] | None) -> str:
    if values is None:
        return ""
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def table(rows: list[dict[str, Any]]) -> str:
    names = ["a_hpo", "verl grpo_vectorized", "verl grpo"]
    lines = [
        f"| responses | tokens | {', s | '.join(names)}, s | a_hpo, µs a response |",
        "|---" * (len(names) + 3) + "|",
    ]
    for row in rows:
        each = statistics.median(row["a_hpo"]) / row["responses"] * 1e6
        cells = [f"{row['responses']:,}", str(row["tokens"]), *(cell(row.get(name)) for name in names), f"{each:.3g}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", default="results/verl-estimator", help="path without suffix; .json and .md are written"
    )
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="largest batch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    from importlib.metadata import version

    machine = {name: version(name) for name in ("verl", "torch", "numpy")}
    machine |= {"python": platform.python_version(), "processor": platform.machine()}
    rows = measure(options.largest)
    path = Path(options.output)
    path.with_suffix(".json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    text = f"""# The advantage estimator for verl, by batch size

`python benchmarks/verl_estimator.py`, median (range) of the repetitions in seconds, one thread of a shared CPU;
{", ".join(f"{name} {value}" for name, value in machine.items())}. Rows in mixed order, groups of {GROUP}.

{table(rows)}

The estimator runs once a step, in one process. It does the same work for each response; what that costs rises with the
batch where tables and tensors leave the caches. verl's `grpo` (a loop over rows) is measured up to {SLOW:,} responses.
"""
    path.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
