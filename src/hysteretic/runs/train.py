"""Carry out one run, from its settings to a finished folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate.utils import DistributedType, broadcast_object_list, set_seed
from transformers import PrinterCallback, ProgressCallback
from trl import get_peft_config, get_quantization_config

from hysteretic.common.checkpoints import FULL, atomic_checkpoint
from hysteretic.common.environment import now
from hysteretic.common.errors import usage_errors
from hysteretic.common.terminal import is_terminal
from hysteretic.config.settings import RunSpec
from hysteretic.evals.context import warn_context
from hysteretic.evals.generate import prompt_tokens
from hysteretic.evals.vllm import check_heads
from hysteretic.models import model_path
from hysteretic.models.loading import check_vllm, load_tokenizer, model_arguments, warn_plain_prompts
from hysteretic.rewards.reward_function import as_dataset, task_reward
from hysteretic.rewards.scoring import Scoring, ScoringProcesses, here
from hysteretic.runs.alarms import alarms_of
from hysteretic.runs.folder import RunFolder
from hysteretic.runs.held_out import Evaluation
from hysteretic.runs.outcome import FINISHED, Outcome, ended_by, stopped
from hysteretic.runs.problems import check_engine_length, check_enough_problems, draw_problems
from hysteretic.runs.progress import Lines, Progress, Warn, WriteMetrics
from hysteretic.runs.record import describe, objective_text
from hysteretic.runs.resume import before, check_same_settings, find_checkpoint, is_last, step_of
from hysteretic.runs.signals import StopGently
from hysteretic.runs.trackers import prepare_reports
from hysteretic.tasks.checked import load_task
from hysteretic.tasks.task import Problem, Task
from hysteretic.trl import HPOTrainer
from hysteretic.trl.weighting import columns_named

MOST_UNSCORED = 100
"""The default of max_unscored with reward_processes."""


def train(request: RunSpec) -> Outcome:
    """Train, evaluate and save, in this process and the other ranks. Raises UsageError for settings that cannot work.

    Any exception that is not a known outcome (see hysteretic.runs.outcome) is recorded and raised again.
    """
    if request.training.use_vllm:
        check_vllm("use_vllm is true", "use_vllm: false")
        if request.training.vllm_mode == "colocate":
            check_heads(model_path(request.run.model, request.run.task), request.training.vllm_tensor_parallel_size)
    folder = RunFolder(request.run.output or default_folder(request))
    request.training.output_dir = str(folder.path)
    is_main = request.training.process_index == 0
    if request.batch_note and is_main:
        print(request.batch_note)
    prepare_reports(request, folder)
    task = load_task(request.run.task, **request.run.load_options())
    if is_main:
        folder.claim(request.run.resume)
    with ExitStack() as within:
        if is_main:
            within.enter_context(folder.locked())
        if is_main and request.run.resume:
            check_same_settings(folder, request)
        checkpoint = broadcast_object_list([find_checkpoint(folder, request) if is_main else None])[0]
        problems, held_out = draw_problems(task, request)
        check_enough_problems(problems, request)
        name, revision = request.run.model, request.model.model_revision
        tokenizer = load_tokenizer(name, request.run.task, problems[0], revision)
        if is_main:
            warn_plain_prompts(tokenizer, problems[0], task, name)
        prompt_tokens(problems[:1], tokenizer, request.training.chat_template_kwargs)  # refused before any work
        check_engine_length([*problems, *held_out], request, tokenizer)
        scoring = within.enter_context(scoring_of(request, task))
        trainer = build_trainer(request, task, problems, folder, tokenizer, scoring)
        if is_main:
            limit, template = request.training.max_completion_length or 0, request.training.chat_template_kwargs
            warn_context(trainer.model.config, name, tokenizer, [*problems, *held_out], limit, template)
        is_sharded = trainer.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
        if is_sharded and held_out:
            held_out = []
            trainer.accelerator.print(
                "No held-out evaluation: the model is sharded. Run `hysteretic eval` on the saved model."
            )
        if is_sharded and checkpoint is not None and is_last(checkpoint, request.training.max_steps):
            checkpoint = before(checkpoint)  # a sharded model is only loaded for training: repeat the last updates
        evaluation = Evaluation(folder, task, held_out, request, tokenizer, scoring)
        record = describe(request, trainer, task, problems) | {"held_out_problems": len(held_out)}
        stop = StopGently(request.training.updates_per_rollout(), None if is_sharded else request.run.stop_seconds)
        trainer.add_callback(stop)
        try:
            if is_main:
                begin(folder, request, trainer, record, checkpoint)
            outcome = run(trainer, evaluation, folder, checkpoint, stop)
        except BaseException as error:
            known = ended_by(error, folder.path, trainer.state.global_step, stop.code)
            if known is None and stop.is_asked and not is_main:  # the main process has already left
                known = stopped(folder.path, trainer.state.global_step, stop.code)
            if known is None:
                if is_main:
                    bug = Outcome("failed", 1, f"{type(error).__name__}: {error}")
                    end(folder, record, bug, trainer.state.global_step)
                raise
            outcome = known
        finally:
            stop.restore()
        if is_main:
            end(folder, record, outcome, trainer.state.global_step)
    return outcome


def begin(
    folder: RunFolder, request: RunSpec, trainer: HPOTrainer, record: dict[str, Any], checkpoint: Path | None
) -> None:
    """Print and record what will run; drop the updates that will be repeated."""
    record["resumed_from"] = folder.earlier_starts()
    folder.write_config(request.asked)
    folder.write_json(folder.run, record | {"state": "running"})
    folder.cut_metrics(step_of(checkpoint))
    print(f"{record['task']} with {request.training.objective_name()}: {objective_text(record['objective'])}")
    print(f"{record['parameters']:,} parameters, {record['train_problems']} problems, run folder {folder.path}")
    if checkpoint is not None:
        print(f"Resuming from {checkpoint.name}.")


def run(
    trainer: HPOTrainer, evaluation: Evaluation, folder: RunFolder, checkpoint: Path | None, stop: StopGently
) -> Outcome:
    """Evaluate, train, save the model, evaluate again; skip what a resumed run has already done."""
    is_main = trainer.accelerator.is_main_process
    if checkpoint is not None and is_last(checkpoint, trainer.args.max_steps):
        trainer.load_update(checkpoint)
    else:
        evaluation.take("before", trainer)
        trainer.accelerator.wait_for_everyone()
        # The same rollouts with and without an evaluation before, but different ones on every rank.
        set_seed(trainer.args.seed, device_specific=True)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if trainer.state.global_step < trainer.state.max_steps:
            return stopped(folder.path, trainer.state.global_step, stop.code)
    with atomic_checkpoint(folder.model) if is_main else nullcontext():
        trainer.save_model(str(folder.model))
    evaluation.take("after", trainer)
    if is_main:
        print(evaluation.table())
        print(f"Metrics, samples and the model are in {folder.path}")
    return FINISHED


def end(folder: RunFolder, record: dict[str, Any], outcome: Outcome, updates: int) -> None:
    """Record the outcome and the alarms, and print the outcome's message."""
    heard = alarms_of(folder.path)
    for alarm in heard:
        if alarm.name == "held-out":  # the others were printed during training
            print(alarm)
    ended = {"state": outcome.state, "ended": now(), "updates": updates}
    if outcome.message:
        print(f"hysteretic: {outcome.message}", file=sys.stderr)
    try:
        folder.write_json(folder.run, record | ended | {"alarms": [asdict(alarm) for alarm in heard]})
    except OSError as error:
        if error.errno not in FULL:
            raise


def default_folder(request: RunSpec) -> Path:
    """runs/TASK-OBJECTIVE-MODEL-seedN, where grpo with the adaptive weight is adaptive-grpo."""
    names = [Path(request.run.task).stem, request.training.objective_name(), Path(request.run.model).name]
    return Path("runs") / ("-".join(names).lower().replace(":", "-") + f"-seed{request.training.seed}")


@contextmanager
def scoring_of(request: RunSpec, task: Task) -> Iterator[Scoring]:
    """Where responses are scored: in this process, or in scoring processes that end with the run."""
    run = request.run
    if not run.reward_processes:
        yield here(task, run.reward_seconds)
        return
    if "max_unscored" not in request.asked:
        request.training.max_unscored = MOST_UNSCORED
    processes = ScoringProcesses(run.task, run.load_options(), run.reward_processes, run.reward_seconds, run.reward_gib)
    try:
        yield processes
    finally:
        processes.close()


def build_trainer(
    request: RunSpec,
    task: Task,
    problems: Sequence[Problem],
    folder: RunFolder,
    tokenizer: Any,
    scoring: Scoring | None = None,
) -> HPOTrainer:
    """The trainer of a run, ready to train. Raises UsageError for sign_rewards that are not the task's reward."""
    training, model = request.training, request.model
    reward = task_reward(task, problems, scoring)
    with usage_errors(kinds=ValueError):
        columns_named(training.sign_rewards, [reward.__name__])
    training.model_init_kwargs = model_arguments(model, training.model_init_kwargs)
    trainer = HPOTrainer(
        model=model_path(request.run.model, request.run.task),
        reward_funcs=reward,
        args=training,
        train_dataset=as_dataset(problems),
        processing_class=tokenizer,
        peft_config=get_peft_config(model),
        quantization_config=get_quantization_config(model),
        callbacks=[WriteMetrics(folder), Warn(folder)],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    if not training.disable_tqdm:
        trainer.add_callback(Progress() if is_terminal(sys.stderr) else Lines())
    return trainer
