"""What does a run need to know? RunConfig, HPOConfig and TRL's ModelConfig, filled from recipe, YAML and flags.

Later layers win: the tiny model's own recipe (for --model tiny), --config, flags. Every field of the three is a key
in YAML and a flag.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from trl import ModelConfig, TrlParser

from hysteretic.common.errors import UsageError, nearest
from hysteretic.config.recipes import read_recipe, tiny_recipe
from hysteretic.trl import HPOConfig


def defaults() -> dict[str, Any]:
    """Where a run differs from TRL's own defaults: one seed, a line an update, and bf16 only where a GPU has it.

    disable_tqdm: transformers switches progress off by itself where its own messages are.
    """
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    own = {"report_to": "none", "logging_steps": 1, "seed": 0, "disable_tqdm": False}
    return own if has_bf16 else {**own, "bf16": False}


def setting(text: str, default: Any = None) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class RunConfig:
    """What to train on and where to write; the rest is HPOConfig and TRL's ModelConfig."""

    task: str = setting("A task (`hysteretic list`), file.py:MyTask, a data file, or a hub data set.", "countdown-3")
    task_options: dict | str | None = field(
        default=None, metadata={"help": 'Options of the task, as a mapping (JSON as a flag): {"largest": 30}.'}
    )
    reward: str | None = setting(
        "For a data file or hub data set: path/to/file.py:function or package.module:function."
    )
    model: str = setting("'tiny' (the embedded default), a hub name, or a folder.", "tiny")
    output: str | None = setting("The run's folder; runs/TASK-OBJECTIVE-MODEL-seedN when not given.")
    resume: bool = setting("Go on with the run in the output folder from its newest checkpoint.", False)
    train_problems: int | None = setting("How many problems to train on (default: the task's).")
    data_problem_seed: int = setting("Which problems: the seed they are drawn with (not the run's seed).", 0)
    eval_problems: int = setting("How many held-out problems to evaluate on, before and after; 0 for none.", 200)
    eval_samples: int = setting("Sampled responses for each held-out problem, besides the greedy one.", 4)
    reward_processes: int = setting(
        "Score responses in so many processes of their own (on each rank): one that hangs or crashes does not end the "
        "run, but up to max_unscored (100 with them) responses have no reward. 0: in the run's own process.",
        0,
    )
    reward_seconds: float = setting(
        "How long one response may be scored, in processes of its own or by an async task.", 60.0
    )
    reward_gib: float = setting("GiB of memory that a scoring process may take beyond what it starts with.", 4.0)
    stop_seconds: float = setting(
        "After SIGTERM, how long the current rollout may take to end before it is given up; then the last update is "
        "saved (not with a sharded model).",
        15.0,
    )

    def __post_init__(self) -> None:
        if isinstance(self.task_options, str):
            try:
                self.task_options = json.loads(self.task_options)
            except json.JSONDecodeError as error:
                raise UsageError(
                    f"task_options is {self.task_options!r}, which is no JSON ({error}); write it as "
                    "'{\"largest\": 30}'."
                ) from error
        if self.task_options is not None and not isinstance(self.task_options, dict):
            raise UsageError(f"task_options is {self.task_options!r}; it must be a mapping such as {{'largest': 30}}.")
        for name in ("eval_problems", "eval_samples", "stop_seconds", "reward_processes"):
            if getattr(self, name) < 0:
                raise UsageError(f"{name} is {getattr(self, name)}; set it to 0 or more.")
        for name in ("reward_seconds", "reward_gib"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; set it above 0.")

    def load_options(self) -> dict[str, Any]:
        """What to hand to `hysteretic.tasks.load` besides the name."""
        options = dict(self.task_options or {})  # type: ignore[arg-type]
        return options if self.reward is None else {**options, "reward": self.reward}


@dataclass
class RunSpec:
    """A parsed command: the three configurations, and what was asked for where it differs from the defaults."""

    run: RunConfig
    training: Any
    model: Any
    asked: dict[str, Any]


def parse(
    arguments: Sequence[str], training: type[HPOConfig] = HPOConfig, machine: Mapping[str, Any] | None = None
) -> RunSpec:
    """The request in a command line (without the program's name). Raises UsageError; exits on --help and bad flags.

    training: a subclass, for a run on other GPUs than this machine's. machine: in place of `defaults()`.
    """
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--config", *arguments]  # the recipe, without the flag
    parser = _parser(training)
    given = _given(parser, arguments)
    flags = {key: value for key, value in given.items() if key != "config"}
    config_name = given.get("config")
    config = {} if config_name is None else read_recipe(config_name)
    if flags.get("resume") or config.get("resume"):
        output = flags.get("output") or config.get("output")
        if output is None:
            raise UsageError("--resume needs the run's folder; give its --output.")
        if (Path(str(output)) / "config.yaml").is_file():
            config = {**read_recipe(str(Path(str(output)) / "config.yaml")), **config}
    return _request(parser, arguments, config, config_name or "The configuration", flags, machine)


def parse_settings(settings: Mapping[str, Any], name: str, machine: Mapping[str, Any] | None = None) -> RunSpec:
    """The request of settings as a YAML file has them. name: what errors call them. Raises UsageError."""
    return _request(_parser(), [], settings, name, {}, machine)


def setting_names() -> list[str]:
    """Every setting of a run."""
    return list(vars(argparse.ArgumentParser.parse_args(_parser(), [])))


def _parser(training: type[HPOConfig] = HPOConfig) -> TrlParser:
    parser = TrlParser(
        [RunConfig, training, ModelConfig],
        prog="hysteretic train",
        usage="hysteretic train [--dry-run] [RECIPE or YAML] [any of these flags]",
        description="Train a model on a task. With --dry-run: make one small update of it on a CPU, without its "
        "weights, say what was checked, and leave nothing.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", help="YAML of any of these keys: a file, or a recipe of `hysteretic list`.")
    return parser


def _request(
    parser: TrlParser,
    arguments: Sequence[str],
    config: Mapping[str, Any],
    name: str,
    flags: Mapping[str, Any],
    machine: Mapping[str, Any] | None = None,
) -> RunSpec:
    check_known_settings(config, vars(argparse.ArgumentParser.parse_args(parser, [])), name)
    model = flags.get("model", config.get("model", "tiny"))
    task = flags.get("task", config.get("task", "countdown-3"))
    recipe = tiny_recipe(task) if model == "tiny" else {}
    if {**config, **flags}.get("task_options") is not None:
        recipe.pop("task_options", None)
    asked = {**(defaults() if machine is None else machine), **recipe, **config, **flags}
    parser.set_defaults_with_config(**asked)
    try:
        run, training, model_config, _ = parser.parse_args_into_dataclasses(list(arguments))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{name}: {error}" if name.startswith("arm ") else str(error)) from error
    return RunSpec(run, training, model_config, asked)


def _given(parser: TrlParser, arguments: Sequence[str]) -> dict[str, Any]:
    """Only the flags that stand in the command line, converted."""
    # By action, not by name: --share_prompts and --no_share_prompts fill one field with different defaults.
    saved = [action.default for action in parser._actions]
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    given = vars(argparse.ArgumentParser.parse_args(parser, list(arguments)))
    for action, default in zip(parser._actions, saved, strict=True):
        action.default = default
    return given


def check_known_settings(config: Mapping[str, Any], known: Mapping[str, Any], name: str) -> None:
    for key in config:
        if key not in known:
            hint = nearest(str(key), known) or " See `hysteretic train --help`."
            raise UsageError(f"{name} sets {key!r}, which is no setting.{hint}")
