"""What changes in TRL's mathematics? Once per generation batch, advantages are weighted. Nothing else.

responses, rewards (TRL) -> silence, counts over all ranks -> weighted advantages -> micro-batches and loss (TRL)
"""

from __future__ import annotations

import copy
import textwrap
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hysteretic.advantages import BatchStatistics, neutral_responses, silent_groups
from hysteretic.objective import Objective
from hysteretic.parts import Adaptive, Fixed
from hysteretic.trl.config import HPOConfig
from hysteretic.trl.mapping import length_of, row_factor, trl_settings
from hysteretic.trl.safe import SafeTrainer


class HPOTrainer(SafeTrainer):
    """TRL's GRPOTrainer with the objective of an HPOConfig; every argument is GRPOTrainer's.

    objective: one in place of what `args` describes, for parts of your own: a_hpo().replace(weight=MyWeight()). Its
        scale counts too: scale_rewards follows it, and "batch" stays where it divides by a standard deviation.

    Logs at every step, all over the last generation batch and equal on all ranks: hpo/alpha; hpo/positive_share,
    hpo/negative_share and hpo/silent_share of responses; hpo/positive_mass and hpo/negative_mass (gradient mass at
    rho = 1, see Objective.on_policy_mass); hpo/mean_length in trained tokens.

    Bad rewards, losses and gradients: see SafeTrainer; where compute goes: LeanTrainer.

    Source: arXiv 2605.30201.
    """

    _tag_names = ["trl", "grpo", "hpo"]  # noqa: RUF012
    _name = "HPO"
    _paper = {  # noqa: RUF012
        "title": "HPO: Hysteretic Policy Optimization for Stable and Efficient Training under Sparse-Reward Regime",
        "id": "2605.30201",
        "citation": textwrap.dedent("""\
            @misc{hpo2026,
                title         = {{HPO}: Hysteretic Policy Optimization for Stable and Efficient Training
                                 under Sparse-Reward Regime},
                author        = {{Author list: see arXiv}},
                year          = {2026},
                eprint        = {2605.30201},
                archivePrefix = {arXiv},
                url           = {https://arxiv.org/abs/2605.30201},
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
        self._hpo_metrics: dict[str, float] = {}
        self._smoothed_alpha: float | None = None
        super().__init__(model, reward_funcs, args, *arguments, **options)

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
        is_neutral, is_silent = self._silence_of_rewards()
        if bool(self._has_unscored_P.any()):
            is_left_out = self._has_unscored_P.repeat_interleave(self.num_generations)
            return is_neutral | is_left_out, is_silent | is_left_out
        return is_neutral, is_silent

    def _silence_of_rewards(self) -> tuple[Tensor, Tensor]:
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

    def extra_state(self) -> dict[str, Any]:
        return {**super().extra_state(), "smoothed_alpha": self._smoothed_alpha}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        super().load_extra_state(state)
        self._smoothed_alpha = state["smoothed_alpha"]
