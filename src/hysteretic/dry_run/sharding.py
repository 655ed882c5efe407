"""How is a model sharded on CPUs? By FSDP2 over gloo, which torch can do and accelerate does not ask for.

accelerate (1.15) turns FSDP on where it finds GPUs (or other accelerators), and on CPUs makes DDP of it without a word.
It reads which it is from one entry of its shared state, when the first Accelerator is made.
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
    """Have the next Accelerator shard as asked: call before it is made, in every process."""
    state = PartialState()
    if is_fsdp_asked() and state.distributed_type is DistributedType.MULTI_CPU and not AcceleratorState._shared_state:
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU


def check_sharding(accelerator: Accelerator) -> None:
    """Raises RuntimeError where sharding was asked for and is not there: another accelerate may read another entry."""
    if is_fsdp_asked() and accelerator.num_processes > 1 and accelerator.distributed_type is not DistributedType.FSDP:
        raise RuntimeError(
            f"FSDP was asked for, and accelerate {version('accelerate')} did not shard the model on CPUs; make the dry "
            "run without it, or with accelerate 1.15."
        )


def prepare_launch() -> list[str]:
    """Take back what `accelerate launch` asked for and needs a GPU; returns what is to be told of it.

    Call before the settings are read. Raises UsageError for FSDP of the first kind.
    """
    told = []
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        del os.environ["ACCELERATE_USE_DEEPSPEED"]
        told.append("DeepSpeed (ZeRO) by one whole model a process")
    if is_fsdp_asked():
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # torch shards over GPUs wherever it sees one
        if os.environ.get("FSDP_VERSION", "1") != "2":
            raise UsageError("FSDP 1 needs GPUs; set fsdp_version: 2 in accelerate's configuration, or FSDP_VERSION=2.")
        if os.environ.get("FSDP_OFFLOAD_PARAMS", "false").lower() == "true":
            os.environ["FSDP_OFFLOAD_PARAMS"] = "false"
            told.append("offloading to the CPU by staying there")
    return told
