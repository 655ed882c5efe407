"""A plan as text for the terminal, and as JSON."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from typing import Any

from hysteretic.common.terminal import text_table
from hysteretic.sizing.gpus import GIB
from hysteretic.sizing.memory import WAYS, Memory
from hysteretic.sizing.pace import BANDWIDTH, COMPUTE, LINK
from hysteretic.sizing.plan import Plan

WIDTH = 100
SAYS = {"yes": "fits", "tight": "tight", "no": "too much"}
EITHER = ("one layer at work", "LM head tiles")


def as_text(plan: Plan) -> str:
    parts = [_head(plan), _memory(plan), _tokens(plan), *_verdict(plan)]
    parts += [_wrapped("Warning: " + warning) for warning in plan.warnings]
    parts.append(_wrapped("Uncalibrated: computed from formulas and datasheets, not measured on GPUs."))
    return "\n\n".join(parts)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _head(plan: Plan) -> str:
    model, work = plan.model, plan.work
    trains = f"LoRA of {model.adapter / 1e6:,.1f} M" if work.is_lora else "all trained"
    cards = f"{work.gpus} x {plan.gpu.name} of {plan.gpu.memory:.1f} GiB"
    return _wrapped(f"{plan.name}: {model.name}, {model.parameters:,} parameters, {trains}; {cards}")


def _memory(plan: Plan) -> str:
    """Parts by way of sharding, then the moments, then the peak with other settings."""
    held = plan.memories
    header = ["GiB per GPU", *(_name(way, plan.work.gpus) for way in held)]
    rows = [[part, *(_gib(memory.fixed[part]) for memory in held.values())] for part in next(iter(held.values())).fixed]
    update = next(iter(held.values())).update
    for part in update:
        label = f"{part} *" if part in EITHER else part
        rows.append([label, *(_gib(memory.update[part]) for memory in held.values())])
    if plan.work.engine is None:
        rows.append(["KV cache", *(_gib(memory.generation["cache"]) for memory in held.values())])
    rows = [row for row in rows if row[0] in ("gradients", "activations") or any(cell != "-" for cell in row[1:])]
    moments = [
        [f"at {moment}", *(_gib(memory.moments[moment]) for memory in held.values())]
        for moment in ("generation", "update", "step")
    ]
    peaks = [["peak", *(_judged(memory, plan) for memory in held.values())]]
    peaks += [[label, *(_judged(memory, plan) for memory in row.values())] for label, row in plan.variants.items()]
    lines = text_table([header, *rows, *moments, *peaks]).splitlines()
    first, second = 2 + len(rows), 2 + len(rows) + len(moments)
    rule = lines[1]
    table = [*lines[:first], rule, *lines[first:second], rule, *lines[second:]]
    notes = ["* Never held together: only the larger counts."]
    if plan.work.engine is not None:
        cache = held[plan.way].engine_cache or 0.0
        full = cache / (plan.work.prompt + plan.work.response)
        sleeps = ", and sleeps during updates" if plan.work.engine.sleeps else ""
        notes.append(
            f"vLLM takes {100 * plan.work.engine.share:.0f} % of the GPU{sleeps}. Its KV cache holds "
            f"{max(cache, 0):,.0f} tokens: {max(full, 0):,.0f} responses of maximum length at once."
        )
    elif plan.work.has_server:
        notes.append("vLLM runs as a server: its GPUs are not counted here.")
    return "\n".join([*table, *map(_wrapped, notes)])


def _name(way: str, gpus: int) -> str:
    return "a single GPU" if gpus == 1 and way == "ddp" else WAYS[way]


def _gib(value: float) -> str:
    size = value / GIB
    return "-" if size < 0.0005 else f"{size:.3f}" if size < 0.1 else f"{size:.1f}"


def _judged(memory: Memory, plan: Plan) -> str:
    return f"{_gib(memory.peak)} {SAYS[memory.fits(plan.gpu)]}"


def _tokens(plan: Plan) -> str:
    work = plan.work
    forwarded, _ = work.forwarded()
    most = work.micro_batch()[0]
    lines = [
        f"A rollout: {work.prompts} prompts of up to {work.prompt} tokens ({plan.prompt_source}) x {work.group} "
        f"responses of up to {work.response}; {work.updates_a_rollout} updates of "
        f"{work.responses * work.accumulation // work.rounds} responses each.",
        f"A step: {work.responses * work.mean_response / work.updates_a_rollout:,.0f} tokens generated and "
        f"{forwarded:,.0f} read by the update, at a mean of {work.mean_response:g} tokens per response; the "
        f"largest micro-batch holds {most:,.0f} tokens.",
    ]
    if work.silent:
        lines[-1] += f" {100 * work.silent:.0f} % of the responses are in silent groups."
    if plan.pace is None:
        why = "the run does not fit" if plan.gpu.compute else f"only the size of the GPU is given ({plan.gpu.name})"
        lines.append(f"Time: unknown, because {why}.")
    else:
        pace, gpu = plan.pace, plan.gpu
        hours = pace.step * work.updates / 3600
        total = f"; {work.updates} updates take about {_time(hours)}" if work.updates > 0 else ""
        lines += [
            f"About {_seconds(pace.step)} s per step with {_name(plan.way, work.gpus)}: generation "
            f"{_seconds(pace.generation)} s, old log-probs {_seconds(pace.old_log_probs)} s, each update "
            f"{_seconds(pace.update)} s{total}.",
            f"Assumed: {100 * COMPUTE:.0f} % of {gpu.compute:g} TFLOP/s, {100 * BANDWIDTH:.0f} % of "
            f"{gpu.bandwidth:g} GB/s memory, {100 * LINK:.0f} % of {gpu.link:g} GB/s between GPUs; rewards, "
            "checkpoints and evaluations not counted.",
        ]
    return "\n".join(map(_wrapped, lines))


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _time(hours: float) -> str:
    return (
        f"{hours * 60:.0f} minutes" if hours < 1.5 else f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"
    )


def _verdict(plan: Plan) -> list[str]:
    fits, peak = plan.memories[plan.way].fits(plan.gpu), plan.memories[plan.way].peak
    size = f"{_gib(peak)} of {plan.gpu.memory:.1f} GiB with {_name(plan.way, plan.work.gpus)}"
    said = {
        "yes": f"It fits: {size}.",
        "tight": f"Tight: {size}, too close to call.",
        "no": f"It does not fit: {size}.",
    }[fits]
    if plan.memories[plan.way].is_engine_too_small:
        said = (
            f"It does not fit: vLLM's part of the {plan.gpu.memory:.1f} GiB does not hold its weights and one response "
            "of maximum length."
        )
    if plan.change is not None:
        said += f" The smallest change that makes it fit: {plan.change.text}"
    elif fits == "no":
        said += (
            " Neither other memory settings or sharding, nor up to 64 GPUs, nor LoRA make it fit: use larger GPUs, a "
            "smaller model or shorter responses."
        )
    where = "; ".join(
        f"{count} x {gpu.name}" + (f" with {WAYS[way]}" if way != "ddp" else "") for gpu, count, way in plan.elsewhere
    )
    return [_wrapped(said), _wrapped(f"Unchanged, it fits on: {where or 'none of the known GPUs, up to 64 of them'}.")]


def as_json(plan: Plan) -> dict[str, Any]:
    """Bytes, tokens and seconds; keys as in hysteretic.sizing."""
    return {
        "name": plan.name,
        "calibrated": False,
        "model": asdict(plan.model),
        "work": asdict(plan.work),
        "gpu": asdict(plan.gpu),
        "gpus": plan.work.gpus,
        "way": plan.way,
        "fits": plan.memories[plan.way].fits(plan.gpu),
        "memory_bytes": {way: _memory_json(memory, plan) for way, memory in plan.memories.items()},
        "variants": {
            label: {way: _memory_json(memory, plan) for way, memory in row.items()}
            for label, row in plan.variants.items()
        },
        "tokens": {
            "prompt_source": plan.prompt_source,
            "responses_a_rollout": plan.work.responses,
            "forwarded_a_step": plan.work.forwarded()[0],
            "largest_micro_batch": plan.work.micro_batch()[0],
        },
        "seconds": None if plan.pace is None else {**asdict(plan.pace), "step": plan.pace.step},
        "assumed": {"compute": COMPUTE, "bandwidth": BANDWIDTH, "link": LINK},
        "change": None if plan.change is None else plan.change.text,
        "fits_on": [{"gpu": gpu.name, "gpus": count, "way": way} for gpu, count, way in plan.elsewhere],
        "warnings": plan.warnings,
    }


def _memory_json(memory: Memory, plan: Plan) -> dict[str, Any]:
    return {
        **asdict(memory),
        "static": memory.static,
        "moments": memory.moments,
        "peak": memory.peak,
        "fits": memory.fits(plan.gpu),
    }
