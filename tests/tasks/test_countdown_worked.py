"""Worked solutions of Countdown: right by the task, honest step by step, and in the style of the prompt."""

import re
from fractions import Fraction

import pytest

from hysteretic.models import LONGEST_RESPONSE, TASK
from hysteretic.models.countdown_demonstrations import tries
from hysteretic.models.tokenizer import build_tokenizer
from hysteretic.tasks import Countdown
from hysteretic.tasks.countdown_worked import worked_solution
from hysteretic.tasks.task import Problem, demonstrates

STEP = re.compile(r"([0-9/()-]+) ([-+*/]) ([0-9/()-]+) = ([0-9/()-]+)")


def number(text):
    return Fraction(text.strip("()"))


def carried_out(left, operator, right):
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else None}[operator]


@pytest.mark.parametrize("prompt", ["chat", "plain", "terse"])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_worked_solution_is_right_and_in_the_format_of_its_prompt(prompt, size):
    task = Countdown(size, largest=30, prompt=prompt)
    assert demonstrates(task)
    for problem in task.problems("train", count=40):
        score = task.score(problem, task.demonstration(problem))
        assert (score.reward, score.is_correct, score.has_format) == (1.0, True, True), task.demonstration(problem)
        assert task.demonstration(problem) == task.demonstration(problem)


@pytest.mark.parametrize(("numbers", "target"), [((3, 5, 7), 26), ((8, 3, 8, 3), 24), ((99, 99, 10, 40), 10)])
def test_every_step_of_the_search_is_right_and_every_failed_try_misses(numbers, target):
    """A model imitates what is written: a wrong sum, or a miss called a hit, would teach wrong arithmetic."""
    lengths = set()
    for name in map(str, range(60)):
        text = worked_solution(numbers, target, "chat", name)
        lines = text.split("\n")[1:-1]
        lengths.add(len(lines))
        for line in lines:
            steps = STEP.findall(line)
            used = list(numbers)
            for left, operator, right, result in steps:
                assert carried_out(number(left), operator, number(right)) == number(result), line
                for operand in (number(left), number(right)):
                    used.remove(operand)  # a number of the problem, or the result of an earlier step
                used.append(number(result))
            assert used == [number(steps[-1][3])], line
            said = re.search(r"That is ([0-9/()-]+)(, not (\d+))?\.", line)
            assert number(said[1]) == used[0]
            assert (said[2] is None) == (used[0] == target) == (line is lines[-1])
    assert lengths == {1, 2, 3}  # with 0, 1 and 2 failed tries


def test_the_terse_form_is_that_of_the_embedded_models_careful_demonstrations():
    """So that `warmup` of the tiny model teaches what it can already write, within what it may write."""
    pytest.importorskip("transformers", reason="not in the environment of the core alone")
    task, tokenizer = Countdown(**TASK), build_tokenizer()
    for problem in task.problems("train", count=100):
        numbers, target = sorted(problem.answer["numbers"]), problem.answer["target"]
        known = {one.steps: one for one in tries(tuple(numbers))}
        text = task.demonstration(problem)
        thought, answer = re.fullmatch(r"<think>(.*)</think><answer>(.*)</answer>", text).groups()
        noted, *tried = thought.split(";")
        assert noted == str(target)
        if tried[-1] in known:  # a solution in natural numbers
            assert known[tried[-1]].expression == answer
        assert all(one in known and known[one].value != target for one in tried[:-1])
        assert len(tokenizer(text)["input_ids"]) < LONGEST_RESPONSE


def test_without_a_solution_there_is_none_to_show():
    with pytest.raises(ValueError, match="cannot make 99"):
        Countdown().demonstration(Problem("p", "", {"numbers": [1, 1, 1], "target": 99}))
