"""`hysteretic launch verl RECIPE`: a recipe of `hysteretic train`, run by verl on one node or on many."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hysteretic.lab.errors import UsageError
from hysteretic.lab.export import absolute, task_name
from hysteretic.lab.export import main as export
from hysteretic.lab.recipes import read_recipe
from hysteretic.lab.settings import Request, parse
from hysteretic.lab.train import default_folder, load_task, quieten
from hysteretic.lab.verl_keys import Cluster, Overrides, hydra
from hysteretic.lab.verl_settings import NO_INFLUENCE, translate

ENVIRONMENT = {"VERL_USE_EXTERNAL_MODULES": "hysteretic.verl.trainer", "TOKENIZERS_PARALLELISM": "false"}
"""Every process of the run imports the estimators and trainers, and stops where it cannot."""

OURS: Overrides = {
    "trainer.v1.trainer_mode": "hpo_sync",
    "critic.enable": False,
    "reward.custom_reward_function.path": "pkg://hysteretic.verl",
    "reward.custom_reward_function.name": "compute_score",
}


@dataclass(frozen=True)
class Plan:
    """What is run: `export` writes the data, `train` starts verl; both are words of a command."""

    export: list[str]
    train: list[str]
    environment: dict[str, str]
    notes: list[str]
    data: Path

    def script(self) -> str:
        """Both as lines of a shell."""
        setting = [f"{key}={shlex.quote(value)}" for key, value in self.environment.items()]
        return f"{shlex.join(self.export)}\n{' '.join([*setting, _lines(self.train)])}"


def main(arguments: Sequence[str]) -> int:
    """Print the commands, or run them: 0 when they succeeded."""
    parser = _parser()
    options, flags = parser.parse_known_args(arguments)
    plan = plan_of(options, flags)
    for note in plan.notes:
        print(f"# {note}", file=sys.stderr if options.print else sys.stdout)
    print(plan.script())
    if options.print or options.dry_run:
        return 0
    return _run(plan, options)


def plan_of(options: argparse.Namespace, flags: Sequence[str]) -> Plan:
    """The commands for a recipe. flags: those of `hysteretic train`. Raises UsageError."""
    for name in ("nodes", "gpus_per_node", "processes"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {getattr(options, name)}; give 1 or more.")
    quieten()
    # transformers refuses bf16 on a machine without a GPU, unless it is told to use the CPU; verl is not told.
    request = parse(["--config", options.recipe, *flags, "--use_cpu", "true"])
    load_task(request)
    given = {*read_recipe(options.recipe), *map(_name, (word for word in flags if word.startswith("--")))}
    cluster = Cluster(options.nodes, options.gpus_per_node, options.processes)
    found = translate(request, sorted(given - {"use_cpu"}), cluster, options.max_prompt_length, options.without)
    _refuse_contradictions(options.set, found.overrides)
    name = default_folder(request).name
    data = Path(options.data or f"data/{request.run.task.replace('/', '-')}").absolute()
    output = Path(request.run.output or f"runs/{name}").absolute()
    overrides = {
        **found.overrides,
        **OURS,
        **_files(data, output, name),
        **_validation(request, found.overrides),
    }
    words = ["python3", "-m", "verl.trainer.main_ppo", *hydra(overrides), *options.set]
    environment = dict(ENVIRONMENT)
    if cluster.nodes > 1 or options.address:
        runtime = json.dumps({"env_vars": environment})
        address = options.address or "http://127.0.0.1:8265"
        words = ["ray", "job", "submit", "--address", address, "--runtime-env-json", runtime, "--", *words]
        environment = {}
        found.notes.append(
            f"hysteretic and verl must be installed on every node, {data} and {output} be on storage that all share."
        )
    return Plan(_export(request, data), words, environment, found.notes, data)


def _name(flag: str) -> str:
    name = flag.removeprefix("--").split("=")[0].replace("-", "_")
    return name.removeprefix("no_") if name.removeprefix("no_") in NO_INFLUENCE else name


def _refuse_contradictions(added: Sequence[str], overrides: Overrides) -> None:
    """--set may add to the objective's settings, not change them."""
    for word in added:
        key, _, value = word.partition("=")
        own = overrides.get(key, overrides.get(f"+{key.lstrip('+')}"))
        if key.split(".")[-1] in ("adv_estimator", "loss_agg_mode", "loss_mode", "alpha", "alpha_min") and value != str(
            own
        ):
            raise UsageError(
                f"--set {word} would train another objective than the recipe, which is {own}; change it with "
                "--algorithm, --weight, --length or --gate (`hysteretic train --help`)."
            )


def _files(data: Path, output: Path, name: str) -> Overrides:
    return {
        "data.train_files": str(data / "train.parquet"),
        "data.val_files": str(data / "validation.parquet"),
        "trainer.project_name": "hysteretic",
        "trainer.experiment_name": name,
        "trainer.default_local_dir": str(output),
    }


def _validation(request: Request, overrides: Overrides) -> Overrides:
    """Before the first update and after the last, as in `hysteretic train`; not at all with eval_problems: 0."""
    if not request.run.eval_problems:
        return {"trainer.val_before_train": False, "trainer.test_freq": -1}
    steps = overrides.get("trainer.total_training_steps", 1_000_000)  # the last step is validated whatever its number
    return {"trainer.val_before_train": True, "trainer.test_freq": steps}


def _export(request: Request, data: Path) -> list[str]:
    run = request.run
    words = ["hysteretic", "export", "--task", task_name(run.task), "--format", "verl", "--output", str(data)]
    task_options: dict[str, Any] = absolute(run.load_options())
    reward = task_options.pop("reward", None)
    if task_options:
        words += ["--task-options", json.dumps(task_options)]
    if reward is not None:
        words += ["--reward", reward]
    if run.train_problems is not None:
        words += ["--train-problems", str(run.train_problems)]
    # verl wants a validation file even where nothing is validated.
    return [*words, "--validation-problems", str(run.eval_problems or 1), "--seed", str(run.data_problem_seed)]


def _run(plan: Plan, options: argparse.Namespace) -> int:
    if plan.train[0] == "python3":
        if find_spec("verl") is None or find_spec("ray") is None:
            raise UsageError(
                "verl is not installed here; install it (docs/verl.md), or print the commands with --print and run "
                "them where it is."
            )
        try:
            import_module("hysteretic.verl")
        except ImportError as error:
            raise UsageError(str(error)) from error
        import torch

        if torch.cuda.device_count() < options.gpus_per_node:
            raise UsageError(
                f"--gpus-per-node is {options.gpus_per_node}, but this machine has {torch.cuda.device_count()} GPUs; "
                "give as many as there are, or --print and run the commands elsewhere."
            )
        plan.train[0] = sys.executable
    if not (plan.data / "train.parquet").is_file():
        code = export(plan.export[2:])
        if code:
            return code
    try:
        return subprocess.run(plan.train, env={**os.environ, **plan.environment}, check=False).returncode
    except FileNotFoundError as error:
        raise UsageError(f"{plan.train[0]} is not installed here; it comes with ray[default].") from error


def _lines(words: Sequence[str]) -> str:
    """A command with a setting a line."""
    first = next((place for place, word in enumerate(words) if word == "verl.trainer.main_ppo"), len(words) - 1) + 1
    return " \\\n  ".join([shlex.join(words[:first]), *map(shlex.quote, words[first:])])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hysteretic launch",
        description=__doc__,
        epilog="Further flags are those of `hysteretic train`, such as --algorithm hpo; they overrule the recipe.",
        allow_abbrev=False,
    )
    parser.add_argument("engine", choices=["verl"])
    parser.add_argument("recipe", help="a YAML file or a recipe of `hysteretic list`")
    parser.add_argument("--print", action="store_true", help="only print the commands (notes go to stderr)")
    parser.add_argument("--dry-run", action="store_true", help="print notes and commands, run nothing")
    parser.add_argument("--nodes", type=int, default=1, help="machines (default 1); more are sent to a Ray cluster")
    parser.add_argument("--gpus-per-node", type=int, default=1, help="GPUs of each (default 1)")
    parser.add_argument(
        "--processes",
        type=int,
        default=1,
        help="processes the recipe is written for; they multiply its batch (default 1)",
    )
    parser.add_argument("--address", help="of the Ray cluster's dashboard (default http://127.0.0.1:8265)")
    parser.add_argument("--data", help="folder of the parquet files (default data/TASK)")
    parser.add_argument("--max-prompt-length", type=int, help="longest prompt in tokens")
    parser.add_argument(
        "--without", action="append", default=[], metavar="SETTING", help="leave out what verl cannot do"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of verl's own, last")
    return parser
