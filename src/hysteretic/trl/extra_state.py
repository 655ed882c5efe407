"""State that a checkpoint keeps beyond what transformers saves: one JSON file, filled by the trainer's mixins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trl import GRPOTrainer

STATE_FILE = "hpo_state.json"


class ExtraState(GRPOTrainer):
    """GRPOTrainer whose checkpoints hold `extra_state()` in hpo_state.json.

    A mixin with state of its own extends `extra_state` and `load_extra_state`, and calls super() in both.
    """

    def extra_state(self) -> dict[str, Any]:
        """What a checkpoint keeps beyond transformers' own state; must be serialisable as JSON."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""

    def _checkpoint_folder(self, trial: Any = None) -> Path:
        return Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.args.should_save:
            folder = self._checkpoint_folder(trial)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / STATE_FILE).write_text(json.dumps(self.extra_state()))
        super()._save_checkpoint(model, trial)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and (Path(checkpoint) / STATE_FILE).exists():
            self.load_extra_state(json.loads((Path(checkpoint) / STATE_FILE).read_text()))
