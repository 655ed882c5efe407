"""Shard a model on CPUs: FSDP2 over gloo, which torch supports but accelerate does not enable.

accelerate (1.15) enables FSDP only where it finds an accelerator, and silently uses DDP on CPUs. It decides by an entry
of its shared state, when the first Accelerator is created.
"""

from __future__ import annotations

import os
from importlib.metadata import version

from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType

from hysteretic.common.errors import UsageError


def is_fsdp_asked() -> bool:
    """Whether `accelerate launch` with an FSDP configuration, or its environment variables, started this process."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def allow_fsdp_on_cpus() -> None:
    """Let the next Accelerator shard on CPUs. Call it before the Accelerator is created, in every process."""
    state = PartialState()
    if is_fsdp_asked() and state.distributed_type is DistributedType.MULTI_CPU and not AcceleratorState._shared_state:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def check_sharding(accelerator: Accelerator) -> None:
    """Raises RuntimeError if sharding was requested but is off: another accelerate may read another entry."""
    if is_fsdp_asked() and accelerator.num_processes > 1 and accelerator.distributed_type is not DistributedType.FSDP:
        raise RuntimeError(
            f"FSDP was requested, but accelerate {version('accelerate')} did not shard the model on CPUs; do the dry "
            "run without it, or with accelerate 1.15."
        )


def prepare_launch() -> list[str]:
    """Undo what `accelerate launch` requested that needs a GPU; returns notes for the report.

    Call it before the settings are read. Raises UsageError for FSDP 1.
    """
    told = []
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        del os.environ["ACCELERATE_USE_DEEPSPEED"]
        told.append("DeepSpeed (ZeRO) with one full model per process")
    if is_fsdp_asked():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # torch would shard over any visible GPU
        if os.environ.get("FSDP_VERSION", "1") != "2":
            raise UsageError("FSDP 1 needs GPUs; set fsdp_version: 2 in accelerate's configuration, or FSDP_VERSION=2.")
        if os.environ.get("FSDP_OFFLOAD_PARAMS", "false").lower() == "true":
            os.environ["FSDP_OFFLOAD_PARAMS"] = "false"
            told.append("CPU offloading with a model that stays on the CPU")
    return told
