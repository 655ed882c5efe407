"""What does a recipe for `hysteretic train` say in verl's words? Settings of verl, and what cannot be said there.

Every setting that a recipe or flag gives is one of three: translated, of no influence on what is learned (noted), or
refused by name, until `--without` leaves it out. So is a default of TRL's that verl does not share.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from hysteretic.common.errors import UsageError, nearest
from hysteretic.config.settings import RunSpec
from hysteretic.launch.keys import Batch, Cluster, Overrides, of_batch, of_objective, of_sampling
from hysteretic.launch.training import loggers, name_of, of_training
from hysteretic.parts import (
    AdaptiveWeight,
    ClipGate,
    FixedWeight,
    PerResponseLength,
    SequenceRatio,
    SoftGate,
    UniformWeight,
)
from hysteretic.trl.mapping import has_known_mass

RUN = "task task_options reward model output resume train_problems data_problem_seed eval_problems"
OBJECTIVE = (
    "algorithm alpha alpha_min alpha_ema shift ratio gate weight length epsilon epsilon_high "
    "sapo_temperature_pos sapo_temperature_neg scale_rewards loss_type importance_sampling_level beta num_iterations"
)
BATCH = (
    "num_generations per_device_train_batch_size gradient_accumulation_steps steps_per_generation "
    "generation_batch_size tokens_per_micro_batch max_steps num_train_epochs max_completion_length"
)
TRAINING = (
    "learning_rate lr_scheduler_type warmup_steps weight_decay adam_beta1 adam_beta2 max_grad_norm dtype bf16 "
    "attn_implementation gradient_checkpointing use_peft lora_r lora_alpha lora_dropout lora_target_modules seed "
    "save_steps save_strategy save_total_limit report_to"
)
SAMPLING = (
    "temperature top_p top_k use_vllm vllm_mode vllm_gpu_memory_utilization vllm_max_model_length "
    "vllm_tensor_parallel_size vllm_enable_sleep_mode vllm_importance_sampling_correction "
    "vllm_importance_sampling_mode vllm_importance_sampling_clip_max vllm_importance_sampling_clip_min"
)
TRANSLATED = set(" ".join([RUN, OBJECTIVE, BATCH, TRAINING, SAMPLING]).split())

NO_INFLUENCE = {
    "drop_silent": "verl pushes silent responses through the update too; the gradient is the same",
    "share_prompts": "verl reads a prompt once a response",
    "drop_finished": "vLLM drops finished responses itself",
    "max_bad_updates": "verl leaves out every update whose gradient is not finite, with a line in the log, and goes on",
    "max_unscored": "verl drops a rollout whose reward function fails, with a line in the log, and goes on",
    "eval_samples": "verl validates with one greedy response a problem",
    "logging_steps": "verl logs every step",
    "disable_tqdm": "verl has a progress bar of its own",
    "stop_seconds": "verl goes on from its last checkpoint",
    "reward_processes": "verl scores in processes of its own (reward.num_workers)",
    "reward_seconds": "verl waits for a reward as long as it takes",
    "reward_gib": "verl does not bound a reward's memory",
    "dataloader_pin_memory": "",
    "use_cpu": "",
    "config": "",
}
"""Settings that change nothing about what is learned, and what to know of them."""

LEFT_OUT: dict[str, Any] = {
    "alpha_ema": 0.0,
    "lr_scheduler_type": "constant",
    "num_train_epochs": 1,
    "save_strategy": "no",
    "save_steps": 500,
    "report_to": "none",
    "bf16": True,
    "lora_dropout": 0.0,
    "lora_target_modules": ["all-linear"],
    "vllm_importance_sampling_clip_min": None,
}
"""What verl does instead, where --without leaves a setting out. Other translated settings must be changed."""

LOGGERS = ("wandb", "tensorboard", "mlflow", "trackio", "swanlab", "clearml")

SCHEDULES = ("constant", "constant_with_warmup", "cosine")


@dataclass
class Translation:
    """verl's settings of a run, and what to know about them."""

    overrides: Overrides = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def translate(
    request: RunSpec, given: Collection[str], cluster: Cluster, max_prompt_length: int | None, without: Collection[str]
) -> Translation:
    """verl's settings for a request. given: the settings that the recipe and flags name.

    Raises UsageError for what verl cannot do, all of it at once, and for batches that do not divide.
    """
    if request.run.model == "tiny":
        raise UsageError(
            "model is tiny, this package's model for a CPU; verl needs a GPU and a model that vLLM runs. Give --model, "
            "such as Qwen/Qwen2.5-1.5B-Instruct."
        )
    found = Translation()
    found.notes += _leave_out(request, given, without)
    found.notes += [f"{name}: {NO_INFLUENCE[name]}." for name in given if NO_INFLUENCE.get(name)]
    training = request.training
    batch = batch_of(training, given, cluster)
    for part in (
        of_objective(training.objective(), training.beta),
        of_batch(request, batch, cluster, max_prompt_length),
        of_training(request, batch),
        of_sampling(request, given),
    ):
        found.overrides |= part
    found.notes += _notes(request, given, batch, found.overrides)
    return found


def _leave_out(request: RunSpec, given: Collection[str], without: Collection[str]) -> list[str]:
    """Put what verl does in the place of what is left out; returns notes. Raises UsageError for what is not."""
    unknown = {name: "verl has no counterpart known here" for name in given if name not in {*TRANSLATED, *NO_INFLUENCE}}
    problems = {**unknown, **dict(_impossible(request, given))}
    may_be_left = {name for name in problems if name in unknown or name in LEFT_OUT}
    for name in without:
        if name not in may_be_left:
            raise UsageError(
                f"--without {name}: "
                + (f"{problems[name]}; change it, it cannot be left out." if name in problems else "it is not refused.")
                + nearest(name, may_be_left)
                + f" What can be left out here: {', '.join(sorted(may_be_left)) or 'nothing'}."
            )
    left = {name: why for name, why in problems.items() if name not in without}
    if left:
        names = " ".join(f"--without {name}" for name in left if name in may_be_left)
        raise UsageError(
            f"verl cannot do what these settings say: {'; '.join(f'{name} ({why})' for name, why in left.items())}. "
            f"Change them{f', or leave out what can be: {names}' if names else ''}."
        )
    notes = []
    for name in without:
        if name in LEFT_OUT:
            setattr(request.training if hasattr(request.training, name) else request.model, name, LEFT_OUT[name])
        instead = f"; it is {LEFT_OUT[name]} in verl" if name in LEFT_OUT else ""
        notes.append(f"{name} is left out, as asked{instead}.")
    return notes


def batch_of(training: Any, given: Collection[str], cluster: Cluster) -> Batch:
    """The rollout that TRL would make with so many processes. Raises UsageError where verl cannot cut it alike."""
    size, group = training.per_device_train_batch_size * cluster.processes, training.num_generations
    rollout = (
        training.generation_batch_size if "generation_batch_size" in given else size * training.steps_per_generation
    )
    rows = size * training.gradient_accumulation_steps
    gpus = cluster.nodes * cluster.gpus
    for what, whole, part, of in [
        ("A rollout", rollout, group, "num_generations"),
        ("A rollout", rollout, rows, "responses an update"),
        ("An update", rows, group, "num_generations"),
        ("An update", rows, gpus, "GPUs"),
    ]:
        if whole % part:
            raise UsageError(
                f"{what} has {whole} responses, which {part} ({of}) does not divide; verl counts whole prompts and "
                "deals responses evenly. Change per_device_train_batch_size, gradient_accumulation_steps, "
                "steps_per_generation or the number of GPUs."
            )
    return Batch(rollout // group, rows, rollout // rows * training.num_iterations)


def _impossible(request: RunSpec, given: Collection[str]) -> Iterator[tuple[str, str]]:
    """Translated settings whose value, asked for or TRL's default, verl does not have."""
    training, model = request.training, request.model
    objective = training.objective()
    if training.alpha_ema:
        yield "alpha_ema", "the estimators keep nothing between steps"
    if not isinstance(objective.weight, UniformWeight | FixedWeight | AdaptiveWeight):
        yield "weight", f"the estimators are hpo and a_hpo, not {type(objective.weight).__name__}"
    if not has_known_mass(objective):
        yield "loss_type", f"verl has no {training.loss_type} like TRL's"
    if isinstance(objective.ratio, SequenceRatio) and not isinstance(objective.gate, ClipGate):
        yield "gate", f"verl's gspo clips; it has no sequence ratio with {type(objective.gate).__name__}"
    if isinstance(objective.gate, SoftGate) and not isinstance(objective.length, PerResponseLength):
        yield "length", "verl's sapo always takes each response's own length"
    if str(training.scale_rewards) == "batch":
        yield "scale_rewards", "verl divides by the group's standard deviation or not at all"
    schedule = name_of(training.lr_scheduler_type)
    if schedule not in SCHEDULES:
        yield "lr_scheduler_type", f"{schedule}; verl has {', '.join(SCHEDULES)}"
    if training.max_steps <= 0 and training.num_train_epochs % 1:
        yield "num_train_epochs", f"{training.num_train_epochs}; verl counts whole epochs; max_steps counts updates"
    saves = name_of(training.save_strategy)
    if saves not in ("no", "steps"):
        yield "save_strategy", f"{saves}; verl saves every so many steps, or the last one"
    if saves == "steps" and training.save_steps < 1 and training.max_steps <= 0:
        yield "save_steps", f"{training.save_steps}, a share of a run whose max_steps is not set"
    for name in loggers(training.report_to):
        if name not in LOGGERS:
            yield "report_to", f"{name}; verl reports to {', '.join(LOGGERS)}"
    if "bf16" in given and not training.bf16:
        yield "bf16", "false; verl computes in bf16"
    if model.use_peft and model.lora_dropout:
        yield "lora_dropout", f"{model.lora_dropout}; verl's LoRA has none"
    if model.use_peft and model.lora_target_modules is None:
        yield "lora_target_modules", "not set: PEFT has defaults of its own for each architecture, verl has not"
    is_cut = training.vllm_importance_sampling_mode.endswith("truncate")
    if training.vllm_importance_sampling_correction and is_cut and training.vllm_importance_sampling_clip_min:
        yield "vllm_importance_sampling_clip_min", "verl truncates from above only"


def _notes(request: RunSpec, given: Collection[str], batch: Batch, overrides: Overrides) -> Iterator[str]:
    """What is another in verl than in TRL, and is done all the same."""
    training, model = request.training, request.model
    yield (
        f"A step is {batch.prompts} prompts x {training.num_generations} responses and {batch.updates} "
        f"update{'s' * (batch.updates > 1)} of {batch.rows} responses."
    )
    if batch.rows != batch.prompts * training.num_generations:
        yield (
            "ppo_mini_batch_size is smaller than train_batch_size: signs and alpha are those of the whole step, "
            "lengths are normalised in each mini-batch (in TRL over the whole rollout)."
        )
    if training.max_steps > 0 and training.max_steps % batch.updates:
        yield f"max_steps ({training.max_steps}) is no multiple of {batch.updates}; verl makes whole steps."
    if not training.use_vllm:
        yield "use_vllm is false; verl generates with vLLM all the same."
    if "vllm_mode" in given and training.vllm_mode != "colocate":
        yield f"vllm_mode is {training.vllm_mode}; verl runs vLLM itself, on the GPUs that it trains on."
    if model.dtype not in (None, "auto", "float32") or model.use_peft:
        yield (
            f"dtype is {model.dtype}; verl holds the weights, sharded over the GPUs, in fp32 (also frozen ones, with "
            "LoRA) and computes in bf16. An optimiser of verl's on bf16 weights would lose small updates."
        )
    if name_of(training.lr_scheduler_type) == "constant" and training.warmup_steps:
        yield "warmup_steps has no effect with lr_scheduler_type constant, as in TRL; constant_with_warmup has one."
    elif training.warmup_steps:
        yield "Warm-up: verl moves the learning rate once a rollout, from 0: the first rollout changes nothing."
    if training.weight_decay:
        yield f"weight_decay ({training.weight_decay}): verl decays biases and norms too, which TRL does not."
    asked = training.tokens_per_micro_batch
    if asked is not None and overrides["actor_rollout_ref.actor.ppo_max_token_len_per_gpu"] > asked:
        yield f"tokens_per_micro_batch ({asked}) is less than a prompt and a response; verl gets what they need."
