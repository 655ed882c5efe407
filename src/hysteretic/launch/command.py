"""The two commands that run a recipe in verl: export its problems, and start verl."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hysteretic.common.errors import Refusals, UsageError, nearest
from hysteretic.common.files import read_json
from hysteretic.config.facts import facts
from hysteretic.config.recipes import read_recipe
from hysteretic.config.settings import RunSpec, parse, setting_names
from hysteretic.launch.agent_loop import check_tokenizer
from hysteretic.launch.export import PLAIN_PROMPTS, ExportSpec, absolute, drawn, task_name
from hysteretic.launch.overrides import Overrides, check_set, hydra
from hysteretic.launch.translate import Translation, translate
from hysteretic.launch.verl_keys import Cluster
from hysteretic.models.loading import quieten
from hysteretic.tasks.checked import load_task
from hysteretic.tasks.rows import SUFFIXES
from hysteretic.tasks.task import Streams, Task

MODULES, TRAINER = "VERL_USE_EXTERNAL_MODULES", "hysteretic.verl.trainer"
"""Makes every process of the run import the estimators and trainers, and stop if that fails."""

ENVIRONMENT = {"TOKENIZERS_PARALLELISM": "false"}

OURS: Overrides = {
    "trainer.v1.trainer_mode": "hpo_sync",
    "critic.enable": False,
    "reward.custom_reward_function.path": "pkg://hysteretic.verl",
    "reward.custom_reward_function.name": "compute_score",
}

CHECKPOINT = "latest_checkpointed_iteration.txt"
"""The file in which verl records its newest checkpoint."""


@dataclass(frozen=True)
class Commands:
    """The commands: `export` writes the data, then `train` (a list of words) starts verl.

    data: folder of the exported files. overrides: verl's settings among those words. prompts: per step.
    """

    export: ExportSpec
    train: list[str]
    environment: dict[str, str]
    notes: list[str]
    data: Path
    overrides: list[str]
    prompts: int

    def script(self) -> str:
        """Both as shell lines; verl is not started if the export fails."""
        setting = [f"{key}={shlex.quote(value)}" for key, value in self.environment.items()]
        return f"{shlex.join(self.export.words())} && \\\n{' '.join([*setting, _lines(self.train)])}"


def commands_of(options: argparse.Namespace, flags: Sequence[str]) -> Commands:
    """The commands for a recipe. flags: those of `hysteretic train`. Raises UsageError."""
    quieten()
    request = _request(options.recipe, flags)
    given = {*read_recipe(options.recipe), *map(_name, (word for word in flags if word.startswith("--")))}
    processes = options.processes or _stated_processes(options.recipe, request)
    cluster = Cluster(options.nodes, options.gpus_per_node, processes)
    name = _run_name(options, flags)
    data = Path(options.data or f"data/{request.run.task.replace('/', '-')}").absolute()
    output = Path(request.run.output or f"runs/{name}").absolute()
    refusals, found = Refusals(), Translation()
    with refusals.collected():
        found = translate(request, sorted(given - {"use_cpu"}), cluster, options.max_prompt_length, options.without)
    with refusals.collected():
        task = load_task(request.run.task, **request.run.load_options())
        found.notes += _look_at_problems(task, request, found.overrides.get("data.train_batch_size", 1))
    with refusals.collected():
        _check_output(output, request.run.resume)
    with refusals.collected():
        found.notes += check_tokenizer(request.run.model, request.model.model_revision)
    overrides = {
        **found.overrides,
        **OURS,
        **_files(data, output, name),
        **_validation(request, found.overrides),
    }
    with refusals.collected():
        check_set(options.set, overrides)
    refusals.check()
    if processes > 1:
        found.notes.append(f"The batch is that of {processes} processes (--processes), whatever the number of GPUs.")
    modules = external_modules()
    environment = {MODULES: modules, **ENVIRONMENT}
    is_job = cluster.nodes > 1 or options.address
    if not is_job:  # for a Ray that is already running on this machine; a job has it in its runtime_env
        overrides[f"+ray_kwargs.ray_init.runtime_env.env_vars.{MODULES}"] = modules
    settings = [*hydra(overrides), *options.set]
    words = ["python3", "-m", "verl.trainer.main_ppo", *settings]
    if is_job:
        runtime = json.dumps({"env_vars": environment})
        address = options.address or "http://127.0.0.1:8265"
        words = ["ray", "job", "submit", "--address", address, "--runtime-env-json", runtime, "--", *words]
        environment = {}
        found.notes.append(
            f"hysteretic and verl must be installed on every node, and {data} and {output} must be on shared storage."
        )
    prompts = found.overrides["data.train_batch_size"]
    return Commands(_export(request, data), words, environment, found.notes, data, settings, prompts)


def external_modules() -> str:
    """The modules that the user's environment names for verl, and ours."""
    named = [word.strip() for word in os.environ.get(MODULES, "").split(",")]
    return ",".join(dict.fromkeys([*filter(None, named), TRAINER]))


def check_flags(flags: Sequence[str], own: Sequence[str]) -> None:
    """Raises UsageError for a flag that neither launch (own) nor train has."""
    known = setting_names()
    for word in flags:
        name = word.split("=")[0].removeprefix("--").replace("-", "_")
        if word.startswith("--") and name not in known and name.removeprefix("no_") not in known:
            hint = nearest(word.split("=")[0][2:], [*known, *own], before="--")
            raise UsageError(
                f"{word.split('=')[0]} is not a flag of `hysteretic launch` or `hysteretic train`.{hint} `hysteretic "
                "train --help-all` lists them; verl's own settings go through --set KEY=VALUE."
            )


def _request(recipe: str, flags: Sequence[str]) -> RunSpec:
    """The run as `hysteretic train` would parse it. Errors omit its long usage message."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            # Without a GPU transformers rejects bf16 unless use_cpu is set; verl does not get this setting.
            request = parse(["--config", recipe, *flags, "--use_cpu", "true"], processes=0)
    except SystemExit as error:
        raise UsageError(said.getvalue().strip().rpartition("error: ")[2]) from error
    print(said.getvalue(), end="", file=sys.stderr)
    return request


def _stated_processes(recipe: str, request: RunSpec) -> int:
    """How many processes the batch is written for: as the recipe says, or the run.json beside a run's config.yaml."""
    record = read_json(Path(recipe).with_name("run.json")) if Path(recipe).name == "config.yaml" else None
    return request.run.processes or int((record or {}).get("processes", 0)) or 1


def _name(flag: str) -> str:
    name = flag.removeprefix("--").split("=")[0].replace("-", "_")
    return name.removeprefix("no_") if name.removeprefix("no_") in facts() else name


def _run_name(options: argparse.Namespace, flags: Sequence[str]) -> str:
    """A name from the recipe and every change to it, so that different runs get different folders."""
    path = Path(options.recipe)
    recipe = path.parent.name if path.name == "config.yaml" else re.sub(r"\.ya?ml$", "", path.name)
    changed = [*flags, *options.set, *(f"without={name}" for name in options.without)]
    if options.processes:
        changed.append(f"processes={options.processes}")
    for flag in ("--output", "--resume"):
        if flag in changed:
            place = changed.index(flag)
            has_value = flag == "--output" or changed[place + 1 : place + 2] in (["true"], ["True"])
            del changed[place : place + 1 + has_value]
    name = re.sub(r"[^A-Za-z0-9.=_]+", "-", "-".join([recipe, *changed]))
    if len(name) > 120:  # a file name has at most 255 bytes
        name = f"{name[:110]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name


def _check_output(output: Path, resume: bool) -> None:
    """Raises UsageError for a folder that verl would silently overwrite, or restart in without a checkpoint."""
    if (output / "run.json").is_file():
        raise UsageError(
            f"{output} holds a run of `hysteretic train`, which verl cannot continue; give another --output."
        )
    found = output.exists() and (not output.is_dir() or any(output.iterdir()))
    if found and not resume:
        raise UsageError(f"{output} is not empty; give another --output, or --resume --output {output} to continue it.")
    if resume and not (output / CHECKPOINT).is_file():
        raise UsageError(f"There is no checkpoint to resume from: {output} has no {CHECKPOINT}. Drop --resume.")


def _look_at_problems(task: Task, request: RunSpec, prompts: int) -> list[str]:
    """Check the training problems before verl does; returns notes. Raises UsageError.

    Problems on the hub are checked when they are exported. prompts: per step.
    """
    run = request.run
    is_file = Path(run.task).suffix.lower() in SUFFIXES
    count, first = run.train_problems, None
    if is_file:
        problems = list(drawn(task, "train", run.data_problem_seed, count))
        count, first = len(problems), next(iter(problems), None)
    elif isinstance(task, Streams):
        first = next(drawn(task, "train", run.data_problem_seed, 1), None)
    if count is not None:
        check_enough_problems(count, prompts)
    return [PLAIN_PROMPTS] if first is not None and isinstance(first.prompt, str) else []


def check_enough_problems(problems: int, prompts: int) -> None:
    """Raises UsageError if a step needs more prompts than there are: verl would make no step."""
    if problems < prompts:
        raise UsageError(
            f"There are {problems} training problems, but a step needs {prompts}; give more problems "
            "(--train_problems), or a smaller per_device_train_batch_size or steps_per_generation."
        )


def _files(data: Path, output: Path, name: str) -> Overrides:
    return {
        "data.train_files": str(data / "train.parquet"),
        "data.val_files": str(data / "validation.parquet"),
        "trainer.project_name": "hysteretic",
        "trainer.experiment_name": name,
        "trainer.default_local_dir": str(output),
    }


def _validation(request: RunSpec, overrides: Overrides) -> Overrides:
    """Validate before the first and after the last update, as `hysteretic train` does; never if eval_problems is 0."""
    if not request.run.eval_problems:
        return {"trainer.val_before_train": False, "trainer.test_freq": -1}
    steps = overrides.get("trainer.total_training_steps", 1_000_000)  # the last step is always validated
    return {"trainer.val_before_train": True, "trainer.test_freq": steps}


def _export(request: RunSpec, data: Path) -> ExportSpec:
    run = request.run
    return ExportSpec(
        task=task_name(run.task),
        output=data,
        task_options=absolute(run.load_options()),
        train_problems=run.train_problems,
        # verl requires a validation file even without validation. None: the usual number, or fewer if there are fewer.
        validation_problems=(run.eval_problems or 1) if "eval_problems" in request.asked else None,
        seed=run.data_problem_seed,
    )


def _lines(words: Sequence[str]) -> str:
    """A command with one setting per line."""
    first = next((place for place, word in enumerate(words) if word == "verl.trainer.main_ppo"), len(words) - 1) + 1
    return " \\\n  ".join([shlex.join(words[:first]), *map(shlex.quote, words[first:])])
