"""The plan of a run: memory by way of sharding, pace, what to change, warnings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hysteretic.sizing.architecture import Architecture
from hysteretic.sizing.fixes import Change, smallest_change, warnings, where_it_fits
from hysteretic.sizing.gpus import GPU
from hysteretic.sizing.memory import WAYS, Memory, memory
from hysteretic.sizing.pace import Pace, pace
from hysteretic.sizing.work import Work


@dataclass(frozen=True)
class Plan:
    """way: the way of sharding that is judged; `memories` has all. variants: memory with other settings, then by way.

    elsewhere: for each kind of GPU that can hold it, the smallest number and the way. prompt_source: how the prompt
    length was found.
    """

    name: str
    model: Architecture
    work: Work
    gpu: GPU
    way: str
    memories: dict[str, Memory]
    variants: dict[str, dict[str, Memory]]
    pace: Pace | None
    change: Change | None
    elsewhere: list[tuple[GPU, int, str]]
    warnings: list[str]
    prompt_source: str


def plan(
    name: str, bare: Architecture, adapted: Architecture, work: Work, gpu: GPU, way: str | None, prompt_source: str
) -> Plan:
    """The plan of a run. bare: the model alone. adapted: with the run's adapter, or the suggested one."""
    model = adapted if work.is_lora else bare
    ways = list(WAYS) if work.gpus > 1 or way not in (None, "ddp") else ["ddp"]
    memories = {each: memory(model, work, each, gpu) for each in ways}
    chosen = way or _first_that_fits(_sound(memories, work), gpu)
    other = replace(work, is_lora=not work.is_lora)
    checkpointing = replace(work, is_checkpointed=not work.is_checkpointed)
    variants = {
        f"gradient checkpointing {'off' if work.is_checkpointed else 'on'}": (model, checkpointing),
        "all parameters" if work.is_lora else "LoRA, r 16": (bare if work.is_lora else adapted, other),
    }
    fits = memories[chosen].fits(gpu)
    return Plan(
        name=name,
        model=model,
        work=work,
        gpu=gpu,
        way=chosen,
        memories=memories,
        variants={
            label: {each: memory(of, which, each, gpu) for each in ways} for label, (of, which) in variants.items()
        },
        pace=pace(model, work, chosen, gpu),
        change=None if fits == "yes" else smallest_change(model, adapted, work, chosen, gpu),
        elsewhere=where_it_fits(model, work, chosen),
        warnings=warnings(model, work, chosen),
        prompt_source=prompt_source,
    )


def _sound(memories: dict[str, Memory], work: Work) -> dict[str, Memory]:
    """Drop the way that loses updates (AdamW on bf16 weights without an fp32 copy) if there is another."""
    loses = work.weight == 2 and not work.is_lora and len(memories) > 1
    return {way: held for way, held in memories.items() if way != "ddp" or not loses}


def _first_that_fits(memories: dict[str, Memory], gpu: GPU) -> str:
    """In the order of WAYS, simplest first; the leanest if none fits."""
    for wanted in ("yes", "tight"):
        for way, held in memories.items():
            if held.fits(gpu) == wanted:
                return way
    return min(memories, key=lambda way: memories[way].peak)
