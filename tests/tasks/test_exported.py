"""Does an exported row say all that is needed to score a response elsewhere, and is the score the same?"""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from telelogs_questions import question

import hysteretic.tasks
from hysteretic.rewards.reward_function import task_reward
from hysteretic.tasks import TASKS
from hysteretic.tasks.countdown import Countdown, solve
from hysteretic.tasks.exported import compute_score, exported_row
from hysteretic.tasks.task import RewardError

QUESTIONS = [{"question": question(f"drive {cause}", cause), "answer": cause} for cause in ("C1", "C3", "C5", "C7")]
OWN_ROWS = [{"prompt": f"{n} + {n}?", "answer": 2 * n} for n in range(1, 30)]


def options_of(name, folder):
    """What each built-in task is loaded with here; the gated data set is stood in for by a file of made-up ones."""
    if not name.startswith("telelogs") or name in ("telelogs-synthetic", "telelogs-compact"):
        return {}
    path = folder / "questions.json"
    path.write_text(json.dumps({"train": QUESTIONS, "test": QUESTIONS[:1]}), encoding="utf-8")
    return {"source": str(path)}


def responses_to(task, problem):
    """Right, nearly right, wrong, empty and hostile ones."""
    if hasattr(task, "demonstration"):
        right = task.demonstration(problem)
    elif not isinstance(task, Countdown):
        pytest.fail(f"no right answer to {task.name} is known here: give the task a `demonstration`, or add one above")
    else:
        solution = solve(problem.answer["numbers"], problem.answer["target"])[0]
        right = f"<think>so</think> <answer>{solution}</answer>"
    label = problem.answer.get("label", "") if isinstance(problem.answer, dict) else str(problem.answer)
    return [
        right,
        right + " <answer>1</answer>",
        f"\\boxed{{{label}}}",
        "\\boxed{C1}",
        "<think>a</think> <answer>1 + 1</answer>",
        "<answer>1 + 2 + 3</answer>",
        "<think> </think><answer>(((</answer>",
        "",
        "\x00\ud800 \\boxed{" * 50,
        "<answer>__import__('os').system('true')</answer>",
    ]


@pytest.mark.parametrize("name", TASKS)
def test_scores_are_those_of_the_trl_path(name, tmp_path):
    """Every task of the package: the same responses through TRL's reward function and through the exported row."""
    options = options_of(name, tmp_path)
    task = hysteretic.tasks.load(name, **options)
    problems = list(task.problems("train", count=3 if not options else None))[:3]
    by_trl = task_reward(task, problems)
    seen = set()
    for index, problem in enumerate(problems):
        row = json.loads(json.dumps(exported_row(name, options, problem, "train", index)))
        responses = responses_to(task, problem)
        expected = by_trl(
            prompts=[None] * len(responses), completions=responses, problem_id=[problem.id] * len(responses)
        )
        found = [
            compute_score(row["data_source"], text, row["reward_model"]["ground_truth"], row["extra_info"])
            for text in responses
        ]
        assert [score["score"] for score in found] == expected
        for score, text in zip(found, responses, strict=True):
            direct = task.score(problem, text)
            assert (score["acc"], score["format"]) == (float(direct.is_correct), float(direct.has_format))
        seen |= set(expected)
    assert seen == {0.0, 1.0}, "some response must be right and some wrong, or nothing is compared"


def test_task_options_travel_with_the_row():
    """A bonus for format is part of the reward; the same response without the option earns nothing."""
    task = hysteretic.tasks.load("countdown-3", format_bonus=0.1)
    row = exported_row("countdown-3", {"format_bonus": 0.1}, task.problems(count=1)[0], "train", 0)
    response = "<think>x</think> <answer>1 + 1</answer>"
    truth = row["reward_model"]["ground_truth"]
    assert compute_score("countdown-3", response, truth, row["extra_info"])["score"] == 0.1
    assert compute_score("countdown-3", response, truth, None)["score"] == 0.0


def test_your_own_data_and_reward_function(tmp_path):
    """A reward function in a file is named in the options, and must be on every node."""
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, OWN_ROWS)), encoding="utf-8")
    (tmp_path / "mine.py").write_text("def right(response, answer):\n    return response == str(answer)\n")
    name, options = str(tmp_path / "data.jsonl"), {"reward": f"{tmp_path / 'mine.py'}:right"}
    task = hysteretic.tasks.load(name, **options)
    row = exported_row(name, options, task.problems("train", count=1)[0], "train", 0)
    truth = row["reward_model"]["ground_truth"]
    assert compute_score(name, truth, truth, row["extra_info"])["score"] == 1.0
    assert compute_score(name, "no", truth, row["extra_info"])["score"] == 0.0


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_nothing_a_model_writes_raises(text):
    """verl counts a rollout whose reward raises as failed, and drops it."""
    rows = (
        ("countdown-3", '{"numbers": [1, 2, 3], "target": 6}', {"task_options": "{}"}),
        ("telelogs-synthetic", '{"label": "C1", "causes": {"C1": "x"}}', {}),
    )
    for source, truth, info in rows:
        assert compute_score(source, text, truth, info)["score"] in (0.0, 1.0)


@pytest.mark.parametrize(
    ("source", "truth", "info", "message"),
    [
        ("openai/gsm8k", "72", {}, "cannot be scored.*reward"),
        ("countdown_3", "{}", {}, "There is no task 'countdown_3'.*countdown-3"),
        ("countdown-3", "not json", {"problem_id": "p7"}, "The row p7 .*hysteretic export"),
        ("countdown-3", "{}", {"task_options": '{"colour": 1}'}, "no option 'colour'"),
    ],
)
def test_a_row_that_was_not_exported_here_is_an_error_not_a_reward_of_zero(source, truth, info, message):
    """With what was found."""
    with pytest.raises(RewardError, match=message):
        compute_score(source, "text", truth, info)


def test_an_answer_that_is_no_json_is_refused():
    """Before a file is written that cannot be scored."""
    problem = hysteretic.tasks.Problem("p1", "q", {"numbers": {1, 2}})
    with pytest.raises(ValueError, match=r"answer of p1 .* not valid JSON"):
        exported_row("countdown-3", {}, problem, "train", 0)


def test_scoring_loads_no_torch():
    """verl scores in processes of their own, many a node."""
    program = (
        "import sys; from hysteretic.tasks.exported import compute_score as s;"
        """s('countdown-3', '', '{"numbers": [1, 2, 3], "target": 6}');"""
        "print({'torch', 'numpy', 'trl', 'verl'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
