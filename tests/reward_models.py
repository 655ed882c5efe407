"""A tiny reward model whose answers can be spoiled."""

import torch
from transformers import Qwen2Config, Qwen2ForSequenceClassification

from hysteretic.models.tokenizer import build_tokenizer


class Judge(Qwen2ForSequenceClassification):
    """Adds flaws to the rewards of one batch: {row: value}, or an exception that it raises there."""

    flaws, at_batch, batches = {}, 1, 0

    def forward(self, *arguments, **options):
        self.batches += 1
        output = super().forward(*arguments, **options)
        if self.batches != self.at_batch:
            return output
        if isinstance(self.flaws, Exception):
            raise self.flaws
        logits = output.logits.clone()
        for row, value in self.flaws.items():
            logits[row] = value
        output.logits = logits
        return output


def judge(flaws, at_batch):
    """The model and its tokenizer; its column is called judge."""
    torch.manual_seed(1)
    tokenizer = build_tokenizer()
    model = Judge(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            initializer_range=0.4,
            pad_token_id=tokenizer.pad_token_id,
            num_labels=1,
            name_or_path="models/judge",
        )
    )
    model.flaws, model.at_batch = flaws, at_batch
    return model, tokenizer
