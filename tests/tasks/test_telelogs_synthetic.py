"""telelogs-synthetic and telelogs-compact as tasks: what is asked, what is right, and that both can be known."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from statistics import fmean

import pytest

import hysteretic.tasks
from hysteretic.tasks.task import Problem
from hysteretic.tasks.telelogs import CAUSES
from hysteretic.tasks.telelogs.answers import label_of

NAMES = ("telelogs-synthetic", "telelogs-compact")


def test_the_eight_causes_are_equally_frequent_whatever_the_split_or_seed():
    """Chance is 12.5 %; a model that always says C3 earns no more."""
    for name in NAMES:
        for split, seed in (("train", 0), ("test", 3)):
            problems = hysteretic.tasks.load(name).problems(split, seed=seed, count=80)
            assert Counter(problem.answer["label"] for problem in problems) == dict.fromkeys(CAUSES, 10)


def test_problems_are_distinct_repeatable_and_a_prefix_of_more():
    """Runs of one seed are paired by their problems; held-out problems are none of them."""
    task = hysteretic.tasks.load("telelogs-compact")
    train, test = task.problems("train", count=200), task.problems("test", count=100)
    assert task.problems("train", count=50) == train[:50]
    assert len({problem.prompt for problem in (*train, *test)}) == 300
    assert len({problem.id for problem in (*train, *test, *task.problems("train", seed=1, count=50))}) == 350


def test_the_drives_of_compact_prompts_are_those_of_the_published_results():
    """results/telelogs and the embedded model were made with them: other prompts for a seed would not repeat them."""
    prompts = [problem.prompt for problem in hysteretic.tasks.load("telelogs-compact").problems("train", count=64)]
    assert hashlib.sha256("".join(prompts).encode()).hexdigest()[:16] == "42711810515f05bc"


@pytest.mark.parametrize("name", NAMES)
def test_only_the_boxed_label_of_the_cause_is_rewarded(name):
    """The verifier is that of the data set."""
    task = hysteretic.tasks.load(name)
    problem = task.problems("test", count=1)[0]
    right = problem.answer["label"]
    wrong = next(label for label in CAUSES if label != right)
    found = [task.score(problem, text) for text in (f"\\boxed{{{wrong}}} no: \\boxed{{{right}}}", right, "", "\0")]
    assert [(score.reward, score.has_format) for score in found] == [
        (1.0, True),
        (0.0, False),
        (0.0, False),
        (0, False),
    ]
    assert task.score(problem, f"\\boxed{{{wrong}}}").has_format


def test_a_randomised_question_is_about_the_same_drive_under_other_labels():
    """The second test set: who knows labels by heart loses, who reads does not."""
    plain = hysteretic.tasks.load("telelogs-synthetic", prompt="plain").problems("test", count=40)
    task = hysteretic.tasks.load("telelogs-synthetic", prompt="plain", is_randomised=True)
    shuffled = task.problems("test", count=40)
    changed, swapped = 0, 0
    for one, other in zip(plain, shuffled, strict=True):
        assert one.answer["causes"][one.answer["label"]] == other.answer["causes"][other.answer["label"]]
        assert sorted(one.prompt.splitlines()) != sorted(other.prompt.splitlines())
        assert sorted(set(one.prompt) - set(other.prompt)) == []
        changed += one.answer["label"] != other.answer["label"]
        swapped += other.prompt.index("gNodeB ID|") < other.prompt.index("Timestamp|")
        option = f"{other.answer['label']}: {CAUSES[other.answer['causes'][other.answer['label']]]}"
        assert option in other.prompt.splitlines()
    assert changed > 25
    assert 8 < swapped < 32


def test_a_worked_solution_is_right_and_says_why():
    """`hysteretic warmup` imitates it."""
    task = hysteretic.tasks.load("telelogs-synthetic", is_randomised=True)
    for problem in task.problems("train", count=16):
        response = task.demonstration(problem)
        assert task.score(problem, response).reward == 1.0
        assert "this is the cause" in response


def test_a_compact_solution_is_a_report_in_the_models_own_words():
    """Prose of hundreds of tokens on a prompt of a hundred would be beyond what the tiny model reads."""
    task = hysteretic.tasks.load("telelogs-compact")
    for problem in task.problems("train", count=16):
        response = task.demonstration(problem)
        assert response.startswith("<think> speed ")
        assert len(response) < 120
        assert task.score(problem, response).reward == 1.0


def test_a_compact_prompt_is_explained_with_how_to_read_it():
    """Columns of two-digit numbers say nothing to a person without their names."""
    task = hysteretic.tasks.load("telelogs-compact")
    problem = task.problems("test", count=1)[0]
    assert "its distance in 20 m" in task.explanation(problem)
    assert "its distance in 20 m" not in hysteretic.tasks.load("telelogs-synthetic").explanation(problem)


def cause_of_digits(prompt: str) -> str:
    """The rules applied to nothing but the digits of a compact prompt, written from its description."""
    rows = [line.split() for line in prompt.splitlines() if line]
    bad = [row for row in rows if int(row[0]) < 60]
    if max(int(row[1]) for row in bad) > 40:
        return "C7"
    if fmean(int(row[7]) for row in bad) < 80:
        return "C8"
    if max(int(row[4]) for row in bad) >= 50:
        return "C2"
    served = [row[2] for row in bad]
    if sum(one != other for one, other in itertools.pairwise(served)) >= 3:
        return "C5"
    if all(row[3] in (row[9], row[12]) for row in bad):
        return "C6"
    if any(int(row[6]) > int(row[5]) for row in bad if row[2] == rows[0][2]):
        return "C1"
    near = [row for row in bad if row[8][0] not in (row[2][0], "-") and int(row[10]) <= 3]
    return "C4" if len(near) >= 0.75 * len(bad) else "C3"


def test_the_digits_of_a_compact_prompt_are_enough_to_know_the_cause():
    """Rounding to two digits must not hide what decides. 99 % of 800."""
    problems = hysteretic.tasks.load("telelogs-compact").problems("validation", count=800)
    right = sum(cause_of_digits(problem.prompt) == problem.answer["label"] for problem in problems)
    assert right >= 0.99 * len(problems)


def test_a_compact_prompt_is_about_a_hundred_tokens():
    """One token a number, a cell and a line end: what a tiny model reads quickly."""
    pytest.importorskip("transformers", reason="not in the environment of the core alone")
    from hysteretic.models.telelogs_demonstrations import TOKENS
    from hysteretic.models.tokenizer import build_tokenizer

    tokenizer = build_tokenizer(TOKENS)
    lengths = [
        len(tokenizer(problem.prompt)["input_ids"])
        for problem in hysteretic.tasks.load("telelogs-compact").problems("train", count=64)
    ]
    assert min(lengths) >= 80
    assert max(lengths) <= 120


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": "long"}, ["'long'", "chat"]),
        ({"prompt": "compact", "is_randomised": True}, ["no options"]),
        ({"fewest_cells": "a"}, ["fewest_cells is 'a'", "an integer"]),
        ({"false_leads": None}, ["false_leads is None", "a number"]),
        ({"is_randomised": "no"}, ["is_randomised is 'no'", "true or false"]),
        ({"false_leads": 1.5}, ["1.5", "0 to 1"]),
        ({"fewest_cells": 2}, ["(2, 13)", "4 and 16"]),
        ({"most_cells": 4}, ["(5, 4)"]),
    ],
)
def test_invalid_settings_are_rejected(options, words):
    """What was found and what to set instead."""
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the words are the match
        hysteretic.tasks.load("telelogs-synthetic", **options)
    assert all(word in str(error.value) for word in words)


def test_a_wrong_split_or_count_is_rejected():
    """The splits there are; no negative count."""
    task = hysteretic.tasks.load("telelogs-compact")
    with pytest.raises(ValueError, match="train, validation, test"):
        task.problems("tests")
    with pytest.raises(ValueError, match="-1"):
        task.problems(count=-1)


def test_problems_of_another_task_are_not_scored():
    """A KeyError in the middle of a run would say less."""
    foreign = hysteretic.tasks.load("countdown-3").problems(count=1)[0]
    with pytest.raises(TypeError, match="made by this task"):
        hysteretic.tasks.load("telelogs-compact").score(foreign, "\\boxed{C1}")


@pytest.mark.parametrize("answer", [{"label": "C9", "causes": {"C1": "C1"}}, {"label": "C1", "causes": ["C1"]}])
def test_a_label_that_is_no_option_is_an_error_not_a_reward_of_zero(answer):
    """No response could be right."""
    with pytest.raises(ValueError, match="not among its causes"):
        hysteretic.tasks.load("telelogs-compact").score(Problem("p", "", answer), "nothing")


def test_more_false_leads_are_a_setting():
    """Without any, no drive comes near a limit it does not cross: 37 to 39 km/h is one of them."""

    def nearly_fast(chance: float) -> int:
        task = hysteretic.tasks.load("telelogs-compact", false_leads=chance)
        scenarios = [task.scenario(problem) for problem in task.problems("train", count=80)]
        return sum(any(36 < scenario.rows[i].speed < 40 for i in scenario.bad_rows) for scenario in scenarios)

    assert nearly_fast(0.0) == 0
    assert nearly_fast(1.0) > 60


def test_the_label_is_found_in_a_long_answer():
    """What a reasoning model ends with."""
    assert label_of("Thinking. " * 1000 + "So \\boxed{C5}.", CAUSES) == "C5"
