"""Majority votes, confusions and agreement, by hand and against simulation."""

import random
from itertools import permutations
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hysteretic.evals.metrics import (
    MOST_CLASSES,
    Answered,
    answered,
    confusion,
    consistency,
    majority,
    metrics_by_decoding,
)
from hysteretic.tasks.task import Problem, Score


class Letters:
    """Answers are single letters; the problem's answer is its class."""

    name = "letters"

    def score(self, problem, response):
        return Score(float(response == problem.answer), response == problem.answer, response.isalpha())

    def answer_of(self, problem, response):
        return response if response.isalpha() else None

    def class_of(self, problem):
        return problem.answer


class Unclassed(Letters):
    class_of = None


TASK = Letters()


def rows(*responses_of, expected="a", task=TASK):
    """A problem for each string of responses, a letter a response."""
    problems = [Problem(f"p{i}", "", expected) for i in range(len(responses_of))]
    scores = [
        [task.score(problem, text) for text in texts] for problem, texts in zip(problems, responses_of, strict=True)
    ]
    return answered(task, problems, [list(texts) for texts in responses_of], scores)


@pytest.mark.parametrize(
    ("responses", "value"),
    [
        ("aaab", 1.0),
        ("abbb", 0.0),
        ("aabb", 0.5),
        ("abcd", 0.25),
        ("bbcc", 0.0),
        ("a???", 1.0),  # responses without an answer do not vote
        ("ab??", 0.5),
        ("????", 0.0),
        ("a", 1.0),
        ("", 0.0),
    ],
)
def test_the_majority_by_hand(responses, value):
    answers = [None if letter == "?" else letter for letter in responses]
    assert majority(answers, [letter == "a" for letter in responses]) == value


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=5))
def test_the_majority_is_the_mean_over_fair_draws_and_knows_no_order(answers):
    """Written again: vote, draw one of the winners, look whether it is right."""
    votes = [answer for answer in answers if answer is not None]
    winners = [v for v in sorted(set(votes)) if all(votes.count(v) >= votes.count(w) for w in votes)]
    expected = fmean(winner == "a" for winner in winners) if winners else 0.0
    for order in permutations(answers):
        assert majority(order, [answer == "a" for answer in order]) == pytest.approx(expected)


def test_figures_count_every_response_once():
    found = metrics_by_decoding(TASK, {"greedy": rows("a", "b", "?", "a"), "sampled": rows("aab", "bb?", "???", "abc")})
    assert found["greedy"]["pass@1"]["value"] == 0.5
    assert not {key for key in found["greedy"] if "@" in key} - {"pass@1"}  # of one response they are pass@1
    sampled = found["sampled"]
    assert sampled["pass@1"]["value"] == pytest.approx((2 + 0 + 0 + 1) / 12)
    assert sampled["pass@3"]["value"] == 0.5
    assert sampled["maj@3"]["value"] == pytest.approx((1 + 0 + 0 + 1 / 3) / 4)
    assert sampled["format"]["value"] == pytest.approx(8 / 12)
    assert sampled["correct_by_problem"] == [2, 0, 0, 1]
    assert sampled["responses"] == 12


def test_unequal_numbers_of_responses_are_not_called_k():
    found = metrics_by_decoding(TASK, {"given": rows("aab", "a")})["given"]
    assert found["maj@all"]["value"] == 1.0
    assert "maj@1" not in found
    assert "maj@3" not in found


def test_a_task_that_names_no_answers_has_neither_majority_nor_confusion():
    class Plain:
        name = "plain"

        def score(self, problem, response):
            return Score(1.0, True, True)

    [row] = answered(Plain(), [Problem("p", "", "")], [["x", "y"]], [[Score(1.0, True, True)] * 2])
    assert row.answers == []
    found = metrics_by_decoding(Plain(), {"sampled": [row]})["sampled"]
    assert "pass@2" in found
    assert not {"maj@2", "confusion"} & found.keys()
    assert confusion(Unclassed(), rows("ab")) is None
    assert consistency([row], [row]) is None


def test_a_confusion_has_a_row_for_each_class_and_a_place_for_every_response():
    table = confusion(TASK, [*rows("aab?", "c", expected="a"), *rows("??b", expected="b")])
    assert table["classes"] == ["a", "b", "c"]
    assert table["counts"] == [[2, 1, 1], [0, 1, 0], [0, 0, 0]]
    assert table["none"] == [1, 2, 0]
    assert table["other"] == [0, 0, 0]


def test_answers_of_too_many_kinds_are_other():
    """An answer may be any text; a table of a thousand columns tells nothing."""
    texts = [chr(0x4E00 + i) for i in range(MOST_CLASSES + 1)]
    table = confusion(TASK, rows([*texts, "a", "?"]))
    assert table == {"classes": ["a"], "counts": [[1]], "other": [MOST_CLASSES + 1], "none": [1]}


def test_problems_without_a_class_are_left_out_of_the_confusion():
    assert confusion(TASK, rows("ab", expected=None)) is None


def test_agreement_is_by_answer_right_or_wrong_and_none_agrees_with_nothing():
    found = consistency(rows("a", "b", "?", "c"), rows("a", "b", "?", "d"))
    assert found["value"] == 0.5
    assert found["problems"] == 4
    assert found["low"] < 0.5 < found["high"]
    assert consistency(rows("ab"), rows("aa"))["value"] == 0.5
    assert consistency(rows("a?"), rows("ab"))["value"] == 0.25


def test_agreement_pairs_problems_by_their_place():
    """A file may answer some problems in one variant and others in the other."""
    first, second, third = rows("a", "b", "c")
    assert consistency([first, second], [second, third])["problems"] == 1
    assert consistency([first], [third]) is None


def test_agreement_of_independent_guesses_is_chance():
    rng = random.Random(0)
    guesses = [["".join(rng.choices("abcdefgh", k=4)) for _ in range(400)] for _ in range(2)]
    found = consistency(rows(*guesses[0]), rows(*guesses[1]))
    assert found["low"] < 1 / 8 < found["high"]
    assert found["high"] - found["low"] < 0.05


def test_problems_without_a_response_are_left_out():
    assert [row.index for row in rows("a", "", "b")] == [0, 2]
    assert isinstance(rows("a")[0], Answered)
