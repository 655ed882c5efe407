"""TeleLogs: which of eight root causes made the throughput drop, from the log of a 5G drive test.

scenario.py    a drive and the cells around it, as an object
rules.py       the published rules that find the cause, with their evidence, and their findings in words
drive.py       generated drives with a known cause
               difficulty.py: how hard; faults.py: the eight faults; logged.py: what the phone logs; radio.py: physics
text.py        a scenario as a question in the format of the data set
parse.py       a question in that format as a scenario (layout.py: where its options and tables are)
compact.py     a scenario in about a hundred tokens, for a tiny model
questions.py   which kind of question a row holds, and its options
answers.py     the label that a response gives, by either grading
charts.py      the rules' findings as charts, with charts_map.py
randomise.py   labels shuffled and tables swapped, as in the paper's second test set
diagnosis.py   what the tasks share; synthetic.py: generated questions; official.py: the published ones, from your copy

References:
    TeleLogs: https://huggingface.co/datasets/netop/TeleLogs
"""

from __future__ import annotations

from .difficulty import Difficulty
from .drive import draw
from .official import TeleLogs
from .parse import Question, parse_question, solve
from .randomise import randomise_question
from .rules import Finding, findings, root_cause
from .scenario import CAUSES, Cell, Neighbour, Row, Scenario, ScenarioError
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
