"""What the trainer adds to the traffic between ranks, besides TRL's own and the gradients."""

import json

from ranks import run_worker


def test_a_row_is_gathered_once_and_counts_travel_as_sums():
    """docs/architecture.md lists these calls and says why each is needed.

    Gathering the batch entry by entry takes 11 to 13 calls per update instead of one.
    """
    calls = json.loads(run_worker("collectives_worker.py").splitlines()[-1])
    per_update = calls["1 2"] - calls["1 1"]
    per_rollout = calls["2 1"] - calls["1 1"] - per_update
    once = calls["1 1"] - per_rollout - per_update
    assert per_update == 2  # the rows of the step; whether loss and gradient are finite on every rank
    assert per_rollout == 3  # counts for the weight; gradient masses; widths of the padded rows
    assert once == 1  # which parts are on
