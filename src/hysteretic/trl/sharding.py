"""Forward and backward passes of a model that is wrapped for several ranks: DDP, FSDP2, DeepSpeed.

Where weights are sharded, a forward pass gathers them: it is a collective, and every rank makes equally many. Gradients
are accumulated over the micro-batches of an optimiser step, and DeepSpeed must be told which of them is the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from inspect import signature
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from accelerate.utils.deepspeed import DeepSpeedEngineWrapper
from torch import Tensor, nn


def uses_deepspeed(accelerator: Accelerator) -> bool:
    """Whether DeepSpeed makes the backward passes and the optimiser's steps."""
    return bool(accelerator.distributed_type == DistributedType.DEEPSPEED)


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether a forward pass gathers weights: FSDP and ZeRO-3."""
    if uses_deepspeed(accelerator):
        return bool(accelerator.state.deepspeed_plugin.zero_stage == 3)
    return bool(accelerator.distributed_type == DistributedType.FSDP)


def why_not_accumulated(accelerator: Accelerator) -> str | None:
    """Why the micro-batches of an optimiser step cannot be cut anew under this wrapper; None if they can."""
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is not None and getattr(plugin, "fsdp_version", 1) != 2:
        return "the model is sharded by FSDP 1 (set fsdp_version: 2)"
    if uses_deepspeed(accelerator) and "sync_gradients" not in signature(DeepSpeedEngineWrapper.backward).parameters:
        return "this accelerate lets DeepSpeed update the weights after every micro-batch (use a newer one)"
    return None


def passes_of_all(own: int, accelerator: Accelerator) -> int:
    """How many forward passes this rank makes: its own, or as many as the rank with most where weights are sharded."""
    if not is_sharded(accelerator):
        return own
    return int(accelerator.gather(torch.tensor([own], device=accelerator.device)).max())


def accumulate(loss: Tensor, accelerator: Accelerator) -> None:
    """The backward pass of a micro-batch that is not the last of its optimiser step."""
    if not uses_deepspeed(accelerator):
        accelerator.backward(loss)
        return
    state = accelerator.gradient_state
    before = state.sync_gradients
    state._set_sync_gradients(False)  # or DeepSpeed's optimiser would make a step after this backward pass
    try:
        accelerator.backward(loss, scale_wrt_gas=False)
    finally:
        state._set_sync_gradients(before)


def without_reduction(model: nn.Module, accelerator: Accelerator, accumulates: bool) -> AbstractContextManager[Any]:
    """Leave the reduction of gradients to a later backward pass, unless that takes memory which TRL's way does not.

    accumulates: whether TRL itself makes several backward passes per optimiser step. Gradients of a sharded model stay
    whole until they are reduced; TRL accepts that where it accumulates, except with accelerate's sync_each_batch.
    DeepSpeed decides by itself.
    """
    reduces_each = accelerator.gradient_state.plugin_kwargs.get("sync_each_batch", False)
    if reduces_each or uses_deepspeed(accelerator) or (is_sharded(accelerator) and not accumulates):
        return nullcontext()
    return accelerator.no_sync(model)


@contextmanager
def without_empty_backward(accelerator: Accelerator) -> Iterator[None]:
    """For a micro-batch without rows: DeepSpeed counts empty backward passes too, and would then accumulate onto the
    gradients of the last update, so there is none."""
    if not uses_deepspeed(accelerator):
        yield
        return
    accelerator.backward = lambda *_, **__: None
    try:
        yield
    finally:
        del accelerator.backward
