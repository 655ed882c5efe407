"""Check settings with verl's own configuration and checks, and with this package's, before a GPU is used."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from hysteretic.verl.settings import check_run


def composed(overrides: Sequence[str]) -> Any:
    """verl's whole configuration, as its main_ppo composes it from these overrides. Raises ValueError."""
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", list(overrides))
        OmegaConf.resolve(config)
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(f"verl's configuration rejects these settings: {error}") from error
    return config


def check(overrides: Sequence[str]) -> Any:
    """verl's configuration, once checked by verl and this package. Raises ValueError."""
    config = composed(overrides)
    check_run(config)
    if config.actor_rollout_ref.model.lora_rank and find_spec("vllm") is None:
        return config  # verl's check asks vLLM about LoRA
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            validate_config(config, need_reference_policy(config), need_critic(config))
    except (AssertionError, ValueError, HydraException) as error:
        raise ValueError(f"verl rejects these settings: {error}") from error
    return config
