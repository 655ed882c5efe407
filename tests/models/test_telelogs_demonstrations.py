"""The demonstrations of the tiny model of TeleLogs: careful ones are right and say why, careless ones guess."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from hysteretic.models.telelogs_demonstrations import ORDER, TOKENS, WORDS, ReportHabits, drive
from hysteretic.models.tokenizer import build_tokenizer
from hysteretic.tasks.telelogs import CAUSES
from hysteretic.tasks.telelogs.answers import label_of

COUNT = 600
HABITS = ReportHabits(drives=400)


def shown(careful_fraction: float):
    rng = random.Random(0)
    return [HABITS.demonstrate(rng, careful_fraction) for _ in range(COUNT)]


def answers():
    """Prompt and cause of every drive that is reported on."""
    return dict(drive(index)[:2] for index in range(HABITS.drives))


def test_a_careful_report_boxes_the_cause_and_stops_at_its_measurement():
    """The number of measurements is the position of the rule that holds; C3, the last, has none."""
    right = answers()
    for one in shown(1.0):
        cause = right[one.prompt]
        assert label_of(one.response, CAUSES) == cause
        assert sum(word in one.response for word in WORDS) == min(ORDER.index(cause) + 1, len(WORDS))


def test_a_careful_measurement_shows_what_it_claims():
    """The last measurement of a report is beyond the limit of its rule, those before it are not."""
    limits = {"speed": 41, "far": 50, "handovers": 3, "modulo": 4, "tilt": 1, "overlap": 3}
    for one in shown(1.0):
        words = one.response.split("</think>")[0].removeprefix("<think>").split()
        measured = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        beyond = [word for word, limit in limits.items() if measured.get(word, 0) >= limit]
        beyond += ["blocks"] if measured.get("blocks", 99) < 80 else []
        cause = label_of(one.response, CAUSES)
        assert beyond == ([] if cause == "C3" else [WORDS[ORDER.index(cause)]])


def test_a_careless_report_is_right_as_often_as_a_guess():
    """One label in eight, of 600: standard error 1.4 %."""
    right = answers()
    hits = [label_of(one.response, CAUSES) == right[one.prompt] for one in shown(0.0)]
    assert 0.08 < sum(hits) / COUNT < 0.17
    assert min(Counter(label_of(one.response, CAUSES) for one in shown(0.0)).values()) > 40


def test_lengths_of_reports_vary():
    """Length is what the normalisers of the algorithms differ in."""
    tokenizer = build_tokenizer(TOKENS)
    lengths = {len(tokenizer(one.response)["input_ids"]) for one in shown(0.5)}
    assert len(lengths) >= 8
    assert max(lengths) <= 24


def test_no_drive_of_the_demonstrations_is_a_problem():
    """Neither held-out nor training problems have been demonstrated."""
    import hysteretic.tasks

    task = hysteretic.tasks.load("telelogs-compact")
    asked = {problem.prompt for split in ("train", "test") for problem in task.problems(split, count=400)}
    assert not asked & set(answers())


@pytest.mark.parametrize("text", [" 42", " a1", " --", " speed", "\\boxed{"])
def test_its_own_words_are_one_token_each(text):
    """Short prompts, and numbers that are one token."""
    assert len(build_tokenizer(TOKENS)(text)["input_ids"]) == 1
