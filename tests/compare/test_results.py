"""What a comparison's results say, on runs with chosen metrics."""

import csv
import json
import shutil

import numpy as np
import pytest
from compare.made_up_runs import comparison_folder, write_run

from hysteretic.cli import main
from hysteretic.compare.folder import ComparisonFolder
from hysteretic.compare.results import collect, write_results
from hysteretic.compare.verdicts import next_step, sentence
from hysteretic.statistics import paired_comparison


def rewards(level, seeds, rollouts=8, spread=0.01):
    """Learning curves about a level: the same noise for every arm, so that seeds pair."""
    noise = np.random.default_rng(0).normal(0, spread, (seeds, rollouts))
    own = np.random.default_rng(int(1000 * level)).normal(0, spread / 10, (seeds, rollouts))
    return [[float(max(level + x, 0.0)) for x in row] for row in noise + own]


def the_pair(results, treatment, baseline="grpo", measure="area"):
    return next(
        pair
        for pair in results["pairs"]
        if (pair["treatment"], pair["baseline"], pair["measure"]) == (treatment, baseline, measure)
    )


def test_an_arm_that_is_better_is_called_better_with_its_figures(tmp_path):
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 6), "a-hpo": rewards(0.25, 6)})
    results = collect(folder)
    pair = the_pair(results, "a-hpo")
    by_arm = {
        arm: [run["measures"]["area"] for run in results["runs"] if run["arm"] == arm] for arm in ("grpo", "a-hpo")
    }
    expected = paired_comparison(by_arm["a-hpo"], by_arm["grpo"])
    assert pair["verdict"] == "better"
    assert pair["mean_difference"] == pytest.approx(0.05, abs=0.005)
    assert pair["interval"] == pytest.approx(expected.interval)
    assert pair["relative_gain"] == pytest.approx(0.25, abs=0.03)
    assert results["verdicts"][0].startswith("a-hpo is better than grpo (whole run): +0.0")
    assert "% more, 6 paired seeds" in results["verdicts"][0]


def test_a_difference_within_the_spread_cannot_be_told(tmp_path):
    folder = comparison_folder(
        tmp_path / "c", {"grpo": rewards(0.2, 6, spread=0.1), "a-hpo": rewards(0.201, 6, spread=0.1)}
    )
    pair = the_pair(collect(folder), "a-hpo")
    assert pair["verdict"] == "cannot tell"
    assert pair["seeds_to_tell"] > 6
    assert f"about {pair['seeds_to_tell']} seeds" in collect(folder)["verdicts"][0]


def test_arms_shown_to_be_within_the_margin_are_called_the_same(tmp_path):
    """Only with a margin, and only where the seeds suffice; a difference that is told stays one."""
    made = {"grpo": rewards(0.2, 6), "a-hpo": rewards(0.1995, 6), "sapo": rewards(0.205, 6)}
    plain = collect(comparison_folder(tmp_path / "a", made))
    results = collect(comparison_folder(tmp_path / "b", made, margin=0.05))
    assert the_pair(plain, "a-hpo")["verdict"] == "cannot tell"
    assert "margin" not in the_pair(plain, "a-hpo")
    pair = the_pair(results, "a-hpo")
    assert (pair["verdict"], pair["margin"], pair["seeds_to_tell"]) == ("same", 0.05, None)
    assert pair["p_same"] < 0.05
    assert any(said.startswith("a-hpo is within 5 % of grpo (whole run): ") for said in results["verdicts"])
    assert the_pair(results, "sapo")["verdict"] == "better"
    strict = collect(comparison_folder(tmp_path / "c", made, margin=0.0001))
    assert the_pair(strict, "a-hpo")["verdict"] == "cannot tell"


@pytest.mark.parametrize(("level", "verdict"), [(0.201, "cannot tell"), (0.25, "better")])
def test_the_second_run_of_the_baseline_is_judged_by_itself(tmp_path, level, verdict):
    """Last, without a correction for the other pairs, which it does not cost anything either; where it differs, the
    other verdicts are doubted, and it is never recommended."""
    made = {"grpo": rewards(0.2, 6, spread=0.03), "a-hpo": rewards(0.21, 6, spread=0.03)}
    plain = the_pair(collect(comparison_folder(tmp_path / "plain", made)), "a-hpo")
    made["grpo-aa"] = rewards(level, 6, spread=0.03)
    results = collect(comparison_folder(tmp_path / "aa", made, algorithms=["grpo", "a-hpo"], aa=True))
    assert the_pair(results, "a-hpo") == plain
    again = the_pair(results, "grpo-aa")
    assert again["p_holm"] == again["p"]
    assert again["verdict"] == verdict
    assert "grpo-aa" in results["verdicts"][-1]
    assert any("should come out level" in note for note in results["notes"]) == (verdict == "better")
    assert "grpo-aa" not in (next_step(results) or "")
    page = write_results(ComparisonFolder(tmp_path / "aa"), with_report=True)
    assert page["verdicts"] == results["verdicts"]
    assert {p["treatment"] for p in results["pairs"] if "grpo-aa" in (p["treatment"], p["baseline"])} == {"grpo-aa"}


def test_spread_of_held_out_rates_is_split_by_its_cause(tmp_path):
    """Simulated with known parts: rates of 200 problems, a level per seed, 4 responses each; over 200 seeds."""
    rng = np.random.default_rng(0)
    problem_N, level_S = rng.uniform(0.2, 0.6, 200), rng.normal(0, 0.03, 200)
    folder = comparison_folder(tmp_path / "c", {"grpo": [None] * 200}, seeds=200)
    for seed, level in enumerate(level_S):
        counts = rng.binomial(4, np.clip(problem_N + level, 0, 1)).tolist()
        write_run(folder.path / "runs" / "grpo" / f"seed-{seed}", [0.1], correct=counts)
    [row] = collect(folder)["spread"]
    assert row["training"] == pytest.approx(0.03, rel=0.15)
    assert row["evaluation"] == pytest.approx(np.sqrt(np.mean(problem_N * (1 - problem_N)) / 4 / 200), rel=0.05)
    assert row["problems"] == pytest.approx(problem_N.std() / np.sqrt(200), rel=0.05)


def test_three_seeds_get_figures_and_no_verdict(tmp_path):
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 3), "a-hpo": rewards(0.9, 3)})
    results = collect(folder)
    assert the_pair(results, "a-hpo")["verdict"] == "too few seeds"
    assert "3 paired seeds are too few for a verdict" in results["verdicts"][0]


def test_one_seed_is_too_few(tmp_path):
    results = collect(comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 1), "a-hpo": rewards(0.9, 1)}))
    assert results["verdicts"][0].startswith("a-hpo and grpo: 1 paired seed is too few")


def test_arms_that_are_the_same_run_by_run_are_called_identical(tmp_path):
    """A learning rate of 1e-12 moves nothing: no number of seeds would tell such arms apart."""
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 4), "a-hpo": rewards(0.2, 4)})
    results = collect(folder)
    assert the_pair(results, "a-hpo")["verdict"] == "identical"
    assert results["verdicts"][0].startswith("a-hpo and grpo are identical (whole run): ")
    assert "the policy hardly moved" in results["verdicts"][0]
    assert "1,000" not in results["verdicts"][0]
    note = next(note for note in results["notes"] if note.startswith("Identical run by run: a-hpo and grpo."))
    assert "learning rate of 0.001 and grad_norm up to 0.5" in note


def test_equal_figures_of_runs_that_differ_are_not_called_identical(tmp_path):
    """Held-out pass@1 is a count of few problems and may agree; the rewards of the rollouts do not."""
    results = collect(comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 4), "a-hpo": rewards(0.3, 4)}))
    pair = the_pair(results, "a-hpo", measure="pass@1 greedy")
    assert (pair["mean_difference"], pair["verdict"]) == (0.0, "cannot tell")
    assert not any("Identical" in note for note in results["notes"])
    said = sentence(pair)
    assert "the same at every seed" in said
    assert "1,000" not in said


def test_identical_runs_of_one_rollout_are_explained_by_their_length(tmp_path):
    """The first rollout is drawn before the first update, from the same policy."""
    results = collect(comparison_folder(tmp_path / "c", {"grpo": [[0.2]], "a-hpo": [[0.2]]}))
    assert "1 paired seed is too few" in results["verdicts"][0]
    assert any("before the first update" in note and "max_steps" in note for note in results["notes"])


def test_runs_without_any_gradient_are_pointed_out(tmp_path):
    """Every response failed: there was nothing to learn from, and no setting could make a difference."""
    folder = comparison_folder(tmp_path / "c", {"grpo": [None] * 4, "a-hpo": [None] * 4})
    for arm in ("grpo", "a-hpo"):
        for seed in range(4):
            write_run(folder.path / "runs" / arm / f"seed-{seed}", [0.0] * 3, grad_norm=0.0)
    notes = collect(folder)["notes"]
    assert any("grpo, a-hpo" in note and "grad_norm is 0" in note and "probe" in note for note in notes)
    assert not any("learning rate of" in note for note in notes)


@pytest.mark.parametrize(("jobs", "is_said"), [((1, 1), False), ((2, 1), True), ((None, 1), True)])
def test_seconds_are_doubted_where_runs_shared_the_machine(tmp_path, jobs, is_said):
    """Once side by side is enough; of a comparison that was made before jobs were recorded it is not known."""
    folder = comparison_folder(tmp_path / "c", {"grpo": [None] * 2, "a-hpo": [None] * 2})
    for arm, count in zip(("grpo", "a-hpo"), jobs, strict=True):
        if count is not None:
            folder.note_call(folder.read(), count)
        for seed in range(2):
            write_run(folder.path / "runs" / arm / f"seed-{seed}", [0.2] * 8)
    assert any(note.startswith("Seconds") for note in collect(folder)["notes"]) is is_said


def test_a_call_that_finds_nothing_to_do_runs_nothing_side_by_side(tmp_path):
    folder = comparison_folder(tmp_path / "c", {"grpo": [None], "a-hpo": [None]})
    folder.note_call(folder.read(), 1)
    for arm in ("grpo", "a-hpo"):
        write_run(folder.path / "runs" / arm / "seed-0", [0.2] * 8)
    folder.note_call(folder.read(), 8)
    assert not any(note.startswith("Seconds") for note in collect(folder)["notes"])


def test_the_command_repeats_it_where_it_was_started(tmp_path, monkeypatch):
    """Paths of the task, the reward and the folder are all of one directory, and so is the command's."""
    monkeypatch.chdir(tmp_path)
    folder = comparison_folder("my runs/c", {"grpo": rewards(0.2, 1), "a-hpo": [None]})
    folder.note_call(folder.read(), 3)
    again = "hysteretic compare --config 'my runs/c/comparison.yaml' --output 'my runs/c-again' --jobs 3"
    assert collect(folder)["command"] == again
    monkeypatch.chdir("my runs")
    assert collect(type(folder)("c"))["command"] == again


def test_many_pairs_need_more_than_one_pair_does(tmp_path):
    """A p just below 0.05 among six pairs is no discovery (Holm)."""
    arms = {name: rewards(0.2, 5, spread=0.02) for name in ("grpo", "hpo", "sapo")}
    lift = [0.004, 0.02, 0.012, 0.001, 0.018]
    arms["a-hpo"] = [[x + lift[seed] for x in row] for seed, row in enumerate(arms["grpo"])]
    arms = {
        name: [[x + 1e-3 * np.sin(seed * len(name)) for x in row] for seed, row in enumerate(rows)]
        for name, rows in arms.items()
    }
    results = collect(comparison_folder(tmp_path / "c", arms))
    pair = the_pair(results, "a-hpo")
    assert pair["p"] < 0.05 < pair["p_holm"]
    assert pair["verdict"] == "cannot tell"
    assert all(p["p_holm"] >= p["p"] for p in results["pairs"])
    assert any("Holm" in note for note in results["notes"])
    said = next(each for each in results["verdicts"] if "between a-hpo" in each)
    assert "compare fewer arms" in said
    assert "1,000" not in said


def test_every_pair_is_there_once_and_the_baseline_first(tmp_path):
    arms = {name: rewards(0.2, 4) for name in ("hpo", "grpo", "a-hpo")}
    results = collect(comparison_folder(tmp_path / "c", arms))
    found = [(pair["treatment"], pair["baseline"]) for pair in results["pairs"] if pair["measure"] == "area"]
    assert found == [("hpo", "grpo"), ("a-hpo", "grpo"), ("a-hpo", "hpo")]


def test_pairs_are_of_the_seeds_that_both_arms_finished(tmp_path):
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 6), "a-hpo": rewards(0.3, 6)})
    shutil.rmtree(folder.path / "runs" / "grpo" / "seed-1")
    results = collect(folder)
    assert the_pair(results, "a-hpo")["seeds"] == 5
    assert results["progress"] == {"planned": 12, "finished": 11, "failed": 0}
    assert any("not final" in note for note in results["notes"])


def test_a_run_with_nan_rewards_is_a_failed_run_and_leaves_its_pair(tmp_path):
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 5), "a-hpo": rewards(0.3, 5)})
    broken = folder.path / "runs" / "a-hpo" / "seed-2"
    shutil.rmtree(broken)
    write_run(broken, [0.1, float("nan")])
    results = collect(folder)
    run = next(run for run in results["runs"] if run["arm"] == "a-hpo" and run["seed"] == 2)
    assert run["state"] == "failed"
    assert "not a finite number" in run["error"]
    assert the_pair(results, "a-hpo")["seeds"] == 4
    assert "Failed runs: 1." in " ".join(results["notes"])


def test_a_run_that_crashed_is_failed_with_its_last_lines(tmp_path):
    """Killed for memory it cannot say so itself; compare wrote down how it ended."""
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 5), "a-hpo": [*rewards(0.3, 4), None]})
    run = next(run for run in folder.runs(folder.read(), {}) if (run.arm.name, run.seed) == ("a-hpo", 4))
    run.folder.mkdir(parents=True)
    (run.folder / "run.json").write_text('{"state": "running"}')
    assert collect(folder)["progress"]["failed"] == 0
    run.failure.write_text('{"error": "exit code -9", "last_lines": "    out of memory"}')
    results = collect(folder)
    assert results["progress"] == {"planned": 10, "finished": 9, "failed": 1}
    assert next(each["error"] for each in results["runs"] if each["state"] == "failed").endswith("out of memory")


def test_a_gain_over_a_baseline_of_no_or_negative_reward_is_not_given(tmp_path):
    """Relative to a negative mean its sign would turn."""
    arms = {"grpo": [[x - 0.5 for x in row] for row in rewards(0.2, 4)], "a-hpo": rewards(0.2, 4)}
    results = collect(comparison_folder(tmp_path / "c", arms))
    assert the_pair(results, "a-hpo")["verdict"] == "better"
    assert the_pair(results, "a-hpo")["relative_gain"] is None
    assert "more" not in results["verdicts"][0]


def test_a_missing_baseline_is_named(tmp_path):
    arms = {"grpo": [None] * 4, "a-hpo": rewards(0.2, 4), "hpo": rewards(0.3, 4)}
    results = collect(comparison_folder(tmp_path / "c", arms))
    assert "grpo and another arm have not both finished" in results["verdicts"][0]
    assert the_pair(results, "hpo", "a-hpo")["verdict"] == "better"


def test_one_cheap_run_that_cuts_every_cost_measure_is_pointed_out(tmp_path):
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 4), "a-hpo": rewards(0.3, 3)}, seeds=4)
    write_run(folder.path / "runs" / "a-hpo" / "seed-3", [0.0] * 8, lengths=[1.0] * 8)
    results = collect(folder)
    assert results["budgets"]["area_by_token"] == {"budget": 80.0, "median_total": 1600.0}
    assert any("less than half" in note for note in results["notes"])


def test_an_arm_can_win_per_update_and_lose_per_token(tmp_path):
    """Twice the tokens for a tenth more reward."""
    folder = comparison_folder(tmp_path / "c", {"grpo": [None] * 4, "a-hpo": [None] * 4})
    rising = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    for seed in range(4):
        bumped = [x + 0.001 * seed for x in rising]
        write_run(folder.path / "runs" / "grpo" / f"seed-{seed}", bumped)
        better = [x * 1.1 + 0.0001 * seed for x in bumped]
        write_run(folder.path / "runs" / "a-hpo" / f"seed-{seed}", better, lengths=[40.0] * 6)
    results = collect(folder)
    assert the_pair(results, "a-hpo", measure="area")["mean_difference"] > 0
    assert the_pair(results, "a-hpo", measure="area_by_token")["mean_difference"] < 0


def test_one_arm_and_no_run_are_said_in_words(tmp_path):
    assert (
        "nothing to compare" in collect(comparison_folder(tmp_path / "one", {"grpo": rewards(0.2, 4)}))["verdicts"][0]
    )
    empty = collect(comparison_folder(tmp_path / "none", {"grpo": [None], "a-hpo": [None]}))
    assert "No verdict yet" in empty["verdicts"][0]


def test_runs_of_two_versions_of_the_code_are_pointed_out(tmp_path):
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 2), "a-hpo": [None, None]})
    write_run(folder.path / "runs" / "a-hpo" / "seed-0", [0.1] * 8, source="b")
    assert any("2 versions" in note for note in collect(folder)["notes"])


def test_curves_are_means_over_seeds_with_bands(tmp_path):
    folder = comparison_folder(tmp_path / "c", {"grpo": [[0.4] * 6, [0.6] * 6, [0.5] * 6], "a-hpo": [[0.5] * 6]})
    by_x = {panel["x"]: panel for panel in collect(folder)["panels"] if panel["key"] == "reward"}
    assert set(by_x) == {"update", "token", "second"}
    grpo, a_hpo = by_x["update"]["curves"]
    assert grpo["x"] == [2, 4, 6, 8, 10, 12]
    assert grpo["mean"] == pytest.approx([0.5] * 6)
    half = 4.302653 * 0.1 / np.sqrt(3)
    assert grpo["low"] == pytest.approx([0.5 - half] * 6, abs=1e-4)
    assert a_hpo["low"] is None


def test_bands_of_shares_end_where_shares_do(tmp_path):
    """Two seeds at 0.02 and 0.3 have a Student's interval from -1.6 to 1.9; so have rewards, if none was below 0."""
    folder = comparison_folder(tmp_path / "c", {"grpo": [[0.02] * 6, [0.3] * 6]})
    for seed, share in ((0, 0.02), (1, 0.3)):
        path = folder.path / "runs" / "grpo" / f"seed-{seed}" / "metrics.jsonl"
        path.write_text(path.read_text().replace('"hpo/silent_share": 0.9', f'"hpo/silent_share": {share}'))
    curves = {panel["key"]: panel["curves"][0] for panel in collect(folder)["panels"] if panel["x"] == "update"}
    assert set(curves["hpo/silent_share"]["low"]) == {0.0}
    assert set(curves["hpo/silent_share"]["high"]) == {1.0}
    assert set(curves["reward"]["low"]) == {0.0}
    assert max(curves["reward"]["high"]) > 1
    interval = next(line["interval"] for line in collect(folder)["summary"] if line["measure"] == "area")
    assert interval == pytest.approx([0.0, 0.16 + 12.7062 * 0.14], abs=1e-3)


def test_bands_of_rewards_that_may_be_negative_stay_whole(tmp_path):
    results = collect(comparison_folder(tmp_path / "c", {"grpo": [[0.02] * 6, [0.3] * 5 + [-0.1]]}))
    reward = next(panel["curves"][0] for panel in results["panels"] if panel["key"] == "reward")
    assert reward["low"][0] == pytest.approx(0.16 - 12.7062 * 0.14, abs=1e-3)
    assert next(line["interval"][0] for line in results["summary"] if line["measure"] == "area") < -1


def test_files_are_json_and_csv_without_paths_of_the_machine(tmp_path):
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 4), "a-hpo": rewards(0.3, 4)})
    results = write_results(folder)
    assert json.loads(folder.results.read_text()) == results
    assert str(tmp_path) not in folder.results.read_text()
    assert "/somewhere" not in folder.results.read_text()
    with (folder.path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert float(rows[0]["area"]) == pytest.approx(results["runs"][0]["measures"]["area"])


def test_the_report_command_writes_the_page_and_figures(tmp_path, capsys):
    folder = comparison_folder(tmp_path / "c", {"grpo": rewards(0.2, 4), "a-hpo": rewards(0.3, 4)})
    assert main(["report", str(folder.path)]) == 0
    assert "a-hpo is better than grpo" in capsys.readouterr().out
    assert (folder.path / "report.html").stat().st_size < 6e6
    assert list((folder.path / "figures").glob("*.svg"))
    assert list((folder.path / "figures").glob("*.png"))


def test_a_report_of_no_comparison_is_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "no comparison in" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_curves_of_runs_whose_costs_differ_are_read_off_at_common_points(tmp_path):
    """Up to the cheapest run's total; a straight line stays what it is."""
    folder = comparison_folder(tmp_path / "c", {"grpo": [None] * 2})
    for seed, length in ((0, 20.0), (1, 40.0)):
        write_run(folder.path / "runs" / "grpo" / f"seed-{seed}", [0.3] * 6, lengths=[length] * 6)
    by_token = next(panel for panel in collect(folder)["panels"] if panel["x"] == "token")
    (curve,) = by_token["curves"]
    assert curve["x"][0] == 400.0
    assert curve["x"][-1] == 1200.0
    assert curve["mean"] == pytest.approx([0.3] * len(curve["x"]))
