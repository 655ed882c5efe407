"""Memory and speed of GPUs.

memory      GiB available to a process, a little below the nominal size
compute     TFLOP/s of dense bf16 matrix products, as specified
bandwidth   GB/s of its memory
link        GB/s to another GPU in the same machine, one way: NVLink, or PCIe 4.0 x16
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hysteretic.common.errors import nearest

GIB = 2**30


@dataclass(frozen=True)
class GPU:
    """A GPU. compute, bandwidth and link are None if only the memory is known; then there is no time estimate."""

    name: str
    memory: float
    compute: float | None = None
    bandwidth: float | None = None
    link: float | None = None

    @property
    def bytes(self) -> float:
        return self.memory * GIB


GPUS = {
    gpu.name: gpu
    for gpu in (
        GPU("h200", 139.8, 989, 4800, 450),
        GPU("h100", 79.1, 989, 3350, 450),
        GPU("a100-80", 79.1, 312, 2039, 300),
        GPU("a100-40", 39.4, 312, 1555, 300),
        GPU("l40s", 44.4, 362, 864, 25),
        GPU("4090", 23.6, 165, 1008, 25),
    )
}

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(gib|gb|g)?", re.IGNORECASE)


def gpu_of(name: str) -> GPU:
    """A GPU by name, or by memory: 24GiB (2**30 bytes), 24GB (10**9). Raises ValueError."""
    known = GPUS.get(name.lower())
    if known is not None:
        return known
    size = _SIZE.fullmatch(name.strip())
    if size is None or size.group(2) is None:
        hint = nearest(name.lower(), GPUS)
        raise ValueError(f"There is no GPU {name!r}.{hint} Known: {', '.join(GPUS)}, or a size such as 24GiB.")
    memory = float(size.group(1)) * (10**9 / GIB if size.group(2).lower() == "gb" else 1)
    if memory <= 0:
        raise ValueError(f"A GPU of {name} has no memory; give a size above 0, such as 24GiB.")
    return GPU(name, memory)
