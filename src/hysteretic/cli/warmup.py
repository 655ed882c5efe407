"""`hysteretic warmup`: supervised fine-tuning on a task's worked solutions, before reinforcement learning."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Any

from trl import ModelConfig, SFTConfig, TrlParser

from hysteretic.cli.options import mapping
from hysteretic.common.errors import usage_errors
from hysteretic.config.recipes import read_recipe, recipe_files
from hysteretic.config.settings import check_known_settings, check_no_unknown, defaults
from hysteretic.models.loading import quieten
from hysteretic.runs.warmup import WarmupConfig, warm_up

TINY_RATE = 1e-3
"""The usual learning rate for the tiny model; 1e-5, that for others, would change nothing in it."""


def main(arguments: Sequence[str]) -> int:
    """Fine-tune, save the model and tokenizer, and print the next command."""
    quieten()
    parser = TrlParser(
        [WarmupConfig, SFTConfig, ModelConfig],
        prog="hysteretic warmup",
        description="Supervised fine-tuning on a task's own worked solutions, so that reinforcement learning finds "
        "successes to reinforce.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", help="a YAML file with any of these settings")
    known = vars(argparse.ArgumentParser.parse_args(parser, []))
    given, unknown = _named(parser, arguments)
    check_no_unknown(parser, unknown)
    content = {} if given.get("config") is None else read_recipe(given["config"])
    check_known_settings(content, known, str(given.get("config")))
    is_tiny = {**content, **given}.get("model") == "tiny"
    usual = {**defaults(), "learning_rate": TINY_RATE if is_tiny else 1e-5, "max_length": None, "save_strategy": "no"}
    parser.set_defaults_with_config(**{**usual, **content})
    with usage_errors(kinds=(ValueError, TypeError)):
        config, training, model, _ = parser.parse_args_into_dataclasses(list(arguments))
    with usage_errors(kinds=argparse.ArgumentTypeError):
        task_options = None if config.task_options is None else mapping(config.task_options)
    if warm_up(config, task_options, training, model):
        print(f"Continue with: {_next_command(config)}")
    return 0


def _named(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """--config and --model of the command line, and the words that are no flags of the command."""
    _, unknown = parser.parse_known_args(list(arguments))
    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    words.add_argument("--config")
    words.add_argument("--model")
    return vars(words.parse_known_args(list(arguments))[0]), unknown


def _next_command(config: WarmupConfig) -> str:
    """`hysteretic train` on the same task, from the model that was made."""
    recipe = f"tiny-{config.task}"
    is_tiny = config.model == "tiny" and recipe in recipe_files()
    words = ["--config", recipe] if is_tiny else ["--task", config.task]
    for flag, value in (("--task_options", config.task_options), ("--reward", config.reward)):
        words += [] if value is None else [flag, str(value)]
    return shlex.join(["hysteretic", "train", *words, "--model", config.output])
