"""The drop-in for TRL: `from hysteretic.trl import HPOConfig, HPOTrainer`."""

try:
    import trl as _trl
except ImportError as missing:
    raise ImportError(
        f'hysteretic.trl needs TRL ({missing}); install it with: pip install "hysteretic[trl]"'
    ) from missing

from packaging.version import Version

if not Version("1.15") <= Version(_trl.__version__) < Version("2"):
    raise ImportError(
        f"hysteretic.trl supports TRL >= 1.15, < 2; found {_trl.__version__}. "
        'Install a supported one with: pip install "trl>=1.15,<2"'
    )

from hysteretic.tasks.scored import Unscored
from hysteretic.tasks.task import RewardError
from hysteretic.trl.config import HPOConfig
from hysteretic.trl.guard import BadUpdateError
from hysteretic.trl.trainer import HPOTrainer

__all__ = ["BadUpdateError", "HPOConfig", "HPOTrainer", "RewardError", "Unscored"]
