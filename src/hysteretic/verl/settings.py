"""Read verl's settings that determine the objective, and check them before anything is trained.

algorithm.hpo.*         alpha (hpo), alpha_min (a_hpo, adaptive_grpo), length (the intended normalisation), scale, gamma
loss_agg_mode           must match that length
policy_loss.loss_mode   must be a loss whose objective is known here
use_kl_in_reward        must be off: it makes equal rewards differ
ppo_mini_batch_size     smaller than train_batch_size: allowed, and explained
rollout.n               at least 2
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from hysteretic.common.errors import nearest
from hysteretic.parts import AdaptiveWeight, FixedWeight, Weight
from hysteretic.scales import SCALES, FocalScale, Scale
from hysteretic.verl.supported import installed_version


class Estimator(NamedTuple):
    """weight: of negatives. option: its parameter under algorithm.hpo. length: the default of algorithm.hpo.length."""

    weight: type[FixedWeight] | type[AdaptiveWeight]
    option: str
    length: str


ESTIMATORS = {
    "hpo": Estimator(FixedWeight, "alpha", "batch"),
    "a_hpo": Estimator(AdaptiveWeight, "alpha_min", "batch"),
    "adaptive_grpo": Estimator(AdaptiveWeight, "alpha_min", "response"),
}

LENGTHS = {"batch": "token-mean", "response": "seq-mean-token-mean", "constant": "seq-mean-token-sum-norm"}
"""verl's loss_agg_mode for each length of `hysteretic.trl.HPOConfig`."""


LOSSES = ("vanilla", "gspo", "sapo", "cispo")
"""verl's policy losses that are compared with this package's objectives; others ignore loss_agg_mode, or advantages."""

HIGHEST_RATIO = 1e8
"""A clip_ratio_c above this has no effect: verl's importance ratios are at most e^20."""


def options_of(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """algorithm.hpo.* as a plain mapping, empty where it is not set."""
    found = None if config is None else config.get("hpo", None)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ValueError(f"algorithm.hpo is {found!r}; set its options, as in +algorithm.hpo.alpha=0.6.")
    return dict(found)


def weight_of(name: str, config: Mapping[str, Any] | None) -> Weight:
    """The weight of an estimator with its option. Raises ValueError for an option it does not have, or out of range."""
    options, estimator = options_of(config), ESTIMATORS[name]
    known = (estimator.option, "length", "scale", "gamma")
    for option in options:
        others = [other for other, each in ESTIMATORS.items() if each.option == option]
        if others and option != estimator.option:
            raise ValueError(
                f"algorithm.hpo.{option} is set, but algorithm.adv_estimator={name} would ignore it; use "
                f"adv_estimator={' or '.join(others)}, or drop the option."
            )
        if option not in known:
            raise ValueError(
                f"algorithm.hpo has no option {option!r}.{nearest(option, known)} Known: {', '.join(known)}."
            )
    if options.get("length", "batch") not in LENGTHS:
        raise ValueError(f"algorithm.hpo.length is {options['length']!r}; known: {', '.join(LENGTHS)}.")
    value = options.get(estimator.option)
    if value is None:
        return estimator.weight()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"algorithm.hpo.{estimator.option} is {value!r}; give a number within [0, 1].")
    return estimator.weight(float(value))


def scale_of(config: Mapping[str, Any] | None) -> Scale:
    """What advantages are divided by: algorithm.hpo.scale, and otherwise verl's norm_adv_by_std_in_grpo (std or none).

    Raises ValueError for an unknown scale, and for a gamma that no scale uses.
    """
    options = options_of(config)
    name, gamma = options.get("scale"), options.get("gamma")
    if name is None:
        name = "std" if config is None or config.get("norm_adv_by_std_in_grpo", True) else "none"
    if name not in SCALES:
        raise ValueError(f"algorithm.hpo.scale is {name!r}.{nearest(str(name), SCALES)} Known: {', '.join(SCALES)}.")
    if gamma is None:
        return SCALES[name]()
    if SCALES[name] is not FocalScale:
        raise ValueError(
            f"algorithm.hpo.gamma is set, but the scale {name!r} would ignore it; use 'focal', or drop it."
        )
    return FocalScale(float(gamma))


def root_of(config: Any) -> Any:
    """verl's whole configuration, from its algorithm.*; None where that stands alone."""
    get_parent = getattr(config, "_get_parent", None)
    root = None if get_parent is None else get_parent()
    return root if root is not None and "actor_rollout_ref" in root else None


def rollout_n(root: Any) -> int | None:
    """Rollouts per prompt; None without a configuration."""
    return None if root is None else int(root.actor_rollout_ref.rollout.n)


def losses_with_own_length() -> set[str]:
    """verl's losses that use each response's own length whatever loss_agg_mode is."""
    return {"sapo", "gspo"} if installed_version() == "0.9.0" else {"sapo"}


def check_run(root: Any) -> list[str]:
    """Check verl's whole configuration; returns notes to log once, none for other estimators.

    Raises ValueError for settings that would train another objective than requested, or nothing at all.
    """
    name = root.algorithm.adv_estimator
    if name not in ESTIMATORS:
        return []
    weight_of(name, root.algorithm)
    if rollout_n(root) == 1:
        raise ValueError(
            "actor_rollout_ref.rollout.n is 1, but advantages need a group to compare with; set it to 2 or more (8 is "
            "usual)."
        )
    if root.algorithm.get("use_kl_in_reward", False):
        raise ValueError(
            "algorithm.use_kl_in_reward is true: with the KL penalty in the rewards, no two are equal, no group is "
            "silent, and the signs are not those of the task. Use actor_rollout_ref.actor.use_kl_loss."
        )
    actor = root.actor_rollout_ref.actor
    if actor.policy_loss.loss_mode not in LOSSES:
        raise ValueError(
            f"actor_rollout_ref.actor.policy_loss.loss_mode is {actor.policy_loss.loss_mode}; {name} supports "
            f"{', '.join(LOSSES)}. Use one of them."
        )
    length = options_of(root.algorithm).get("length", ESTIMATORS[name].length)
    loss = actor.policy_loss.loss_mode
    mode = "seq-mean-token-mean" if loss in losses_with_own_length() else actor.loss_agg_mode
    if mode != LENGTHS[length]:
        meant = next((key for key, value in LENGTHS.items() if value == mode), None)
        fixes = [] if meant is None else [f"set +algorithm.hpo.length={meant} to use the weight with that length"]
        if loss in losses_with_own_length():
            where = f"verl's {loss} loss always uses"
        else:
            where = "loss_agg_mode is"
            fixes.insert(0, f"set actor_rollout_ref.actor.loss_agg_mode={LENGTHS[length]}")
        raise ValueError(
            f"{where} {mode}, but algorithm.hpo.length={length} is {LENGTHS[length]}; {', or '.join(fixes)}."
        )
    return [*_note_on_dual_clip(actor), *_notes_on_mini_batches(root, length)]


def _note_on_dual_clip(actor: Any) -> list[str]:
    cap = actor.get("clip_ratio_c", None)
    if actor.policy_loss.loss_mode != "vanilla" or cap is None or cap > HIGHEST_RATIO:
        return []
    return [
        f"clip_ratio_c is {cap}: verl's vanilla loss also caps the loss of a negative at {cap} times its advantage; "
        "HPO does not. Set actor_rollout_ref.actor.clip_ratio_c=1e9 to disable the cap."
    ]


def _notes_on_mini_batches(root: Any, length: str) -> list[str]:
    mini, whole = root.actor_rollout_ref.actor.ppo_mini_batch_size, root.data.train_batch_size
    if mini == whole:
        return []
    consequence = (
        "the mean length is that of each mini-batch" if length == "batch" else "the loss is normalised in each"
    )
    return [
        f"ppo_mini_batch_size is {mini} of train_batch_size {whole}: signs and alpha are those of the whole step, "
        f"{consequence}. The two coincide when both sizes are equal."
    ]
