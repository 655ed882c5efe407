"""Translate the settings of `hysteretic train` to verl's, and report what verl cannot do.

Every given setting (config/facts.py) is translated, or noted because it does not affect learning, or rejected by name
until `--without` leaves it out. Defaults of TRL that verl does not share are treated likewise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from hysteretic.common.errors import Refusals, UsageError, nearest
from hysteretic.config.facts import facts, verl_defaults
from hysteretic.config.settings import RunSpec
from hysteretic.launch.overrides import Overrides
from hysteretic.launch.verl_keys import (
    Batch,
    Cluster,
    computes_in_fp32,
    loggers,
    name_of,
    of_batch,
    of_objective,
    of_sampling,
    of_training,
    prompt_length,
)
from hysteretic.parts import (
    AdaptiveWeight,
    ClipGate,
    EntropyWeight,
    FixedWeight,
    PerResponseLength,
    SequenceRatio,
    SoftGate,
    UniformWeight,
)
from hysteretic.trl.mapping import has_known_mass

LOGGERS = ("wandb", "tensorboard", "mlflow", "trackio", "swanlab", "clearml")

SCHEDULES = ("constant", "constant_with_warmup", "cosine")


@dataclass
class Translation:
    """verl's settings for a run, with notes for the user."""

    overrides: Overrides = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def translate(
    request: RunSpec, given: Collection[str], cluster: Cluster, max_prompt_length: int | None, without: Collection[str]
) -> Translation:
    """verl's settings for a run. given: the settings that the recipe and flags name.

    Raises UsageError that lists everything verl cannot do, and for batches that do not divide.
    """
    refusals, found, training = Refusals(), Translation(), request.training
    batch: Batch | None = None
    with refusals.collected():
        _check_model(request)
    with refusals.collected():
        found.notes += _leave_out(request, given, without)
    with refusals.collected():
        batch = batch_of(training, given, cluster)
    with refusals.collected():
        prompt_length(training, max_prompt_length)
    refusals.check()
    assert batch is not None
    known = facts()
    notes = {name: known[name].verl for name in given if name in known}
    found.notes += [f"{name}: {note}." for name, note in notes.items() if isinstance(note, str) and note]
    for part in (
        of_objective(training.objective(), training.beta),
        of_batch(request, batch, cluster, max_prompt_length),
        of_training(request, batch, given),
        of_sampling(request, given),
    ):
        found.overrides |= part
    found.notes += _notes(request, given, batch, found.overrides)
    return found


def _check_model(request: RunSpec) -> None:
    """Raises UsageError for the embedded model."""
    if request.run.model == "tiny":
        raise UsageError(
            "model is tiny, the embedded CPU model; verl needs a GPU and a model for vLLM. Give --model, such as "
            "Qwen/Qwen2.5-1.5B-Instruct."
        )


def _leave_out(request: RunSpec, given: Collection[str], without: Collection[str]) -> list[str]:
    """Replace what is left out by what verl does; returns notes. Raises UsageError for the unsupported rest."""
    known, defaults = facts(), verl_defaults()
    unknown = {name: "no known counterpart in verl" for name in given if name not in known or known[name].verl is None}
    problems = {**unknown, **dict(_impossible(request, given))}
    may_be_left = {name for name in problems if name in unknown or name in defaults}
    wrong = [
        f"--without {name}: "
        + (f"{problems[name]}; change it, it cannot be left out." if name in problems else "verl supports it.")
        + nearest(name, may_be_left)
        + f" Settings that can be left out: {', '.join(sorted(may_be_left)) or 'none'}."
        for name in without
        if name not in may_be_left
    ]
    left = {name: why for name, why in problems.items() if name not in without}
    if left:
        names = " ".join(f"--without {name}" for name in left if name in may_be_left)
        wrong.append(
            f"verl does not support these settings: {'; '.join(f'{name} ({why})' for name, why in left.items())}. "
            f"Change them{f', or leave them out: {names}' if names else ''}."
        )
    if wrong:
        raise UsageError("\n".join(wrong))
    notes = []
    for name in without:
        if name in defaults:
            setattr(request.training if hasattr(request.training, name) else request.model, name, defaults[name])
        instead = f"; it is {defaults[name]} in verl" if name in defaults else ""
        notes.append(f"{name} is left out{instead}.")
    return notes


def batch_of(training: Any, given: Collection[str], cluster: Cluster) -> Batch:
    """The rollout that TRL would generate with so many processes. Raises UsageError if verl cannot divide it."""
    size, group = training.per_device_train_batch_size * cluster.processes, training.num_generations
    rollout = (
        training.generation_batch_size if "generation_batch_size" in given else size * training.steps_per_generation
    )
    rows = size * training.gradient_accumulation_steps
    gpus = cluster.nodes * cluster.gpus
    uneven = [
        f"{what} has {whole} responses, which {part} ({of}) does not divide"
        for what, whole, part, of in [
            ("A rollout", rollout, group, "num_generations"),
            ("A rollout", rollout, rows, "responses per update"),
            ("An update", rows, group, "num_generations"),
            ("An update", rows, gpus, "GPUs"),
        ]
        if whole % part
    ]
    if uneven:
        raise UsageError(
            f"{'. '.join(uneven)}; verl counts whole prompts and distributes responses evenly. Change "
            "per_device_train_batch_size, gradient_accumulation_steps, steps_per_generation or the number of GPUs."
        )
    return Batch(rollout // group, rows, rollout // rows * training.num_iterations)


def _impossible(request: RunSpec, given: Collection[str]) -> Iterator[tuple[str, str]]:
    """Translated settings whose value (given, or TRL's default) verl does not support."""
    training, model = request.training, request.model
    objective = training.objective()
    if training.alpha_ema:
        yield "alpha_ema", "the estimators keep no state between steps"
    if not isinstance(objective.weight, UniformWeight | FixedWeight | AdaptiveWeight):
        yield "weight", f"the estimators have a fixed or an adaptive weight, not {type(objective.weight).__name__}"
    if isinstance(objective.weight, EntropyWeight):
        yield "weight", "verl tells its estimators nothing about entropy"
    if not has_known_mass(objective):
        yield "loss_type", f"verl has no counterpart of TRL's {training.loss_type}"
    if isinstance(objective.ratio, SequenceRatio) and not isinstance(objective.gate, ClipGate):
        yield "gate", f"verl's gspo clips; it has no sequence ratio with {type(objective.gate).__name__}"
    if isinstance(objective.gate, SoftGate) and not isinstance(objective.length, PerResponseLength):
        yield "length", "verl's sapo always uses each response's own length"
    if training.sign_rewards:
        yield "sign_rewards", "verl has one reward per response, whose sign counts"
    if str(training.scale_rewards) == "batch":
        yield "scale_rewards", "verl divides by the group's standard deviation or not at all"
    schedule = name_of(training.lr_scheduler_type)
    if schedule not in SCHEDULES:
        yield "lr_scheduler_type", f"{schedule}; verl has {', '.join(SCHEDULES)}"
    if training.max_steps <= 0 and training.num_train_epochs % 1:
        yield "num_train_epochs", f"{training.num_train_epochs}; verl counts whole epochs; max_steps counts updates"
    saves = name_of(training.save_strategy)
    if saves not in ("no", "steps"):
        yield "save_strategy", f"{saves}; verl saves every N steps, or only at the end"
    if saves == "steps" and training.save_steps < 1 and training.max_steps <= 0:
        yield "save_steps", f"{training.save_steps}, a fraction of a run whose max_steps is not set"
    for name in loggers(training.report_to):
        if name not in LOGGERS:
            yield "report_to", f"{name}; verl reports to {', '.join(LOGGERS)}"
    if model.use_peft and model.lora_dropout:
        yield "lora_dropout", f"{model.lora_dropout}; verl's LoRA has none"
    if model.use_peft and model.lora_target_modules is None:
        yield "lora_target_modules", "not set: PEFT has defaults for each architecture, verl has none"
    is_cut = training.vllm_importance_sampling_mode.endswith("truncate")
    if training.vllm_importance_sampling_correction and is_cut and training.vllm_importance_sampling_clip_min:
        yield "vllm_importance_sampling_clip_min", "verl truncates from above only"


def _notes(request: RunSpec, given: Collection[str], batch: Batch, overrides: Overrides) -> Iterator[str]:
    """Notes on differences between verl and TRL that are accepted."""
    training, model = request.training, request.model
    yield (
        f"A step is {batch.prompts} prompts x {training.num_generations} responses and {batch.updates} "
        f"update{'s' * (batch.updates > 1)} of {batch.rows} responses."
    )
    if batch.rows != batch.prompts * training.num_generations:
        yield (
            "ppo_mini_batch_size is smaller than train_batch_size: signs and alpha cover the whole step, but "
            "lengths are normalised per mini-batch (in TRL over the whole rollout)."
        )
    if training.max_steps > 0 and training.max_steps % batch.updates:
        yield f"max_steps ({training.max_steps}) is not a multiple of {batch.updates}; verl makes whole steps."
    if not training.use_vllm:
        yield "use_vllm is false; verl generates with vLLM anyway."
    if "vllm_mode" in given and training.vllm_mode != "colocate":
        yield f"vllm_mode is {training.vllm_mode}; verl runs vLLM itself, on the GPUs that it trains on."
    computes = "fp32" if computes_in_fp32(training, given) else "bf16"
    if model.dtype not in (None, "auto", "float32") or model.use_peft:
        yield (
            f"dtype is {model.dtype}; verl holds the weights, sharded over the GPUs, in fp32 (also frozen ones, with "
            f"LoRA) and computes in {computes}. verl's optimiser would lose small updates on bf16 weights."
        )
    if computes == "fp32":
        yield "bf16 is false: verl computes in fp32 too (mixed_precision.param_dtype), but its vLLM generates in bf16."
    if name_of(training.lr_scheduler_type) == "constant" and training.warmup_steps:
        yield "warmup_steps has no effect with lr_scheduler_type constant, as in TRL; constant_with_warmup has one."
    elif training.warmup_steps:
        yield "Warm-up: verl steps the learning rate once per rollout, from 0: the first rollout changes nothing."
    if training.weight_decay:
        yield f"weight_decay ({training.weight_decay}): verl decays biases and norms too, which TRL does not."
    asked = training.tokens_per_micro_batch
    if asked is not None and overrides["actor_rollout_ref.actor.ppo_max_token_len_per_gpu"] > asked:
        yield f"tokens_per_micro_batch ({asked}) is less than one prompt and response; verl gets enough for both."
