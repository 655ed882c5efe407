"""What keeps a long run safe? No bad number is trained on, and no finished update is lost.

rewards      of the whole batch, watched (rewards.py); a group with a response that has none is left out
updates      loss and gradient must be finite (guard.py)
checkpoints  sealed when they are on the disk (common/checkpoints.py), and made when a run has to leave (preemption.py)
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from hysteretic.common.checkpoints import SEAL, atomic_checkpoint, keep_newest, seal
from hysteretic.trl.config import HPOConfig
from hysteretic.trl.guard import FOLDER, BadUpdateError, Guard, write_rows
from hysteretic.trl.lean import LeanTrainer
from hysteretic.trl.preemption import LastUpdate, Preempted
from hysteretic.trl.rewards import RewardError, RewardWatch

logger = logging.getLogger(__name__)

_STATE_FILE = "hpo_state.json"


class SafeTrainer(LeanTrainer):
    """LeanTrainer with HPOConfig's max_bad_updates and max_unscored.

    A reward function that raises, or returns the wrong number of rewards, None (as the only function), NaN or infinity
    stops the run with a RewardError on every rank; a loss or gradient that is NaN or infinite, with a BadUpdateError.
    Both are raised after a checkpoint of all finished updates.
    """

    def __init__(self, model: Any, reward_funcs: Any, args: HPOConfig, *arguments: Any, **options: Any) -> None:
        self._watch = RewardWatch(takes_unscored=args.max_unscored > 0)
        self._batch_rewards: Tensor | None = None
        self._sampler: Any = None
        self._unscored, self._has_unscored_P = 0, torch.zeros(0, dtype=torch.bool)
        super().__init__(model, self._watched(reward_funcs), args, *arguments, **options)
        self._last_update = LastUpdate(self.extra_state)
        folder, decode = Path(self.args.output_dir), self.processing_class.decode
        self._guard = Guard(self.accelerator, folder, args.max_bad_updates, decode)
        self.add_callback(self._last_update)
        self.add_callback(self._guard)

    def _watched(self, reward_funcs: Any) -> Any:
        """Reward functions under watch; models (and their names) are TRL's to load."""
        if reward_funcs is None:
            return None
        functions = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        return [
            function
            if isinstance(function, str | nn.Module)
            else self._watch.wrap(function, allow_none=len(functions) > 1)
            for function in functions
        ]

    def train(self, *arguments: Any, **options: Any) -> Any:
        """GRPOTrainer.train; an error of this package saves a checkpoint first: no finished update is lost."""
        try:
            return super().train(*arguments, **options)
        except (RewardError, BadUpdateError, Preempted) as error:
            if self._last_update.is_known and not (self._checkpoint_folder() / SEAL).is_file():
                self.load_extra_state(self._last_update.restore())  # as the end of that update would have left it
                self._save_checkpoint(self.model, trial=None, is_together=not isinstance(error, Preempted))
            raise

    def compute_loss(self, model: nn.Module, inputs: Any, *arguments: Any, **options: Any) -> Tensor:
        """LeanTrainer.compute_loss, noted for the guard."""
        loss = super().compute_loss(model, inputs, *arguments, **options)
        if self.model.training:
            self._guard.note(loss, inputs)
        return loss

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, *arguments: Any) -> Tensor:
        rewards_BF = super()._calculate_rewards(inputs, prompts, completions, *arguments)
        failure, unscored = self._watch.take()
        reports = gather_object([(failure, unscored)])  # of each rank
        failures = [failure for failure, _ in reports if failure]
        if failures or any(rows for _, rows in reports):
            stem = f"rollout-after-update-{self.state.global_step}-rank{self.accelerator.process_index}"
            path = Path(self.args.output_dir) / FOLDER / f"{stem}.jsonl"
            rows = zip(prompts, completions, strict=True)
            write_rows(
                path, ({"prompt": p, "response": c, "unscored": unscored.get(i)} for i, (p, c) in enumerate(rows))
            )
        if failures:
            logger.warning("The batch that a reward function failed on is in %s.", path.parent)
            raise RewardError(failures[0]) from self._watch.cause
        rewards_BF = self._without_unscored(rewards_BF, [rows for _, rows in reports])
        is_unrewarded = torch.isnan(rewards_BF).all(dim=1)
        if bool(is_unrewarded.any()):
            raise RewardError(
                f"No reward function gave row {int(is_unrewarded.nonzero()[0])} of the batch a reward "
                f"({', '.join(self.reward_func_names)} all returned None); one of them must."
            )
        self._batch_rewards = rewards_BF
        return rewards_BF

    def _without_unscored(self, rewards_BF: Tensor, reasons_by_rank: list[dict[int, str]]) -> Tensor:
        """Give rows without a reward the mean of their group, so that no figure is moved; remember the group.

        Raises RewardError when there are too many of them.
        """
        local, G = len(rewards_BF) // len(reasons_by_rank), self.num_generations
        reasons = {
            rank * local + row: reason for rank, rows in enumerate(reasons_by_rank) for row, reason in rows.items()
        }
        self._unscored += len(reasons)
        if self._unscored > self.args.max_unscored:
            raise RewardError(
                f"{next(iter(reasons.values()))} ({self._unscored} responses without a reward in this run, "
                f"max_unscored is {self.args.max_unscored})"
            )
        self._has_unscored_P = torch.zeros(len(rewards_BF) // G, dtype=torch.bool, device=rewards_BF.device)
        if not reasons:
            return rewards_BF
        for row, reason in reasons.items():
            if self.accelerator.is_main_process:
                logger.warning("%s; its group is left out (row %d of the batch).", reason, row)
        rows = torch.tensor(list(reasons), device=rewards_BF.device)
        self._has_unscored_P[rows // G] = True
        filled = rewards_BF.index_fill(0, rows, torch.nan).view(-1, G, rewards_BF.shape[1])
        means = filled.nanmean(dim=1, keepdim=True).nan_to_num().expand_as(filled).reshape_as(rewards_BF)
        return rewards_BF.index_copy(0, rows, means[rows])

    def _save_checkpoint(self, model: Any, trial: Any, is_together: bool = True) -> None:
        """GRPOTrainer's, sealed; older ones go when the new one is on the disk. is_together: every rank is here."""
        folder = self._checkpoint_folder(trial)
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            with atomic_checkpoint(folder) if self.args.should_save else nullcontext():
                if self.args.should_save:
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / _STATE_FILE).write_text(json.dumps(self.extra_state()))
                super()._save_checkpoint(model, trial)
                if is_together:
                    self.accelerator.wait_for_everyone()  # each rank writes its random state
                if self.args.should_save:
                    seal(folder)
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            keep_newest(folder.parent, limit, also=self.state.best_model_checkpoint)

    def load_update(self, checkpoint: Path) -> None:
        """The weights and the state of a checkpoint, without training on; not with a sharded model."""
        self._load_from_checkpoint(str(checkpoint))
        self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))

    def _checkpoint_folder(self, trial: Any = None) -> Path:
        return Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"

    def _get_train_sampler(self, *arguments: Any, **options: Any) -> Any:
        self._sampler = super()._get_train_sampler(*arguments, **options)
        return self._sampler

    def extra_state(self) -> dict[str, Any]:
        """What a checkpoint keeps beyond transformers' own."""
        return {"unscored": self._unscored, "left_out": self._guard.left_out}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""
        self._unscored, self._guard.left_out = state.get("unscored", 0), state.get("left_out", 0)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        # Micro-batches already taken: a run resumed inside a rollout goes on with the rest of it, generated anew.
        # From the checkpoint, for transformers 5.0 sets self.state.global_step only after this.
        path = None if checkpoint is None else Path(checkpoint) / TRAINER_STATE_NAME
        saved = json.loads(path.read_text()) if path is not None and path.exists() else {}
        self._step = saved.get("global_step", 0) * self.args.gradient_accumulation_steps
        for _ in range(int(saved.get("epoch") or 0) if self._sampler is not None else 0):
            next(iter(self._sampler), None)  # TRL's sampler draws the order of an epoch as it begins
        if checkpoint is not None and (Path(checkpoint) / _STATE_FILE).exists():
            self.load_extra_state(json.loads((Path(checkpoint) / _STATE_FILE).read_text()))
