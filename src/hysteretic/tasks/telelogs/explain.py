"""Why is this the cause? Every rule with its finding, in the order of the rules, in words that a person can check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .rules import Finding, findings
from .scenario import CAUSES, Scenario


def explanation(scenario: Scenario, cause: str, labels: Mapping[str, str] | None = None) -> str:
    """The answer in the first line, then a line for each rule.

    cause: the right answer, "C1" to "C8". labels: the label that the question gives to each cause; None: itself.
    """
    labels = {name: name for name in CAUSES} if labels is None else labels
    found = list(findings(scenario))
    first = next(finding for finding in found if finding.holds)
    lines = [f"{_name(cause, labels)}: {CAUSES[cause]}", _bad_rows(scenario)]
    if first.cause != cause:
        lines.append(f"The rules name another cause, {_name(first.cause, labels)}")
    return "\n".join([*lines, *_rules(found, first, labels)])


def _rules(found: list[Finding], first: Finding, labels: Mapping[str, str]) -> Iterator[str]:
    for finding in found:
        name = _name(finding.cause, labels)
        if finding is first:
            yield f"✓ {name} holds: {finding.evidence}{_rows(finding.rows)}"
        elif finding.cause == "C3":
            yield f"· {name} is what remains when no other holds: not so here"
        elif finding.holds:
            yield f"✓ {name} holds too, after the one that decides: {finding.evidence}{_rows(finding.rows)}"
        else:
            yield f"· {name} does not hold: {finding.evidence}"


def _bad_rows(scenario: Scenario) -> str:
    bad = [scenario.rows[i].throughput for i in scenario.bad_rows]
    if not bad:
        return "No row has a throughput below 600 Mbit/s"
    return f"The throughput is {min(bad):.0f} to {max(bad):.0f} Mbit/s{_rows(scenario.bad_rows)}"


def _name(cause: str, labels: Mapping[str, str]) -> str:
    """The label in the question; and the rules' name, where it is another."""
    label = labels[cause]
    return label if label == cause else f"{label} ({cause} of the rules)"


def _rows(rows: tuple[int, ...]) -> str:
    """(row 3), (rows 3 to 6), (rows 3, 5, 6): counted from 1."""
    if not rows:
        return ""
    if len(rows) == 1:
        return f" (row {rows[0] + 1})"
    if len(rows) > 2 and rows[-1] - rows[0] == len(rows) - 1:
        return f" (rows {rows[0] + 1} to {rows[-1] + 1})"
    return f" (rows {', '.join(str(row + 1) for row in rows)})"
