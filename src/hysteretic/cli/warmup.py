"""`hysteretic warmup`: supervised fine-tuning on a task's worked solutions, before reinforcement learning."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from trl import ModelConfig, SFTConfig

from hysteretic.cli.options import mapping
from hysteretic.common.errors import usage_errors
from hysteretic.config.recipes import read_recipe
from hysteretic.config.settings import Parser, check_known_settings, defaults
from hysteretic.models.loading import quieten
from hysteretic.runs.warmup import WarmupConfig, warm_up


def main(arguments: Sequence[str]) -> int:
    """Fine-tune, save the model and tokenizer, and print the next command."""
    quieten()
    parser = Parser(
        [WarmupConfig, SFTConfig, ModelConfig],
        prog="hysteretic warmup",
        description="Supervised fine-tuning on a task's own worked solutions, so that reinforcement learning finds "
        "successes to reinforce.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", help="a YAML file with any of these settings")
    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    words.add_argument("--config")
    file = words.parse_known_args(list(arguments))[0].config
    content = {} if file is None else read_recipe(file)
    check_known_settings(content, vars(argparse.ArgumentParser.parse_args(parser, [])), str(file))
    usual = {**defaults(), "learning_rate": 1e-5, "max_length": None, "save_strategy": "no"}
    parser.set_defaults_with_config(**{**usual, **content})
    with usage_errors(kinds=(ValueError, TypeError)):
        config, training, model, _ = parser.parse_args_into_dataclasses(list(arguments))
    with usage_errors(kinds=argparse.ArgumentTypeError):
        task_options = mapping(config.task_options) if config.task_options else {}
    if warm_up(config, task_options, training, model):
        print(f"Continue with: hysteretic train --task {config.task} --model {config.output}")
    return 0
