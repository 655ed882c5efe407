"""Make the larger model of larger.yaml: about 1 million parameters, written searches of up to 300 tokens, countdown-4.

    python benchmarks/evidence/larger_model.py --output runs/larger        about an hour on one core

As the embedded model (hysteretic/models), it is warmed up on demonstrations that are first mostly careful, then mostly
careless. A careful writer notes the target and tries three to nine combinations of all four numbers until one reaches
it; a careless one makes a few tries and guesses, mostly with one number misread. So responses are long and uneven, and
careful ones are the longest.

    5,2,8,3=41:<think>41;8-5=3,3*3=9,9+2=11;...;8*5=40,3-2=1,40+1=41</think><answer>(8*5)+(3-2)</answer>

Problems come from the train split of the task; no validation or test problem is shown.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, set_seed

from hysteretic.models.countdown_demonstrations import Demonstration
from hysteretic.models.tokenizer import build_tokenizer
from hysteretic.models.warmup import Phase, Warmup, imitate
from hysteretic.tasks.countdown_problems import shown_order, split_of

NUMBERS, LARGEST, LARGEST_TARGET, LONGEST = 4, 9, 99, 300


@dataclass(frozen=True)
class Try:
    """All four numbers combined: the written steps, the expression, its value."""

    steps: str
    expression: str
    value: int


def random_try(numbers: Sequence[int], rng: random.Random) -> Try:
    """Two of what is left at a time, the larger one first, in natural numbers up to the largest target."""
    while True:
        left = [(number, str(number)) for number in numbers]
        steps = []
        while len(left) > 1:
            rng.shuffle(left)
            (x, first), (y, second), *rest = left
            (x, first), (y, second) = ((x, first), (y, second)) if x >= y else ((y, second), (x, first))
            results = {"+": x + y, "*": x * y, "-": x - y} | ({"/": x // y} if y and x % y == 0 else {})
            sign, value = rng.choice([(sign, value) for sign, value in results.items() if value <= LARGEST_TARGET])
            steps.append(f"{x}{sign}{y}={value}")
            left = [*rest, (value, f"({first}{sign}{second})")]
        value, expression = left[0]
        if value:
            return Try(",".join(steps), expression[1:-1], value)


def guess(numbers: Sequence[int], rng: random.Random) -> str:
    """A random expression, mostly with one number misread."""
    seen = list(numbers)
    if rng.random() < 2 / 3:
        place = rng.randrange(len(seen))
        seen[place] = rng.choice([digit for digit in range(1, LARGEST + 1) if digit != seen[place]])
    rng.shuffle(seen)
    a, b, c, d = seen
    x, y, z = (rng.choice("+-*/") for _ in range(3))
    return rng.choice([f"({a}{x}{b}){y}({c}{z}{d})", f"(({a}{x}{b}){y}{c}){z}{d}"])


@dataclass(frozen=True)
class LongHabits:
    """How the two writers behave. misses: how many tries a careful one makes before the last, from and to."""

    misses: tuple[int, int] = (2, 8)
    careless_tries: tuple[int, int] = (1, 4)
    tokens = ()

    def demonstrate(self, rng: random.Random, careful_fraction: float) -> Demonstration:
        """One demonstration on a random problem of the train split."""
        while True:
            numbers = sorted(rng.randint(1, LARGEST) for _ in range(NUMBERS))
            hit = random_try(numbers, rng)
            if split_of(numbers, hit.value) == "train":
                break
        prompt = f"{','.join(map(str, shown_order(numbers, hit.value)))}={hit.value}:"
        is_careful = rng.random() < careful_fraction
        tried: list[Try] = []
        wanted = rng.randint(*(self.misses if is_careful else self.careless_tries))
        while len(tried) < wanted:
            one = random_try(numbers, rng)
            if one.value != hit.value:
                tried.append(one)
        if is_careful:
            searched, answer = ";".join([str(hit.value), *(one.steps for one in [*tried, hit])]), hit.expression
        else:
            searched, answer = ";".join(one.steps for one in tried), guess(numbers, rng)
        return Demonstration(prompt, f"<think>{searched}</think><answer>{answer}</answer>", is_careful)


def make(output: Path, steps: int, careful: float, careless_steps: int, seed: int) -> None:
    """Train and save the model."""
    set_seed(seed)
    tokenizer = build_tokenizer()
    tokenizer.model_max_length = 512
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=144,
            intermediate_size=576,
            num_hidden_layers=3,
            num_attention_heads=6,
            num_key_value_heads=6,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            initializer_range=0.05,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    print(f"{sum(each.numel() for each in model.parameters()):,} parameters", flush=True)
    phases = (Phase(steps, 0.85, 3e-3), Phase(careless_steps, careful, 1e-3))
    settings = Warmup(seed=seed, phases=phases, batch_size=48, habits=LongHabits())
    rng = random.Random(seed)
    for phase in phases:
        imitate(model, tokenizer, phase, settings, rng, output)
        model.save_pretrained(output)
    tokenizer.save_pretrained(output)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1600, help="Optimiser steps of the careful phase.")
    parser.add_argument("--careless-steps", type=int, default=100)
    parser.add_argument("--careful", type=float, default=0.05, help="Fraction of careful writers in the last phase.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    make(chosen.output, chosen.steps, chosen.careful, chosen.careless_steps, chosen.seed)


if __name__ == "__main__":
    main()
