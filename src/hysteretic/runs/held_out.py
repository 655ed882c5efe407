"""Held-out pass@1 before and after training, saved in the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hysteretic.common.files import read_json
from hysteretic.config.settings import RunSpec
from hysteretic.evals.evaluate import Rate, evaluate
from hysteretic.rewards.scoring import Scoring
from hysteretic.runs.folder import RunFolder
from hysteretic.tasks.task import Problem, Task


class Evaluation:
    """Evaluates the model on held-out problems, and saves both results."""

    def __init__(
        self,
        folder: RunFolder,
        task: Task,
        held_out: Sequence[Problem],
        request: RunSpec,
        tokenizer: Any,
        scoring: Scoring | None = None,
    ) -> None:
        self._folder, self._task, self._held_out, self._request = folder, task, held_out, request
        self._tokenizer, self._scoring = tokenizer, scoring
        self._taken: dict[str, Any] = read_json(folder.evaluation) or {}

    def take(self, when: str, model: Any) -> None:
        """Evaluate, unless nothing is held out or a resumed run already has its evaluation from before training.

        Raises RewardError.
        """
        if not self._held_out or (when == "before" and when in self._taken):
            return
        print(f"Evaluating on {len(self._held_out)} held-out problems ({when} training) …")
        metrics, samples = evaluate(
            model,
            self._tokenizer,
            self._task,
            self._held_out,
            self._request.run.eval_samples,
            self._request.training.max_completion_length,
            scoring=self._scoring,
        )
        self._taken[when] = metrics
        self._folder.note_samples(when, samples)
        self._folder.write_json(self._folder.evaluation, self._taken)

    def table(self) -> str:
        """Before and after, one line per decoding method."""
        lines = []
        for decoding in self._taken.get("after", {}):
            before, after = (
                Rate(**self._taken[when][decoding]["pass@1"]) if when in self._taken else "not evaluated"
                for when in ("before", "after")
            )
            lines.append(f"  {decoding:8} before {before}   after {after}")
        if not lines:
            return "No held-out evaluation (eval_problems is 0)."
        return "\n".join(["Held-out pass@1, 95 % intervals over problems:", *lines])
