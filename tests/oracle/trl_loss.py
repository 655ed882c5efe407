"""TRL's own loss on given log-probabilities: GRPOTrainer._compute_loss, called on a stand-in for the trainer."""

from collections import defaultdict
from types import SimpleNamespace

import torch
from trl import GRPOTrainer


def trl_loss(
    logprobs,
    old_logprobs,
    advantages,
    mask,
    *,
    loss_type,
    batch_tokens,
    accumulation,
    micro_batches,
    low=0.2,
    high=0.2,
    sequence=False,
    max_length=None,
):
    """(loss of one micro-batch as TRL hands it to backward, TRL's metrics).

    batch_tokens: trained tokens of the generation batch. accumulation: micro-batches of an optimiser step.
    micro_batches: of the generation batch.
    """

    def given_logprobs(*_, **__):
        return logprobs, torch.zeros_like(logprobs), None

    metrics = {"train": defaultdict(list)}
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=given_logprobs,
        model=SimpleNamespace(training=True),
        loss_type=loss_type,
        importance_sampling_level="sequence" if sequence else "token",
        epsilon_low=low,
        epsilon_high=high,
        beta=0.0,
        max_completion_length=max_length,
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        use_vllm=False,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        current_gradient_accumulation_steps=accumulation,
        accelerator=SimpleNamespace(
            num_processes=1, gather=lambda tensor: tensor, reduce=lambda tensor, reduction: tensor
        ),
        args=SimpleNamespace(
            delta=None,
            steps_per_generation=micro_batches,
            # As tensors: of two Python numbers torch.where makes float32, whatever the precision of the rest.
            sapo_temperature_pos=torch.tensor(1.0, dtype=logprobs.dtype),
            sapo_temperature_neg=torch.tensor(1.05, dtype=logprobs.dtype),
        ),
        _metrics=metrics,
    )
    tokens = torch.ones(mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": tokens[:, :1],
        "prompt_mask": tokens[:, :1],
        "completion_ids": tokens,
        "completion_mask": mask,
        "advantages": advantages,
        "old_per_token_logps": old_logprobs,
        "num_items_in_batch": torch.tensor(float(batch_tokens), dtype=logprobs.dtype),
    }
    return GRPOTrainer._compute_loss(trainer, None, inputs), metrics["train"]
