"""How is the tiny model made? Supervised steps on demonstrations that are first careful, then careless.

    loss = - mean over the tokens of the responses of log p(token | prompt, tokens before)

The careful part teaches arithmetic and search, the careless part hides them: at the end the model rarely
searches until it hits. What it can do and what it does are then far apart, which is where RL has work to do.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .demonstrations import Demonstration, Habits, demonstrate
from .tokenizer import build_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100
"""Label of a token that has no loss (PyTorch's and transformers' convention)."""

Row = dict[str, list[int]]


@dataclass(frozen=True)
class Warmup:
    """Everything that decides the weights.

    steps: optimizer steps, of which the last `careless_steps` see careful_share[1], the others careful_share[0].
    """

    seed: int = 0
    steps: int = 900
    careless_steps: int = 100
    careful_share: tuple[float, float] = (0.85, 0.05)
    batch_size: int = 48
    learning_rate: float = 6e-3
    habits: Habits = field(default_factory=Habits)
    width: int = 64
    layers: int = 2
    heads: int = 4
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


def careful_share(settings: Warmup, step: int) -> float:
    """Share of careful demonstrations at a step."""
    return settings.careful_share[step >= settings.steps - settings.careless_steps]


def token_row(shown: Demonstration, tokenizer: PreTrainedTokenizerBase) -> Row:
    """One demonstration in tokens; the prompt's labels are IGNORED."""
    prompt = tokenizer(shown.prompt)["input_ids"]
    response = [*tokenizer(shown.response)["input_ids"], tokenizer.eos_token_id]
    return {"input_ids": prompt + response, "labels": [IGNORED] * len(prompt) + response}


def token_rows(settings: Warmup, tokenizer: PreTrainedTokenizerBase) -> Iterator[Row]:
    """Every row in the order of training. The rows of 10 steps are sorted by length, which saves padding."""
    rng = random.Random(settings.seed)
    size = settings.batch_size
    for start in range(0, settings.steps, 10):
        shares = [careful_share(settings, step) for step in range(start, min(start + 10, settings.steps))]
        shown = [demonstrate(rng, share, settings.habits) for share in shares for _ in range(size)]
        rows = sorted((token_row(one, tokenizer) for one in shown), key=lambda row: len(row["labels"]))
        batches = [rows[i : i + size] for i in range(0, len(rows), size)]
        rng.shuffle(batches)
        yield from (row for batch in batches for row in batch)


def padded(rows: list[Row], pad: int) -> dict[str, torch.Tensor]:
    """A batch: rows filled up on the right to the longest."""
    import torch

    longest = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": pad, "labels": IGNORED}
    batch = {
        name: torch.tensor([row[name] + [value] * (longest - len(row[name])) for row in rows])
        for name, value in fill.items()
    }
    lengths = torch.tensor([[len(row["input_ids"])] for row in rows])
    return {**batch, "attention_mask": (torch.arange(longest) < lengths).long()}


def warm_up(settings: Warmup, output: Path) -> None:
    """Make the model and save it with its tokenizer in `output`.

    The same settings, library versions and number of threads give the same weights.
    """
    from torch.utils.data import IterableDataset
    from transformers import Trainer, TrainingArguments, set_seed

    class Rows(IterableDataset[Row]):
        def __iter__(self) -> Iterator[Row]:
            return token_rows(settings, tokenizer)

    set_seed(settings.seed)
    tokenizer = build_tokenizer()
    model = untrained_model(settings, tokenizer)
    arguments: dict[str, Any] = {
        "output_dir": str(output),
        "max_steps": settings.steps,
        "per_device_train_batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": settings.steps // 20,
        "adam_beta2": 0.98,
        "weight_decay": 0.0,
        "use_cpu": True,
        "seed": settings.seed,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 50,
        "disable_tqdm": True,
    }
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**arguments),
        train_dataset=Rows(),
        data_collator=lambda rows: padded(rows, tokenizer.pad_token_id),
    )
    trainer.train()
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)
