"""The plan of a run, from its settings: reads the model's configuration and measures the task's prompts."""

from __future__ import annotations

from typing import Any

from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.config.settings import RunSpec
from hysteretic.models import model_path
from hysteretic.sizing.architecture import architecture, read_config
from hysteretic.sizing.gpus import GPU
from hysteretic.sizing.plan import Plan, plan
from hysteretic.sizing.prompts import longest_prompt
from hysteretic.sizing.work import Work, work_of


def plan_run(
    request: RunSpec,
    name: str,
    gpu: GPU,
    gpus: int,
    way: str | None = None,
    prompt_tokens: int | None = None,
    response_tokens: float | None = None,
    silent: float = 0.0,
) -> Plan:
    """Memory and time of a run.

    Args:
        request: its settings, read as `gpus` processes would.
        name: what the plan calls it.
        way: how the GPUs share the model; None for the first way that fits.
        prompt_tokens: the longest prompt; None measures the task's prompts.
        response_tokens: the mean response; None for half of the longest.
        silent: expected fraction of responses in silent groups.

    Raises:
        UsageError: where the settings contradict each other, or the model or its prompts are unknown.
    """
    with usage_errors(kinds=ValueError):
        path = model_path(request.run.model, request.run.task)
        config = read_config(path, request.model.model_revision)
        prompt, source = longest_prompt(request, path, prompt_tokens)
        work = work_of(request, gpus, prompt, response_tokens, silent)
        _check(work)
        bare = architecture(config, str(request.run.model))
        adapted = architecture(config, str(request.run.model), lora(request))
    return plan(name, bare, adapted, work, gpu, way, source)


def _check(work: Work) -> None:
    if work.responses % work.group:
        raise UsageError(
            f"A rollout is {work.responses} responses ({work.gpus} GPUs x per_device_train_batch_size {work.rows} "
            f"x steps_per_generation {work.rounds}), which is not a multiple of num_generations ({work.group}); change "
            "one of them."
        )
    if work.mean_response > work.response:
        raise UsageError(
            f"--response-tokens is {work.mean_response:g}, above max_completion_length ({work.response}); give a "
            "smaller mean."
        )


def lora(request: RunSpec) -> Any:
    """The run's LoRA configuration; or rank 16 on all matrices where it has none, as an alternative to compare with."""
    from peft import LoraConfig
    from trl import get_peft_config

    if request.model.use_peft:
        return get_peft_config(request.model)
    return LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM")
