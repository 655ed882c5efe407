"""Run the command that `hysteretic launch verl` prints, as it is printed, on a machine without a GPU.

What a CPU needs comes from outside of the command: settings of verl (ON_CPU, given with --set, so that they are part of
what is printed) and the platform and rollout server of cpu/, found through PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CPU = Path(__file__).with_name("cpu")

FSDP = "actor_rollout_ref.actor.fsdp_config"

ON_CPU = [
    "actor_rollout_ref.rollout.name=on_cpu",
    "actor_rollout_ref.rollout.calculate_log_probs=True",  # verl then compares them with the actor's
    "actor_rollout_ref.actor.strategy=fsdp2",  # FSDP1 rejects a CPU
    f"{FSDP}.strategy=fsdp2",
    f"+{FSDP}.mixed_precision.param_dtype=fp32",
    f"{FSDP}.use_torch_compile=False",
    "actor_rollout_ref.actor.use_torch_compile=False",
    "trainer.device=cpu",
    "trainer.logger=[console,file]",
    # One process of each kind, few logical CPUs and little shared memory: this is one small machine.
    "actor_rollout_ref.rollout.agent.num_workers=1",
    "reward.num_workers=1",
    "data.dataloader_num_workers=0",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
    "ray_kwargs.ray_init.num_cpus=8",
    "+ray_kwargs.ray_init.include_dashboard=False",
    "+ray_kwargs.ray_init.object_store_memory=268435456",
]
"""verl's settings, besides the number of logical GPUs."""


@dataclass(frozen=True)
class Launched:
    """A run of verl. metrics: by step; validation before training is at the step it started from, alone or not.

    loads: what the rollout servers received (see cpu_verl).
    """

    code: int
    output: str
    metrics: dict[int, dict[str, float]]
    loads: list[dict[str, Any]]


def make_model(folder: Path) -> Path:
    """The tiny model as verl takes it: verl looks for <|im_end|> in a Qwen tokenizer, and wants a chat template.

    The template is the bare message, so that both engines see the same prompts.
    """
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    from hysteretic.models import tiny_model

    shutil.copytree(tiny_model(), folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([AddedToken("<|im_end|>", special=False, normalized=False)])
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder)
    return folder


def launch(
    words: Sequence[str], folder: Path, gpus: int = 1, seconds: float = 600, python: str = sys.executable, **more: str
) -> Launched:
    """Print the command for these words of `hysteretic launch verl`, and run it in the folder.

    gpus: logical ones, ranks of FSDP. python: of the environment with verl. more: for the environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = [*ON_CPU, f"+ray_kwargs.ray_init.num_gpus={gpus}"]
    added = [word for setting in settings for word in ("--set", setting)]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(python).parent), os.environ["PATH"]]),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray would kill the run for what other programs use; `memory_is_short` has been asked before.
        "RAY_memory_monitor_refresh_ms": "0",
        "PYTHONWARNINGS": "ignore",
        **more,
    }
    command = [python, "-m", "hysteretic", "launch", "verl", *words, "--gpus-per-node", str(gpus), *added, "--print"]
    printed = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    if printed.returncode:
        return Launched(printed.returncode, printed.stderr, {}, [])
    metrics, loads = folder / "metrics.jsonl", folder / "loads.jsonl"
    for path in (metrics, loads):
        path.unlink(missing_ok=True)
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(CPU), os.environ.get("PYTHONPATH", "")]),
        "VERL_FILE_LOGGER_PATH": str(metrics),
        "CPU_VERL_LOADS": str(loads),
    }
    log = folder / "output.txt"
    with log.open("w") as file:
        process = subprocess.Popen(
            ["bash", "-c", printed.stdout],
            env=environment,
            cwd=folder,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=seconds)
        except BaseException as error:  # Ctrl-C as well: Ray's processes must not stay behind
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            code = 124
    by_step: dict[int, dict[str, float]] = {}
    for line in _lines(metrics):
        by_step.setdefault(line["step"], {}).update(line["data"])
    return Launched(code, log.read_text(errors="replace"), by_step, _lines(loads))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


NEEDED = 6 * 2**30
"""Bytes for a run with two ranks: 4.6 GiB were measured."""


def memory_is_short() -> str | None:
    """What is missing for a run, or None. Counts what other programs leave, and the limit of a container."""
    free = _field("/proc/meminfo", "MemAvailable:") * 1024
    for folder, limit, used in (
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        most = Path(folder, limit)
        if most.is_file() and most.read_text().strip().isdigit():  # "max" if there is none
            cache = _field(f"{folder}/memory.stat", "inactive_file")  # the kernel takes it back
            free = min(free, int(most.read_text()) - int(Path(folder, used).read_text()) + cache)
    if free >= NEEDED:
        return None
    return f"verl's processes need about {NEEDED / 2**30:.0f} GiB of memory, and {free / 2**30:.1f} GiB are free"


def _field(path: str, name: str) -> int:
    for line in Path(path).read_text().splitlines():
        if line.split()[0] == name:
            return int(line.split()[1])
    raise ValueError(f"{path} has no {name}")
