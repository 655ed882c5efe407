"""The smallest change that makes a run fit, where else it fits, and warnings about its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from hysteretic.sizing.architecture import Architecture
from hysteretic.sizing.gpus import GPU, GPUS
from hysteretic.sizing.memory import WAYS, memory
from hysteretic.sizing.work import Work

Kind = list[tuple[str, Callable[[Work], Work]]]
"""Alternative changes of one thing: flags, and their effect on the work."""


@dataclass(frozen=True)
class Change:
    """A change that was tried. text: its flags, or a phrase. effort: smaller is tried first."""

    text: str
    work: Work
    way: str
    effort: int


def smallest_change(model: Architecture, lora: Architecture, work: Work, way: str, gpu: GPU) -> Change | None:
    """The first change that fits: one to three memory settings that keep the mathematics, another way of sharding, more
    GPUs, LoRA. A tight fit only if nothing fits well; None if nothing fits. lora: with an adapter."""
    best: Change | None = None
    for change in _changes(work, way):
        of = lora if change.work.is_lora and not work.is_lora else model
        found = memory(of, change.work, change.way, gpu).fits(gpu)
        if found == "yes" and (best is None or change.effort == best.effort):
            return change
        if found != "no" and best is None:
            best = change
    return best


def _changes(work: Work, way: str) -> Iterator[Change]:
    kinds = _same_mathematics(work, way)
    for count in (1, 2, 3):
        for chosen in combinations(kinds, count):
            yield from _combined(work, way, chosen)
    if work.gpus > 1:
        for other, name in WAYS.items():
            if other != way:
                yield Change(f"{name} instead of {WAYS[way]}", work, other, 4)
    shares = [kind for kind in kinds if "utilization" in kind[0][0]]
    for gpus in (2**k for k in range(1, 7)):
        rounds, accumulation = work.rounds * work.gpus / gpus, work.accumulation * work.gpus / gpus
        if gpus <= work.gpus or rounds % 1 or accumulation % 1:
            continue
        more = replace(work, gpus=gpus, rounds=int(rounds), accumulation=int(accumulation))
        flags = f"--steps_per_generation {more.rounds} --gradient_accumulation_steps {more.accumulation}"
        for other in dict.fromkeys((way, "zero2", "zero3", "fsdp2")):
            yield Change(f"{gpus} GPUs with {WAYS[other]}: {flags}", more, other, 4 + gpus)
        for other in dict.fromkeys((way, "zero2", "zero3", "fsdp2")):
            for change in _combined(more, other, shares) if shares else ():
                yield replace(change, text=f"{gpus} GPUs with {WAYS[other]}: {flags} {change.text}", effort=4 + gpus)
    if not work.is_lora:
        yield Change("LoRA: --use_peft true --lora_target_modules all-linear", replace(work, is_lora=True), way, 100)


def _same_mathematics(work: Work, way: str) -> list[Kind]:
    """Kinds of changes, each with the values to try, nearest to the settings first."""
    kinds: list[Kind] = []
    if not work.is_checkpointed:
        kinds.append([("--gradient_checkpointing true", lambda w: replace(w, is_checkpointed=True))])
    engine = work.engine
    if engine is not None:
        shares = sorted((n / 20 for n in range(2, 19) if n / 20 != engine.share), key=lambda s: abs(s - engine.share))
        kinds.append([(f"--vllm_gpu_memory_utilization {share:g}", _with_share(share)) for share in shares])
        if not engine.sleeps:
            kinds.append([("--vllm_enable_sleep_mode true", _asleep)])
    if work.tokens_per_micro_batch is None or way != "ddp":
        halved = [(work.rows // times, times) for times in (2, 4, 8, 16, 32, 64) if work.rows % times == 0]
        kinds += [[_fewer_rows(work, rows, times) for rows, times in halved]] if halved else []
    else:
        least, most = work.prompt - 1 + work.response, work.tokens_per_micro_batch
        bounds = [bound for bound in (most // 2**k for k in range(1, 12)) if bound > least] + [least]
        kinds += [[_bounded(bound) for bound in bounds]] if least < most else []
    return kinds


def _with_share(share: float) -> Callable[[Work], Work]:
    return lambda w: w if w.engine is None else replace(w, engine=replace(w.engine, share=share))


def _asleep(work: Work) -> Work:
    return work if work.engine is None else replace(work, engine=replace(work.engine, sleeps=True))


def _fewer_rows(work: Work, rows: int, times: int) -> tuple[str, Callable[[Work], Work]]:
    accumulation, rounds = work.accumulation * times, work.rounds * times
    text = (
        f"--per_device_train_batch_size {rows} --gradient_accumulation_steps {accumulation} "
        f"--steps_per_generation {rounds}"
    )
    return text, lambda w: replace(w, rows=rows, accumulation=accumulation, rounds=rounds)


def _bounded(tokens: int) -> tuple[str, Callable[[Work], Work]]:
    return f"--tokens_per_micro_batch {tokens}", lambda w: replace(w, tokens_per_micro_batch=tokens)


def _combined(work: Work, way: str, kinds: Sequence[Kind]) -> Iterator[Change]:
    """Every combination of one value per kind."""
    for chosen in product(*kinds):
        changed = work
        for _, change in chosen:
            changed = change(changed)
        yield Change(" ".join(text for text, _ in chosen), changed, way, len(kinds))


def where_it_fits(model: Architecture, work: Work, way: str) -> list[tuple[GPU, int, str]]:
    """For each kind of GPU the smallest number that fits, sharded this way or more; the batch per GPU is unchanged."""
    found = []
    for gpu in GPUS.values():
        counts = sorted({work.gpus, *(2**k for k in range(7))})
        more = list(WAYS)[list(WAYS).index(way) :]
        ways = ((n, each) for n in counts for each in (more if n > 1 else more[:1]))
        first = next(
            ((n, each) for n, each in ways if memory(model, replace(work, gpus=n), each, gpu).fits(gpu) == "yes"), None
        )
        if first is not None:
            found.append((gpu, *first))
    return found


def warnings(model: Architecture, work: Work, way: str) -> list[str]:
    """Effects of the settings that may be unintended.

    A bf16 number has 8 significant bits: neighbours of w are at least |w| / 2**8 apart, and an update of less than half
    of that, which with AdamW is about the learning rate, is rounded away.
    """
    found = []
    if work.weight == 4 and way in ("ddp", "fsdp2") and work.is_lora:
        found.append(
            "The frozen weights are loaded in float32 (TRL's default): --dtype bfloat16 halves them without affecting "
            "training."
        )
    elif work.weight == 4 and way == "ddp" and work.is_mixed:
        found.append(
            "The weights are loaded in float32 (TRL's default): 16 bytes per parameter with AdamW. They keep small "
            "updates; --dtype bfloat16 takes 8 but loses them."
        )
    if work.weight == 2 and way == "ddp" and not work.is_lora:
        largest = work.learning_rate * 2**9
        if largest < model.weight_scale:
            found.append(
                f"bf16 weights under AdamW: an update of about {work.learning_rate:g} is rounded away wherever a "
                f"weight is above {largest:.1g}, and weights are near {model.weight_scale:g}. Load --dtype "
                "float32, train an adapter (--use_peft true), or use DeepSpeed or FSDP, which keep fp32 weights."
            )
    if model.longest is not None and work.prompt + work.response > model.longest:
        found.append(
            f"Prompt and response may have {work.prompt + work.response} tokens, but the model supports "
            f"{model.longest}: lower max_completion_length."
        )
    if work.engine is not None and (work.engine.longest or 10**9) < work.prompt + work.response:
        found.append(
            f"vllm_max_model_length is {work.engine.longest}, below the {work.prompt + work.response} tokens of the "
            "longest prompt and response."
        )
    return found
