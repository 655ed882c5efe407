"""RunConfig, HPOConfig and TRL's ModelConfig, filled from recipe, YAML and flags.

Later layers win: the tiny model's own recipe (for --model tiny), --config with what it is based on, flags. Every field
of the three is a key in YAML and a flag.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import Field, dataclass
from pathlib import Path
from typing import Any

import torch
from trl import ModelConfig, TrlParser

from hysteretic.common.errors import UsageError, nearest
from hysteretic.config import help_pages
from hysteretic.config.batch import KEYS, batch_for, count_in, note_unadjusted
from hysteretic.config.recipes import layers_of, merged, read_recipe, tiny_recipe
from hysteretic.config.run import RunConfig as RunConfig
from hysteretic.config.run import setting as setting
from hysteretic.trl import HPOConfig


def defaults() -> dict[str, Any]:
    """Where a run differs from TRL's defaults: seed 0, one line per update, and bf16 only if the GPU has it.

    disable_tqdm: transformers disables progress bars by itself when its log messages are off.
    """
    has_bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    own = {"report_to": "none", "logging_steps": 1, "seed": 0, "disable_tqdm": False}
    return own if has_bf16 else {**own, "bf16": False}


@dataclass
class RunSpec:
    """A parsed command: the three configurations, and the given settings that differ from the defaults.

    asked: the settings as given, for the stated number of processes. batch_note: a line on how their batch was kept on
    the actual processes; empty if nothing changed.
    """

    run: RunConfig
    training: Any
    model: Any
    asked: dict[str, Any]
    batch_note: str = ""


class Parser(TrlParser):
    """TrlParser for fields whose metadata has facts besides the help."""

    @staticmethod
    def _parse_dataclass_field(parser: argparse.ArgumentParser, field: Field[Any]) -> None:
        plain = copy(field)
        plain.metadata = {key: value for key, value in field.metadata.items() if key != "facts"}  # type: ignore[assignment]
        TrlParser._parse_dataclass_field(parser, plain)


def parse(
    arguments: Sequence[str],
    training: type[HPOConfig] = HPOConfig,
    machine: Mapping[str, Any] | None = None,
    processes: int | None = None,
) -> RunSpec:
    """The run that a command line describes (without the program's name). Raises UsageError; exits on --help.

    training: a subclass, for a run on other GPUs than this machine's. machine: replaces `defaults()`. processes: the
    number that will run, by default as many as a launcher started; 0 leaves the batch as stated.
    """
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--config", *arguments]  # the recipe, without the flag
    parser = _parser(training)
    if {"-h", "--help", "--help-all"} & set(arguments):
        parser.set_defaults_with_config(**defaults())
        help_pages.show_if_asked(parser, arguments)
    given = _given(parser, arguments)
    flags = {key: value for key, value in given.items() if key != "config"}
    layers = [] if given.get("config") is None else layers_of(given["config"])
    for name, layer in layers:
        check_known_settings(layer, _known(parser), name)
    config, name = merged(layers), given.get("config") or "The configuration"
    if flags.get("resume") or config.get("resume"):
        output = flags.get("output") or config.get("output")
        if output is None:
            raise UsageError("--resume needs the run's folder; give its --output.")
        own = Path(str(output)) / "config.yaml"
        if os.path.isfile(own):  # unlike Path.is_file, no error for a name that the system refuses
            config, name = {**read_recipe(str(own)), **config}, str(own)
    return _run_spec(parser, config, name, flags, machine, processes)


def parse_settings(settings: Mapping[str, Any], name: str, machine: Mapping[str, Any] | None = None) -> RunSpec:
    """The run that a mapping of settings describes. name: what errors call it. Raises UsageError."""
    return _run_spec(_parser(), settings, name, {}, machine, None)


def setting_names() -> list[str]:
    """Every setting of a run."""
    return list(_known(_parser()))


def stated_processes(arguments: Sequence[str]) -> int | None:
    """The number of processes that a command line states, by flag or recipe."""
    given = _given(_parser(), arguments)
    config = {} if given.get("config") is None else read_recipe(given["config"])
    return given.get("processes", config.get("processes"))


def _known(parser: TrlParser) -> dict[str, Any]:
    return vars(argparse.ArgumentParser.parse_args(parser, []))


def _parser(training: type[HPOConfig] = HPOConfig) -> TrlParser:
    parser = Parser(
        [RunConfig, training, ModelConfig],
        prog="hysteretic train",
        usage=help_pages.USAGE,
        description=help_pages.DESCRIPTION,
        allow_abbrev=False,
    )
    parser.add_argument("--config", help="YAML of any of these keys: a file, or a recipe of `hysteretic list`.")
    return parser


def _run_spec(
    parser: TrlParser,
    config: Mapping[str, Any],
    name: str,
    flags: Mapping[str, Any],
    machine: Mapping[str, Any] | None,
    processes: int | None,
) -> RunSpec:
    check_known_settings(config, _known(parser), name)
    model = flags.get("model", config.get("model", "tiny"))
    task = flags.get("task", config.get("task", "countdown-3"))
    recipe = tiny_recipe(task) if model == "tiny" else {}
    if {**config, **flags}.get("task_options") is not None:
        recipe.pop("task_options", None)
    if any(key in config for key in KEYS):
        recipe.pop("processes", None)  # of the recipe's own batch
    asked = {**(defaults() if machine is None else machine), **recipe, **config, **flags}
    kept, note = _kept_batch(asked, flags, processes)
    parser.set_defaults_with_config(**{**asked, **kept})
    try:
        run, training, model_config, _ = parser.parse_args_into_dataclasses([])
    except (ValueError, TypeError) as error:
        raise UsageError(f"{name}: {error}" if name.startswith("arm ") else str(error)) from error
    if training.max_completion_length is None:
        raise UsageError(
            "max_completion_length is null, but commands plan memory and evaluate with it; set it to the longest "
            "response in tokens, or leave it out."
        )
    return RunSpec(run, training, model_config, asked, note)


def _kept_batch(asked: dict[str, Any], flags: Mapping[str, Any], processes: int | None) -> tuple[dict[str, Any], str]:
    """Settings that keep the stated batch on the actual processes, and a line about it."""
    actual = int(os.environ.get("WORLD_SIZE", "1")) if processes is None else processes
    stated = count_in(asked, "processes", 0)
    if not stated or not actual:
        return {}, ""
    if "processes" not in flags and any(key in flags for key in KEYS):
        asked["processes"] = actual  # a flag applies to the actual processes
        return {}, note_unadjusted(asked, stated, actual)
    return batch_for(asked, stated, actual)


def _given(parser: TrlParser, arguments: Sequence[str]) -> dict[str, Any]:
    """Only the flags that the command line contains, converted."""
    # By action, not by name: --share_prompts and --no_share_prompts fill one field with different defaults.
    saved = [action.default for action in parser._actions]
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    found, unknown = parser.parse_known_args(list(arguments))
    given = vars(found)
    for action, default in zip(parser._actions, saved, strict=True):
        action.default = default
    check_no_unknown(parser, unknown)
    return given


def check_no_unknown(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> None:
    """Raises UsageError for what a command line has besides the parser's flags, all at once. unknown: those words."""
    known = [flag for action in parser._actions for flag in action.option_strings]
    flags = [word.split("=")[0] for word in unknown if word.startswith("-")]
    said = [f"{flag} is not a flag of `{parser.prog}`.{_hint(flag, known)}" for flag in flags]
    if unknown and not flags:
        said = [f"Unexpected argument {unknown[0]!r}; give settings as --name value."]
    if said:
        raise UsageError(f"{' '.join(said)} See `{parser.prog} --help`.")


def _hint(flag: str, known: Sequence[str]) -> str:
    return nearest(flag.lstrip("-"), [name.lstrip("-") for name in known], before="--")


def check_known_settings(config: Mapping[str, Any], known: Mapping[str, Any], name: str) -> None:
    """Raises UsageError for a key that is not a setting. name: what the error calls their source."""
    for key in config:
        if key not in known:
            hint = nearest(str(key), known) or " See `hysteretic train --help`."
            raise UsageError(f"{name} sets {key!r}, which is not a setting.{hint}")
