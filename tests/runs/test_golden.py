"""Does a run give the numbers it gave before? Its metrics, with those of a run that was made once and kept.

golden/NAME.jsonl are the metrics of the flags below on the embedded model. A change that moves them changes what users
measure: say so in the changelog and make the files again, or find out why.
"""

import json
import math
from pathlib import Path

import pytest
from thorough import one_quick

from hysteretic.cli import main

GOLDEN = Path(__file__).parent / "golden"
TIMED = {"step_time", "train_runtime", "train_samples_per_second", "train_steps_per_second"}


def flags(algorithm, output):
    return [
        *["train", "--task", "countdown-3", "--algorithm", algorithm, "--model", "tiny", "--output", str(output)],
        *["--max_steps", "6", "--train_problems", "100", "--per_device_train_batch_size", "32"],
        *["--steps_per_generation", "2", "--eval_problems", "20", "--eval_samples", "2", "--save_steps", "2"],
    ]


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("algorithm", one_quick(["a-hpo", "grpo"]))
def test_a_fixed_seed_gives_the_metrics_that_it_always_gave(algorithm, tmp_path):
    """Whatever moves in the code, a user's run must not: same names, same updates, same numbers but for float noise."""
    assert main(flags(algorithm, tmp_path / "run")) == 0
    before, now = lines(GOLDEN / f"{algorithm}.jsonl"), lines(tmp_path / "run" / "metrics.jsonl")
    assert len(now) == len(before)
    for old, new in zip(before, now, strict=True):
        assert old.keys() == new.keys()
        for name in old.keys() - TIMED:
            same = math.isclose(old[name], new[name], rel_tol=2e-4, abs_tol=1e-6)
            assert same or (math.isnan(old[name]) and math.isnan(new[name])), (name, old[name], new[name])
