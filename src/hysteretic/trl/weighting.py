"""What HPO changes in TRL's mathematics: once per generation batch, advantages are weighted. Nothing else.

rewards, advantages (TRL) -> silence -> counts over all ranks -> weighted advantages -> micro-batches, loss (TRL)

A scale that TRL lacks divides its centred rewards first.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from trl import GRPOConfig

from hysteretic.advantages import BatchStatistics
from hysteretic.common import metric_names as names
from hysteretic.common.errors import SettingWarning, nearest
from hysteretic.objective import Objective
from hysteretic.parts import AdaptiveWeight, FixedWeight
from hysteretic.trl.compat import setting
from hysteretic.trl.config import HPOConfig
from hysteretic.trl.extra_state import ExtraState
from hysteretic.trl.mapping import (
    check_aggregation,
    has_known_mass,
    is_trls,
    length_of,
    row_factor,
    trl_scale,
    trl_settings,
    with_max_length,
)
from hysteretic.trl.rewards import GroupRewards, RewardError, Signs, hidden_groups, with_group_means

logger = logging.getLogger(__name__)

FEW_GROUPS = 4
"""With fewer groups in a rollout, an adaptive alpha is the luck of one or two prompts: a warning says what to set."""
ENOUGH_GROUPS, UPDATES = 32, 4
"""Groups and updates per rollout that the warning suggests; those of the documentation's examples."""
HIDDEN_ROLLOUTS = 5
"""Consecutive rollouts in which graded rewards hide sparsity, before a warning says so."""


class WeightedAdvantages(ExtraState):
    """GRPOTrainer that trains on the objective's advantages: those of TRL, 0 where rewards say so, and weighted.

    objective: an Objective; without one, args must be an HPOConfig, and it is the one that HPOConfig describes. Its
        weight is given the advantages of this rank's responses, and the counts over all ranks.

    Logs at every step, all over the last generation batch and equal on all ranks: hpo/alpha; hpo/positive_share,
    hpo/negative_share and hpo/silent_share of responses; hpo/positive_mass and hpo/negative_mass (gradient mass at
    rho = 1, see Objective.on_policy_mass); hpo/mean_length in trained tokens. A weight without alpha logs none; with
    TRL's bnpo, vespo, and cispo capped below 1, gradient mass is not known and not logged.

    With HPOConfig's sign_rewards, some reward functions alone say which responses are positive, negative or silent
    (`Signs`), for alpha's counts and for the three fractions logged; alpha is the factor of the negative ones.
    Advantages stay those of all rewards, so a group that is silent by its signs, but not in the sum, is still trained
    on, with factor 1. Gradient masses are those of the weighted advantages, as always.

    Warns once where a rollout has few groups, and where graded rewards hide that almost nothing is right.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        *arguments: Any,
        objective: Objective | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(args, HPOConfig if objective is None else GRPOConfig):
            raise TypeError(
                f"args is a {type(args).__name__}, which does not name an objective; give an HPOConfig, or a "
                "GRPOConfig with objective=hysteretic.make('a-hpo')."
            )
        if not isinstance(objective, Objective | None):
            raise TypeError(f"objective is {objective!r}; give an Objective, such as hysteretic.make('a-hpo').")
        if objective is None:
            self.objective: Objective = args.objective()
        else:
            self.objective = with_max_length(objective, args.max_completion_length)
            args = with_objective(args, self.objective)
        self.group_rewards: GroupRewards | None = None
        """Those of the last training rollout."""
        self.signs: Signs | None = None
        """Those of the last training rollout, where sign_rewards decides them."""
        self._rollout_metrics: dict[str, float] = {}
        self._smoothed_alpha: float | None = None
        self._hidden_rollouts = 0
        self._entropies: list[float] = []
        self._first_entropy: float | None = None
        self._entropy_left: float | None = None
        super().__init__(model, reward_funcs, args, *arguments, **options)
        check_aggregation(self.multi_objective_aggregation, self.objective.scale)
        self._sign_columns = columns_named(setting(args, "sign_rewards"), self.reward_func_names)
        if isinstance(self.objective.weight, AdaptiveWeight) and self.accelerator.is_main_process:
            warning = few_groups(self.args)
            if warning is not None:
                warnings.warn(warning, SettingWarning, stacklevel=3)

    def _calculate_rewards(self, *arguments: Any, **options: Any) -> Tensor:
        rewards_BF = super()._calculate_rewards(*arguments, **options)
        if not self.model.training:
            return with_group_means(rewards_BF, self.num_generations_eval)
        normalizes_first = self.multi_objective_aggregation == "normalize_then_sum"
        self.group_rewards = GroupRewards.of(rewards_BF, self.num_generations, self.reward_weights, normalizes_first)
        if self._sign_columns:
            self.signs = Signs.of(rewards_BF[:, self._sign_columns], self.num_generations)
        else:
            self._warn_of_hidden_sparsity(rewards_BF, self.group_rewards)
        return self.group_rewards.rewards

    def _warn_of_hidden_sparsity(self, rewards_BF: Tensor, rewards: GroupRewards) -> None:
        """Warn once if a function found nothing right in most groups, of which others make informative ones."""
        if not isinstance(self.objective.weight, AdaptiveWeight) or self._hidden_rollouts >= HIDDEN_ROLLOUTS:
            return
        hidden_F = hidden_groups(rewards_BF, rewards.is_silent, self.num_generations)
        hidden_F = hidden_F * (self.reward_weights > 0).to(hidden_F)
        fraction, column = float(hidden_F.max()), int(hidden_F.argmax())
        self._hidden_rollouts = self._hidden_rollouts + 1 if fraction > 0.5 else 0
        if self._hidden_rollouts == HIDDEN_ROLLOUTS and self.accelerator.is_main_process:
            name = self.reward_func_names[column]
            logger.warning(
                f"Reward function {name} found nothing right in {fraction:.0%} of the groups of this rollout, and in "
                f"more than half of the groups in {HIDDEN_ROLLOUTS} rollouts, but other rewards differ within them. So "
                "alpha is computed from the others, and does not see that successes are rare. "
                f"If {name} says whether a response is right, set sign_rewards: [{name}]: it then decides signs, alpha "
                "and hpo/silent_share, while all rewards still shape the advantages."
            )

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.model.training:
            assert self.group_rewards is not None  # _calculate_rewards ran in the same call
            batch["advantages"] = self._weighted(batch, self.group_rewards)
        return batch

    def _weighted(self, batch: dict[str, Any], rewards: GroupRewards) -> Tensor:
        """The advantages of this rank's responses, weighted with the counts of the whole generation batch."""
        advantages_B = batch["advantages"]
        first = self.accelerator.process_index * len(advantages_B)
        own = slice(first, first + len(advantages_B))
        advantages_B = advantages_B.masked_fill(rewards.is_neutral[own], 0.0)
        if not is_trls(self.objective.scale):
            advantages_B = advantages_B / self._divisors(rewards)[own].to(advantages_B.dtype)
        signs_B = advantages_B if self.signs is None else self.signs.of_responses[own].to(advantages_B.dtype)
        mask_BT = batch["completion_mask"] * batch.get("tool_mask", 1)
        lengths_B = mask_BT.sum(dim=1).to(advantages_B.dtype)

        statistics = BatchStatistics.of_lengths(signs_B, lengths_B).across_ranks(self.accelerator.device)
        objective = self._smoothed(self._with_entropy(self.objective), statistics)
        alpha = objective.alpha(statistics)
        if self.signs is None or alpha is None:  # a weight without alpha is given the advantages, whatever their signs
            weighted_B = objective.weigh(advantages_B, statistics)
        else:
            weighted_B = torch.where(signs_B < 0, alpha * advantages_B, advantages_B)
        self._log_rollout(objective, weighted_B, lengths_B, rewards, statistics)

        trl_length = length_of(self.loss_type, self.max_completion_length)
        return weighted_B * row_factor(objective.length, trl_length, lengths_B, statistics)

    def _divisors(self, rewards: GroupRewards) -> Tensor:
        """What the scale divides each response's centred reward by, [B] over all ranks. Raises RewardError."""
        rewards_PG = rewards.total.double().view(-1, self.num_generations)
        try:
            return self.objective.scale(rewards_PG).expand_as(rewards_PG).flatten()
        except ValueError as error:
            raise RewardError(str(error)) from error

    def training_step(self, *arguments: Any, **options: Any) -> Tensor:
        """GRPOTrainer.training_step; notes the entropy that it logged, for a weight that follows it."""
        if not follows_entropy(self.objective):
            return super().training_step(*arguments, **options)
        before = len(self._metrics["train"]["entropy"])
        loss: Tensor = super().training_step(*arguments, **options)
        logged = self._metrics["train"]["entropy"][before:]
        known = [value for value in logged if math.isfinite(value)]  # NaN: all was silent, and transformers sampled
        self._entropies = [*self._entropies, *known]
        return loss

    def _with_entropy(self, objective: Objective) -> Objective:
        """The objective at the mean entropy of a rollout's updates over that of the first rollout's.

        Of the last rollout whose entropy is known: one without any gradient leaves the policy, and so its entropy, as
        it was.
        """
        entropies, self._entropies = self._entropies, []
        if entropies:
            entropy = sum(entropies) / len(entropies)
            if self._first_entropy is None:
                self._first_entropy = entropy
            self._entropy_left = entropy / self._first_entropy if self._first_entropy else 1.0
        if self._entropy_left is None or not follows_entropy(objective):
            return objective
        return objective.replace(weight=objective.weight.with_entropy(self._entropy_left))  # type: ignore[attr-defined]

    def _smoothed(self, objective: Objective, statistics: BatchStatistics) -> Objective:
        """The objective, with alpha averaged over generation batches where alpha_ema asks for that."""
        decay = setting(self.args, "alpha_ema")
        if not decay or not isinstance(objective.weight, AdaptiveWeight):
            return objective
        alpha = objective.weight.alpha_for(statistics)
        previous = alpha if self._smoothed_alpha is None else self._smoothed_alpha
        self._smoothed_alpha = decay * previous + (1 - decay) * alpha
        return objective.replace(weight=FixedWeight(self._smoothed_alpha))

    def _log_rollout(
        self,
        objective: Objective,
        weighted_B: Tensor,
        lengths_B: Tensor,
        rewards: GroupRewards,
        statistics: BatchStatistics,
    ) -> None:
        """Keep the metrics of the rollout, and log them for its first update."""
        mass: Sequence[float | None] = (None, None)
        if has_known_mass(objective):
            mass = objective.on_policy_mass(weighted_B, lengths_B, statistics)
            if self.accelerator.num_processes > 1:
                mass = self.accelerator.reduce(torch.tensor(mass, device=weighted_B.device), reduction="sum").tolist()
        metrics = {
            names.ALPHA: objective.alpha(statistics),
            names.POSITIVE_SHARE: statistics.positives / statistics.responses,
            names.NEGATIVE_SHARE: statistics.negatives / statistics.responses,
            names.SILENT_SHARE: float((rewards if self.signs is None else self.signs).is_silent.float().mean()),
            names.POSITIVE_MASS: mass[0],
            names.NEGATIVE_MASS: mass[1],
            names.MEAN_LENGTH: statistics.mean_length,
        }
        self._rollout_metrics = {name: value for name, value in metrics.items() if value is not None}
        for name, value in self._rollout_metrics.items():
            self._metrics["train"][name].append(value)

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        if "loss" in logs:  # a training step; the later updates of a rollout repeat its metrics
            for name, value in self._rollout_metrics.items():
                if not self._metrics["train"][name]:
                    self._metrics["train"][name].append(value)
        super().log(logs, *arguments, **options)

    def extra_state(self) -> dict[str, Any]:
        """ExtraState.extra_state, with the averaged alpha and the entropies behind it."""
        return {
            **super().extra_state(),
            "smoothed_alpha": self._smoothed_alpha,
            **(self._entropy_state() if follows_entropy(self.objective) else {}),
        }

    def _entropy_state(self) -> dict[str, Any]:
        return {
            "entropies": self._entropies,
            "first_entropy": self._first_entropy,
            "entropy_left": self._entropy_left,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `extra_state` returned."""
        super().load_extra_state(state)
        self._smoothed_alpha = state["smoothed_alpha"]
        self._entropies, self._first_entropy = list(state.get("entropies", [])), state.get("first_entropy")
        self._entropy_left = state.get("entropy_left")


def with_objective(args: GRPOConfig, objective: Objective) -> GRPOConfig:
    """A copy of the arguments by which TRL computes the ratio, gate and scale of this objective.

    Raises TypeError for a ratio or gate that TRL lacks, ValueError for an alpha_ema that the weight would ignore.
    """
    alpha_ema = setting(args, "alpha_ema")
    if alpha_ema and not isinstance(objective.weight, AdaptiveWeight):
        raise ValueError(
            f"alpha_ema is {alpha_ema}, but only an AdaptiveWeight is averaged, and the objective's "
            f"weight is {objective.weight!r}; drop alpha_ema."
        )
    args = copy.copy(args)
    for name, value in trl_settings(objective, args.max_completion_length).items():
        setattr(args, name, value)
    scale = trl_scale(objective.scale)
    if (scale == "none") != (args.scale_rewards == "none"):
        args.scale_rewards = scale
    return args


def follows_entropy(objective: Objective) -> bool:
    """Whether the weight wants to be told the policy's entropy."""
    return hasattr(objective.weight, "with_entropy")


def columns_named(chosen: Sequence[str] | None, known: Sequence[str]) -> list[int]:
    """The columns of the reward functions with these names. Raises ValueError for a name that none has."""
    for name in chosen or ():
        if name not in known:
            raise ValueError(
                f"sign_rewards names {name!r}, but there is no such reward function.{nearest(name, known)} "
                f"Those of this run: {', '.join(known)}."
            )
    return [known.index(name) for name in chosen or ()]


def few_groups(args: GRPOConfig) -> str | None:
    """What to say of a rollout with so few groups that an adaptive alpha follows one or two prompts; None if it has
    more."""
    group, rows = args.num_generations, args.per_device_train_batch_size * args.world_size
    groups = args.generation_batch_size // group
    if groups >= FEW_GROUPS:
        return None
    steps = UPDATES * -(-ENOUGH_GROUPS * group // (rows * UPDATES))
    while steps * rows % group:
        steps += UPDATES
    return (
        f"A rollout has {groups} group{'s' * (groups != 1)} ({args.generation_batch_size} responses, "
        f"num_generations={group}), so alpha is computed from the responses to {groups} prompt{'s' * (groups != 1)}. "
        f"For {steps * rows // group} groups and {UPDATES} updates per rollout set steps_per_generation={steps} and "
        f"gradient_accumulation_steps={steps // UPDATES} (responses per rollout: per_device_train_batch_size "
        "x steps_per_generation x processes)."
    )
