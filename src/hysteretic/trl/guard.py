"""Checks that loss and gradient are finite, on every rank, after the backward pass and before the optimiser's step.

An update that is not is skipped on all ranks (weights and moments stay as they are) or stops the run; either way its
batch is written to disk: the tensors as torch saves them, and the rows as text.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState

logger = logging.getLogger(__name__)

FOLDER = "bad-updates"


class BadUpdateError(ValueError):
    """A loss or gradient is NaN or infinite, and no more updates may be skipped."""


class BrokenWeightsError(BadUpdateError):
    """The policy gives probabilities that are not finite: only a checkpoint from before is worth going on from."""


class Guard(TrainerCallback):
    """A callback before each optimiser step.

    most: updates that may be skipped in the whole run. left_out: those that were, kept in checkpoints.
    decode: token ids to text, for the rows that are written to disk.
    With fp16, gradients are left to the loss scaler, which skips infinite ones by itself; with DeepSpeed, which hides
    gradients, only the loss is checked and an update cannot be skipped.
    """

    def __init__(self, accelerator: Accelerator, folder: Path, most: int, decode: Any) -> None:
        self._accelerator, self._folder, self._most, self._decode = accelerator, folder, most, decode
        self._losses: list[Tensor] = []
        self._inputs: list[Mapping[str, Any]] = []
        self.left_out = 0
        self.gradient_norm: Tensor | float | None = None
        """Of the coming update, where the trainer has computed it: the guard then reads no gradient itself."""

    def note(self, loss: Tensor, inputs: Mapping[str, Any]) -> None:
        """Remember the loss of a micro-batch of the coming update, and the batch it was computed from."""
        self._losses.append(loss.detach())
        self._inputs.append(inputs)

    def on_pre_optimizer_step(
        self, args: Any, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        losses, inputs = self._losses, self._inputs
        self._losses, self._inputs = [], []
        norm, self.gradient_norm = self.gradient_norm, None
        device = self._accelerator.device
        bad = ~torch.stack([_all_finite(losses, device), self._is_finite(norm, model)])
        loss_is_bad, gradient_is_bad = (self._accelerator.reduce(bad.float(), reduction="sum") > 0).tolist()
        if not loss_is_bad and not gradient_is_bad:
            return
        number = state.global_step + 1
        what = " and ".join(name for name, is_bad in [("loss", loss_is_bad), ("gradient", gradient_is_bad)] if is_bad)
        stem = self._folder / FOLDER / f"update-{number}-rank{self._accelerator.process_index}"
        write_update(stem, [float(loss) for loss in losses], inputs, self._decode)
        found = f"The {what} of update {number} is NaN or infinite (its batch: {stem.parent})"
        is_hidden = "DEEPSPEED" in str(self._accelerator.distributed_type)
        if self.left_out >= self._most or is_hidden:
            before = f"; {self.left_out} such updates were left out before" if self.left_out else ""
            raise BadUpdateError(
                f"{found}{before}. Weights are as they were. Look for a reward far out of scale, lower learning_rate "
                "or max_grad_norm, train in bf16 or float32 in place of fp16, or leave such updates out with "
                "max_bad_updates."
            )
        self.left_out += 1
        for parameter in model.parameters():
            parameter.grad = None  # an optimiser passes over it: no step, no decay, moments as they were
        if self._accelerator.is_main_process:
            logger.warning("%s; left out, %d of at most %d.", found, self.left_out, self._most)

    def _is_finite(self, norm: Tensor | float | None, model: Any) -> Tensor:
        """Whether the gradient is, by its norm where that is known: clipping has read every gradient already."""
        device = self._accelerator.device
        if getattr(self._accelerator, "scaler", None) is not None:
            return torch.tensor(True, device=device)
        if norm is None:
            gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
            return _all_finite(gradients, device)
        if isinstance(norm, Tensor):
            norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
            return torch.isfinite(norm.detach()).all().to(device)
        return torch.tensor(math.isfinite(norm), device=device)


def write_update(stem: Path, losses: list[float], batches: Iterable[Mapping[str, Any]], decode: Any) -> None:
    """Write STEM.pt (losses, and the tensors of each micro-batch) and STEM.jsonl (one row per line, as text)."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "losses": losses,
            "micro_batches": [
                {key: value.cpu() for key, value in batch.items() if isinstance(value, Tensor)} for batch in batches
            ],
        },
        stem.with_suffix(".pt"),
    )
    rows = (
        {
            "prompt": decode(batch["prompt_ids"][row][batch["prompt_mask"][row].bool()].tolist()),
            "response": decode(batch["completion_ids"][row][batch["completion_mask"][row].bool()].tolist()),
            "advantage": _plain(batch["advantages"][row]),
        }
        for batch in batches
        for row in range(len(batch["completion_ids"]))
    )
    write_rows(stem.with_suffix(".jsonl"), rows)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one row per line; text that UTF-8 cannot encode is escaped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")


def _all_finite(tensors: list[Tensor], device: torch.device) -> Tensor:
    """One flag for all tensors, without waiting for the device; of a sharded tensor, for this rank's part.

    Uses the 2-norm, which runs at the speed of memory (the largest entry takes 15 times as long on a CPU): finite
    numbers whose squares overflow (beyond 1e19) count as infinite.
    """
    local = [tensor.to_local() if hasattr(tensor, "to_local") else tensor for tensor in tensors]
    largest = torch.nn.utils.get_total_norm([tensor for tensor in local if tensor.numel()])
    return torch.isfinite(largest).to(device)


def _plain(value: Any) -> float | str:
    number = float(value.flatten()[0]) if isinstance(value, Tensor) else float(value)
    return number if math.isfinite(number) else str(number)
