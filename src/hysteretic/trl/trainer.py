"""What changes in TRL's mathematics? Once per generation batch, advantages are weighted. Nothing else.

responses, rewards (TRL) -> silence, counts over all ranks -> weighted advantages -> micro-batches and loss (TRL)
"""

from __future__ import annotations

import copy
import json
import textwrap
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from hysteretic.advantages import BatchStatistics, neutral_responses, silent_groups
from hysteretic.checkpoints import SEAL, keep_newest, seal, whole_or_not_at_all
from hysteretic.objective import Objective
from hysteretic.parts import Adaptive, Fixed
from hysteretic.trl.config import HPOConfig
from hysteretic.trl.lean import LeanTrainer
from hysteretic.trl.mapping import length_of, row_factor, trl_settings
from hysteretic.trl.preemption import LastUpdate, Preempted
from hysteretic.trl.rewards import RewardError, RewardWatch

_STATE_FILE = "hpo_state.json"


class HPOTrainer(LeanTrainer):
    """TRL's GRPOTrainer with the objective of an HPOConfig; every argument is GRPOTrainer's.

    objective: one in place of what `args` describes, for parts of your own: a_hpo().replace(weight=MyWeight()). Its
        scale counts too: scale_rewards follows it, and "batch" stays where it divides by a standard deviation.

    Logs at every step, all over the last generation batch and equal on all ranks: hpo/alpha; hpo/positive_share,
    hpo/negative_share and hpo/silent_share of responses; hpo/positive_mass and hpo/negative_mass (gradient mass at
    rho = 1, see Objective.on_policy_mass); hpo/mean_length in trained tokens.

    A reward function that raises, returns the wrong number of rewards, None (as the only function), NaN or infinity
    stops the run with a RewardError on every rank, after a checkpoint of all finished updates.

    Source: arXiv 2605.30201.
    """

    _tag_names = ["trl", "grpo", "hpo"]  # noqa: RUF012
    _name = "HPO"
    _paper = {  # noqa: RUF012
        "title": "HPO: Hysteretic Policy Optimization for Stable and Efficient Training under Sparse-Reward Regime",
        "id": "2605.30201",
        "citation": textwrap.dedent("""\
            @article{hpo2026,
                title        = {{HPO: Hysteretic Policy Optimization for Stable and Efficient Training
                                under Sparse-Reward Regime}},
                year         = 2026,
                eprint       = {arXiv:2605.30201},
            }"""),
    }

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: HPOConfig | None = None,
        *arguments: Any,
        objective: Objective | None = None,
        **options: Any,
    ) -> None:
        if args is None:
            args = HPOConfig(output_dir="hpo-output")
        if not isinstance(args, HPOConfig):
            raise TypeError(
                f"args is a {type(args).__name__}; HPOTrainer needs an HPOConfig, which takes the same fields."
            )
        if objective is not None:
            if args.alpha_ema and not isinstance(objective.weight, Adaptive):
                raise ValueError(
                    f"alpha_ema is {args.alpha_ema}, but only the weight Adaptive is averaged, and the objective's is "
                    f"{objective.weight!r}; drop alpha_ema."
                )
            args = copy.copy(args)  # the caller's stays as it was
            for name, value in trl_settings(objective, args.max_completion_length).items():
                setattr(args, name, value)
            if (objective.scale == "none") != (args.scale_rewards == "none"):
                args.scale_rewards = "none" if objective.scale == "none" else "group"
        self.objective = args.objective() if objective is None else objective
        self._watch = RewardWatch()
        self._batch_rewards: Tensor | None = None
        self._hpo_metrics: dict[str, float] = {}
        self._smoothed_alpha: float | None = None
        self._last_update = LastUpdate(lambda: self._smoothed_alpha)
        super().__init__(model, self._watched(reward_funcs), args, *arguments, **options)
        self.add_callback(self._last_update)

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
        """GRPOTrainer.train; a RewardError or Preempted saves a checkpoint first: no finished update is lost."""
        try:
            return super().train(*arguments, **options)
        except (RewardError, Preempted) as error:
            if self._last_update.is_known and not (self._checkpoint_folder() / SEAL).is_file():
                # As the end of that update would have left it.
                self._smoothed_alpha = self._last_update.restore()
                self._save_checkpoint(self.model, trial=None, is_together=isinstance(error, RewardError))
            raise

    def _calculate_rewards(self, *arguments: Any, **options: Any) -> Tensor:
        rewards_BF = super()._calculate_rewards(*arguments, **options)
        failures = [failure for failure in gather_object([self._watch.take()]) if failure]
        if failures:
            raise RewardError(failures[0]) from self._watch.cause
        is_unrewarded = torch.isnan(rewards_BF).all(dim=1)
        if bool(is_unrewarded.any()):
            raise RewardError(
                f"No reward function gave row {int(is_unrewarded.nonzero()[0])} of the batch a reward "
                f"({', '.join(self.reward_func_names)} all returned None); one of them must."
            )
        self._batch_rewards = rewards_BF
        return rewards_BF

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        if self.model.training:
            batch["advantages"] = self._weigh(batch)
            self._complete_old_logps(batch)
        return batch

    def _weigh(self, batch: dict[str, Any]) -> Tensor:
        """This rank's advantages, weighted with the counts of the whole generation batch."""
        local = batch["advantages"]
        mask = batch["completion_mask"] * batch.get("tool_mask", 1)
        table = torch.stack([local, mask.sum(dim=1).to(local.dtype)], dim=1)
        advantages, lengths = self.accelerator.gather(table).unbind(dim=1)

        is_neutral, is_silent = self._silence()
        advantages = advantages.masked_fill(is_neutral, 0.0)
        statistics = BatchStatistics.of_lengths(advantages, lengths)
        objective = self._smoothed(statistics)
        weighted = objective.weigh(advantages, statistics)
        self._note(objective, weighted, lengths, is_silent, statistics)

        trl_length = length_of(self.loss_type, self.max_completion_length)
        weighted = weighted * row_factor(self.objective.length, trl_length, lengths, statistics)
        start = self.accelerator.process_index * len(local)
        return weighted[start : start + len(local)]

    def _silence(self) -> tuple[Tensor, Tensor]:
        """Which responses of the whole batch have no advantage, and which are in silent groups; from the rewards."""
        rewards_BF = self._batch_rewards
        assert rewards_BF is not None  # _calculate_rewards ran in the same call
        G = self.num_generations
        if self.multi_objective_aggregation == "normalize_then_sum":
            groups_PGF = rewards_BF.view(-1, G, rewards_BF.shape[1])
            absent = groups_PGF.nanmean(dim=1, keepdim=True).nan_to_num()  # a None changes no group's mean or spread
            filled_BF = torch.where(groups_PGF.isnan(), absent, groups_PGF).view_as(rewards_BF)
            counted = self.reward_weights.to(rewards_BF.device) != 0
            is_silent = silent_groups(filled_BF[:, counted], G).repeat_interleave(G)
            return is_silent, is_silent
        rewards_B = (rewards_BF * self.reward_weights.to(rewards_BF.device)).nansum(dim=1)
        is_silent = silent_groups(rewards_B, G).repeat_interleave(G)
        # With 'batch' the standard deviation is the batch's, and the mean still the group's.
        return neutral_responses(rewards_B, G), is_silent

    def _smoothed(self, statistics: BatchStatistics) -> Objective:
        """The objective with alpha averaged over generation batches, if alpha_ema asks for it."""
        decay = self.args.alpha_ema
        if not decay or not isinstance(self.objective.weight, Adaptive):
            return self.objective
        alpha = self.objective.alpha(statistics)
        previous = alpha if self._smoothed_alpha is None else self._smoothed_alpha
        self._smoothed_alpha = decay * previous + (1 - decay) * alpha
        return self.objective.replace(weight=Fixed(self._smoothed_alpha))

    def _note(
        self, objective: Objective, weighted: Tensor, lengths: Tensor, is_silent: Tensor, statistics: BatchStatistics
    ) -> None:
        """Keep the rollout's figures, and log them for its first update."""
        positive, negative = objective.on_policy_mass(weighted, lengths, statistics)
        self._hpo_metrics = {
            "hpo/alpha": objective.alpha(statistics),
            "hpo/positive_share": statistics.positives / statistics.responses,
            "hpo/negative_share": statistics.negatives / statistics.responses,
            "hpo/silent_share": float(is_silent.float().mean()),
            "hpo/positive_mass": positive,
            "hpo/negative_mass": negative,
            "hpo/mean_length": statistics.mean_length,
        }
        for name, value in self._hpo_metrics.items():
            self._metrics["train"][name].append(value)

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        if "loss" in logs:  # a training step; the later updates of a rollout repeat its figures
            for name, value in self._hpo_metrics.items():
                if not self._metrics["train"][name]:
                    self._metrics["train"][name].append(value)
        super().log(logs, *arguments, **options)

    def _save_checkpoint(self, model: Any, trial: Any, is_together: bool = True) -> None:
        """GRPOTrainer's, sealed; older ones go when the new one is on the disk. is_together: every rank is here."""
        folder = self._checkpoint_folder(trial)
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            with whole_or_not_at_all(folder) if self.args.should_save else nullcontext():
                if self.args.should_save:
                    folder.mkdir(parents=True, exist_ok=True)
                    (folder / _STATE_FILE).write_text(json.dumps({"smoothed_alpha": self._smoothed_alpha}))
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

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        # Micro-batches already taken: a run resumed inside a rollout goes on with the rest of it, generated anew.
        # From the checkpoint, for transformers 5.0 sets self.state.global_step only after this.
        saved = None if checkpoint is None else Path(checkpoint) / TRAINER_STATE_NAME
        updates = json.loads(saved.read_text())["global_step"] if saved is not None and saved.exists() else 0
        self._step = updates * self.args.gradient_accumulation_steps
        if checkpoint is not None and (Path(checkpoint) / _STATE_FILE).exists():
            self._smoothed_alpha = json.loads((Path(checkpoint) / _STATE_FILE).read_text())["smoothed_alpha"]
