"""Random batches for the tests of the objective: rewards, masked responses, log-probs off the old policy."""

from typing import NamedTuple

import torch
from torch import Tensor

SEEDS = [8, 13, 17, 23]
"""Seeds with clipping on both sides, for token and for sequence ratios; test_objective.py checks that."""


class Rollout(NamedTuple):
    """B = prompts * group_size responses of at most T tokens; log-probs require a gradient."""

    logprobs: Tensor
    old: Tensor
    rewards: Tensor
    mask: Tensor
    group_size: int

    def lists(self):
        """The arguments of oracle.objective_loops.batch_of, after the spec."""
        return (
            self.logprobs.detach().double().tolist(),
            self.old.double().tolist(),
            self.rewards.double().tolist(),
            self.mask.tolist(),
            self.group_size,
        )


def rollout(seed=8, prompts=4, group_size=4, length=9, dtype=torch.float64, spread=0.3, constant=1.0):
    """One rollout: a silent group, one of a single success, a response without trained tokens, holes in masks.

    constant: the rewards of the silent group; with 0.1 a plain implementation's float noise would end its silence.
    """
    noise = torch.Generator().manual_seed(seed)
    B = prompts * group_size
    rewards = (torch.rand(B, generator=noise) < 0.2).double()
    rewards[:group_size] = constant
    rewards[group_size : 2 * group_size] = torch.eye(group_size)[0]
    lengths = torch.randint(1, length + 1, (B,), generator=noise)
    mask = torch.arange(length) < lengths[:, None]
    mask &= torch.rand(B, length, generator=noise) > 0.15
    mask[-1] = False
    old = -3 * torch.rand(B, length, generator=noise, dtype=torch.float64) - 0.05
    shift = spread * torch.randn(B, length, generator=noise, dtype=torch.float64)
    shift += 0.2 * spread * torch.randn(B, 1, generator=noise, dtype=torch.float64)
    shift[::2] *= 1e-3  # half the responses within GSPO's narrow clip
    logprobs = (old + shift).to(dtype).requires_grad_()
    return Rollout(logprobs, old.to(dtype), rewards.to(dtype), mask.int(), group_size)
