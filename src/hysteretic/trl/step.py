"""The micro-batches of one optimiser step, without the responses that have no gradient.

TRL cuts a step into micro-batches with equal numbers of rows. Here the rows of a step, from all ranks, are planned
anew: those whose weighted advantage is 0 stay out, equal prompts come together, and ranks get equal work. The gradient
is the same, since every loss used here is a sum over rows of terms that depend only on the row and the whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.functional import pad

from hysteretic.lean.packed import prompt_numbers
from hysteretic.lean.plan import Budget, Row, plan
from hysteretic.trl.mapping import LOSSES

Rows = dict[str, Any]
"""TRL's batch: tensors whose first axis is the row, and 0-dim ones of the whole batch."""


@dataclass(frozen=True)
class MicroBatch:
    """Rows for TRL's loss.

    factor: turns the loss's mean over these rows into their part of the sum that TRL's own micro-batches add up to.
    tokens, rows: trained tokens and rows over all ranks, the weights of the means that TRL logs for it.
    """

    inputs: Rows
    factor: float
    tokens: float
    rows: int


@dataclass(frozen=True)
class Step:
    """The micro-batches of one optimiser step on this rank, and counts over all ranks.

    responses, tokens: all responses of the step and their trained tokens. kept, tokens_kept: without those left out.
    tokens_with_gradient: trained tokens of responses with a gradient. entropy_left_out, tokens_left_out: sums over the
    responses that are left out and whose entropy was measured at sampling. forwarded: tokens that the step pushes
    through the model.
    """

    micro_batches: Sequence[MicroBatch]
    responses: int
    kept: int
    tokens: float
    tokens_kept: float
    tokens_with_gradient: float
    entropy_left_out: float
    tokens_left_out: float
    forwarded: int


@dataclass(frozen=True)
class Idle:
    """Stands for a micro-batch of TRL's whose rows are in the Step at the end of their optimiser step."""


def merge(micro_batches: Sequence[Rows]) -> Rows:
    """The rows of several micro-batches of one padding."""
    first = micro_batches[0]
    return {
        key: torch.cat([rows[key] for rows in micro_batches]) if is_of_rows(value) else value
        for key, value in first.items()
    }


def is_of_rows(value: Any) -> bool:
    """Whether its first axis is the row."""
    return isinstance(value, Tensor) and value.dim() > 0


def widths_over_ranks(rows: Rows, accelerator: Accelerator) -> dict[str, int]:
    """The columns of each two-dimensional entry on the rank where it is widest; TRL pads on each rank alone."""
    local = {key: value.shape[1] for key, value in rows.items() if is_of_rows(value) and value.dim() > 1}
    if accelerator.num_processes == 1:
        return local
    widths = torch.tensor([list(local.values())], device=accelerator.device)
    return dict(zip(local, accelerator.gather(widths).amax(dim=0).tolist(), strict=True))


def gather_rows(rows: Rows, widths: Mapping[str, int], accelerator: Accelerator) -> Rows:
    """The same rows on every rank, in the order of the ranks: one gather of all entries as bytes, padded to widths."""
    if accelerator.num_processes == 1:
        return rows
    padded: Rows = {}
    for key, value in rows.items():
        if is_of_rows(value):
            value = value[:, None] if value.dim() == 1 else value
            missing = widths.get(key, 1) - value.shape[1]
            padded[key] = pad(value, (missing, 0) if key.startswith("prompt") else (0, missing)).contiguous()
    as_bytes = [value.view(torch.uint8) for value in padded.values()]
    everywhere = accelerator.gather(torch.cat(as_bytes, dim=1))
    gathered = dict(rows)
    for (key, value), part in zip(
        padded.items(), everywhere.split([entry.shape[1] for entry in as_bytes], dim=1), strict=True
    ):
        whole = part.contiguous().view(value.dtype)
        gathered[key] = whole if rows[key].dim() > 1 else whole.squeeze(1)
    return gathered


def take(rows: Rows, numbers: Sequence[int]) -> Rows:
    """Some of the rows, without the padding that they do not need."""
    index = torch.tensor(list(numbers), device=rows["advantages"].device)
    prompt_width = int(rows["prompt_mask"][index].sum(dim=1).max())
    T = rows["completion_ids"].shape[1]
    # Never 1 of several: TRL takes values of that width for one a row, and forgets the mask.
    width = max(int(rows["completion_mask"][index].sum(dim=1).max()), min(T, 2))
    taken: Rows = {}
    for key, value in rows.items():
        if not is_of_rows(value):
            taken[key] = value
        elif key in ("prompt_ids", "prompt_mask"):
            taken[key] = value[index, value.shape[1] - prompt_width :]
        elif value.dim() > 1 and value.shape[1] == T:
            taken[key] = value[index, :width]
        else:
            taken[key] = value[index]
    return taken


def placeholder(rows: Rows) -> Rows:
    """A row of a few tokens whose loss and gradient are 0, for a rank that has no row but must take part."""
    row = take(rows, [0])
    row = {key: value[:, -2:] if key.startswith("prompt") else value for key, value in row.items()}
    T = row["completion_ids"].shape[1]
    row = {
        key: value[:, :2] if is_of_rows(value) and value.dim() > 1 and value.shape[1] == T else value
        for key, value in row.items()
    }
    row["completion_mask"] = torch.zeros_like(row["completion_mask"])
    row["completion_mask"][:, :1] = 1
    row["tool_mask"] = torch.zeros_like(row["completion_mask"])
    return _without_gradient(row, 1)


def padded_with_rows(rows: Rows, count: int) -> Rows:
    """Append rows without tokens until there are `count`: TRL gathers one number per row, equally many per rank."""
    missing = count - len(rows["advantages"])
    if not missing:
        return rows
    filled = {
        key: torch.cat([value, value[:1].expand(missing, *value.shape[1:])]) if is_of_rows(value) else value
        for key, value in rows.items()
    }
    filled["completion_mask"][-missing:] = 0
    return _without_gradient(filled, missing)


def _without_gradient(rows: Rows, last: int) -> Rows:
    """Give the last rows values that no exponential turns infinite, since infinity times a mask of 0 is NaN."""
    neutral = {"advantages": 0.0, "importance_sampling_ratio": 1.0, "ref_per_token_logps": -1e4}
    neutral |= {"old_per_token_logps": 0.0, "sampling_per_token_logps": 0.0}
    neutralised = dict(rows)
    for key, value in neutral.items():
        if rows.get(key) is not None:
            neutralised[key] = rows[key].clone()
            neutralised[key][-last:] = value
    return neutralised


def trained_mask(rows: Rows) -> Tensor:
    """1 at the tokens of responses that the loss counts, [B, T]."""
    mask: Tensor = rows["completion_mask"]
    return mask if rows.get("tool_mask") is None else mask * rows["tool_mask"]


def trained_tokens(rows: Rows) -> Tensor:
    """The number of tokens of each response that the loss counts, [B]."""
    return trained_mask(rows).sum(dim=1)


def has_gradient(rows: Rows) -> Tensor:
    """Whether a response moves the policy when there is no KL and no entropy term, [B]."""
    advantages = rows["advantages"]
    return (advantages.reshape(len(advantages), -1) != 0).any(dim=1) & (trained_tokens(rows) > 0)


def table(rows: Rows) -> list[Row]:
    """The rows as `plan` takes them."""
    numbers = prompt_numbers(rows["prompt_ids"], rows["prompt_mask"])
    lengths = rows["prompt_mask"].sum(dim=1).tolist(), rows["completion_mask"].sum(dim=1).tolist()
    return [Row(*row) for row in zip(numbers, *lengths, strict=True)]


def plan_step(
    micro_batches: Sequence[Rows],
    widths: Mapping[str, int],
    accelerator: Accelerator,
    budget: Budget,
    leaves_out: bool,
    loss_type: str,
) -> Step:
    """One optimiser step from TRL's micro-batches for it.

    widths: from `widths_over_ranks`. leaves_out: responses without a gradient stay out.
    """
    plain_rows = len(micro_batches[0]["advantages"])
    rows = gather_rows(merge(micro_batches), widths, accelerator)
    tokens_B = trained_tokens(rows).float()
    is_moving = has_gradient(rows)
    is_kept = is_moving if leaves_out else rows["completion_mask"].sum(dim=1) > 0
    kept = is_kept.nonzero().squeeze(1).tolist()
    all_rows = table(rows)
    few = [all_rows[i] for i in kept]
    shares = plan(few, accelerator.num_processes, budget)
    count = max(len(shares[0]), 1)
    of_micro_batch = [[i for share in shares for i in (share[k] if share else [])] for k in range(count)]
    mine = shares[accelerator.process_index] or [[]]
    planned: list[MicroBatch] = []
    for numbers, everywhere in zip(mine, of_micro_batch, strict=True):
        most = max((len(share[len(planned)]) for share in shares if share), default=1)
        inputs = take(rows, [kept[i] for i in numbers]) if numbers else placeholder(rows)
        planned.append(
            MicroBatch(
                inputs=padded_with_rows(inputs, most),
                factor=0.0 if not numbers else most / plain_rows if LOSSES[loss_type].divides_by == "rows" else 1.0,
                tokens=float(tokens_B[[kept[i] for i in everywhere]].sum()),
                rows=most * accelerator.num_processes,
            )
        )
    measured = rows.get("sampled_entropy")
    out = torch.zeros(()) if measured is None else (measured * ~is_kept * (tokens_B > 0)).sum()
    return Step(
        micro_batches=planned,
        responses=len(all_rows),
        kept=len(kept),
        tokens=float(tokens_B.sum()),
        tokens_kept=float(tokens_B[is_kept].sum()),
        tokens_with_gradient=float(tokens_B[is_moving].sum()),
        entropy_left_out=float(out),
        tokens_left_out=0.0 if measured is None else float(tokens_B[~is_kept].sum()),
        forwarded=sum(budget.forwarded([few[i] for i in numbers]) for share in shares for numbers in share),
    )


def logged_means(step: Step, measured: Sequence[dict[str, float]], is_sequence_level: bool) -> dict[str, float]:
    """What TRL would log for the whole step, from what it logged for each micro-batch.

    Responses that are left out are not clipped; their entropy is that at sampling, where it was measured. The entropy
    is NaN, which TRL's log ignores, when it is known for no response.
    """
    whole: dict[str, float] = {}
    for name in measured[0]:
        values = [one[name] for one in measured]
        by_tokens = [value * micro.tokens for value, micro in zip(values, step.micro_batches, strict=True)]
        if name == "entropy":
            count = step.tokens_kept + step.tokens_left_out
            whole[name] = (sum(by_tokens) + step.entropy_left_out) / count if count else math.nan
        elif name in ("clip_ratio/low_min", "clip_ratio/high_max"):
            present = [value for value in values if value == value]
            present += [0.0] if step.kept < step.responses or not present else []
            whole[name] = min(present) if name.endswith("min") else max(present)
        elif name == "vespo/phi_seq_mean":  # one per row; 1 where on-policy, and so for rows that are left out
            phi = [value * micro.rows for value, micro in zip(values, step.micro_batches, strict=True)]
            whole[name] = 1 + (sum(phi) - sum(micro.rows for micro in step.micro_batches)) / step.responses
        elif "clip_ratio" in name and is_sequence_level:
            by_rows = [value * micro.rows for value, micro in zip(values, step.micro_batches, strict=True)]
            whole[name] = sum(by_rows) / step.responses
        else:
            whole[name] = sum(by_tokens) / step.tokens if step.tokens else 0.0
    return whole
