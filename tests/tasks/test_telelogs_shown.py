"""What the TeleLogs tasks offer beyond problems and scores: causes, answers, explanations, pictures, the variant."""

import subprocess
import sys

import pytest

from hysteretic.tasks import load
from hysteretic.tasks.task import Answers, Classifies, Explains, Pictures, Randomises
from hysteretic.tasks.telelogs import CAUSES, Cell, Row, Scenario, root_cause
from hysteretic.tasks.telelogs.rules import explanation

SAME = {cause: cause for cause in CAUSES}


@pytest.mark.parametrize("name", ["telelogs-synthetic", "telelogs-compact"])
def test_the_tasks_have_every_capability(name):
    for capability in (Answers, Classifies, Explains, Pictures, Randomises):
        assert isinstance(load(name), capability)
        assert not isinstance(load("countdown-3"), capability) or capability is Explains


def test_the_import_loads_no_altair():
    """Training on the task must not wait for charts."""
    code = "import sys, hysteretic.tasks; sys.exit('altair' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_randomised_problems_are_the_same_drives_in_order():
    task = load("telelogs-synthetic")
    other = task.randomised()
    pairs = list(zip(task.problems("test", 3, 24), other.problems("test", 3, 24), strict=True))
    assert all(task.scenario(one) == other.scenario(two) for one, two in pairs)
    assert all(task.class_of(one) == other.class_of(two) for one, two in pairs)
    assert sum(one.answer["label"] == two.answer["label"] for one, two in pairs) < 12
    assert not {one.id for one, _ in pairs} & {two.id for _, two in pairs}
    assert other.randomised() is None
    assert load("telelogs-compact").randomised() is None


def test_an_answer_is_the_cause_behind_the_label():
    """The same label means another cause in the randomised set."""
    other = load("telelogs-synthetic").randomised()
    for problem in other.problems("test", 3, 8):
        right = f"\\boxed{{{problem.answer['label']}}}"
        assert other.answer_of(problem, right) == other.class_of(problem)
        assert other.score(problem, right).is_correct
        assert {other.answer_of(problem, f"\\boxed{{C{i}}}") for i in range(1, 9)} == {f"C{i}" for i in range(1, 9)}
        assert other.answer_of(problem, "I do not know") is None
        assert other.answer_of(problem, "\\boxed{C9}") is None


@pytest.mark.parametrize("is_randomised", [False, True])
def test_one_rule_decides_and_it_is_that_of_the_answer(is_randomised):
    task = load("telelogs-synthetic", is_randomised=is_randomised)
    for problem in task.problems("test", 5, 64):
        first, _, *rules = task.explanation(problem).splitlines()
        assert first.startswith(problem.answer["label"])
        [decides] = [line for line in rules if line.startswith("✓")]
        assert decides.startswith(f"✓ {problem.answer['label']} ")
        assert len(rules) == 8


def test_a_disagreement_of_rules_and_answer_is_reported():
    task = load("telelogs-synthetic")
    problem = next(found for found in task.problems("test", 5, 8) if task.class_of(found) == "C7")
    said = explanation(task.scenario(problem), "C2", SAME).splitlines()
    assert said[0].startswith("C2: ")
    assert "another cause, C7" in said[2]


def test_a_standing_vehicle_without_a_bad_row_or_a_listed_cell_is_drawn():
    """Real logs have such rows; the map must not divide by their extent."""
    from hysteretic.tasks.telelogs.charts import charts

    row = Row("t", 179.9999, 10.0, 0.0, 7, -80.0, None, 700.0, (), 200.0)
    cell = Cell("1", 1, -179.9999, 10.0, 0.0, 3.0, 255, 0.0, "DEFAULT", 20.0, 8)
    scenario = Scenario((row, row), (cell,))
    assert len(charts(scenario)) == 8
    assert all(chart.to_dict() for chart in charts(scenario))
    assert root_cause(scenario).cause == "C3"
    assert "No row" in explanation(scenario, "C3", SAME)


def test_no_two_texts_of_a_map_overlap_and_none_is_off_it():
    """Twelve-point digits are less than 7.5 pixels wide."""
    from hysteretic.tasks.telelogs.charts_map import SIZE, drawings, maps

    task = load("telelogs-synthetic", fewest_cells=13, most_cells=16)
    scenarios = [task.scenario(problem) for problem in task.problems("test", 9, 64)]
    count = 0
    for drawing in [drawing for scenario in scenarios for drawing in drawings(scenario)]:
        texts = drawing.texts
        count += len(texts)
        boxes = [
            (t["x"] - 3.75 * len(t["text"]), t["y"] - 7, t["x"] + 3.75 * len(t["text"]), t["y"] + 7) for t in texts
        ]
        for i, (left, low, right, high) in enumerate(boxes):
            assert left >= 0 <= low
            assert right <= SIZE >= high
            for other in boxes[:i]:
                assert min(right, other[2]) <= max(left, other[0]) or min(high, other[3]) <= max(low, other[1])
    assert count > 64 * (1 + 12 + 1 + 9)
    shown = [chart.to_dict()["layer"][-1]["data"]["values"] for chart in maps(scenarios[0])]
    assert shown == [drawing.texts for drawing in drawings(scenarios[0])]
