"""Countdown's problems, known quantities and score."""

import subprocess
import sys
import time
from collections import Counter
from itertools import combinations_with_replacement, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.countdown_oracle import all_values, oracle_tree, oracle_verify

from hysteretic.tasks.countdown import KNOWN_TOTALS, SPLITS, Countdown, guess_rate, problem_counts, solve, verify
from hysteretic.tasks.countdown_problems import candidates, multiset_at, multiset_count, permuted, split_of
from hysteretic.tasks.countdown_solver import expression_count, hits, hits_of_each, value_counts
from hysteretic.tasks.scored import score
from hysteretic.tasks.task import Problem, RewardError

SMALL = {"size": 3, "largest": 9, "largest_target": 99}
MAKE_26 = Problem("countdown:3,5,7=26", "", {"numbers": [3, 5, 7], "target": 26})


def key(problem):
    return (*sorted(problem.answer["numbers"]), problem.answer["target"])


@pytest.mark.parametrize("numbers", [(3, 5, 7), (1, 1, 1), (2, 4, 4), (8, 8, 3, 3), (1, 2, 3, 4), (6, 9)])
def test_the_distribution_of_values_is_that_of_all_expressions_one_by_one(numbers):
    """guess_rate claims to be exact: compare every count with brute force over orders, operators and shapes."""
    values = list(all_values(numbers))
    expected = Counter(value.as_integer_ratio() for value in values if value is not None)
    assert len(values) == expression_count(len(numbers))
    assert value_counts(tuple(sorted(numbers))) == expected
    for target in range(1, 101):
        assert guess_rate(numbers, target) == expected[(target, 1)] / len(values)


@pytest.mark.parametrize(
    ("size", "largest", "largest_target"), [(2, 9, 20), (3, 99, 100), (4, 6, 30), (4, 99, 100), (3, 10**6, 9)]
)
def test_many_problems_at_once_are_counted_as_one_by_one(size, largest, largest_target):
    """Small numbers bring divisions by zero (8/(3-3)) within and around others; the largest ones exceed 64 bits."""
    problems = list(islice(candidates(size, largest, largest_target, "many"), 400))
    assert hits_of_each(problems) == [hits(*problem) for problem in problems]


def test_there_are_192_and_7680_expressions():
    """The sizes that the documentation of guess_rate states: 3! * 4^2 * 2 and 4! * 4^3 * 5."""
    assert (expression_count(3), expression_count(4)) == (192, 7680)


def test_guess_rate_rejects_a_target_of_zero():
    """The last step divides by the target."""
    with pytest.raises(ValueError, match="target is 0"):
        guess_rate([1, 2, 3], 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=4), st.integers(1, 60))
def test_solve_finds_right_distinct_expressions_exactly_when_there_are_some(numbers, target):
    """Each solution earns the reward, none is twice in the list, and none is found where brute force has none."""
    solutions = solve(numbers, target)
    assert all(oracle_verify(f"<answer>{text}</answer>", numbers, target) == 1.0 for text in solutions)
    assert all(verify(f"<answer>{text}</answer>", numbers, target) == 1.0 for text in solutions)
    assert len(set(solutions)) == len(solutions)
    assert bool(solutions) == (target in set(all_values(numbers)))


def test_solve_counts_reordered_and_regrouped_solutions_once():
    """What "distinct" means is part of the documented count of solutions."""
    assert solve([3, 5, 7], 26) == ["3*7+5"]
    assert solve([9, 4, 2], 7) == ["2+9-4", "9-4/2"]
    assert solve([8, 3, 8, 3], 24) == ["8/(3-8/3)"]
    assert solve([1, 1], 2) == ["1+1"]
    assert solve([1, 1], 5) == []
    assert sorted(solve([2, 1], 2)) == ["1*2", "2/1"]


def test_known_counts_agree_with_brute_force_on_small_settings():
    """The number of distinct problems is a known quantity; here every expression of every multiset is evaluated."""
    for size, largest, largest_target in [(3, 5, 20), (4, 3, 30)]:
        expected = Counter()
        for numbers in combinations_with_replacement(range(1, largest + 1), size):
            for value in set(all_values(numbers)) - {None}:
                if value.denominator == 1 and 1 <= value <= largest_target:
                    expected[split_of(numbers, int(value))] += 1
        assert problem_counts(size, largest, largest_target) == dict(expected)


def test_the_tiny_setting_has_enough_problems():
    """The embedded model trains on 800 and is tested on 200 of them."""
    counts = problem_counts(**SMALL, guess_rate_below=0.06)
    assert counts == {"train": 1171, "validation": 182, "test": 358}


def test_known_total_agrees_with_a_sample():
    """The full count takes half a minute: 4000 random candidates must agree with it within five standard errors."""
    length = multiset_count(3, 99) * 100
    hits = 0
    for index in range(4000):
        rank, target = divmod(permuted(index, length, "sample"), 100)
        hits += guess_rate(multiset_at(rank, 3, 99), target + 1) > 0
    fraction = KNOWN_TOTALS[3] / length
    assert abs(hits / 4000 - fraction) < 5 * (fraction * (1 - fraction) / 4000) ** 0.5


@pytest.mark.parametrize(("size", "largest"), [(2, 1), (3, 4), (4, 6)])
def test_ranks_name_every_multiset_once(size, largest):
    """Problems are drawn by rank: a rank without a multiset, or two with one, would bias or repeat them."""
    found = sorted(multiset_at(rank, size, largest) for rank in range(multiset_count(size, largest)))
    assert found == sorted(combinations_with_replacement(range(1, largest + 1), size))


@pytest.mark.parametrize("length", [1, 2, 3, 100, 1000, 1025])
def test_a_key_permutes(length):
    """Every candidate comes up exactly once, in an order that depends on the key."""
    one, other = ([permuted(i, length, key) for i in range(length)] for key in ("one", "other"))
    assert sorted(one) == sorted(other) == list(range(length))
    assert length < 100 or one != other


def test_splits_are_disjoint_across_seeds_and_settings():
    """A problem of the test split must never be trained on, whatever seed or setting made the training set."""
    seen = {split: set() for split in SPLITS}
    for split in SPLITS:
        for seed in (0, 1):
            for task in (Countdown(**SMALL), Countdown(largest=12, prompt="terse", guess_rate_below=0.05)):
                seen[split] |= {key(problem) for problem in task.problems(split, seed, 120)}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


def test_the_split_does_not_depend_on_the_order_of_the_numbers():
    """Otherwise 3,5,7=26 could be trained on and 7,5,3=26 tested."""
    for target in range(1, 60):
        assert split_of((3, 5, 7), target) == split_of([7, 3, 5], target)


@pytest.mark.parametrize("size", [3, 4])
def test_problems_are_distinct_solvable_and_in_range(size):
    """What the task promises of each problem, checked with the brute-force oracle."""
    problems = Countdown(size, largest=20, largest_target=40).problems("train", 3, 40)
    assert len({key(problem) for problem in problems}) == len({problem.id for problem in problems}) == 40
    for problem in problems:
        numbers, target = problem.answer["numbers"], problem.answer["target"]
        assert len(numbers) == size
        assert 1 <= min(numbers) <= max(numbers) <= 20
        assert 1 <= target <= 40
        assert target in set(all_values(numbers))


def test_guess_rate_bound_keeps_exactly_the_rarer_problems():
    """0 < guess_rate < bound for every problem, and no such problem is lost."""
    every = Countdown(3, 6, 30).problems("train", 0, problem_counts(3, 6, 30)["train"])
    bound = Countdown(3, 6, 30, guess_rate_below=0.02)
    kept = bound.problems("train", 0, problem_counts(3, 6, 30, 0.02)["train"])
    rare = {p.id for p in every if guess_rate(p.answer["numbers"], p.answer["target"]) < 0.02}
    assert {problem.id for problem in kept} == rare
    assert 0 < len(rare) < len(every)


def test_the_same_seed_and_index_give_the_same_problem_forever():
    """Published results name a seed. These come from hashes alone; if one changes, every past result is void."""
    terse = [problem.prompt for problem in Countdown(prompt="terse").problems("train", 0, 3)]
    assert terse == ["35,30,76=71:", "68,7,76=15:", "7,9,36=34:"]
    assert [problem.prompt for problem in Countdown(4, prompt="terse").problems("test", 7, 2)] == [
        "99,92,65,23=81:",
        "47,26,44,99=18:",
    ]


def test_problems_do_not_depend_on_the_process():
    """Python's own hash of text changes with each process; nothing may depend on it."""
    code = "from hysteretic.tasks import load; print([p.id for p in load('countdown-3').problems('test', 5, 10)])"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert runs == {str([problem.id for problem in Countdown().problems("test", 5, 10)]) + "\n"}


def test_a_longer_draw_starts_with_the_shorter_one():
    """(seed, index) names a problem; the count asked for must not change it. Another seed must."""
    task = Countdown()
    assert task.problems("test", 1, 30)[:10] == task.problems("test", 1, 10)
    assert task.problems("test", 2, 10) != task.problems("test", 1, 10)


def test_the_same_problem_has_the_same_prompt_for_every_seed():
    """The id names what was asked: the order in which numbers are shown is fixed by the problem, not sorted."""
    one, other = ({p.id: p.prompt for p in Countdown(**SMALL).problems("test", seed, 300)} for seed in (1, 2))
    assert len(one.keys() & other.keys()) > 100
    assert all(one[name] == other[name] for name in one.keys() & other.keys())
    shown = [p.answer["numbers"] for p in Countdown(**SMALL).problems("test", 1, 300)]
    assert sum(numbers != sorted(numbers) for numbers in shown) > 100


def test_default_counts_are_800_and_200():
    """Documented defaults; where fewer exist, all of them are given."""
    assert len(Countdown(**SMALL).problems()) == 800
    assert len(Countdown(**SMALL).problems("test")) == 200
    assert len(Countdown(3, 5, 20).problems("test")) == problem_counts(3, 5, 20)["test"] < 200


def test_asking_for_more_problems_than_exist_says_how_many_there_are():
    """An endless search or a repeated problem would both be wrong."""
    exist = problem_counts(3, 5, 20)["test"]
    assert len(Countdown(3, 5, 20).problems("test", 0, exist)) == exist
    with pytest.raises(ValueError, match=f"{exist} exist"):
        Countdown(3, 5, 20).problems("test", 0, exist + 1)
    with pytest.raises(ValueError, match="at most 16665000"):
        Countdown().problems("train", 0, 10**9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1}, "size is 1"),
        ({"size": 6}, "size is 6"),
        ({"largest": 0}, "largest is 0"),
        ({"largest_target": 0}, "largest_target is 0"),
        ({"prompt": "poem"}, "prompt is 'poem'.*chat, plain, terse"),
        ({"format_bonus": 1.0}, "format_bonus is 1.0"),
        ({"format_bonus": float("nan")}, "format_bonus is nan"),
        ({"guess_rate_below": 0.001}, "guess_rate_below is 0.001"),
    ],
)
def test_a_wrong_setting_is_rejected_with_what_to_do(options, message):
    """A setting that can make no sense must fail before a model is loaded."""
    with pytest.raises(ValueError, match=message):
        Countdown(**options)


def test_an_unknown_split_or_count_is_rejected():
    """A typing error in the split must not fall back to train."""
    with pytest.raises(ValueError, match=r"split is 'tset'.*train, validation, test"):
        Countdown().problems("tset")
    with pytest.raises(ValueError, match="count is -1"):
        Countdown().problems("train", 0, -1)


def test_prompts_show_the_problem_and_ask_for_the_format_that_is_scored():
    """Chat for instruct models, text that opens the thinking for base models, a bare line for the tiny one."""
    ((chat,),) = (p.prompt for p in Countdown(prompt="chat").problems("train", 0, 1))
    (plain,) = (p.prompt for p in Countdown(prompt="plain").problems("train", 0, 1))
    (terse,) = (p.prompt for p in Countdown(prompt="terse").problems("train", 0, 1))
    assert terse == "35,30,76=71:"
    assert chat["role"] == "user"
    for text in (chat["content"], plain):
        assert "35, 30, 76" in text
        assert "71" in text
        assert "exactly once" in text
        assert all(tag in text for tag in ("<think>", "</think>", "<answer>", "</answer>", "+ - * /"))
    assert plain.endswith("<think>")


def test_the_example_in_the_prompt_is_a_right_answer_to_no_problem_of_the_task():
    """An example that solves a test problem would give its answer away; 100 and 200 are above the default largest."""
    for style in ("chat", "plain"):
        (problem,) = Countdown(prompt=style).problems("train", 0, 1)
        text = problem.prompt if style == "plain" else problem.prompt[0]["content"]
        assert verify(text.rsplit("\n\n", 1)[1 if style == "chat" else 0], [200, 100, 5], 20) == 1.0


@pytest.mark.parametrize(
    ("response", "is_correct", "has_format"),
    [
        ("<think>3*7=21</think> <answer>3*7+5</answer>", True, True),
        ("3*7=21</think>\n<answer>3*7+5</answer> done", True, True),
        ("<answer>3*7+5</answer>", True, False),
        ("<think>hm <answer>3*7+5</answer>", True, False),
        ("<think>a</think><think>b <answer>3*7+5</answer>", True, False),
        ("<answer>3*7+5</answer></think>", True, False),
        ("<think>a</think><answer>3+5+7</answer>", False, True),
        ("<think>a</think><answer>1+2</answer>", False, True),
        ("<think>a</think><answer>1/0</answer>", False, True),
        ("<think>a</think><answer>26</answer>", False, True),
        ("<think>a</think><answer>3*7+5=26</answer>", False, False),
        ("<think>a</think><answer>3*7+5", False, False),
        ("", False, False),
    ],
)
def test_correctness_and_format_are_independent(response, is_correct, has_format):
    """Reward is correctness alone; the bonus, when asked for, goes to a wrong answer in the right format only."""
    plain, bonus = Countdown().score(MAKE_26, response), Countdown(format_bonus=0.1).score(MAKE_26, response)
    assert (plain.is_correct, plain.has_format, plain.reward) == (is_correct, has_format, float(is_correct))
    assert bonus.reward == (1.0 if is_correct else 0.1 if has_format else 0.0)


def test_the_tiny_prompt_needs_no_thinking_but_an_opened_one_must_be_closed():
    """A tiny model has no room to think."""
    task = Countdown(prompt="terse")
    assert task.score(MAKE_26, "<answer>3*7+5</answer>").has_format
    assert not task.score(MAKE_26, "<think>3<answer>3*7+5</answer>").has_format


@pytest.mark.parametrize(
    ("numbers", "target"),
    [(["3", "5", "7"], 26), ([3, 5, 7], "26"), ([3.0, 5.0, 7.0], 26.0), ((7, 5, 3), " 26 "), (np.array([3, 5, 7]), 26)],
)
def test_numbers_in_another_type_are_the_numbers_they_plainly_are(numbers, target):
    """CSV gives text, a table with gaps gives floats; a right answer stays right and a wrong one wrong."""
    assert verify("<answer>3 * 7 + 5</answer>", numbers, target) == 1.0
    assert verify("<answer>3 * 7 - 5</answer>", numbers, target) == 0.0


@pytest.mark.parametrize(
    ("numbers", "target"),
    [
        (["3", "x", "7"], 26),
        ([3, 5.5, 7], 26),
        ([3, 5, None], 26),
        ([3, 5, True], 26),
        ("3,5,7", 26),
        ({"3": 1}, 26),
        (357, 26),
        ([3, 5, 7], None),
        ([3, 5, 7], float("nan")),
        ([3, 5, 7], "twenty-six"),
        ([3, 5, 7], [26]),
    ],
)
@pytest.mark.parametrize("response", ["<answer>3 * 7 + 5</answer>", "no answer at all"])
def test_bad_problem_data_is_an_error_and_never_a_reward_of_zero(numbers, target, response):
    """Whatever the response: a run that starts with wrong answers only must not hide it."""
    with pytest.raises(ValueError, match=r"whole numbers"):
        verify(response, numbers, target)
    problem = Problem("p", "", {"numbers": numbers, "target": target})
    with pytest.raises(RewardError):
        score(Countdown(), problem, response)


def test_a_problem_of_another_task_is_rejected():
    """Scoring it 0 would hide a mix-up of tasks."""
    with pytest.raises(TypeError, match="'x' has the answer 'z'"):
        Countdown().score(Problem("x", "y", "z"), "")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789+-*/() \t\n.=<", max_size=30))
def test_well_formed_is_what_the_oracle_parses(text):
    """has_format is reported: it must agree with Python's own parser on the allowed kind of expression."""
    has_format = Countdown().score(MAKE_26, f"</think><answer>{text}</answer>").has_format
    assert has_format == (oracle_tree(text) is not None)


@pytest.mark.parametrize(
    ("task", "limit"), [(Countdown(), 2.0), (Countdown(guess_rate_below=0.06), 2.0), (Countdown(4), 10.0)]
)
def test_800_problems_take_seconds_at_most(task, limit):
    """Starting a run must not wait for its problems. Processor time, so that a busy machine cannot fail it."""
    start = time.process_time()
    assert len(task.problems("train", 11)) == 800
    assert time.process_time() - start < limit


def test_an_explanation_is_a_solution_that_scores():
    """In the words of `hysteretic show`: the target, a solution, how many there are."""
    task = Countdown(3, largest=9)
    seen = set()
    for problem in task.problems("test", count=40):
        asked, solution, ways, _ = task.explanation(problem).splitlines()
        numbers, target = problem.answer["numbers"], problem.answer["target"]
        assert asked.endswith(f"equals {target}")
        expression = solution.removesuffix(f" = {target}")
        assert task.score(problem, f"<answer>{expression}</answer>").is_correct
        count = len(solve(numbers, target))
        assert ways.startswith("There is no other") if count == 1 else f"{count} solutions" in ways
        seen.add(count > 1)
    assert seen == {True, False}
