"""Names and folders of a run in TensorBoard, Trackio or W&B. TRL does the reporting.

name       run_name, or the run folder's
project    project (Trackio), WANDB_PROJECT (W&B), or "hysteretic"
files      TensorBoard: tensorboard/ in the run folder; W&B: wandb/ there; Trackio: TRACKIO_DIR, shared by all runs
"""

from __future__ import annotations

import os
from importlib.util import find_spec

from hysteretic.common.errors import UsageError
from hysteretic.config.settings import RunSpec
from hysteretic.runs.folder import RunFolder

PACKAGES = {"tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb"}
"""The package that each tracker needs."""

PROJECT = "hysteretic"


def prepare_reports(request: RunSpec, folder: RunFolder) -> None:
    """Set the run's name, project and folders for its trackers. Raises UsageError for one that is not installed."""
    training = request.training
    asked = [name for name in training.report_to if name in PACKAGES]
    for name in asked:
        if find_spec(PACKAGES[name]) is None:
            raise UsageError(
                f"report_to is {name}, which is not installed here; pip install {PACKAGES[name]}, or set report_to to "
                "none (metrics.jsonl in the run's folder has the same metrics)."
            )
    if not asked:
        return
    if training.run_name is None:
        training.run_name = folder.path.name
    if "project" not in request.asked:
        training.project = PROJECT
    os.environ.setdefault("WANDB_PROJECT", PROJECT)
    os.environ.setdefault("WANDB_DIR", str(folder.path))
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder.path / "tensorboard"))
