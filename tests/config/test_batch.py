"""A recipe's batch is kept on another number of processes, or a line says what it became."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ranks import run_worker

from hysteretic.common.errors import UsageError
from hysteretic.config.batch import batch_for
from hysteretic.config.settings import parse

RECIPE = "qwen2.5-1.5b-countdown-3-full"
EIGHT = "qwen2.5-7b-countdown-3-full"


def keys(rows, accumulation, rounds, **more):
    batch = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
    return {**batch, "steps_per_generation": rounds, **more}


@pytest.mark.parametrize(
    ("stated", "processes", "actual", "expected", "word"),
    [
        (keys(16, 16, 64), 1, 8, keys(16, 2, 8), "stays"),
        (keys(16, 16, 64), 1, 32, keys(8, 1, 4), "stays"),  # fewer rows where fewer passes do not suffice
        (keys(8, 4, 16), 8, 1, keys(8, 32, 128), "stays"),
        (keys(64, 1, 4), 1, 2, keys(32, 1, 4), "stays"),
        (keys(8, 32, 128), 1, 3, keys(8, 11, 44), "becomes"),
        (keys(64, 1, 4), 1, 3, keys(22, 1, 4), "becomes"),  # 66 per update in place of 64, not three times as many
        (keys(64, 1, 4), 1, 512, keys(1, 1, 4), "becomes"),  # one row each is the least that there is
    ],
)
def test_by_hand(stated, processes, actual, expected, word):
    found, note = batch_for({"num_generations": 8, **stated}, processes, actual)
    assert found == expected
    assert word in note
    assert "\n" not in note


@given(
    processes=st.integers(1, 16),
    actual=st.integers(1, 64),
    rows=st.integers(1, 64),
    accumulation=st.integers(1, 64),
    updates=st.integers(1, 8),
    group=st.sampled_from([2, 4, 8]),
)
def test_the_batch_is_kept_where_processes_divide_it(processes, actual, rows, accumulation, updates, group):
    """Else there are as many updates per rollout, whole groups, and the numbers in the line."""
    settings = keys(rows, accumulation, accumulation * updates, num_generations=group)
    update = processes * rows * accumulation
    found, note = batch_for(settings, processes, actual)
    if processes == actual:
        assert (found, note) == ({}, "")
        return
    new = {**settings, **found}
    became = actual * new["per_device_train_batch_size"] * new["gradient_accumulation_steps"]
    assert new["steps_per_generation"] == new["gradient_accumulation_steps"] * updates
    assert new["per_device_train_batch_size"] <= rows
    if update % actual == 0:
        assert became == update
        assert f"{update * updates} responses per rollout and {update} per update" in note
    else:
        assert became * updates % group == 0
        assert f"{became * updates} responses per rollout (not {update * updates})" in note


def test_a_rollout_of_a_given_size_keeps_it():
    found, _ = batch_for({**keys(8, 2, None), "generation_batch_size": 512, "num_generations": 8}, 4, 2)
    assert found == {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 4}


def test_flags_are_for_the_processes_that_there_are():
    """They say what each process does; the recipe's batch is not kept then, and the line says what it is."""
    found = parse([EIGHT, "--use_cpu", "true", "--gradient_accumulation_steps", "8"])
    assert found.training.gradient_accumulation_steps == 8
    assert found.asked["processes"] == 1  # what config.yaml keeps: its numbers are for one process now
    assert "The batch is 128 responses per rollout and 64 per update on 1 process" in found.batch_note
    assert parse([RECIPE, "--use_cpu", "true"]).batch_note == ""


def test_config_yaml_keeps_what_was_stated():
    """Resumed on yet another number of processes, the batch is the same."""
    found = parse([EIGHT, "--use_cpu", "true"])
    assert found.training.generation_batch_size == 1024
    assert (found.asked["processes"], found.asked["gradient_accumulation_steps"]) == (8, 4)


WORKER = """
import sys
from hysteretic.config.settings import parse
found = parse(sys.argv[1:])
training, note = found.training, found.batch_note
update = training.world_size * training.per_device_train_batch_size * training.gradient_accumulation_steps
print(f"{training.world_size} {training.generation_batch_size} {update}\\n", end="")
print(f"{note}\\n", end="")
"""


def test_two_processes_train_on_the_batch_of_the_recipe(tmp_path):
    """As `accelerate launch --num_processes 2` starts them; without `processes` it was twice the batch."""
    (tmp_path / "worker.py").write_text(WORKER)
    printed = run_worker(tmp_path / "worker.py", RECIPE, "--use_cpu", "true")
    assert printed.count("2 1024 256") == 2
    assert printed.count("The batch stays 1024 responses per rollout and 256 per update on 2 processes") == 2


@pytest.mark.parametrize("value", ["0", "-2", "abc", "2.5", "true", "[2]"])
@pytest.mark.parametrize("key", ["processes", "per_device_train_batch_size", "generation_batch_size"])
def test_a_count_that_is_none_is_named(key, value, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        yaml.safe_dump({"processes": 4}) + f"{key}: {value}\n" if key != "processes" else f"{key}: {value}\n"
    )
    with pytest.raises(UsageError, match=f"{key} is .*set it to a whole number of 1 or more"):
        parse([str(path), "--use_cpu", "true"])
