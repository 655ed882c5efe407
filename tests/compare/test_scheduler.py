"""Which learning rate does an arm get, does it keep it, and are there seeds enough? On runs with chosen metrics."""

import numpy as np
import pytest
from compare.made_up_runs import write_run

from hysteretic.common.errors import UsageError
from hysteretic.common.files import write_json
from hysteretic.compare import scheduler
from hysteretic.compare.folder import ComparisonFolder, unfinished
from hysteretic.compare.results import collect
from hysteretic.compare.scheduler import Length, _kept_rates, carry_out, choose_rates
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


def test_a_measure_of_cost_chooses_rates_and_decides(tmp_path):
    """Per token, the arm of short responses wins, which per update it does not; up to the same number of tokens."""
    changes = {"measure": "area_by_token", "tune_lr": "1e-4,1e-3", "tuning_seeds": 1}
    comparison, folder, runs = tuned(
        tmp_path / "c", {(arm, rate): [None] for arm in ("grpo", "a-hpo") for rate in (1e-4, 1e-3)}, **changes
    )
    climbing = [0.1, 0.2, 0.3, 0.4]
    for (
        run
    ) in runs:  # at the higher rate, responses are four times as long: within the budget, half of the first rollout
        write_run(run.folder, climbing, lengths=[20.0 if run.rate == 1e-4 else 80.0] * 4)
    chosen = choose_rates(comparison, runs)["grpo"]
    assert chosen["learning_rate"] == 1e-4
    assert [entry["mean"] for entry in chosen["rates"]] == pytest.approx([0.25, 0.1])
    for run in folder.runs(comparison, {}):
        noise = np.random.default_rng([run.seed, len(run.arm.name)]).normal(0, 0.001)
        write_run(run.folder, [x + noise for x in climbing], lengths=[80.0 if run.arm.name == "grpo" else 20.0] * 4)
    results = scheduler.collect(folder)
    assert results["verdicts"][0].startswith("a-hpo is better than grpo (per generated token)")
    by_measure = {pair["measure"]: pair["verdict"] for pair in results["pairs"]}
    assert (by_measure["area_by_token"], by_measure["area"]) == ("better", "cannot tell")


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


@pytest.mark.parametrize(("gain", "expected"), [(0.05, 4), (0.007, 8), (0.0, 10)])
def test_seeds_are_added_until_the_verdict_is_clear(gain, expected, tmp_path, monkeypatch):
    """At once, at the second look, or never; a second call finds nothing to add."""
    trained = []

    def train(comparison, folder, runs, *_):
        for run in unfinished(runs):
            trained.append(run)
            noise = np.random.default_rng([run.seed, len(run.arm.name)]).normal(0, 0.01)
            write_run(run.folder, [0.2 + gain * (run.arm.name == "a-hpo") + noise] * 4)
        return []

    monkeypatch.setattr(scheduler, "_train", train)
    monkeypatch.setattr(scheduler, "_expect", lambda *_: None)
    comparison = read({"algorithms": "grpo,a-hpo", "seeds": 4, "most_seeds": 10}, "test")
    folder = ComparisonFolder(tmp_path / "c")
    folder.claim(comparison)
    folder.release()
    assert carry_out(comparison, folder, Length(8, 2), None) == []
    assert sorted({run.seed for run in trained}) == list(range(expected))
    results = scheduler.collect(folder)
    assert results["looks"] == [4, 8, 10]
    assert results["progress"] == {"planned": 2 * expected, "finished": 2 * expected, "failed": 0}
    assert results["pairs"][0]["verdict"] == ("better" if gain else "cannot tell")
    assert any("looks at 4, 8, 10 seeds" in note for note in results["notes"])
    trained.clear()
    assert carry_out(comparison, folder, Length(8, 2), None) == []
    assert not trained


def test_a_failed_run_ends_the_adding_of_seeds(tmp_path, monkeypatch):
    monkeypatch.setattr(scheduler, "_train", lambda _, __, runs, *___: ["grpo seed 0"] if runs else [])
    monkeypatch.setattr(scheduler, "_expect", lambda *_: None)
    comparison = read({"algorithms": "grpo,a-hpo", "seeds": 4, "most_seeds": 10}, "test")
    assert carry_out(comparison, ComparisonFolder(tmp_path), Length(8, 2), None) == ["grpo seed 0"]


@pytest.mark.parametrize(
    ("lower", "chosen", "is_said"), [([0.20, 0.30], [0.25, 0.27], True), ([0.20, 0.21], [0.40, 0.41], False)]
)
def test_a_rate_that_tuning_cannot_tell_from_the_next_lower_one_is_noted(lower, chosen, is_said, tmp_path):
    """Two seeds once chose a rate 0.3 % better, at which a run of eight collapsed."""
    areas = {("grpo", 3e-4): lower, ("grpo", 1e-3): chosen, ("a-hpo", 1e-3): [1.0, 1.0]}
    comparison, folder, runs = tuned(tmp_path / "c", areas)
    write_json(folder.tuning, choose_rates(comparison, runs))
    found = [note for note in collect(folder)["notes"] if "next lower one" in note]
    assert len(found) == is_said
    assert all("learning rate of grpo from" in note for note in found)
