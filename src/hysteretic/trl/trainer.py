"""HPOTrainer: TRL's GRPOTrainer with three mixins, each of which also works alone.

    FaultTolerance      rewards, losses and gradients are checked; checkpoints are sealed       fault_tolerance.py
    WeightedAdvantages  the objective: advantages are weighted once per generation batch        weighting.py
    PackedUpdates       only tokens with a gradient are computed, and each prompt only once     packing.py

The order matters: PackedUpdates sees final advantages, and WeightedAdvantages sees checked rewards.
"""

from __future__ import annotations

import textwrap
from typing import Any

from trl import GRPOTrainer

from hysteretic.objective import Objective
from hysteretic.trl.config import HPOConfig
from hysteretic.trl.fault_tolerance import FaultTolerance
from hysteretic.trl.packing import PackedUpdates
from hysteretic.trl.weighting import WeightedAdvantages


class HPOTrainer(PackedUpdates, WeightedAdvantages, FaultTolerance, GRPOTrainer):
    """TRL's GRPOTrainer on the objective of an HPOConfig: only the two names change in a script.

    Metrics at every step, besides TRL's: hpo/alpha and the others of WeightedAdvantages; hpo/forwarded_tokens and
    hpo/gradient_token_share of PackedUpdates.

    Args:
        model: As GRPOTrainer's: a model, or its name or folder.
        reward_funcs: As GRPOTrainer's: a function (or a list of them) from prompts and completions to one reward per
            completion. None for a row means that the function does not apply to it.
        args: An HPOConfig; the default is A-HPO with all other settings at their defaults.
        objective: Use this Objective instead of the one that args describes, for parts of your own:
            a_hpo().replace(weight=MyWeight()). Its scale counts too: scale_rewards follows it, and "batch" stays where
            the objective divides by a standard deviation.
        arguments, options: All others of GRPOTrainer, such as train_dataset, processing_class and peft_config.

    Raises:
        TypeError: When args is not an HPOConfig, or TRL has no loss for the objective's ratio or gate.
        RewardError: In train, when a reward function fails; see FaultTolerance.
        BadUpdateError: In train, when a loss or gradient is NaN or infinite more than max_bad_updates times.

    Example:
        >>> import tempfile
        >>> from datasets import Dataset
        >>> from hysteretic.models import tiny_model
        >>> from hysteretic.trl import HPOConfig, HPOTrainer
        >>> def ends_in_zero(completions, **_):
        ...     return [float(completion.endswith("0")) for completion in completions]
        >>> trainer = HPOTrainer(
        ...     model=str(tiny_model()),
        ...     reward_funcs=ends_in_zero,
        ...     args=HPOConfig(output_dir=tempfile.mkdtemp(), algorithm="a-hpo", report_to="none", use_cpu=True),
        ...     train_dataset=Dataset.from_dict({"prompt": ["1+1=", "2+2="] * 8}),
        ... )
        >>> trainer.objective.scale, trainer.loss_type
        (StdScale(epsilon=0.0001), 'dapo')

    References:
        HPO: Hysteretic Policy Optimization for Stable and Efficient Training under Sparse-Reward Regime,
        arXiv 2605.30201.
    """

    _tag_names = ["trl", "grpo", "hpo"]  # noqa: RUF012
    _name = "HPO"
    _paper = {  # noqa: RUF012
        "title": "HPO: Hysteretic Policy Optimization for Stable and Efficient Training under Sparse-Reward Regime",
        "id": "2605.30201",
        "citation": textwrap.dedent("""\
            @misc{sana2026hpo,
              title         = {{HPO}: Hysteretic Policy Optimization for Stable and Efficient Training
                               under Sparse-Reward Regime},
              author        = {Sana, Mohamed and Piovesan, Nicola and De Domenico, Antonio and Ayed, Fadhel and
                               Zhang, Haozhe},
              year          = {2026},
              eprint        = {2605.30201},
              archivePrefix = {arXiv},
              primaryClass  = {cs.LG},
              url           = {https://arxiv.org/abs/2605.30201}
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
        super().__init__(model, reward_funcs, args, *arguments, objective=objective, **options)
