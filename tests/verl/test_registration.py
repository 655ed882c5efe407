"""Does verl find the estimators by itself, and is it loud where it should be? In fresh interpreters."""

import os
import subprocess
import sys

import pytest

from hysteretic.verl.supported import NEWEST, OLDEST, check_version


def python(program, **environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=200,
    )


REGISTERED = (
    "from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY as known; "
    "print({'hpo', 'a_hpo', 'adaptive_grpo'} <= set(known))"
)
AS_IF_TOO_OLD = """\
from importlib import metadata
own = metadata.version
metadata.version = lambda name: '0.7.1' if name == 'verl' else own(name)
"""


def test_the_entry_point_registers():
    """Nothing but `import verl`, as in every process of a run."""
    assert python(f"import verl; {REGISTERED}").stdout.split() == ["True"]


def test_external_lib_registers_without_entry_points():
    """actor_rollout_ref.model.external_lib is imported when verl reads the model configuration; twice is harmless."""
    program = f"""\
from verl.utils.import_utils import import_external_libs
import_external_libs("hysteretic.verl")
import_external_libs("hysteretic.verl")
{REGISTERED}"""
    assert python(program, VERL_USE_EXTERNAL_PLUGINS="none").stdout.split() == ["True"]


def test_external_modules_register_estimators_and_trainers():
    """What `hysteretic launch verl` sets."""
    program = f"""\
{REGISTERED}
from verl.trainer.ppo.v1 import get_trainer_cls
print(get_trainer_cls("hpo_sync").__name__, get_trainer_cls("sync").__name__)"""
    run = python(program, VERL_USE_EXTERNAL_MODULES="hysteretic.verl.trainer", VERL_USE_EXTERNAL_PLUGINS="none")
    assert run.stdout.split() == ["True", "HPOTrainerSync", "PPOTrainerSync"], run.stderr[-2000:]


def test_another_version_of_verl_stops_the_loud_way_and_is_named():
    """By entry point verl swallows it: the estimators are not there, and verl then says so by name."""
    loud = python(f"{AS_IF_TOO_OLD}import verl", VERL_USE_EXTERNAL_MODULES="hysteretic.verl")
    assert loud.returncode != 0
    assert "ImportError: hysteretic.verl supports verl >= 0.9.0, < 0.10; found verl 0.7.1" in loud.stderr
    quiet = python(f"{AS_IF_TOO_OLD}import verl; {REGISTERED}")
    assert quiet.stdout.split() == ["False"]


@pytest.mark.parametrize("version", [OLDEST, NEWEST, "0.9.2", "0.9.1.dev0", "0.9.1+cu130"])
def test_versions_within_the_range_are_taken(version):
    """Local and development builds of a version are that version."""
    check_version(version)


@pytest.mark.parametrize(
    ("version", "message"), [(None, "not installed"), ("0.8.0", "0.8.0"), ("0.10.0", "0.10"), ("1.0", "1.0")]
)
def test_others_are_refused_with_what_to_install(version, message):
    """Before anything is registered."""
    with pytest.raises(ImportError, match=message) as refusal:
        check_version(version)
    assert "pip install" in str(refusal.value)
