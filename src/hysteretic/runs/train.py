"""One training run, from a command line to a finished folder."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import transformers
from accelerate.utils import DistributedType, broadcast_object_list, set_seed
from transformers import PrinterCallback, ProgressCallback
from trl import get_peft_config, get_quantization_config

import hysteretic.tasks
from hysteretic.common.checkpoints import FULL, atomic_checkpoint
from hysteretic.common.errors import UsageError
from hysteretic.common.terminal import is_terminal
from hysteretic.config.settings import RunSpec, parse
from hysteretic.evals.evaluation import check_unique_ids
from hysteretic.models import model_path
from hysteretic.models.loading import load_tokenizer, model_arguments
from hysteretic.rewards.reward_function import as_dataset, task_reward
from hysteretic.rewards.scoring import Scoring, ScoringProcesses, here
from hysteretic.runs.alarms import alarms_of
from hysteretic.runs.folder import RunFolder, now, versions
from hysteretic.runs.held_out import Evaluation
from hysteretic.runs.outcome import FINISHED, Outcome, ended_by, stopped
from hysteretic.runs.progress import Lines, Progress, Warn, WriteMetrics
from hysteretic.runs.resume import before, check_same_settings, find_checkpoint, is_last, step_of
from hysteretic.runs.signals import StopGently
from hysteretic.runs.trackers import prepare_reports
from hysteretic.tasks.task import Problem, Task, up_to
from hysteretic.trl import HPOTrainer

MOST_UNSCORED = 100
"""max_unscored of a run with reward_processes that does not say another."""


def main(arguments: Sequence[str]) -> int:
    """`hysteretic train`: the exit codes of `hysteretic.runs.outcome`. Raises UsageError for what was asked."""
    quieten()
    from hysteretic.dry_run import rehearsal as dry_run  # it uses this module

    words = dry_run.words_of(arguments)
    if words is not None:
        return dry_run.main(words)
    request = parse(arguments)
    folder = RunFolder(request.run.output or default_folder(request))
    request.training.output_dir = str(folder.path)
    is_main = request.training.process_index == 0
    if request.batch_note and is_main:
        print(request.batch_note)
    prepare_reports(request, folder)
    task = load_task(request)
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
        scoring = within.enter_context(scoring_of(request, task))
        trainer, tokenizer = build_trainer(request, task, problems, folder, scoring)
        is_sharded = trainer.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
        check_weights_saved(trainer)
        if is_sharded and held_out:
            held_out = []
            trainer.accelerator.print(
                "No held-out evaluation: the model is sharded. Use `hysteretic eval` on the saved one."
            )
        if is_sharded and checkpoint is not None and is_last(checkpoint, request.training.max_steps):
            checkpoint = before(checkpoint)  # such a model is only loaded to train on: the last updates again
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
            if known is None and stop.is_asked and not is_main:  # the main process has left in the middle of something
                known = stopped(folder.path, trainer.state.global_step, stop.code)
            if known is None:
                if is_main:
                    end(
                        folder,
                        record,
                        Outcome("failed", 1, f"{type(error).__name__}: {error}"),
                        trainer.state.global_step,
                    )
                raise
            outcome = known
        finally:
            stop.restore()
        if is_main:
            end(folder, record, outcome, trainer.state.global_step)
    return outcome.code


def check_weights_saved(trainer: HPOTrainer) -> None:
    """Raises UsageError for FSDP with sharded state: transformers saves no model then that could be loaded."""
    plugin = trainer.accelerator.state.fsdp_plugin if trainer.is_fsdp_enabled else None
    if plugin is not None and "FULL_STATE_DICT" not in str(plugin.state_dict_type):
        raise UsageError(
            f"FSDP's state_dict_type is {plugin.state_dict_type}, with which the trained model would be saved without "
            "weights; set fsdp_state_dict_type to FULL_STATE_DICT in accelerate's configuration."
        )


def begin(
    folder: RunFolder, request: RunSpec, trainer: HPOTrainer, record: dict[str, Any], checkpoint: Path | None
) -> None:
    """Say and write what is about to run; forget the updates that will be made again."""
    record["resumed_from"] = folder.earlier_starts()
    folder.write_config(request.asked)
    folder.write_json(folder.run, record | {"state": "running"})
    folder.cut_metrics(step_of(checkpoint))
    print(f"{record['task']} with {request.training.objective_name()}: {trainer.objective}")
    print(f"{record['parameters']:,} parameters, {record['train_problems']} problems, run folder {folder.path}")
    if checkpoint is not None:
        print(f"Going on from {checkpoint.name}.")


def run(
    trainer: HPOTrainer, evaluation: Evaluation, folder: RunFolder, checkpoint: Path | None, stop: StopGently
) -> Outcome:
    """Evaluate, train, save the model, evaluate: what is done already is left out."""
    is_main = trainer.accelerator.is_main_process
    if checkpoint is not None and is_last(checkpoint, trainer.args.max_steps):
        trainer.load_update(checkpoint)
    else:
        if is_main:
            evaluation.take("before", trainer.model)
        trainer.accelerator.wait_for_everyone()
        # The same rollouts whether or not there was an evaluation first; and others on every rank.
        set_seed(trainer.args.seed, device_specific=True)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if trainer.state.global_step < trainer.state.max_steps:
            return stopped(folder.path, trainer.state.global_step, stop.code)
    with atomic_checkpoint(folder.model) if is_main else nullcontext():
        trainer.save_model(str(folder.model))
    if is_main:
        evaluation.take("after", trainer.model)
        print(evaluation.table())
        print(f"Metrics, samples and the model are in {folder.path}")
    return FINISHED


def end(folder: RunFolder, record: dict[str, Any], outcome: Outcome, updates: int) -> None:
    """Write how it ended, with the alarms that sounded, and say what there is to say."""
    heard = alarms_of(folder.path)
    for alarm in heard:
        if alarm.name == "held-out":  # the others were told when they sounded
            print(alarm)
    ended = {"state": outcome.state, "ended": now(), "updates": updates}
    if outcome.message:
        print(f"hysteretic: {outcome.message}", file=sys.stderr)
    try:
        folder.write_json(folder.run, record | ended | {"alarms": [asdict(alarm) for alarm in heard]})
    except OSError as error:
        if error.errno not in FULL:
            raise


def quieten() -> None:
    """Leave the terminal to the run: no weight-loading bars, no notes from libraries to their own developers."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def default_folder(request: RunSpec) -> Path:
    """runs/TASK-OBJECTIVE-MODEL-seedN, where grpo with the adaptive weight is adaptive-grpo."""
    names = [Path(request.run.task).stem, request.training.objective_name(), Path(request.run.model).name]
    return Path("runs") / ("-".join(names).lower().replace(":", "-") + f"-seed{request.training.seed}")


def load_task(request: RunSpec) -> Task:
    """The task of a request. Raises UsageError where it does not exist or its data is missing."""
    try:
        return hysteretic.tasks.load(request.run.task, **request.run.load_options())
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error


def draw_problems(task: Task, request: RunSpec) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """Training problems, and held-out ones of the test split."""
    run = request.run
    try:
        problems = task.problems("train", seed=run.data_problem_seed, count=run.train_problems)
        held_out: Sequence[Problem] = []
        if run.eval_problems:
            is_asked = "eval_problems" in request.asked
            held_out = up_to(task, "test", run.data_problem_seed, run.eval_problems, is_asked)
    except (ValueError, OSError) as error:
        raise UsageError(
            f"{error} (Training problems: --train_problems; held-out ones: --eval_problems, 0 for none.)"
        ) from error
    for each in (problems, held_out):
        check_unique_ids(task, each)
    shared = {problem.id for problem in problems} & {problem.id for problem in held_out}
    if shared:
        raise UsageError(
            f"{len(shared)} held-out problems of {task.name} are training problems too (the first: {min(shared)}); "
            "make the task's splits disjoint, or set eval_problems to 0."
        )
    return problems, held_out


def check_enough_problems(problems: Sequence[Problem], request: RunSpec) -> None:
    """Raises UsageError where the problems do not fill one rollout: TRL would make no update, and say nothing."""
    needed = request.training.generation_batch_size // request.training.num_generations
    if len(problems) < needed:
        raise UsageError(
            f"There are {len(problems)} training problems, but a rollout takes {needed} (generation_batch_size "
            f"{request.training.generation_batch_size} / num_generations {request.training.num_generations}); give "
            "more problems, or a smaller per_device_train_batch_size or steps_per_generation."
        )


@contextmanager
def scoring_of(request: RunSpec, task: Task) -> Iterator[Scoring]:
    """Where responses are scored; its processes, if it has any, end with the run."""
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
    request: RunSpec, task: Task, problems: Sequence[Problem], folder: RunFolder, scoring: Scoring | None = None
) -> tuple[HPOTrainer, Any]:
    """The trainer of a request, ready to train. Raises UsageError where the model cannot be loaded."""
    training, model = request.training, request.model
    training.model_init_kwargs = model_arguments(model, training.model_init_kwargs)
    tokenizer = load_tokenizer(request.run.model, request.run.task, problems[0], model.model_revision)
    trainer = HPOTrainer(
        model=model_path(request.run.model, request.run.task),
        reward_funcs=task_reward(task, problems, scoring),
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
    return trainer, tokenizer


def describe(request: RunSpec, trainer: HPOTrainer, task: Task, problems: Sequence[Problem]) -> dict[str, Any]:
    """What is needed to repeat the run, and to know what it was."""
    ids = "\n".join(problem.id for problem in problems)
    return {
        "started": now(),
        "command": shlex.join(["hysteretic", *sys.argv[1:]]),
        "task": task.name,
        "model": request.run.model,
        "parameters": sum(
            getattr(parameter, "ds_numel", parameter.numel()) for parameter in trainer.model.parameters()
        ),
        "objective": repr(trainer.objective),
        "train_problems": len(problems),
        "train_problems_sha256": hashlib.sha256(ids.encode()).hexdigest(),
        "source_sha256": SOURCE,
        "versions": versions(),
        "processes": trainer.accelerator.num_processes,
        "device": str(trainer.accelerator.device),
        "cpu_count": os.cpu_count(),
        "settings": request.training.to_dict(),
    }


def source_digest() -> str:
    """One hash of this package's source: which code made the run, without git."""
    digest = hashlib.sha256()
    for path in sorted(Path(hysteretic.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


SOURCE = source_digest()
"""Taken when this module is loaded, as the code is; the files may change while a run waits for its turn."""
