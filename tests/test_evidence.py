"""The scripts behind the published evidence: the map and the larger model."""

import importlib.util
import json
import random
import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from hysteretic.compare.spec import read
from hysteretic.tasks.countdown import Countdown
from hysteretic.tasks.countdown_problems import split_of
from hysteretic.tasks.task import Problem

EVIDENCE = Path(__file__).parents[1] / "benchmarks" / "evidence"


def script(name):
    spec = importlib.util.spec_from_file_location(f"evidence_{name}", EVIDENCE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


remedies = script("map")
larger = script("larger_model")


@pytest.mark.parametrize("start", remedies.STARTS)
@pytest.mark.parametrize("updates", remedies.UPDATES)
def test_all_cells_of_the_map_have_the_same_rollouts(start, updates):
    asked = remedies.comparison(start, updates)
    comparison = read(asked, "map")
    assert len(comparison.arms) == len(remedies.ARMS) * len(remedies.RATES)
    assert comparison.baseline in {arm.name for arm in comparison.arms}
    assert asked["per_device_train_batch_size"] * asked["steps_per_generation"] == 256
    assert asked["steps_per_generation"] == updates * asked["gradient_accumulation_steps"]
    assert asked["max_steps"] == 25 * updates


def test_a_gain_is_against_the_default_at_the_same_rate():
    """The arm is 20 % above it at one rate, in every seed, and level at the others."""
    rates = [str(rate) for rate in remedies.RATES]
    level = {rate: {str(seed): 0.1 * (i + 1) + 0.001 * seed for seed in range(5)} for i, rate in enumerate(rates)}
    noisy = {rate: {seed: v + 0.01 * (-1) ** int(seed) for seed, v in row.items()} for rate, row in level.items()}
    better = noisy | {rates[1]: {seed: 1.2 * value for seed, value in level[rates[1]].items()}}
    cells = {"trl-default": level, "grpo": noisy, "a-hpo": better, "adaptive-grpo": noisy}
    rows = remedies.gains({"start": "sparse", "updates": 4, "cells": cells})
    told = [(row["arm"], row["rate"]) for row in rows if row["told"]]
    assert told == [("a-hpo", remedies.RATES[1])]
    found = next(row for row in rows if row["told"])
    assert found["gain"] == pytest.approx(0.2)
    assert "vconcat" in (drawn := remedies.heat_map(rows).to_dict()) or "facet" in drawn


def test_the_larger_models_careful_writer_is_right_and_long_and_the_other_seldom_right():
    task = Countdown(size=4, largest=9, largest_target=99, prompt="terse")
    rng = random.Random(0)
    right = {True: [], False: []}
    lengths = {True: [], False: []}
    tokenizer = larger.build_tokenizer()
    for careful in (1.0, 0.0):
        for _ in range(100):
            shown = larger.LongHabits().demonstrate(rng, careful)
            given, target = shown.prompt.removesuffix(":").split("=")
            numbers = sorted(map(int, given.split(",")))
            assert split_of(numbers, int(target)) == "train"
            problem = Problem("0", shown.prompt, {"numbers": numbers, "target": int(target)})
            right[shown.is_careful].append(task.score(problem, shown.response).is_correct)
            lengths[shown.is_careful].append(len(tokenizer(shown.response)["input_ids"]) + 1)
    assert all(right[True])
    assert sum(right[False]) < 5
    assert max(lengths[True]) <= larger.LONGEST
    assert 60 < min(lengths[True]) < max(lengths[False])


def test_the_larger_model_is_made(tmp_path):
    larger.main(["--output", str(tmp_path), "--steps", "1", "--careless-steps", "1"])
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert 1e6 <= sum(each.numel() for each in model.parameters()) < 3e6
    assert AutoTokenizer.from_pretrained(tmp_path).eos_token_id == model.config.eos_token_id


def test_lengths_are_those_of_the_last_quarter(tmp_path, capsys):
    for seed in range(3):
        run = tmp_path / "c" / "runs" / "grpo" / f"seed-{seed}"
        run.mkdir(parents=True)
        lines = [{"reward": 0.1 * seed, "completions/mean_length": 10 * i + seed} for i in range(8)]
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"eval": 1}]))
    script("lengths").main([str(tmp_path / "c"), "--save", str(tmp_path / "lengths.csv")])
    assert "correlation 1.00 over 3 seeds" in capsys.readouterr().out
    assert (tmp_path / "lengths.csv").read_text().splitlines()[2] == "grpo,1,0.100000,66.00"
