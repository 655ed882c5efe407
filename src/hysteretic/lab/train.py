"""One training run, from a command line to a finished folder."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import transformers
from accelerate.utils import DistributedType, set_seed
from transformers import AutoTokenizer, PrinterCallback, ProgressCallback
from trl import get_peft_config, get_quantization_config

import hysteretic.tasks
from hysteretic.lab.data import as_dataset, task_reward
from hysteretic.lab.errors import UsageError
from hysteretic.lab.evaluate import Rate, evaluate
from hysteretic.lab.evaluation import refuse_same_ids
from hysteretic.lab.progress import Progress, StopGently, WriteMetrics
from hysteretic.lab.run_folder import RunFolder, now, read_json, versions
from hysteretic.lab.settings import Request, parse
from hysteretic.models import model_path
from hysteretic.tasks.task import Problem, RewardError, Task
from hysteretic.trl import HPOTrainer

MAY_CHANGE = {"max_steps", "save_steps", "save_total_limit", "report_to", "disable_tqdm"}
"""Settings that a resumed run may give anew."""


def main(arguments: Sequence[str]) -> int:
    """`hysteretic train`: 0 when the run finished, 130 when it was interrupted, 3 when a reward function failed."""
    quieten()
    request = parse(arguments)
    folder = RunFolder(request.run.output or default_folder(request))
    request.training.output_dir = str(folder.path)
    is_main = request.training.process_index == 0
    task = load_task(request)
    if is_main:
        folder.claim(request.run.resume)
        if request.run.resume:
            refuse_other_settings(folder, request)
    checkpoint = folder.last_checkpoint() if request.run.resume else None
    is_finished = request.run.resume and (read_json(folder.run) or {}).get("state") == "finished"
    if checkpoint is not None and not is_finished and step_of(checkpoint) == request.training.max_steps:
        # It ended after its last checkpoint and before its evaluation: the last updates are made again.
        checkpoint = folder.last_checkpoint(below=step_of(checkpoint))
    if checkpoint is not None and 0 < request.training.max_steps <= step_of(checkpoint):
        raise UsageError(
            f"The run in {folder.path} has made {step_of(checkpoint)} updates ({checkpoint.name}), and max_steps is "
            f"{request.training.max_steps}; give a larger --max_steps to train on."
        )

    problems, held_out = draw_problems(task, request)
    refuse_too_few(problems, request)
    trainer, tokenizer = build_trainer(request, task, problems, folder)
    stop = StopGently(request.training.updates_per_rollout())
    trainer.add_callback(stop)
    is_sharded = trainer.accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED)
    if is_sharded and held_out:
        held_out = []
        trainer.accelerator.print(
            "No held-out evaluation: the model is sharded. Use `hysteretic eval` on the saved one."
        )
    evaluation = Evaluation(folder, task, held_out, request) if is_main else None
    if is_main:
        lock = folder.lock()
        record = describe(request, trainer, task, problems)
        record |= {"held_out_problems": len(held_out), "resumed_from": folder.earlier_starts()}
        folder.write_config(request.asked)
        folder.write_json(folder.run, record | {"state": "running"})
        folder.cut_metrics(step_of(checkpoint))
        print(f"{task.name} with {request.training.algorithm}: {trainer.objective}")
        print(f"{record['parameters']:,} parameters, {len(problems)} problems, run folder {folder.path}")

    state, message, code = "finished", "", 0
    again = f"go on with: hysteretic train --resume --output {shlex.quote(str(folder.path))}"
    try:
        if evaluation is not None:
            evaluation.take("before", trainer.model, tokenizer)
        trainer.accelerator.wait_for_everyone()
        # The same rollouts whether or not there was an evaluation first; and others on every rank.
        set_seed(request.training.seed, device_specific=True)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    except RewardError as error:
        state, message, code = "failed", f"{error} The updates before it are saved; mend the reward and {again}", 3
    except KeyboardInterrupt:
        state, message, code = "interrupted", f"Stopped at once; {again}", 130
    finally:
        stop.restore()
    if state == "finished" and trainer.state.global_step < trainer.state.max_steps:
        state, message, code = "interrupted", f"Stopped after update {trainer.state.global_step}; {again}", 130
    if state == "finished":
        trainer.save_model(str(folder.model))
    if is_main:
        if state == "finished" and evaluation is not None:
            try:
                evaluation.take("after", trainer.model, tokenizer)
                print(evaluation.table())
                print(f"Metrics, samples and the model are in {folder.path}")
            except RewardError as error:
                state, code = "failed", 3
                message = f"{error} The model is saved in {folder.model}, not evaluated."
        folder.write_json(folder.run, record | {"state": state, "ended": now(), "updates": trainer.state.global_step})
        lock.release()
        if message:
            print(f"hysteretic: {message}", file=sys.stderr)
    return code


def quieten() -> None:
    """Leave the terminal to the run: no weight-loading bars, no notes from libraries to their own developers."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")


def default_folder(request: Request) -> Path:
    """runs/TASK-ALGORITHM-MODEL-seedN."""
    names = [Path(request.run.task).stem, request.training.algorithm, Path(request.run.model).name]
    return Path("runs") / ("-".join(names).lower().replace(":", "-") + f"-seed{request.training.seed}")


def load_task(request: Request) -> Task:
    """The task of a request. Raises UsageError where it does not exist or its data is missing."""
    try:
        return hysteretic.tasks.load(request.run.task, **request.run.load_options())
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(str(error)) from error


def draw_problems(task: Task, request: Request) -> tuple[Sequence[Problem], Sequence[Problem]]:
    """Training problems, and held-out ones of the test split."""
    run = request.run
    try:
        problems = task.problems("train", seed=run.data_problem_seed, count=run.train_problems)
        held_out = (
            task.problems("test", seed=run.data_problem_seed, count=run.eval_problems) if run.eval_problems else []
        )
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error
    for each in (problems, held_out):
        refuse_same_ids(task, each)
    shared = {problem.id for problem in problems} & {problem.id for problem in held_out}
    if shared:
        raise UsageError(
            f"{len(shared)} held-out problems of {task.name} are training problems too (the first: {min(shared)}); "
            "make the task's splits disjoint, or set eval_problems to 0."
        )
    return problems, held_out


def refuse_too_few(problems: Sequence[Problem], request: Request) -> None:
    """Raises UsageError where the problems do not fill one rollout: TRL would make no update, and say nothing."""
    needed = request.training.generation_batch_size // request.training.num_generations
    if len(problems) < needed:
        raise UsageError(
            f"There are {len(problems)} training problems, but a rollout takes {needed} (generation_batch_size "
            f"{request.training.generation_batch_size} / num_generations {request.training.num_generations}); give "
            "more problems, or a smaller per_device_train_batch_size or steps_per_generation."
        )


def refuse_other_settings(folder: RunFolder, request: Request) -> None:
    """A run may only go on as it began."""
    import yaml

    before = yaml.safe_load(folder.config.read_text(encoding="utf-8")) if folder.config.is_file() else {}
    asked = {key: value for key, value in request.asked.items() if key not in ("resume", "output", "config")}
    changed = {
        key for key in {*before, *asked} - MAY_CHANGE if str(before.get(key)) != str(asked.get(key, before.get(key)))
    }
    if changed:
        listed = ", ".join(f"{key} was {before.get(key)!r} and is {asked[key]!r}" for key in sorted(changed))
        raise UsageError(
            f"The run in {folder.path} began with other settings: {listed}. Start a new --output for these."
        )


def build_trainer(
    request: Request, task: Task, problems: Sequence[Problem], folder: RunFolder
) -> tuple[HPOTrainer, Any]:
    """The trainer of a request, ready to train. Raises UsageError where the model cannot be loaded."""
    path = model_path(request.run.model, request.run.task)
    training, model = request.training, request.model
    loading = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(training.model_init_kwargs or {}),
    }
    training.model_init_kwargs = {key: value for key, value in loading.items() if value is not None}
    tokenizer = load_tokenizer(request)
    if isinstance(problems[0].prompt, list) and not tokenizer.chat_template:
        raise UsageError(
            f"{task.name} asks with chat messages, but the tokenizer of {request.run.model} has no chat template; "
            'use an instruct model, or plain prompts (Countdown: task_options {"prompt": "plain"}).'
        )
    trainer = HPOTrainer(
        model=path,
        reward_funcs=task_reward(task, problems),
        args=training,
        train_dataset=as_dataset(problems),
        processing_class=tokenizer,
        peft_config=get_peft_config(model),
        quantization_config=get_quantization_config(model),
        callbacks=[WriteMetrics(folder)],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.remove_callback(PrinterCallback)
    if not training.disable_tqdm:
        trainer.add_callback(Progress())
    return trainer, tokenizer


def load_tokenizer(request: Request) -> Any:
    """The tokenizer of the model of a request. Raises UsageError where there is none."""
    path = model_path(request.run.model, request.run.task)
    try:
        return AutoTokenizer.from_pretrained(path, revision=request.model.model_revision, padding_side="left")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"Cannot load a tokenizer for the model {request.run.model!r}: {str(error).splitlines()[0]} Give 'tiny', a "
            "folder with a saved model, or a hub name you have access to."
        ) from error


class Evaluation:
    """Held-out pass@1 before and after training, kept in the run folder."""

    def __init__(self, folder: RunFolder, task: Task, held_out: Sequence[Problem], request: Request) -> None:
        self._folder, self._task, self._held_out, self._request = folder, task, held_out, request
        self._taken: dict[str, Any] = {}
        if folder.evaluation.is_file():
            self._taken = json.loads(folder.evaluation.read_text(encoding="utf-8"))

    def take(self, when: str, model: Any, tokenizer: Any) -> None:
        """Evaluate, unless nothing is held out or a resumed run was evaluated before its first update already."""
        training = self._request.training
        if not self._held_out or (when == "before" and when in self._taken):
            return
        print(f"Evaluating on {len(self._held_out)} held-out problems ({when} training) …")
        figures, samples = evaluate(
            model,
            tokenizer,
            self._task,
            self._held_out,
            self._request.run.eval_samples,
            training.max_completion_length,
        )
        self._taken[when] = figures
        self._folder.write_json(self._folder.evaluation, self._taken)
        self._folder.note_samples({"when": when, **sample} for sample in samples)

    def table(self) -> str:
        """Before and after, a line for each way of decoding."""
        lines = []
        for decoding in self._taken.get("after", {}):
            before, after = (
                Rate(**self._taken[when][decoding]["pass@1"]) if when in self._taken else "not taken"
                for when in ("before", "after")
            )
            lines.append(f"  {decoding:8} before {before}   after {after}")
        if not lines:
            return "No held-out evaluation was asked for."
        return "\n".join(["Held-out pass@1, 95 % intervals over problems:", *lines])


def describe(request: Request, trainer: HPOTrainer, task: Task, problems: Sequence[Problem]) -> dict[str, Any]:
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


def step_of(checkpoint: Path | None) -> int:
    """The update after which a checkpoint was made; 0 without one."""
    return 0 if checkpoint is None else int(checkpoint.name.rsplit("-", 1)[1])
