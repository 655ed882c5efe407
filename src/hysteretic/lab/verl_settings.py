"""What does a recipe for `hysteretic train` say in verl's words? Settings of verl, and what cannot be said there.

Every setting that a recipe or flag gives is one of three: translated, of no influence on what is learned (noted), or
refused by name, until `--without` leaves it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from hysteretic.lab.errors import UsageError
from hysteretic.lab.settings import Request
from hysteretic.lab.verl_keys import Batch, Cluster, Overrides, of_batch, of_objective, of_sampling, of_training
from hysteretic.parts import Adaptive, Clip, Fixed, PerResponse, SequenceRatio, SoftGate, Uniform

RUN = "task task_options reward model output resume train_problems data_problem_seed eval_problems"
OBJECTIVE = (
    "algorithm alpha alpha_min ratio gate weight length epsilon epsilon_high sapo_temperature_pos "
    "sapo_temperature_neg scale_rewards loss_type importance_sampling_level beta num_iterations"
)
BATCH = (
    "num_generations per_device_train_batch_size gradient_accumulation_steps steps_per_generation "
    "generation_batch_size tokens_per_micro_batch max_steps num_train_epochs max_completion_length"
)
TRAINING = (
    "learning_rate lr_scheduler_type warmup_steps weight_decay adam_beta1 adam_beta2 max_grad_norm dtype bf16 "
    "gradient_checkpointing use_peft lora_r lora_alpha lora_dropout lora_target_modules seed save_steps save_strategy "
    "save_total_limit report_to"
)
SAMPLING = (
    "temperature top_p top_k use_vllm vllm_mode vllm_gpu_memory_utilization vllm_max_model_length "
    "vllm_tensor_parallel_size vllm_enable_sleep_mode"
)
TRANSLATED = set(" ".join([RUN, OBJECTIVE, BATCH, TRAINING, SAMPLING]).split())

NO_INFLUENCE = {
    "drop_silent": "verl pushes silent responses through the update too; the gradient is the same",
    "share_prompts": "verl reads a prompt once a response",
    "drop_finished": "vLLM drops finished responses itself",
    "eval_samples": "verl validates with one greedy response a problem",
    "logging_steps": "verl logs every step",
    "disable_tqdm": "verl has a progress bar of its own",
    "dataloader_pin_memory": "",
    "use_cpu": "",
    "config": "",
}
"""Settings that change nothing about what is learned, and what to know of them."""

SCHEDULES = ("constant", "cosine")


@dataclass
class Translation:
    """verl's settings of a run, and what to know about them."""

    overrides: Overrides = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def translate(
    request: Request, given: Collection[str], cluster: Cluster, max_prompt_length: int | None, without: Collection[str]
) -> Translation:
    """verl's settings for a request. given: the settings that the recipe and flags name.

    Raises UsageError for what verl cannot do, all of it at once, and for batches that do not divide.
    """
    training, found = request.training, Translation()
    if request.run.model == "tiny":
        raise UsageError(
            "model is tiny, this package's model for a CPU; verl needs a GPU and a model that vLLM runs. Give --model, "
            "such as Qwen/Qwen2.5-1.5B-Instruct."
        )
    refused = [name for name in given if name not in TRANSLATED and name not in NO_INFLUENCE and name not in without]
    problems = [f"{name} (verl has no counterpart known here)" for name in refused]
    problems += [f"{name} ({why})" for name, why in _impossible(request, given) if name not in without]
    if problems:
        names = " ".join(f"--without {name}" for name in dict.fromkeys(words.split(" ")[0] for words in problems))
        raise UsageError(
            f"verl cannot do what these settings say: {'; '.join(problems)}. Change them, or leave them out: {names}"
        )
    found.notes += [f"{name}: {NO_INFLUENCE[name]}." for name in given if NO_INFLUENCE.get(name)]
    found.notes += [f"{name} is left out, as asked." for name in without]
    batch = batch_of(training, given, cluster)
    for part in (
        of_objective(training.objective(), training.beta),
        of_batch(request, batch, cluster, max_prompt_length),
        of_training(request, batch),
        of_sampling(request, given),
    ):
        found.overrides |= part
    found.notes += list(_notes(training, batch))
    return found


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


def _impossible(request: Request, given: Collection[str]) -> Iterator[tuple[str, str]]:
    """Translated settings whose value verl does not have."""
    training, model = request.training, request.model
    objective = training.objective()
    if training.alpha_ema:
        yield "alpha_ema", "the estimators keep nothing between steps"
    if not isinstance(objective.weight, Uniform | Fixed | Adaptive):
        yield "weight", f"the estimators are hpo and a_hpo, not {type(objective.weight).__name__}"
    if isinstance(objective.ratio, SequenceRatio) and not isinstance(objective.gate, Clip):
        yield "gate", f"verl's gspo clips; it has no sequence ratio with {type(objective.gate).__name__}"
    if isinstance(objective.gate, SoftGate) and not isinstance(objective.length, PerResponse):
        yield "length", "verl's sapo always takes each response's own length"
    if str(training.scale_rewards) == "batch":
        yield "scale_rewards", "verl divides by the group's standard deviation or not at all"
    schedule = getattr(training.lr_scheduler_type, "value", training.lr_scheduler_type)
    if schedule not in SCHEDULES:
        yield "lr_scheduler_type", f"{schedule}; verl has {' and '.join(SCHEDULES)}"
    if "bf16" in given and not training.bf16:
        yield "bf16", "false; verl computes in bf16"
    if model.use_peft and model.lora_dropout:
        yield "lora_dropout", f"{model.lora_dropout}; verl's LoRA has none"
    if model.dtype not in (None, "auto", "float32", "bfloat16"):
        yield "dtype", f"{model.dtype}; float32 and bfloat16 are translated"


def _notes(training: Any, batch: Batch) -> Iterator[str]:
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
