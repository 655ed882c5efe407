"""Train a tiny model: supervised steps on demonstrations that are first mostly careful, then mostly careless.

    loss = - mean over response tokens of log p(token | prompt, previous tokens)

The careful phase teaches the model to search, or to read; the careless phase hides that ability: at the end the model
rarely uses it. The gap between what it can do and what it does is what RL can close.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .countdown_demonstrations import Demonstration, Habits
from .tokenizer import build_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100
"""Label of a token without loss (the convention of PyTorch and transformers)."""

Row = dict[str, list[int]]


@dataclass(frozen=True)
class Phase:
    """Optimizer steps on one mixture. The learning rate warms up over 5 % of them, then decays to 0 (cosine)."""

    steps: int
    careful_fraction: float
    learning_rate: float


class Writer(Protocol):
    """Generates demonstrations. tokens: texts that become one token each."""

    @property
    def tokens(self) -> tuple[str, ...]: ...

    def demonstrate(self, rng: random.Random, careful_fraction: float) -> Demonstration: ...


@dataclass(frozen=True)
class Warmup:
    """Everything that determines the weights, besides library versions and the number of threads."""

    seed: int = 0
    phases: tuple[Phase, ...] = (Phase(2500, 0.85, 6e-3), Phase(120, 0.03, 2e-3))
    batch_size: int = 64
    habits: Writer = field(default_factory=Habits)
    width: int = 80
    layers: int = 2
    heads: int = 5
    feed_forward: int = 320
    initial_spread: float = 0.06


def untrained_model(settings: Warmup, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A Qwen2 causal language model with random weights (from torch's global generator) and tied embeddings."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=settings.width,
            intermediate_size=settings.feed_forward,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.heads,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            initializer_range=settings.initial_spread,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def token_row(shown: Demonstration, tokenizer: PreTrainedTokenizerBase) -> Row:
    """One demonstration as tokens; the labels of the prompt are IGNORED."""
    prompt = tokenizer(shown.prompt)["input_ids"]
    response = [*tokenizer(shown.response)["input_ids"], tokenizer.eos_token_id]
    return {"input_ids": prompt + response, "labels": [IGNORED] * len(prompt) + response}


def token_rows(phase: Phase, settings: Warmup, tokenizer: PreTrainedTokenizerBase, rng: random.Random) -> Iterator[Row]:
    """The rows of a phase in training order. Within 10 steps they are sorted by length to reduce padding."""
    size = settings.batch_size
    for start in range(0, phase.steps, 10):
        count = size * min(10, phase.steps - start)
        shown = [settings.habits.demonstrate(rng, phase.careful_fraction) for _ in range(count)]
        rows = sorted((token_row(one, tokenizer) for one in shown), key=lambda row: len(row["labels"]))
        batches = [rows[i : i + size] for i in range(0, count, size)]
        rng.shuffle(batches)
        yield from (row for batch in batches for row in batch)


def padded(rows: list[Row], pad: int) -> dict[str, torch.Tensor]:
    """A batch: rows padded on the right to the longest."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": pad, "labels": IGNORED}
    batch = {
        name: torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])
        for name, value in fill.items()
    }
    lengths = torch.tensor([[len(row["input_ids"])] for row in rows])
    return {**batch, "attention_mask": (torch.arange(longest) < lengths).long()}


def imitate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    phase: Phase,
    settings: Warmup,
    rng: random.Random,
    output: Path,
) -> None:
    """Run one phase with transformers' Trainer: AdamW, gradient norm clipped to 1, on the CPU."""
    from torch.utils.data import IterableDataset
    from transformers import Trainer, TrainingArguments

    class Rows(IterableDataset[Row]):
        def __iter__(self) -> Iterator[Row]:
            return token_rows(phase, settings, tokenizer, rng)

    arguments: dict[str, Any] = {
        "output_dir": str(output),
        "max_steps": phase.steps,
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": phase.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": phase.steps // 20,
        "adam_beta2": 0.98,
        "use_cpu": True,
        "seed": settings.seed,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 100,
        "disable_tqdm": True,
    }
    Trainer(
        model=model,
        args=TrainingArguments(**arguments),
        train_dataset=Rows(),
        data_collator=lambda rows: padded(rows, tokenizer.pad_token_id),
    ).train()


def warm_up(settings: Warmup, output: Path) -> None:
    """Train the model and save it with its tokenizer in `output`.

    The same settings, library versions and number of threads give the same weights.
    """
    from transformers import set_seed

    set_seed(settings.seed)
    rng = random.Random(settings.seed)
    tokenizer = build_tokenizer(settings.habits.tokens)
    model = untrained_model(settings, tokenizer)
    for phase in settings.phases:
        imitate(model, tokenizer, phase, settings, rng, output)
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
