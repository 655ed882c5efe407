"""Tasks in Inspect: the same problems, and for the same responses the scores of `hysteretic eval`."""

import json
import re
import shlex
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import pytest
from telelogs_questions import question

import hysteretic.models
from hysteretic.cli import main
from hysteretic.common.errors import UsageError
from hysteretic.tasks import load
from hysteretic.tasks.task import prompt_parts

inspect_ai = pytest.importorskip("inspect_ai")
from inspect_ai.model import ContentReasoning, ContentText, ModelOutput, ModelUsage, get_model  # noqa: E402

from hysteretic.evals.inspect_tasks import inspect_task, response_text, verified  # noqa: E402

ROOT = Path(__file__).parents[2]
USAGE = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)  # without it Inspect counts with a file of the net

JUDGE = """
from hysteretic.tasks import Problem, Score

class Judge:
    name = "judge"
    is_async = True
    def problems(self, split="train", seed=0, count=None):
        return [Problem(f"judge:{n}", f"{n}?", n) for n in range(count or 4)]
    def score(self, problem, response):
        raise NotImplementedError
    async def score_async(self, problem, response):
        if response == "crash":
            raise RuntimeError("no judge")
        return Score(len(response) / 8, response == str(problem.answer), has_format=True)
"""


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSPECT_DISPLAY", "none")
    rows = [{"question": question(f"drive {cause}", cause), "answer": cause} for cause in ("C1", "C3", "C5", "C7")]
    Path("telelogs_test.json").write_text(json.dumps(rows), encoding="utf-8")
    Path("judge.py").write_text(JUDGE)


def answers(problems, texts):
    """A model that gives these responses, one to each problem or all to the only one."""
    given = {}
    for problem, text in zip(list(problems) * (len(texts) // len(problems)), texts, strict=True):
        given.setdefault(prompt_parts(problem)[-1][1], []).append(text)

    def respond(messages, *_):
        output = ModelOutput.from_content(model="mockllm", content=given[messages[-1].text].pop(0))
        output.usage = USAGE
        return output

    return get_model("mockllm/model", custom_outputs=respond)


def evaluated(name, problems, texts, epochs=None, **options):
    """The log of an evaluation."""
    task = inspect_task(name, problems=len(problems), **options)
    (log,) = inspect_ai.eval(task, model=answers(problems, texts), epochs=epochs)
    return log


def metrics_of(log):
    return {score.name: {key: metric.value for key, metric in score.metrics.items()} for score in log.results.scores}


CASES = {
    "countdown-3": {},
    "countdown-4": {"prompt": "plain", "format_bonus": 0.1},
    "telelogs-compact": {},
    "telelogs-synthetic": {},
    "telelogs": {"source": "telelogs_test.json"},
}


def responses_to(task, problems):
    """Right, wrong, in the wrong format, empty and hostile ones."""
    found = []
    for index, problem in enumerate(problems):
        right = task.demonstration(problem) if hasattr(task, "demonstration") else f"\\boxed{{{problem.answer}}}"
        odd = [
            "",
            "\\boxed{C9}",
            right.replace("</think>", ""),
            "<think>so</think><answer>1 + 1</answer>",
            "\x00 \\boxed{" * 50,
        ]
        found.append(right if index % 2 == 0 else odd[index // 2 % len(odd)])
    return found


@pytest.mark.parametrize("name", CASES)
def test_scores_agree_with_hysteretic_eval_on_the_same_responses(name):
    """pass@1, format, and the scores of each response."""
    options, count = CASES[name], 4 if name == "telelogs" else 12
    task = load(name, **options)
    problems = task.problems("test", seed=3, count=count)
    texts = responses_to(task, problems)
    log = evaluated(name, problems, texts, seed=3, **options)
    assert log.status == "success"
    samples = {sample.id: sample for sample in log.samples}
    assert len(samples) == len(problems)
    for problem, text in zip(problems, texts, strict=True):
        expected, sample = task.score(problem, text), samples[problem.id]
        assert sample.scores["verified"].value == {
            "correct": float(expected.is_correct),
            "format": float(expected.has_format),
            "reward": expected.reward,
        }

    lines = [json.dumps({"problem": p.id, "response": text}) for p, text in zip(problems, texts, strict=True)]
    Path("responses.jsonl").write_text("\n".join(lines))
    words = ["--task", name, "--task-options", json.dumps(options), "--seed", "3", "--problems", str(count)]
    assert main(["eval", *words, "--responses", "responses.jsonl", "--plain-only", "--output", "ours.json"]) == 0
    ours, theirs = json.loads(Path("ours.json").read_text())["given"], metrics_of(log)
    assert theirs["correct"]["accuracy"] == pytest.approx(ours["pass@1"]["value"])
    assert 0 < theirs["correct"]["accuracy"] < 1
    assert theirs["format"]["mean"] == pytest.approx(ours["format"]["value"] if "format" in ours else 1)


def test_prompts_reach_the_model_as_they_are():
    """Messages with their roles, and plain text."""
    (plain,) = load("telelogs-compact").problems("test", count=1)
    assert inspect_task("telelogs-compact", problems=1).dataset[0].input == plain.prompt
    (chat,) = load("telelogs-synthetic").problems("test", count=1)
    posed = inspect_task("telelogs-synthetic", problems=1).dataset[0].input
    assert [{"role": message.role, "content": message.text} for message in posed] == chat.prompt


def test_epochs_average_over_samples_of_a_problem():
    """The article's pass@1 over 4 samples is --epochs 4."""
    task = load("countdown-3")
    (problem,) = task.problems("test", count=1)
    right = task.demonstration(problem)
    log = evaluated("countdown-3", [problem], [right, "", right, right], epochs=4)
    assert metrics_of(log)["correct"]["accuracy"] == 0.75


def test_a_task_whose_scores_are_awaited_and_one_of_a_file():
    """`hysteretic/task` takes what --task takes."""
    problems = load("judge.py:Judge").problems(count=3)
    log = evaluated("judge.py:Judge", problems, ["0", "x", "2"])
    assert metrics_of(log)["correct"]["accuracy"] == pytest.approx(2 / 3)
    assert metrics_of(log)["reward"]["mean"] == pytest.approx(1 / 8)


def test_a_failing_reward_is_an_error_and_no_zero():
    log = evaluated("judge.py:Judge", load("judge.py:Judge").problems(count=2), ["0", "crash"])
    assert log.status == "error"
    assert "no judge" in log.error.message


def test_a_log_is_scored_again():
    """`inspect score` builds the scorer from its arguments in the log and the problem from the sample."""
    options = {"source": "telelogs_test.json"}
    problems = load("telelogs", **options).problems("test", count=4)
    log = evaluated("telelogs", problems, [f"\\boxed{{{p.answer['label']}}}" for p in problems], **options)
    (spec,) = [scorer for scorer in log.eval.scorers if scorer.name.endswith("verified")]
    again = inspect_ai.score(inspect_ai.log.read_eval_log(log.location), verified(**spec.options), action="overwrite")
    assert metrics_of(again) == metrics_of(log)
    assert metrics_of(again)["correct"]["accuracy"] == 1


def test_reasoning_that_a_provider_splits_off_is_put_back():
    """The format of Countdown asks for it."""
    message = ModelOutput.from_content(
        "mockllm", [ContentReasoning(reasoning="so"), ContentText(text="<answer>1</answer>")]
    )
    assert response_text(message.message) == "<think>\nso\n</think>\n<answer>1</answer>"
    hidden = ModelOutput.from_content(
        "mockllm", [ContentReasoning(reasoning="xyz", redacted=True), ContentText(text="a")]
    )
    assert response_text(hidden.message) == "a"


def test_wrong_options_are_refused_as_elsewhere():
    with pytest.raises(UsageError, match="Did you mean 'largest'"):
        inspect_task("countdown-3", largset=30)
    with pytest.raises(UsageError, match="Did you mean 'countdown-3'"):
        inspect_task("countdwon-3")


def test_tasks_are_registered_where_the_entry_point_leads():
    """`inspect eval hysteretic/NAME`; the group of entry points is Inspect's own."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    value = re.search(r'^\[project.entry-points."inspect_ai"\]\nhysteretic = "(.+)"$', text, re.MULTILINE)[1]
    module = EntryPoint("hysteretic", value, "inspect_ai").load()
    assert module is import_module("hysteretic.evals.inspect_tasks")
    for name in ("telelogs-randomised", "countdown-3", "task"):
        options = {"source": "telelogs_test.json"} if name == "telelogs-randomised" else {}
        what = {"name": "countdown-3"} if name == "task" else {}
        problems = load(what.get("name", name), **options).problems("test", count=1)
        given = {"problems": 1, **what, **options}
        (log,) = inspect_ai.eval(f"hysteretic/{name}", model=answers(problems, ["a"]), task_args=given)
        assert log.status == "success", name


PAGE = (ROOT / "docs" / "telelogs.md").read_text(encoding="utf-8")
COMMANDS = [line for line in PAGE.replace("\\\n", "").splitlines() if line.startswith("inspect eval ")]


@pytest.mark.parametrize("line", COMMANDS, ids=lambda line: line.split()[2])
def test_the_commands_of_the_page_run(line, monkeypatch):
    """On the embedded model and one problem."""
    model = hysteretic.models.tiny_model(task="telelogs-compact")
    words = shlex.split(line.replace("runs/telelogs/model", str(model)))
    monkeypatch.setattr(sys, "argv", [*words, "--limit", "1", "--max-tokens", "4", "--log-dir", "logs"])
    (command,) = [point for point in distribution("inspect_ai").entry_points if point.name == "inspect"]
    with pytest.raises(SystemExit) as ended:
        command.load()()
    assert not ended.value.code
    (file,) = Path("logs").glob("*.eval")
    log = inspect_ai.log.read_eval_log(str(file))
    assert log.status == "success"
    assert len(log.samples) == (log.eval.config.epochs or 1)


def test_the_page_has_commands():
    assert len(COMMANDS) >= 2
