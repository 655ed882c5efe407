"""How does one reason from the tables to the cause? A written trace that applies the rules in their order."""

from __future__ import annotations

from collections.abc import Mapping

from .rules import findings
from .scenario import CAUSES, THRESHOLD, Scenario

CHECKS = {
    "C7": "Speed",
    "C8": "Scheduled resource blocks",
    "C2": "Distance to the serving cell",
    "C5": "Handovers",
    "C6": "PCI modulo 30",
    "C1": "Downtilt",
    "C4": "Overlap with other sites",
    "C3": "A better neighbour",
}
"""What each rule looks at."""


def trace(scenario: Scenario, labels: Mapping[str, str] | None = None) -> str:
    """Reasoning that names the bad rows, checks one rule after another until one holds, and boxes its label.

    labels: the label of each cause; None: itself.
    """
    labels = {cause: cause for cause in CAUSES} if labels is None else labels
    times = [scenario.rows[i].time.split(" ")[-1].split(".")[0] for i in scenario.bad_rows]
    lines = [f"The throughput is below {THRESHOLD:g} Mbps at {', '.join(times)}. Only these rows matter."]
    for finding in findings(scenario):
        verdict = "this is the cause" if finding.holds else "not the cause"
        lines.append(f"{CHECKS[finding.cause]}: {finding.evidence}; {verdict}.")
        if finding.holds:
            return "\n".join([*lines, f"{CAUSES[finding.cause]} \\boxed{{{labels[finding.cause]}}}"])
    raise AssertionError("the last rule holds always")
