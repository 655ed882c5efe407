"""Held-out pass@1 before and after training, saved in the run's folder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from accelerate.utils import broadcast_object_list

from hysteretic.common.files import read_json
from hysteretic.config.settings import RunSpec
from hysteretic.evals.evaluate import Generate, Rate, decodings, evaluate
from hysteretic.evals.generate import respond
from hysteretic.evals.vllm import respond_within_run
from hysteretic.rewards.scoring import Scoring
from hysteretic.runs.folder import RunFolder
from hysteretic.tasks.task import Problem, Task
from hysteretic.trl import HPOTrainer


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

    def take(self, when: str, trainer: HPOTrainer) -> None:
        """Evaluate, unless nothing is held out or a resumed run already has its evaluation from before training.

        To be called on all ranks; the main process scores. Raises RewardError.
        """
        wanted = bool(self._held_out) and not (when == "before" and when in self._taken)
        if not broadcast_object_list([wanted])[0]:
            return
        generate, samples = self._generate(trainer), self._request.run.eval_samples
        if not trainer.accelerator.is_main_process:
            for _, count in decodings(samples) if trainer.use_vllm else []:
                generate(self._held_out, count)
            return
        print(f"Evaluating on {len(self._held_out)} held-out problems ({when} training) …")
        metrics, responses = evaluate(generate, self._task, self._held_out, samples, self._scoring)
        self._taken[when] = metrics
        self._folder.note_samples(when, responses)
        self._folder.write_json(self._folder.evaluation, self._taken)

    def _generate(self, trainer: HPOTrainer) -> Generate:
        """Responses of the trainer's model: from vLLM if its rollouts are, and then all ranks take part."""
        training = self._request.training
        how: dict[str, Any] = {
            "max_new_tokens": training.max_completion_length,
            "template_options": training.chat_template_kwargs,
        }
        if trainer.use_vllm:
            return partial(respond_within_run, trainer.vllm_generation, self._tokenizer, **how)
        return partial(respond, trainer.model, self._tokenizer, **how, shows_progress=True)

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
