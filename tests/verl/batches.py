"""Batches as verl has them, made up, and an independent float64 account of HPO on them."""

import numpy as np
import torch
from omegaconf import OmegaConf


def uids(prompts, responses):
    """uid column of so many prompts with so many responses each, adjacent."""
    return np.array([f"prompt-{row // responses}" for row in range(prompts * responses)], dtype=object)


def token_level(rewards, mask):
    """Rewards [B] on the last trained token of each row, as verl's reward managers put them; [B, T]."""
    found = torch.zeros(mask.shape)
    last = (mask * torch.arange(1, mask.shape[1] + 1)).argmax(dim=1)
    found[torch.arange(len(mask)), last] = torch.as_tensor(rewards, dtype=torch.float32)
    return found


def mask_of(lengths, longest):
    """Response mask [B, T] of rows with so many tokens."""
    return (torch.arange(longest) < torch.as_tensor(lengths).unsqueeze(1)).float()


def sparse_batch(prompts=6, responses=8, longest=12, seed=0, rate=0.2):
    """(token_level_rewards, response_mask, uid, rewards, lengths) of random binary rewards."""
    random = np.random.default_rng(seed)
    rewards = (random.random(prompts * responses) < rate).astype(np.float32)
    lengths = random.integers(1, longest + 1, prompts * responses)
    mask = mask_of(lengths, longest)
    return token_level(rewards, mask), mask, uids(prompts, responses), rewards, lengths


def algorithm(**settings):
    """verl's algorithm.* with these settings."""
    return OmegaConf.create({"norm_adv_by_std_in_grpo": True, **settings})


def by_hand(rewards, uid, lengths, alpha=None, floor=0.1, by_std=True):
    """(weighted, unweighted, alpha) in float64 with plain loops; alpha None: adaptive."""
    rewards = np.asarray(rewards, dtype=np.float64)
    unweighted = np.zeros(len(rewards))
    for name in dict.fromkeys(uid):
        rows = [i for i, other in enumerate(uid) if other == name]
        own = rewards[rows]
        if len(rows) > 1 and own.max() - own.min() > 1e-6 * np.abs(own).max():
            centred = own - own.mean()
            unweighted[rows] = centred / (own.std(ddof=1) + 1e-4) if by_std else centred
    trained = np.asarray(lengths) > 0
    positives, negatives = (unweighted[trained] > 0).sum(), (unweighted[trained] < 0).sum()
    if alpha is None:
        alpha = min(max(positives / negatives, floor), 1.0) if negatives else 1.0
    return np.where(unweighted < 0, alpha * unweighted, unweighted), unweighted, alpha
