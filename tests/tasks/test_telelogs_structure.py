"""Does an accident of the format give the answer away? Trees on what a question looks like, blind to what it says.

HYSTERETIC_STRUCTURE=9000 pytest tests/tasks/test_telelogs_structure.py     with more questions to train on
"""

import os
from functools import cache

import numpy as np
import pytest
from oracle.telelogs_structure import structure
from telelogs_questions import question
from thorough import thorough

from hysteretic.tasks.telelogs import CAUSES

CHANCE = 1 / len(CAUSES)
LABELS = list(CAUSES)
TRAIN, TEST = int(os.environ.get("HYSTERETIC_STRUCTURE", "3000")), 1500


@cache
def text_and_features(n):
    text = question(f"structure {n}", LABELS[n % 8])
    return text, list(structure(text).values())


def accuracy(features, train, rounds=60):
    """Accuracy on the remaining causes of gradient-boosted trees trained on the first `train` features."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    causes = np.array([LABELS[n % 8] for n in range(len(features))])
    trees = ensemble.HistGradientBoostingClassifier(max_iter=rounds, max_leaf_nodes=15, random_state=0)
    trees.fit(np.array(features[:train]), causes[:train])
    return float((trees.predict(np.array(features[train:])) == causes[train:]).mean())


@thorough
def test_the_form_of_a_question_does_not_tell_its_cause():
    """Below 20 % of 1,500 held-out questions; chance is 12.5 %. A model must read values to do better."""
    found = accuracy([text_and_features(n)[1] for n in range(TRAIN + TEST)], TRAIN)
    assert found < 0.2, found


@pytest.mark.parametrize("accident", ["decimals", "missing", "order", "duplicate"])
def test_a_planted_accident_is_found(accident):
    """The test above must be able to fail: one small habit that half of the causes share shows at once."""
    found = []
    for n in range(1200):
        text, features = text_and_features(n)
        found.append(list(structure(planted(text, accident)).values()) if n % 8 in (0, 3, 5, 6) else features)
    assert accuracy(found, 800, rounds=15) > CHANCE * 1.6


def planted(text, accident):
    lines = text.split("\n")
    cells = next(i for i, line in enumerate(lines) if line.startswith("gNodeB")) + 1
    end = next(i for i in range(cells, len(lines)) if "|" not in lines[i])
    if accident == "decimals":  # 34.9 written as 34.900
        lines[cells:end] = [line.replace("|NR AAU", "00|NR AAU") for line in lines[cells:end]]
    elif accident == "missing":  # no neighbours in the first row of the log
        row = next(i for i, line in enumerate(lines) if line.startswith("2025-"))
        log = lines[row].split("|")
        log[8:18] = ["-"] * 10
        lines[row] = "|".join(log)
    elif accident == "order":
        lines[cells:end] = sorted(lines[cells:end])
    else:
        lines.insert(cells, lines[cells])
    return "\n".join(lines)


def test_the_features_do_not_see_values():
    """Otherwise the accuracy would measure the task and not its format: other digits, same features."""
    text = question("values", "C3")
    digits = str.maketrans("123456789", "234567891")
    one, two = structure(text), structure(text.translate(digits))
    assert {name for name in one if one[name] != two[name]} <= {"sites in order", "PCIs in order"}
