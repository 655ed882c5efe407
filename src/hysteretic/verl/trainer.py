"""verl's trainers with HPO's statistics among their metrics (trainer.v1.trainer_mode=hpo_sync), otherwise unchanged.

An estimator cannot log, so these trainers do: hpo/alpha, hpo/positive_share, hpo/negative_share, hpo/silent_share and
hpo/mean_length (of whole steps) join verl's own metrics, in every logger of trainer.logger. Settings are checked when
the trainer is created, before it uses a GPU. Loaded by VERL_USE_EXTERNAL_MODULES=hysteretic.verl.trainer.
"""

from __future__ import annotations

from typing import Any

from verl.trainer.ppo.v1 import (
    PPOTrainerColocateAsync,
    PPOTrainerSeparateAsync,
    PPOTrainerSync,
    register_trainer,
)

import hysteretic.verl  # noqa: F401 - registers the estimators
from hysteretic.verl.estimator import say_once, watched
from hysteretic.verl.settings import ESTIMATORS, check_run


class _Reporting:
    """A mixin for verl's trainers. mode: the trainer's own name, by which verl's code selects it."""

    mode: str

    def __init__(self, config: Any) -> None:
        name = config.algorithm.adv_estimator
        if name not in ESTIMATORS:
            raise ValueError(
                f"trainer.v1.trainer_mode=hpo_{self.mode} reports on the estimators {', '.join(ESTIMATORS)}; found "
                f"algorithm.adv_estimator={name}. Choose one of them, or trainer_mode={self.mode}."
            )
        for note in check_run(config):
            say_once(note)
        config.trainer.v1.trainer_mode = self.mode
        super().__init__(config)  # type: ignore[call-arg]

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        check_single_rows(batch.keys)
        with watched() as seen:
            batch = super()._compute_advantage(batch, metrics)  # type: ignore[misc]
        metrics.update(seen)
        return batch


def check_single_rows(keys: list[str]) -> None:
    """Raises ValueError when a rollout has several rows. keys: verl's, uid_session_index for each row."""
    sessions: dict[str, str] = {}
    for key in keys:
        session = key.rpartition("_")[0]
        if session in sessions:
            raise ValueError(
                f"A rollout has several rows ({sessions[session]} and {key}); HPO supports one per rollout. Use an "
                "agent loop of one row per rollout (single_turn_agent, tool_agent), or verl's own grpo."
            )
        sessions[session] = key


@register_trainer("hpo_sync")
class HPOTrainerSync(_Reporting, PPOTrainerSync):
    """trainer_mode=sync, reporting."""

    mode = "sync"


@register_trainer("hpo_colocate_async")
class HPOTrainerColocateAsync(_Reporting, PPOTrainerColocateAsync):
    """trainer_mode=colocate_async, reporting."""

    mode = "colocate_async"


@register_trainer("hpo_separate_async")
class HPOTrainerSeparateAsync(_Reporting, PPOTrainerSeparateAsync):
    """trainer_mode=separate_async, reporting. alpha is that of each local update, as verl samples it."""

    mode = "separate_async"
