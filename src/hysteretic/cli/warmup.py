"""`hysteretic warmup`: supervised steps on a task's own worked solutions, so that reinforcement has something to find.

The first of the two stages of the TeleLogs article (arXiv 2507.21974): fine-tune on reasoning traces, then reinforce.
TRL's SFTTrainer does it; the loss is on the responses alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset
from trl import ModelConfig, SFTConfig, SFTTrainer, TrlParser, get_peft_config, get_quantization_config

import hysteretic.tasks
from hysteretic.common.errors import UsageError
from hysteretic.config.recipes import read_recipe
from hysteretic.config.settings import check_known_settings, defaults, setting
from hysteretic.evals.evaluation import mapping
from hysteretic.models import model_path
from hysteretic.models.loading import load_tokenizer, model_arguments
from hysteretic.runs.train import quieten
from hysteretic.tasks.task import Demonstrates, Problem


@dataclass
class WarmupConfig:
    """What to imitate and where to write; the rest is TRL's SFTConfig and ModelConfig."""

    task: str = setting("A task that writes worked solutions, such as telelogs-synthetic.", "telelogs-synthetic")
    task_options: str | None = setting('Options of the task as JSON: {"false_leads": 0.5}.')
    model: str | None = setting("A hub name or a folder; 'tiny' for the task's tiny model.")
    output: str = setting("Where the model is saved.", "runs/warmup")
    problems: int = setting("How many solutions to imitate.", 2000)
    data_problem_seed: int = setting("Which problems. `hysteretic train` draws its own with seed 0.", 1)


def main(arguments: Sequence[str]) -> int:
    """Imitate, save model and tokenizer, and say what to do next."""
    quieten()
    parser = TrlParser([WarmupConfig, SFTConfig, ModelConfig], prog="hysteretic warmup", allow_abbrev=False)
    parser.add_argument("--config", help="YAML of any of these keys.")
    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    words.add_argument("--config")
    file = words.parse_known_args(list(arguments))[0].config
    content = {} if file is None else read_recipe(file)
    check_known_settings(content, vars(argparse.ArgumentParser.parse_args(parser, [])), str(file))
    usual = {**defaults(), "learning_rate": 1e-5, "max_length": None, "save_strategy": "no"}
    parser.set_defaults_with_config(**{**usual, **content})
    try:
        config, training, model, _ = parser.parse_args_into_dataclasses(list(arguments))
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error
    if config.problems < 1:
        raise UsageError(f"problems is {config.problems}; imitate at least one solution.")
    if config.model is None:
        raise UsageError("Which model is to imitate? Give --model: a hub name or a folder.")
    training.output_dir = config.output
    task, problems = _problems(config)
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
    if trainer.accelerator.is_main_process:
        tokenizer.save_pretrained(config.output)
        print(f"Go on with: hysteretic train --task {config.task} --model {config.output}")
    return 0


def _problems(config: WarmupConfig) -> tuple[Demonstrates, Sequence[Problem]]:
    """The task and the problems whose solutions are imitated. Raises UsageError."""
    options = mapping(config.task_options) if config.task_options else {}
    try:
        task = hysteretic.tasks.load(config.task, **options)
        problems = task.problems("train", seed=config.data_problem_seed, count=config.problems)
        if not isinstance(task, Demonstrates):
            raise UsageError(
                f"The task {config.task} writes no worked solutions, so there is nothing to imitate; give its class a "
                "method demonstration(problem) that returns a right response, or use telelogs-synthetic."
            )
        return task, problems
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error


def _row(problem: Problem, response: str) -> dict[str, Any]:
    """TRL's prompt and completion, both as text or both as messages."""
    if isinstance(problem.prompt, str):
        return {"prompt": problem.prompt, "completion": response}
    return {"prompt": problem.prompt, "completion": [{"role": "assistant", "content": response}]}


def _check_length(rows: Sequence[dict[str, Any]], tokenizer: Any, model: str) -> None:
    """Raises UsageError where the longest row is beyond what the model reads."""
    longest = max(rows, key=lambda row: len(str(row)))
    if isinstance(longest["prompt"], str):
        text = longest["prompt"] + longest["completion"]
    else:
        text = tokenizer.apply_chat_template(longest["prompt"] + longest["completion"], tokenize=False)
    length = len(tokenizer(text, add_special_tokens=False)["input_ids"])
    if length > tokenizer.model_max_length:
        raise UsageError(
            f"The longest prompt and solution have {length} tokens, but {model} reads {tokenizer.model_max_length}; "
            "take a model with a longer context, or shorter problems."
        )
