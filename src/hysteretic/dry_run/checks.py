"""Check one update: finite loss and gradients, only trainable weights changed, checkpoint and model saved."""

from __future__ import annotations

import math
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import TrainerCallback

from hysteretic.common.checkpoints import find_corruption, numbered
from hysteretic.runs.folder import RunFolder

WEIGHTS = ("*.safetensors", "*model*.bin", "*.distcp")
"""Files that hold weights; training_args.bin and optimizer.bin do not."""


class CheckError(Exception):
    """The update did not do what every update must."""


def local(tensor: Any) -> Tensor:
    """This rank's part of a tensor that may be sharded."""
    part: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part.detach()


class Watch(TrainerCallback):
    """Records the weights before and after, whether gradients are finite, and whether they are checkpointed."""

    def __init__(self) -> None:
        self._before: dict[str, Tensor] = {}
        self.trainable: set[str] = set()
        self.moved: set[str] = set()
        self.bad_gradients: set[str] = set()
        self.has_gradient = False
        self.checkpoints_gradients = False

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self._before = {name: local(weight).clone() for name, weight in model.named_parameters()}
        self.trainable = {name for name, weight in model.named_parameters() if weight.requires_grad}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        self.checkpoints_gradients = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        for name, weight in model.named_parameters():
            if weight.grad is not None:
                gradient = local(weight.grad)
                self.has_gradient |= bool((gradient != 0).any())
                if not bool(torch.isfinite(gradient).all()):
                    self.bad_gradients.add(name)

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        for name, weight in model.named_parameters():
            if not torch.equal(local(weight), self._before[name]):
                self.moved.add(name)

    def over_ranks(self) -> None:
        """Merge what was recorded on all ranks."""
        seen = gather_object([(self.moved, self.bad_gradients, self.has_gradient)])
        self.moved = set().union(*(moved for moved, _, _ in seen))
        self.bad_gradients = set().union(*(bad for _, bad, _ in seen))
        self.has_gradient = any(has for _, _, has in seen)


def check_update(watch: Watch, history: list[dict[str, Any]]) -> str:
    """A summary of the update. Raises CheckError if something is wrong with it."""
    steps = [line for line in history if "loss" in line]
    if not steps:
        raise CheckError("No update was made: the trainer logged no loss.")
    loss, norm = steps[-1]["loss"], steps[-1].get("grad_norm")
    for name, value in (("loss", loss), ("gradient norm", norm)):
        if value is not None and not math.isfinite(value):
            raise CheckError(f"The {name} is {value}.")
    if watch.bad_gradients:
        raise CheckError(f"The gradient of {min(watch.bad_gradients)} is not finite.")
    if not watch.has_gradient:
        raise CheckError("All gradients are 0, though rewards differ within every group.")
    moved = watch.moved & watch.trainable
    if not moved:
        raise CheckError("No weight changed in the update.")
    if watch.moved - watch.trainable:
        raise CheckError(f"{min(watch.moved - watch.trainable)} is frozen, but changed in the update.")
    told = f"loss {loss:.4g}" + ("" if norm is None else f", gradient norm {norm:.3g}")
    return f"{told}; {len(moved)} of {len(watch.trainable)} trainable tensors changed, and no others"


def check_files(folder: RunFolder, is_saved: bool) -> str:
    """A summary of the files. Raises CheckError if something is missing.

    is_saved: whether the run saves checkpoints.
    """
    written = [folder.model]
    if is_saved:
        checkpoint = next(iter(numbered(folder.path).values()), None)
        if checkpoint is None:
            raise CheckError("No checkpoint was written after the update.")
        flaw = find_corruption(checkpoint)
        if flaw is not None:
            raise CheckError(f"{checkpoint.name} is damaged: {flaw}.")
        written.insert(0, checkpoint)
    for path in written:
        if not any(file.stat().st_size for kind in WEIGHTS for file in path.rglob(kind)):
            raise CheckError(f"{path.name} was written without weights.")
    names = " and ".join(path.name for path in written)
    return f"{names} written" + ("" if is_saved else " (save_strategy is no: no checkpoint)") + ", then removed"
