"""HPO in verl: the advantage estimators `hpo`, `a_hpo` and `adaptive_grpo`, registered on import.

    python3 -m verl.trainer.main_ppo algorithm.adv_estimator=a_hpo +algorithm.hpo.alpha_min=0.1 ...
    python3 -m verl.trainer.main_ppo algorithm.adv_estimator=adaptive_grpo \\
        actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean ...

verl imports it by itself where hysteretic is installed (entry point group verl.plugins), but stays silent when that
fails. With `actor_rollout_ref.model.external_lib=hysteretic.verl`, or VERL_USE_EXTERNAL_MODULES=hysteretic.verl in the
environment, a failure stops the run. `hysteretic.verl.trainer` adds alpha and the fractions of signs to verl's metrics.
"""

from __future__ import annotations

from hysteretic.tasks.exported import compute_score
from hysteretic.verl.supported import check_version, hide_trl, installed_version

__all__ = ["compute_score"]

check_version(installed_version())

from hysteretic.verl.estimator import register  # noqa: E402 - it imports verl, whose version is known by now

register()
hide_trl()
