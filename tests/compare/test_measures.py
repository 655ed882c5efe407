"""The measures of a run, against values computed by hand."""

import json
import math

import pytest
from compare.made_up_runs import write_run
from hypothesis import given
from hypothesis import strategies as st

from hysteretic.compare.measures import area_up_to, label_and_meaning, measures, read_record


def test_area_early_and_end_are_means_of_rollouts(tmp_path):
    """Twelve rollouts: the first quarter is three, the last tenth is two (rounded up)."""
    rewards = [0.0, 0.1, 0.2, *[0.3] * 7, 0.5, 0.9]
    write_run(tmp_path / "run", rewards)
    found = measures(read_record(tmp_path / "run"))
    assert found["area"] == pytest.approx(sum(rewards) / 12)
    assert found["early"] == pytest.approx(0.1)
    assert found["end"] == pytest.approx(0.7)


def test_held_out_measures_are_those_after_training(tmp_path):
    """pass@4 of 4 samples is the fraction of problems with a right one; pass@1 the fraction of right responses."""
    write_run(tmp_path / "run", [0.1, 0.2], correct=(0, 1, 2, 4))
    found = measures(read_record(tmp_path / "run"))
    assert found["pass@1 greedy"] == 0.25
    assert found["pass@1 sampled"] == pytest.approx(7 / 16)
    assert found["pass@4"] == pytest.approx(3 / 4)
    assert label_and_meaning("pass@4")[0] == "Held-out pass@4"


def test_costs_are_counted_to_the_end_of_each_rollout(tmp_path):
    """Tokens: mean length times the responses of a rollout; seconds: its updates together."""
    write_run(tmp_path / "run", [0.1, 0.2], lengths=[20.0, 30.0], seconds=3.0)
    record = read_record(tmp_path / "run", ["clip_ratio/low_mean"])
    assert record.tokens == [200.0, 500.0]
    assert record.seconds == [3.0, 6.0]
    assert record.updates == [2, 4]
    assert record.panels["clip_ratio/low_mean"] == pytest.approx([0.05, 0.05])


def test_a_finished_run_with_torn_figures_is_refused(tmp_path):
    """Scored on what is left of them, a run could look better or worse than it was."""
    write_run(tmp_path / "run", [0.1, 0.1, 0.9, 0.9])
    path = tmp_path / "run" / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    for torn in ([*lines[:3], lines[3][:9]], lines[:3] + lines[4:], lines[:-1], [*lines[:3], "3\n"], ["null\n"], []):
        path.write_text("".join(torn))
        with pytest.raises(ValueError, match=r"damaged|no rollout"):
            read_record(tmp_path / "run")


def test_a_line_torn_by_a_power_cut_in_a_running_run_is_left_out(tmp_path):
    write_run(tmp_path / "run", [0.1, 0.2, 0.3], state="running")
    path = tmp_path / "run" / "metrics.jsonl"
    path.write_text(path.read_text()[:-30])
    assert read_record(tmp_path / "run").rewards == [0.1, 0.2, 0.3]
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-2]) + "\n" + lines[-2][:20])
    assert read_record(tmp_path / "run").rewards == [0.1, 0.2]


@pytest.mark.parametrize("reward", [None, math.nan, math.inf, "much"])
def test_a_run_with_a_reward_that_is_no_number_is_refused(tmp_path, reward):
    """A mean without it would flatter the run."""
    write_run(tmp_path / "run", [0.1, reward, 0.3])
    with pytest.raises(ValueError, match="update 3"):
        read_record(tmp_path / "run")


def test_a_run_without_a_rollout_is_refused(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 0.0}) + "\n")
    with pytest.raises(ValueError, match="no rollout"):
        read_record(tmp_path)


def test_area_up_to_a_budget_is_the_integral_of_steps():
    """Rewards 1 and 3 at costs 2 and 4 more: up to 3 that is (1 * 2 + 3 * 1) / 3."""
    assert area_up_to([1.0, 3.0], [2.0, 6.0], 3.0) == pytest.approx(5 / 3)
    assert area_up_to([1.0, 3.0], [2.0, 6.0], 1.0) == 1.0
    with pytest.raises(ValueError, match="budget is 7"):
        area_up_to([1.0, 3.0], [2.0, 6.0], 7.0)
    with pytest.raises(ValueError, match="budget is 0"):
        area_up_to([1.0], [2.0], 0.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_with_equal_costs_the_area_by_cost_is_the_area(rewards):
    costs = [3.0 * (i + 1) for i in range(len(rewards))]
    assert area_up_to(rewards, costs, costs[-1]) == pytest.approx(sum(rewards) / len(rewards))
