"""What keeps a long run safe: no bad number is trained on, and no finished update is lost.

rewards      of the whole batch are checked (rewards.py); a response without one is marked with NaN
updates      loss and gradient must be finite (guard.py)
checkpoints  are sealed once they are on disk (common/checkpoints.py), and made when a run has to stop early
             (preemption.py)
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather, gather_object
from torch import Tensor, nn
from torch.distributed.fsdp import StateDictType
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from hysteretic.common.checkpoints import SEAL, atomic_checkpoint, keep_newest, seal
from hysteretic.trl.compat import setting
from hysteretic.trl.extra_state import ExtraState
from hysteretic.trl.guard import FOLDER, BadUpdateError, BrokenWeightsError, Guard, write_rows
from hysteretic.trl.preemption import LastUpdate, Preempted
from hysteretic.trl.rewards import WITHHELD, RewardError, RewardWatch, distinct, flaws_of_models

logger = logging.getLogger(__name__)


class FaultTolerance(ExtraState):
    """GRPOTrainer with HPOConfig's max_bad_updates and max_unscored (both 0 with a plain GRPOConfig).

    A reward function, an environment's get_reward or a reward model that raises, or gives NaN, infinity, the wrong
    number of rewards or (as the only column) None stops the run with a RewardError on every rank; a NaN or infinite
    loss or gradient with a BadUpdateError. Both are raised after a checkpoint of all finished updates. A response that
    max_unscored tolerates without a reward has NaN in every column of the rewards; TRL gives it no advantage.

    Rewards of one name (two lambdas, two partials of a function) get distinct ones, so that each has its metrics.
    """

    reward_funcs: list[Any]
    reward_func_names: list[str]

    def __init__(self, model: Any, reward_funcs: Any = None, args: Any = None, *arguments: Any, **options: Any) -> None:
        self._reward_watch = RewardWatch(tolerates_unscored=setting(args, "max_unscored") > 0)
        self._sampler: Any = None
        self._unscored_so_far = 0
        super().__init__(model, _listed(reward_funcs), args, *arguments, **options)
        self.reward_func_names = distinct(self.reward_func_names)  # those that TRL found, environments' included
        self.reward_funcs = [
            function
            if isinstance(function, nn.Module)
            else self._reward_watch.wrap(function, name, allow_none=len(self.reward_funcs) > 1)
            for function, name in zip(self.reward_funcs, self.reward_func_names, strict=True)
        ]
        self._last_update = LastUpdate(self.extra_state)
        folder, decode = Path(self.args.output_dir), self.processing_class.decode
        self._guard = Guard(self.accelerator, folder, setting(args, "max_bad_updates"), decode)
        self.add_callback(self._last_update)
        self.add_callback(self._guard)

    def train(self, *arguments: Any, **options: Any) -> Any:
        """GRPOTrainer.train; an error of this package saves a checkpoint first, so that no finished update is lost.

        Not where the weights themselves are broken: a checkpoint of them would be the one to resume from.
        """
        try:
            return super().train(*arguments, **options)
        except (RewardError, BadUpdateError, Preempted) as error:
            is_worth_saving = self._last_update.is_known and not isinstance(error, BrokenWeightsError)
            if is_worth_saving and not (self._checkpoint_folder() / SEAL).is_file():
                self.load_extra_state(self._last_update.restore())  # as the end of that update would have left it
                self._save_checkpoint(self.model, trial=None, is_together=not isinstance(error, Preempted))
            raise

    def compute_loss(self, model: nn.Module, inputs: Any, *arguments: Any, **options: Any) -> Tensor:
        """GRPOTrainer.compute_loss, noted for the guard."""
        loss = super().compute_loss(model, inputs, *arguments, **options)
        if self.model.training:
            self._guard.note(loss, inputs)
        return loss

    def _get_grad_norm(self, model: nn.Module, grad_norm: Any = None) -> Any:
        """Trainer._get_grad_norm, which every update calls; its result is what the guard looks at."""
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        self._guard.gradient_norm = norm
        return norm

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, *arguments: Any) -> Tensor:
        models = {
            column: name or f"{column + 1}"  # a model without a name or folder
            for column, (function, name) in enumerate(zip(self.reward_funcs, self.reward_func_names, strict=True))
            if isinstance(function, nn.Module)
        }
        try:
            rewards_BF = super()._calculate_rewards(inputs, prompts, completions, *arguments)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again as RewardError on every rank
            # Functions are watched, so a model failed, or what is made for it. TRL gathers last: so does this rank.
            what = f"Reward model {' or '.join(models.values())}" if models else "Computing the rewards"
            self._reward_watch.note(f"{what} raised {type(error).__name__}: {error}", error)
            withheld = torch.full((len(prompts), len(self.reward_funcs)), WITHHELD, device=self.accelerator.device)
            rewards_BF = gather(withheld)
        failure, unscored = self._reward_watch.take()
        local, rank = len(prompts), self.accelerator.process_index
        reasons = flaws_of_models(rewards_BF, models)  # every rank sees these
        functions = [column for column in range(rewards_BF.shape[1]) if column not in models]
        if reasons or bool(torch.isinf(rewards_BF[:, functions]).any()):  # withheld on some rank: all ranks see it here
            reports = gather_object([(failure, unscored)])
            failures = [failure for failure, _ in reports if failure]
            if failures:
                self._write_failed_rollout(prompts, completions, unscored)
                raise RewardError(failures[0]) from self._reward_watch.cause
            reasons |= {at * local + row: why for at, (_, rows) in enumerate(reports) for row, why in rows.items()}
        if reasons:
            here = {row: reasons[rank * local + row] for row in range(local) if rank * local + row in reasons}
            self._write_failed_rollout(prompts, completions, here)
            rewards_BF = self._with_unscored_as_nan(rewards_BF, reasons)
        unrewarded = set(torch.isnan(rewards_BF).all(dim=1).nonzero().flatten().tolist()) - set(reasons)
        if unrewarded:
            raise RewardError(
                f"No reward function gave row {min(unrewarded)} of the batch a reward "
                f"({', '.join(self.reward_func_names)} all returned None); one of them must."
            )
        return rewards_BF

    def _write_failed_rollout(self, prompts: Any, completions: Any, unscored: Mapping[int, str]) -> None:
        stem = f"rollout-after-update-{self.state.global_step}-rank{self.accelerator.process_index}"
        path = Path(self.args.output_dir) / FOLDER / f"{stem}.jsonl"
        rows = zip(prompts, completions, strict=True)
        write_rows(path, ({"prompt": p, "response": c, "unscored": unscored.get(i)} for i, (p, c) in enumerate(rows)))
        logger.warning("The batch in which a reward function failed is in %s.", path.parent)

    def _with_unscored_as_nan(self, rewards_BF: Tensor, reasons: Mapping[int, str]) -> Tensor:
        """NaN in every column of the rows without a reward. Raises RewardError when the run has too many of them."""
        self._unscored_so_far += len(reasons)
        most = setting(self.args, "max_unscored")
        if self._unscored_so_far > most:
            raise RewardError(
                f"{next(iter(reasons.values()))} ({self._unscored_so_far} responses without a reward in this run, "
                f"max_unscored is {most})"
            )
        for row, reason in reasons.items():
            if self.accelerator.is_main_process:
                logger.warning("%s; its group is left out (row %d of the batch).", reason, row)
        return rewards_BF.index_fill(
            0, torch.tensor(list(reasons), dtype=torch.long, device=rewards_BF.device), torch.nan
        )

    def _save_checkpoint(self, model: Any, trial: Any, is_together: bool = True) -> None:
        """GRPOTrainer's checkpoint, sealed; older ones are deleted once the new one is on disk.

        is_together: whether every rank saves now.
        """
        folder = self._checkpoint_folder(trial)
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            with atomic_checkpoint(folder) if self.args.should_save else nullcontext():
                super()._save_checkpoint(model, trial)
                if is_together:
                    self.accelerator.wait_for_everyone()  # each rank writes its random state
                if self.args.should_save:
                    seal(folder)
        finally:
            self.args.save_total_limit = limit
        if self.args.should_save:
            keep_newest(folder.parent, limit, also=self.state.best_model_checkpoint)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """GRPOTrainer.save_model; whole weights also with FSDP's SHARDED_STATE_DICT, of which transformers saves none.

        Within a checkpoint these stay sharded: the checkpoint has them in its own files, from which a run resumes.
        """
        plugin = self.accelerator.state.fsdp_plugin if self.is_fsdp_enabled and not _internal_call else None
        if plugin is None:
            super().save_model(output_dir, _internal_call)
            return
        kind, plugin.state_dict_type = plugin.state_dict_type, StateDictType.FULL_STATE_DICT
        try:
            super().save_model(output_dir, _internal_call)
        finally:
            plugin.state_dict_type = kind

    def load_update(self, checkpoint: Path) -> None:
        """Load the weights and the state of a checkpoint without training on; not with a sharded model."""
        self._load_from_checkpoint(str(checkpoint))
        self.state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))

    def _get_train_sampler(self, *arguments: Any, **options: Any) -> Any:
        self._sampler = super()._get_train_sampler(*arguments, **options)
        return self._sampler

    def extra_state(self) -> dict[str, Any]:
        """ExtraState.extra_state, with the counts that max_unscored and max_bad_updates bound over the whole run."""
        return {**super().extra_state(), "unscored": self._unscored_so_far, "left_out": self._guard.left_out}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""
        super().load_extra_state(state)
        self._unscored_so_far, self._guard.left_out = state.get("unscored", 0), state.get("left_out", 0)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        # Micro-batches already taken: a run resumed inside a rollout continues with the rest of it, generated again.
        # Read from the checkpoint, since transformers 5.0 sets self.state.global_step only after this.
        path = None if checkpoint is None else Path(checkpoint) / TRAINER_STATE_NAME
        saved = json.loads(path.read_text()) if path is not None and path.exists() else {}
        self._step = saved.get("global_step", 0) * self.args.gradient_accumulation_steps
        for _ in range(int(saved.get("epoch") or 0) if self._sampler is not None else 0):
            next(iter(self._sampler), None)  # TRL's sampler draws the order of an epoch when the epoch begins


def _listed(reward_funcs: Any) -> Any:
    """The reward functions as a list of our own, to which TRL may add. Raises TypeError for one that is none."""
    if reward_funcs is None:
        return None
    listed = list(reward_funcs) if isinstance(reward_funcs, list) else [reward_funcs]
    for function in listed:
        if not callable(function) and not isinstance(function, str):
            raise TypeError(f"A reward function must be callable, or the name of a reward model; found {function!r}.")
    return listed
