"""Which learning rate does an arm get, and does it keep it? On runs with chosen metrics."""

import pytest
from compare.made_up_runs import write_run

from hysteretic.common.errors import UsageError
from hysteretic.common.files import write_json
from hysteretic.compare.folder import ComparisonFolder
from hysteretic.compare.scheduler import _kept_rates, choose_rates
from hysteretic.compare.spec import read

TUNED = {"algorithms": "grpo,a-hpo", "seeds": 4, "tune_lr": "1e-4,3e-4,1e-3", "tuning_seeds": 2}


def tuned(path, areas, **changes):
    """Tuning runs with these areas: {(arm, rate): [of each seed, None where it failed]}."""
    comparison = read({**TUNED, **changes}, "test")
    folder = ComparisonFolder(path)
    folder.claim(comparison)
    folder.release()
    for run in folder.tuning_runs(comparison):
        area = areas.get((run.arm.name, run.rate), [0.1, 0.1])[comparison.tuning_seeds.index(run.seed)]
        if area is not None:
            write_run(run.folder, [area] * 4)
    return comparison, folder, folder.tuning_runs(comparison)


def test_each_arm_gets_the_rate_with_the_best_mean(tmp_path):
    """One arm's best is in the middle, the other's at the edge of the grid, which is said."""
    areas = {("grpo", 3e-4): [0.1, 0.4], ("grpo", 1e-3): [0.2, 0.2], ("a-hpo", 1e-3): [0.3, 0.3]}
    comparison, _, runs = tuned(tmp_path / "c", areas)
    chosen = choose_rates(comparison, runs)
    assert {arm: entry["learning_rate"] for arm, entry in chosen.items()} == {"grpo": 3e-4, "a-hpo": 1e-3}
    assert [chosen[arm]["at_edge"] for arm in ("grpo", "a-hpo")] == [False, True]
    assert chosen["grpo"]["seeds"] == [1000, 1001]


def test_a_rate_at_which_a_run_failed_is_not_chosen(tmp_path):
    """Its mean would be of fewer seeds, here of the lucky one; and it is not known to be safe."""
    areas = {("grpo", 1e-3): [0.9, None], ("grpo", 3e-4): [0.2, 0.2]}
    comparison, _, runs = tuned(tmp_path / "c", areas)
    chosen = choose_rates(comparison, runs)["grpo"]
    assert chosen["learning_rate"] == 3e-4
    assert [(entry["mean"], entry["seeds"]) for entry in chosen["rates"]][-1] == (0.9, 1)


def test_a_rate_with_nan_rewards_counts_as_failed(tmp_path):
    comparison, _folder, runs = tuned(tmp_path / "c", {("grpo", 1e-3): [0.9, None]})
    write_run(next(run.folder for run in runs if not run.folder.exists()), [0.9, float("nan"), 0.9, 0.9])
    assert choose_rates(comparison, runs)["grpo"]["learning_rate"] != 1e-3


def test_an_arm_that_failed_at_every_rate_stops_the_comparison(tmp_path):
    areas = {("grpo", rate): [None, 0.1] for rate in (1e-4, 3e-4, 1e-3)}
    comparison, _, runs = tuned(tmp_path / "c", areas)
    with pytest.raises(UsageError, match="Tuning grpo failed at every rate"):
        choose_rates(comparison, runs)


def test_the_rate_of_runs_that_were_started_is_kept(tmp_path):
    """A tuning run made later may say otherwise; runs at two rates must not be mixed."""
    comparison, folder, _ = tuned(tmp_path / "c", {})
    write_json(folder.tuning, {arm: {"learning_rate": 1e-4} for arm in ("grpo", "a-hpo")})
    assert _kept_rates(comparison, folder) == {}
    write_run(folder.runs(comparison, {})[0].folder, [0.1] * 4, state="running")
    assert _kept_rates(comparison, folder) == {"grpo": {"learning_rate": 1e-4}}
