"""TeleLogs: a log of a 5G drive test, and which of eight root causes made the throughput fall.

scenario.py   a drive and the cells around it, as an object
rules.py      the published rules that name the cause, with the evidence
drive.py      original drives with a known cause (faults.py: the eight faults; radio.py: the physics)
text.py       a scenario as a question in the data set's format
"""

from __future__ import annotations

from .drive import Difficulty, draw
from .rules import Finding, findings, root_cause
from .scenario import CAUSES, Cell, Neighbour, Row, Scenario, ScenarioError
from .text import render

__all__ = [
    "CAUSES",
    "Cell",
    "Difficulty",
    "Finding",
    "Neighbour",
    "Row",
    "Scenario",
    "ScenarioError",
    "draw",
    "findings",
    "render",
    "root_cause",
]
