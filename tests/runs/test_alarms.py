"""Alarms sound where a run collapses, and not just short of it."""

import json

import pytest
from compare.made_up_runs import comparison_folder
from thorough import one_quick

from hysteretic.cli import main
from hysteretic.compare.results import collect
from hysteretic.config.settings import parse
from hysteretic.runs import alarms as module
from hysteretic.runs.alarms import alarms, alarms_of, alpha_floor, held_out_alarm
from hysteretic.runs.metrics import rollouts
from hysteretic.runs.record import objective_data

HEALTHY = {
    "reward": 0.1,
    "hpo/silent_share": 0.8,
    "hpo/alpha": 0.4,
    "hpo/mean_length": 40.0,
    "entropy": 0.5,
    "kl": 0.01,
}
BAD = {
    "silent": {"hpo/silent_share": 1.0, "reward": 0.0},
    "floor": {"hpo/alpha": 0.1},
    "graded": {"accuracy": 0.0, "hpo/silent_share": 0.1, "hpo/alpha": 0.9},
    "length": {"hpo/mean_length": 4.0},
    "entropy": {"entropy": 0.02},
    "kl": {"kl": 1.0},
}
NEARLY = {
    "silent": {"hpo/silent_share": 0.99, "reward": 0.0},
    "floor": {"hpo/alpha": 0.102},
    "graded": {"accuracy": 0.01, "hpo/silent_share": 0.1, "hpo/alpha": 0.9},
    "length": {"hpo/mean_length": 4.1},
    "entropy": {"entropy": 0.021},
    "kl": {"kl": 0.99},
}
IN_A_ROW = {"silent": module.SILENT, "floor": module.FLOOR, "length": module.LENGTH, "entropy": module.ENTROPY}
IN_A_ROW |= {"kl": module.KL, "graded": module.GRADED}
UPDATES = 2


def lines(*parts):
    """metrics.jsonl of (metrics that differ from healthy ones, how many rollouts): the reward with the first update."""
    found = []
    for figures, count in parts:
        for _ in range(count):
            line = {**HEALTHY, **figures}
            rest = {key: value for key, value in line.items() if key != "reward"}
            found += [line, *[rest] * (UPDATES - 1)]
    return [{"step": i + 1, "loss": 0.0, **line} for i, line in enumerate(found)]


def heard(*parts):
    return alarms(rollouts(lines(*parts)), floor=0.1)


@pytest.mark.parametrize("name", BAD)
def test_an_alarm_sounds_at_the_rollout_that_completes_its_row(name):
    count = IN_A_ROW[name]
    (alarm,) = heard(({}, 5), (BAD[name], count + 3))
    assert (alarm.name, alarm.step) == (name, (5 + count) * UPDATES)
    assert alarm.words.endswith(".")
    assert alarm.advice.endswith(".")


@pytest.mark.parametrize("name", BAD)
def test_a_row_one_short_is_no_alarm(name):
    assert not heard(({}, 5), (BAD[name], IN_A_ROW[name] - 1), ({}, 3))


@pytest.mark.parametrize("name", BAD)
def test_a_row_that_is_broken_begins_anew(name):
    count = IN_A_ROW[name] - 1
    assert not heard(({}, 5), (BAD[name], count), ({}, 1), (BAD[name], count))


@pytest.mark.parametrize("name", NEARLY)
def test_figures_just_within_their_bound_are_no_alarm(name):
    assert not heard(({}, 5), (NEARLY[name], 30))


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_logged_sounds_no_alarm(name):
    """Nor does a metric that is not finite, which metrics.jsonl has as null."""
    for value in (None, float("nan")):
        assert not heard(({}, 5), (dict.fromkeys(BAD[name].keys() - {"reward"}, value), 30))


def test_each_sounds_once_however_often_it_comes_back():
    found = heard(({}, 5), (BAD["kl"], 10), ({}, 5), (BAD["kl"], 10), (BAD["entropy"], 10))
    assert [alarm.name for alarm in found] == ["kl", "entropy"]


def test_responses_that_were_always_short_are_no_collapse():
    assert not heard(({"hpo/mean_length": 3.0}, 20))
    assert not heard(({"hpo/mean_length": 12.0}, 5), ({"hpo/mean_length": 3.1}, 20))
    assert heard(({"hpo/mean_length": 16.1}, 5), ({"hpo/mean_length": 4.0}, 20))


def test_a_silent_start_is_no_graded_one():
    """Nothing is right, and wrong responses get equal rewards: that is sparsity, plain to see."""
    assert not heard(({"accuracy": 0.0, "hpo/silent_share": 0.9}, 9))


def test_all_right_and_all_wrong_have_different_advice():
    """Both are silent; what to do differs."""
    (wrong,) = heard((BAD["silent"], 6))
    (right,) = heard(({**BAD["silent"], "reward": 1.0}, 6))
    assert "easier problems" in wrong.advice
    assert "harder ones" in right.advice


@pytest.mark.parametrize(
    ("flags", "floor"),
    [
        (["--algorithm", "a-hpo"], 0.1),
        (["--algorithm", "a-hpo", "--alpha_min", "0.3"], 0.3),
        (["--algorithm", "grpo", "--weight", "adaptive"], 0.1),
        (["--algorithm", "a-hpo", "--weight", "fixed", "--alpha", "0.1"], None),
        (["--algorithm", "grpo"], None),
        (["--algorithm", "hpo", "--alpha", "0.1"], None),
        (["--algorithm", "dr-grpo"], None),
        (["--algorithm", "dr-grpo", "--weight", "adaptive"], 0.1),
    ],
)
def test_only_an_adaptive_alpha_has_a_floor(flags, floor):
    """A fixed alpha is the same in every rollout, which is no alarm."""
    objective = parse([*flags, "--use_cpu", "true"]).training.objective()
    about = json.loads(json.dumps({"objective": objective_data(objective)}))
    assert alpha_floor(about) == floor
    assert bool(alarms(rollouts(lines((BAD["floor"], 20))), floor)) == (floor is not None)


def evaluation(before, after):
    rate = {"before": before, "after": after}
    return {when: {"sampled": {"pass@1": {"value": v, "low": v - 0.03, "high": v + 0.03}}} for when, v in rate.items()}


def rising(low, high, count=8):
    step = (high - low) / (count - 1)
    return rollouts([line for i in range(count) for line in lines(({"reward": low + i * step}, 1))])


def test_reward_that_rises_while_held_out_falls():
    alarm = held_out_alarm(rising(0.1, 0.5), evaluation(0.3, 0.2))
    assert alarm.name == "held-out"
    assert "30.0 %" in alarm.words
    assert "20.0 %" in alarm.words


@pytest.mark.parametrize(
    ("history", "rates"),
    [
        (rising(0.1, 0.5), evaluation(0.3, 0.25)),
        (rising(0.1, 0.5), evaluation(0.2, 0.4)),
        (rising(0.5, 0.1), evaluation(0.3, 0.2)),
        (rising(0.1, 0.1), evaluation(0.3, 0.2)),
        (rising(0.1, 0.5, count=7), evaluation(0.3, 0.2)),
        (rising(0.1, 0.5), {"after": evaluation(0.3, 0.2)["after"]}),
        (rising(0.1, 0.5), {}),
    ],
    ids=["intervals overlap", "both rise", "both fall", "reward stays", "few rollouts", "no before", "none"],
)
def test_held_out_alarm_needs_both(history, rates):
    assert held_out_alarm(history, rates) is None


@pytest.mark.parametrize("about", [{}, {"objective": "Objective(...)"}, {"objective": {"weight": {"kind": "Mine"}}}])
def test_a_record_without_an_adaptive_weight_has_no_floor(about):
    """Such as one written before the objective was data."""
    assert alpha_floor(about) is None


def test_a_rollout_whose_reward_is_not_a_number_is_a_rollout(tmp_path):
    """Its other metrics count; the reward, which metrics.jsonl has as null, does not."""
    (alarm,) = heard(({}, 5), ({**BAD["silent"], "reward": None}, 6))
    assert alarm.name == "silent"
    assert held_out_alarm(rollouts(lines(({"reward": None}, 30))), evaluation(0.3, 0.2)) is None


def test_nothing_is_heard_of_nothing(tmp_path):
    assert alarms([]) == []
    assert alarms_of(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "rew')
    assert alarms_of(tmp_path) == []


def test_the_report_notes_alarms_by_arm(tmp_path):
    """Counted over runs; the first in full."""
    folder = comparison_folder(tmp_path / "c", {"grpo": [[0.2] * 8] * 4, "a-hpo": [[0.2] * 8] * 4})
    assert not [note for note in collect(folder)["notes"] if note.startswith("Alarm")]
    for run in folder.runs(folder.read(), {}):
        if run.arm.name == "a-hpo" and run.seed != 2:
            path = run.folder / "metrics.jsonl"
            rows = [json.loads(line) | {"hpo/silent_share": 1.0} for line in path.read_text().splitlines()]
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    results = collect(folder)
    (note,) = [note for note in results["notes"] if note.startswith("Alarm")]
    assert note.startswith("Alarm 'silent': a-hpo in 3 of 4 runs. The first (a-hpo, seed 0, update 10): All groups")
    assert {len(run["alarms"]) for run in results["runs"] if run["arm"] == "grpo"} == {0}


@pytest.mark.parametrize("algorithm", one_quick(["a-hpo", "positive-only"]))
def test_a_run_made_to_collapse_says_so_once(algorithm, tmp_path, capsys):
    """The tiny model at a learning rate of 1e-2, also with alpha 0; then resumed, where it is not said again."""
    flags = ["train", "--model", "tiny", "--steps_per_generation", "1"]
    flags += ["--per_device_train_batch_size", "64", "--save_steps", "10", "--eval_problems", "0"]
    flags += ["--disable_tqdm", "true"]
    collapsed = tmp_path / "collapsed"
    flags += ["--algorithm", algorithm, "--learning_rate", "1e-2"]
    assert main([*flags, "--max_steps", "24", "--output", str(collapsed)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("Alarm after update") == 1
    assert "in 5 consecutive rollouts (mean reward 0)" in said
    (kept,) = json.loads((collapsed / "run.json").read_text())["alarms"]
    assert kept["name"] == "silent"
    assert f"Alarm after update {kept['step']}:" in said
    assert main(["train", "--resume", "--output", str(collapsed), "--max_steps", "26"]) == 0
    assert "Alarm" not in capsys.readouterr().out
    assert json.loads((collapsed / "run.json").read_text())["alarms"] == [kept]
