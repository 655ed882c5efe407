"""run.json describes any objective as data, whatever its parts are made of."""

import json
from dataclasses import dataclass, field

import hysteretic as hy
from hysteretic.runs.record import objective_data, objective_text


@dataclass
class Mutable:
    bound: float = float("inf")
    inner: list = field(default_factory=lambda: [0.5, hy.grpo().gate])


class Plain:
    def __init__(self):
        self.temperature, self.function, self._cache = 2, len, object()


def test_a_preset_is_described_part_by_part():
    data = objective_data(hy.a_hpo())
    assert data["gate"] == {"kind": "ClipGate", "low": 0.2, "high": 0.2}
    assert data["ratio"] == {"kind": "TokenRatio"}
    assert data["scale"] == {"kind": "StdScale", "epsilon": 1e-4}
    assert objective_text(data).startswith("ratio=TokenRatio, gate=ClipGate(low=0.2, high=0.2), weight=")


def test_parts_of_a_users_own_are_described_too():
    """A dataclass that is not frozen, an ordinary object, nested parts, numbers that JSON has not."""
    data = objective_data(hy.a_hpo().replace(ratio=Mutable(), gate=Plain()))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data["ratio"]["bound"] == "inf"
    assert data["ratio"]["inner"][1]["kind"] == "ClipGate"
    assert data["gate"] == {"kind": "Plain", "temperature": 2, "function": "builtins.len"}


def test_a_record_with_a_text_is_shown_as_it_is():
    """As runs had it before."""
    assert objective_text("Objective(...)") == "Objective(...)"
