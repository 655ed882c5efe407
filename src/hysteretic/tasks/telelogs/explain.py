"""The rules' findings in words: an explanation for people, and reasoning for a model to imitate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .rules import Finding, findings
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
"""What each rule checks."""


def explanation(scenario: Scenario, cause: str, labels: Mapping[str, str]) -> str:
    """The answer in the first line, then one line per rule.

    cause: the right answer, "C1" to "C8". labels: the label that the question gives to each cause.
    """
    found = list(findings(scenario))
    first = next(finding for finding in found if finding.holds)
    is_known = cause in CAUSES  # it may be unknown, or an option that is none of the eight
    right = f"{_name(cause, labels)}: {CAUSES[cause]}" if is_known else f"{labels.get(cause, 'unknown')}: {cause}"
    lines = [right, _bad_rows(scenario)]
    if cause and first.cause != cause:
        lines.append(f"The rules find another cause, {_name(first.cause, labels)}")
    return "\n".join([*lines, *_rules(found, first, labels)])


def trace(scenario: Scenario, labels: Mapping[str, str]) -> str:
    """Reasoning that lists the bad rows, checks one rule after another until one holds, and boxes its label."""
    times = [scenario.rows[i].time.split(" ")[-1].split(".")[0] for i in scenario.bad_rows]
    lines = [f"The throughput is below {THRESHOLD:g} Mbps at {', '.join(times)}. Only these rows matter."]
    for finding in findings(scenario):
        verdict = "this is the cause" if finding.holds else "not the cause"
        lines.append(f"{CHECKS[finding.cause]}: {finding.evidence}; {verdict}.")
        if finding.holds:
            return "\n".join([*lines, f"{CAUSES[finding.cause]} \\boxed{{{labels[finding.cause]}}}"])
    raise AssertionError("the last rule always holds")


def _rules(found: list[Finding], first: Finding, labels: Mapping[str, str]) -> Iterator[str]:
    for finding in found:
        name = _name(finding.cause, labels)
        if finding is first:
            yield f"✓ {name} holds: {finding.evidence}{_rows(finding.rows)}"
        elif finding.cause == "C3":
            yield f"· {name} applies only if no other rule holds"
        elif finding.holds:
            yield f"✓ {name} holds too, but comes after the deciding rule: {finding.evidence}{_rows(finding.rows)}"
        else:
            yield f"· {name} does not hold: {finding.evidence}"


def _bad_rows(scenario: Scenario) -> str:
    bad = [scenario.rows[i].throughput for i in scenario.bad_rows]
    if not bad:
        return "No row has a throughput below 600 Mbit/s"
    return f"Throughput drops to {min(bad):.0f} to {max(bad):.0f} Mbit/s{_rows(scenario.bad_rows)}"


def _name(cause: str, labels: Mapping[str, str]) -> str:
    """The label in the question, followed by the rules' name if that differs."""
    label = labels[cause]
    return label if label == cause else f"{label} ({cause} in the rules)"


def _rows(rows: tuple[int, ...]) -> str:
    """(row 3), (rows 3 to 6), (rows 3, 5, 6): counted from 1."""
    if not rows:
        return ""
    if len(rows) == 1:
        return f" (row {rows[0] + 1})"
    if len(rows) > 2 and rows[-1] - rows[0] == len(rows) - 1:
        return f" (rows {rows[0] + 1} to {rows[-1] + 1})"
    return f" (rows {', '.join(str(row + 1) for row in rows)})"
