"""Supervised fine-tuning on a task's own worked solutions, so that reinforcement learning has successes to reinforce.

The first of the two stages of the TeleLogs article (arXiv 2507.21974): fine-tune on reasoning traces, then reinforce.
TRL's SFTTrainer does it; only the responses have a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset
from trl import SFTTrainer, get_peft_config, get_quantization_config

from hysteretic.common.errors import UsageError
from hysteretic.models import model_path
from hysteretic.models.loading import load_tokenizer, model_arguments
from hysteretic.tasks.checked import draw, load_task
from hysteretic.tasks.task import Demonstrates, Problem


def _setting(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class WarmupConfig:
    """The settings of a warm-up besides TRL's SFTConfig and ModelConfig."""

    task: str = _setting("A task that provides worked solutions, such as telelogs-synthetic.", "telelogs-synthetic")
    task_options: str | None = _setting('Options of the task as JSON: {"false_leads": 0.5}.')
    model: str | None = _setting("A hub name or a folder; 'tiny' for the task's tiny model.")
    output: str = _setting("Folder of the fine-tuned model.", "runs/warmup")
    problems: int = _setting("Number of solutions to train on.", 2000)
    data_problem_seed: int = _setting("Seed of the problems; `hysteretic train` draws its own with seed 0.", 1)


def warm_up(config: WarmupConfig, task_options: dict[str, Any], training: Any, model: Any) -> bool:
    """Fine-tune, and save model and tokenizer; returns whether this is the main process. Raises UsageError.

    training: TRL's SFTConfig. model: TRL's ModelConfig.
    """
    if config.problems < 1:
        raise UsageError(f"problems is {config.problems}; give at least 1.")
    if config.model is None:
        raise UsageError("No model to fine-tune; give --model, a hub name or a folder.")
    training.output_dir = config.output
    task, problems = _problems(config, task_options)
    training.model_init_kwargs = model_arguments(model, training.model_init_kwargs)
    tokenizer = load_tokenizer(config.model, config.task, problems[0], model.model_revision, side="right")
    rows = [_row(problem, task.demonstration(problem)) for problem in problems]
    _check_length(rows, tokenizer, config.model)
    trainer = SFTTrainer(
        model=model_path(config.model, config.task),
        args=training,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=get_peft_config(model),
        quantization_config=get_quantization_config(model),
    )
    trainer.train()
    trainer.save_model(config.output)
    is_main: bool = trainer.accelerator.is_main_process
    if is_main:
        tokenizer.save_pretrained(config.output)
    return is_main


def _problems(config: WarmupConfig, task_options: dict[str, Any]) -> tuple[Demonstrates, Sequence[Problem]]:
    """The task, and the problems whose solutions are trained on. Raises UsageError."""
    task = load_task(config.task, **task_options)
    problems = draw(task, "train", config.data_problem_seed, config.problems)
    if not isinstance(task, Demonstrates):
        raise UsageError(
            f"The task {config.task} provides no worked solutions to train on; give its class a method "
            "demonstration(problem) that returns a correct response, or use telelogs-synthetic."
        )
    return task, problems


def _row(problem: Problem, response: str) -> dict[str, Any]:
    """A row in TRL's columns: prompt and completion, both as text or both as messages."""
    if isinstance(problem.prompt, str):
        return {"prompt": problem.prompt, "completion": response}
    return {"prompt": problem.prompt, "completion": [{"role": "assistant", "content": response}]}


def _check_length(rows: Sequence[dict[str, Any]], tokenizer: Any, model: str) -> None:
    """Raises UsageError where the longest row exceeds the model's context."""
    longest = max(rows, key=lambda row: len(str(row)))
    if isinstance(longest["prompt"], str):
        text = longest["prompt"] + longest["completion"]
    else:
        text = tokenizer.apply_chat_template(longest["prompt"] + longest["completion"], tokenize=False)
    length = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    if length > tokenizer.model_max_length:
        raise UsageError(
            f"The longest prompt and solution have {length} tokens, but {model} supports {tokenizer.model_max_length}; "
            "use a model with a longer context, or shorter problems."
        )
