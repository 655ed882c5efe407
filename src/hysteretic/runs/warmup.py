"""Supervised fine-tuning on a task's own worked solutions, so that reinforcement learning has successes to reinforce.

The first of the two stages of the TeleLogs article (arXiv 2507.21974): fine-tune on reasoning traces, then reinforce.
TRL's SFTTrainer does it; only the responses have a loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset
from jinja2 import TemplateError
from trl import SFTTrainer, get_peft_config, get_quantization_config

from hysteretic.common.errors import UsageError, usage_errors
from hysteretic.evals.context import context_of
from hysteretic.models import model_path
from hysteretic.models.loading import load_tokenizer, model_arguments, warn_plain_prompts
from hysteretic.runs.problems import recipe_of_model
from hysteretic.tasks.checked import check_labelled, draw, load_task
from hysteretic.tasks.scored import score
from hysteretic.tasks.task import Demonstrates, DemonstratesSome, Problem, RewardError, Task, demonstrates, warm_start

USUAL_PROBLEMS = 2000


def _setting(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class WarmupConfig:
    """The settings of a warm-up besides TRL's SFTConfig and ModelConfig."""

    task: str = _setting(
        "A task with worked solutions: countdown-3, countdown-4, the telelogs tasks, a data file with a column "
        "`demonstration`, or file.py:MyTask with a method demonstration(problem).",
        "telelogs-synthetic",
    )
    task_options: str | None = _setting('Options of the task as JSON: {"false_leads": 0.5}.')
    reward: str | None = _setting("For a data file or hub data set: the reward function, file.py:function.")
    model: str | None = _setting("A hub name or a folder; 'tiny' for the task's tiny model.")
    output: str = _setting("Folder of the fine-tuned model.", "runs/warmup")
    problems: int | None = _setting("Number of solutions to train on (default: 2000, or all if there are fewer).")
    data_problem_seed: int = _setting("Seed of the problems; `hysteretic train` draws its own with seed 0.", 1)


def warm_up(config: WarmupConfig, task_options: dict[str, Any] | None, training: Any, model: Any) -> bool:
    """Fine-tune, and save model and tokenizer; returns whether this is the main process. Raises UsageError.

    task_options: None for those of the tiny model's recipe, or none. training: TRL's SFTConfig. model: TRL's
    ModelConfig.
    """
    if config.problems is not None and config.problems < 1:
        raise UsageError(f"problems is {config.problems}; give at least 1.")
    if config.model is None:
        raise UsageError("No model to fine-tune; give --model, a hub name or a folder.")
    training.output_dir = config.output
    task, problems = _problems(config, task_options)
    training.model_init_kwargs = model_arguments(model, training.model_init_kwargs)
    tokenizer = load_tokenizer(config.model, config.task, problems[0], model.model_revision, side="right")
    if training.process_index == 0:
        warn_plain_prompts(tokenizer, problems[0], task, config.model)
    rows = [_row(problem, response) for problem, response in _solved(task, problems)]
    longest = max(map(len, tokenizer(_texts(rows, tokenizer, config.model), add_special_tokens=False)["input_ids"]))
    _check_length(longest, tokenizer.model_max_length, config.model)
    trainer = SFTTrainer(
        model=model_path(config.model, config.task),
        args=training,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=get_peft_config(model),
        quantization_config=get_quantization_config(model),
    )
    _check_length(longest, context_of(trainer.model.config), config.model)
    trainer.train()
    trainer.save_model(config.output)
    is_main: bool = trainer.accelerator.is_main_process
    if is_main:
        tokenizer.save_pretrained(config.output)
    return is_main


def _problems(config: WarmupConfig, task_options: dict[str, Any] | None) -> tuple[Task, Sequence[Problem]]:
    """The task, and the problems whose solutions are trained on. Raises UsageError."""
    if task_options is None:
        task_options = recipe_of_model(config.model, config.task).get("task_options", {})
    reward = {} if config.reward is None else {"reward": config.reward}
    task = load_task(config.task, **{**task_options, **reward})
    check_labelled(task)
    with usage_errors():
        has_solutions = demonstrates(task)
    if not has_solutions:
        raise UsageError(
            f"{config.task} has no worked solutions to train on: {warm_start(task)}. Those with worked solutions: "
            "countdown-3, countdown-4 and the telelogs tasks."
        )
    is_required = config.problems is not None
    wanted = USUAL_PROBLEMS if config.problems is None else config.problems
    if not isinstance(task, DemonstratesSome):
        return task, draw(task, "train", config.data_problem_seed, wanted, is_required)
    solved = [p for p in draw(task, "train", config.data_problem_seed, None) if task.has_demonstration(p)]
    if not solved or (is_required and len(solved) < wanted):
        raise UsageError(
            f"{wanted} worked solutions requested, but {len(solved)} training problems of {config.task} have one; "
            "write more, or request fewer (--problems)."
        )
    return task, solved[:wanted]


def _solved(task: Task, problems: Sequence[Problem]) -> list[tuple[Problem, str]]:
    """Each problem with its worked solution. Raises UsageError if the task scores one as wrong."""
    assert isinstance(task, Demonstrates)
    pairs = [(problem, task.demonstration(problem)) for problem in problems]
    with usage_errors(kinds=RewardError):
        wrong = [(problem, response) for problem, response in pairs if not score(task, problem, response).is_correct]
    if wrong:
        problem, response = wrong[0]
        raise UsageError(
            f"{len(wrong)} of {len(pairs)} worked solutions of {task.name} are not correct according to the task, the "
            f"first that of problem {problem.id!r}: {response[:200]!r}. Fix them, or the reward."
        )
    return pairs


def _row(problem: Problem, response: str) -> dict[str, Any]:
    """A row in TRL's columns: prompt and completion, both as text or both as messages."""
    if isinstance(problem.prompt, str):
        return {"prompt": problem.prompt, "completion": response}
    return {"prompt": problem.prompt, "completion": [{"role": "assistant", "content": response}]}


def _check_length(length: int, most: int | None, model: str) -> None:
    """Raises UsageError where the longest prompt and solution exceed the model's context; all in tokens."""
    if most is not None and length > most:
        raise UsageError(
            f"The longest prompt and solution have {length} tokens, but {model} supports {most}; use a model with a "
            "longer context, or shorter problems."
        )


def _texts(rows: Sequence[dict[str, Any]], tokenizer: Any, model: str) -> list[str]:
    """Prompt and solution as the model reads them. Raises UsageError where the chat template drops part of one."""
    texts = []
    for row in rows:
        if isinstance(row["prompt"], str):
            texts.append(row["prompt"] + row["completion"])
            continue
        solution = row["completion"][0]["content"].strip()
        try:
            text = tokenizer.apply_chat_template(row["prompt"] + row["completion"], tokenize=False)
        except TemplateError as error:  # such as a system message for a model that takes none
            raise UsageError(
                f"The chat template of {model} fails on a worked solution: {error}. Fix the messages, or chat_template "
                "in the tokenizer."
            ) from error
        if solution not in text:
            raise UsageError(
                f"The chat template of {model} drops part of a worked solution, so the model would not learn it: "
                f"{solution[:200]!r} becomes {text[-200:]!r}. Templates of reasoning models drop what is inside "
                "<think>; write the work outside of it, or change chat_template in the tokenizer."
            )
        texts.append(text)
    return texts
