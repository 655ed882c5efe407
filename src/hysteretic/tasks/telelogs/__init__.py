"""TeleLogs: a log of a 5G drive test, and which of eight root causes made the throughput fall.

scenario.py   a drive and the cells around it, as an object
rules.py      the published rules that name the cause, with the evidence
drive.py      original drives with a known cause (faults.py: the eight faults; radio.py: the physics)
text.py       a scenario as a question in the data set's format
parse.py      a question in that format as a scenario (layout.py: where its options and tables are)
solver.py     the label that answers a question, by the rules
answers.py    the label that a response gives
randomise.py  labels shuffled and tables swapped, as in the paper's second test set
official.py   the published questions as a task, from the user's own copy
"""

from __future__ import annotations

from .drive import Difficulty, draw
from .official import TeleLogs
from .parse import Question, parse_question
from .randomise import randomise_question
from .rules import Finding, findings, root_cause
from .scenario import CAUSES, Cell, Neighbour, Row, Scenario, ScenarioError
from .solver import solve
from .text import render

__all__ = [
    "CAUSES",
    "Cell",
    "Difficulty",
    "Finding",
    "Neighbour",
    "Question",
    "Row",
    "Scenario",
    "ScenarioError",
    "TeleLogs",
    "draw",
    "findings",
    "parse_question",
    "randomise_question",
    "render",
    "root_cause",
    "solve",
]
