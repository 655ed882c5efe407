"""Dry run: make one update of a run with a few thousand parameters, on a CPU.

The settings are read as `hysteretic train` reads them, shrunk, and go through the same functions: build_trainer, then
run, which evaluates, trains and saves. No weights are downloaded, and no files are left behind.
"""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType, broadcast_object_list

from hysteretic.common.errors import SettingWarning, UsageError
from hysteretic.config.settings import RunSpec, parse_settings
from hysteretic.dry_run.checks import CheckError, Watch, check_files, check_update
from hysteretic.dry_run.model import check_lora_targets, config_of, difference, random_model, shrunk
from hysteretic.dry_run.report import Report, facts_of
from hysteretic.dry_run.settings import changed
from hysteretic.dry_run.sharding import allow_fsdp_on_cpus, check_sharding, is_fsdp_asked
from hysteretic.dry_run.task import ShortTask, short_task
from hysteretic.dry_run.tokenizer import check_prompts_kept, own_tokenizer, prompts_as_read, small_tokenizer
from hysteretic.evals.context import warn_context
from hysteretic.models import model_path
from hysteretic.models.loading import INSTALL_VLLM, check_vllm, has_vllm, load_tokenizer, warn_plain_prompts
from hysteretic.parts import AdaptiveWeight
from hysteretic.runs.folder import RunFolder
from hysteretic.runs.held_out import Evaluation
from hysteretic.runs.problems import check_engine_length, check_enough_problems, draw_problems
from hysteretic.runs.signals import StopGently
from hysteretic.runs.train import build_trainer, run
from hysteretic.tasks.task import Problem, RewardError
from hysteretic.trl import HPOTrainer
from hysteretic.trl.preemption import Preempted
from hysteretic.trl.weighting import few_groups

MACHINE = {"report_to": "none", "logging_steps": 1, "seed": 0}
"""Defaults of a run on a machine with GPUs, which a dry run stands in for."""
STOP_SECONDS = 5.0
"""From SIGTERM until the update is abandoned."""


class FailedError(Exception):
    """A part of the run failed; the message says which and why."""


@dataclass(frozen=True)
class Rehearsal:
    """A dry run that passed: the trainer after its update, and the report."""

    trainer: HPOTrainer
    report: Report


def rehearse(request: RunSpec, replaced: Sequence[str] = ()) -> Rehearsal:
    """Make one small update of a run. Raises UsageError for settings to fix, FailedError for a part that failed.

    replaced: notes on earlier replacements, for the report.
    """
    if request.run.resume:
        raise UsageError("--dry-run cannot resume a run; drop --resume.")
    started = time.monotonic()
    report = Report(f"{request.run.task} with {request.run.model}")
    if request.training.use_vllm and not has_vllm():
        if torch.cuda.is_available():  # where the run itself could be made
            check_vllm("use_vllm is true", "use_vllm: false")
        report.missing.append(f"vLLM, which the run itself needs: {INSTALL_VLLM}")
    stop = StopGently(1, None if is_fsdp_asked() else STOP_SECONDS)  # from here on, signals leave no folder behind
    try:
        with _shared_folder() as folder, redirect_stdout(StringIO()):
            task, small = _shrink(request, folder, report)
            report.replaced += replaced
            found = _update(task, small, RunFolder(folder / "run"), report, stop)
    except Preempted as error:
        raise KeyboardInterrupt from error
    finally:
        stop.restore()
    report.seconds = time.monotonic() - started
    return found


def _shrink(request: RunSpec, folder: Path, report: Report) -> tuple[ShortTask, RunSpec]:
    """A task and settings that take seconds, with a small model in the folder. Raises UsageError."""
    run, model = request.run, request.model
    path = model_path(run.model, run.task)
    config, source = config_of(path, model.model_revision)
    own = own_tokenizer(path, model.model_revision)
    tokenizer = small_tokenizer(own, config.model_type)
    task, twin = short_task(request)
    every, problems = _problems_of_run(task, request)
    if PartialState().is_main_process:
        warn_plain_prompts(tokenizer, problems[0], task.whole, run.model, is_assumed=own is None)
    check_prompts_kept(tokenizer, problems, request.training.chat_template_kwargs, run.model, run.task)
    if own is not None:
        whole = [task.whole_problem(problem) for problem in every]
        check_engine_length(whole, request, own)
        if PartialState().is_main_process:
            limit, template = request.training.max_completion_length or 0, request.training.chat_template_kwargs
            warn_context(config, run.model, own, whole, limit, template)
    if PartialState().is_main_process and isinstance(request.training.objective().weight, AdaptiveWeight):
        groups = few_groups(request.training)  # of the run: a dry run's own rollout always has few
        if groups is not None:
            warnings.warn(groups, SettingWarning, stacklevel=2)
    small = shrunk(config, tokenizer)
    stand_in = random_model(small, config.dtype if str(model.dtype) == "auto" else None)
    if model.use_peft:
        check_lora_targets(model.lora_target_modules, stand_in, run.model)
    if PartialState().is_main_process:
        tokenizer.save_pretrained(folder / "model")
        stand_in.save_pretrained(folder / "model")
    PartialState().wait_for_everyone()

    settings, report.shrunk, report.replaced = changed(request, folder, PartialState().num_processes)
    report.replaced += [] if twin is None else [twin]
    report.shrunk.insert(0, difference(config, small))
    report.checked["model"] = f"{source}; random weights"
    as_read = prompts_as_read(problems[0], own, config.model_type)
    report.checked["prompts"] = f"{len(problems)} of {task.name}, shortened; {as_read}"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="save_steps is")  # after its only update, not after a rollout
        return task, parse_settings(settings, "The dry run", MACHINE)


def _problems_of_run(task: ShortTask, request: RunSpec) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """All problems of the run, held-out ones too, and those of its first rollout.

    Raises UsageError for what the run refuses.
    """
    problems, held_out = draw_problems(task, request)
    check_enough_problems(problems, request)
    return [*problems, *held_out], problems[
        : request.training.generation_batch_size // request.training.num_generations
    ]


def _update(task: ShortTask, request: RunSpec, folder: RunFolder, report: Report, stop: StopGently) -> Rehearsal:
    """Do what `hysteretic train` does, and check it. Raises FailedError, UsageError."""
    request.training.output_dir = str(folder.path)
    with _part("while problems were drawn"):
        problems, held_out = draw_problems(task, request)
    allow_fsdp_on_cpus()
    with _part("while the trainer was built"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="A rollout has")  # few groups, since it is shrunk
        tokenizer = load_tokenizer(request.run.model, request.run.task, problems[0])
        trainer = build_trainer(request, task, problems, folder, tokenizer)
        check_sharding(trainer.accelerator)
    watch = Watch()
    trainer.add_callback(watch)
    trainer.add_callback(stop)
    is_sharded = trainer.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
    evaluation = Evaluation(folder, task, [] if is_sharded else held_out, request, tokenizer)
    with _part("in the rollout, the update, or saving"):
        outcome = run(trainer, evaluation, folder, None, stop)
    if outcome.code:
        raise KeyboardInterrupt
    with _part("in a check after the update"):
        watch.over_ranks()
        report.checked |= facts_of(trainer, watch, task)
        report.checked["update"] = check_update(watch, trainer.state.log_history)
        trainer.accelerator.wait_for_everyone()  # all ranks look at the same files
        report.checked["files"] = check_files(folder, trainer.args.save_strategy != "no")
    return Rehearsal(trainer, report)


@contextmanager
def _part(when: str) -> Iterator[None]:
    """Report a failure without a traceback: finding it is the purpose of a dry run."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        if isinstance(error, CheckError | RewardError):
            raise FailedError(f"{when}: {error}") from error
        where = f"{Path(frame.filename).name}, line {frame.lineno}"
        raise FailedError(f"{when}: {type(error).__name__}: {error} ({where})") from error


@contextmanager
def _shared_folder() -> Iterator[Path]:
    """A temporary folder shared by all ranks, removed by the main one when all are done."""
    if not PartialState().is_main_process:
        yield Path(broadcast_object_list([None])[0])
        PartialState().wait_for_everyone()
        return
    with TemporaryDirectory(prefix="hysteretic-dry-run-", ignore_cleanup_errors=True) as name:
        broadcast_object_list([name])
        yield Path(name)
        PartialState().wait_for_everyone()
