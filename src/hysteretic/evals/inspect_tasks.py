"""Tasks for Inspect (https://inspect.aisi.org.uk): every task of `hysteretic list` as `hysteretic/NAME`.

    inspect eval hysteretic/telelogs --model hf/mine -M model_path=runs/telelogs/model -T source=telelogs_test.json

A response is scored as `hysteretic eval` scores it. -T gives options of the task, and also split ("test"), seed (0) and
problems (as many as the task has). `hysteretic/task -T name=my_task.py:MyTask` takes what --task takes.

Inspect imports this module by an entry point; it is the only one that imports Inspect.
"""

from __future__ import annotations

from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ContentReasoning
from inspect_ai.scorer import Score, Scorer, Target, accuracy, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from hysteretic import __version__
from hysteretic.tasks import names
from hysteretic.tasks.checked import check_labelled, draw, load_task
from hysteretic.tasks.scored import score, score_async
from hysteretic.tasks.task import Answers, Problem, ScoresAsync, explained


@scorer(metrics={"correct": [accuracy(), stderr()], "format": [mean()], "reward": [mean()]})
def verified(name: str, options: dict[str, Any] | None = None) -> Scorer:
    """Score responses as a hysteretic task does; a failing reward function is an error of the sample, never a 0.

    name, options: arguments of `hysteretic.tasks.load`, so that `inspect score` can score a log again.
    """
    verifier = load_task(name, **(options or {}))

    async def judge(state: TaskState, target: Target) -> Score:
        problem, text = _problem(state), response_text(state.output.message)
        if isinstance(verifier, ScoresAsync) and verifier.is_async:
            found = await score_async(verifier, problem, text)
        else:
            found = score(verifier, problem, text)
        return Score(
            value={"correct": float(found.is_correct), "format": float(found.has_format), "reward": found.reward},
            answer=verifier.answer_of(problem, text) if isinstance(verifier, Answers) else None,
        )

    return judge


def response_text(message: ChatMessageAssistant) -> str:
    """The response as the model wrote it: some providers split reasoning off; here it stands before the text.

    Reasoning that a provider withholds or encrypts is left out.
    """
    if isinstance(message.content, str):
        return message.content
    thoughts = [part for part in message.content if isinstance(part, ContentReasoning) and not part.redacted]
    return "\n".join([*(f"<think>\n{thought.reasoning}\n</think>" for thought in thoughts), message.text])


def _problem(state: TaskState) -> Problem:
    """The problem of a sample."""
    posed = state.input
    prompt = posed if isinstance(posed, str) else [{"role": one.role, "content": one.text} for one in posed]
    return Problem(str(state.sample_id), prompt, state.metadata["answer"])


def inspect_task(name: str, split: str = "test", seed: int = 0, problems: int | None = None, **options: Any) -> Task:
    """An Inspect task that poses problems of a hysteretic task. Arguments as in the module's docstring.

    Raises UsageError for an unknown task or option, and where the task's data is missing.
    """
    written = {key: _listed(value) for key, value in options.items()}
    source = load_task(name, **written)
    check_labelled(source)
    samples = [
        Sample(
            input=problem.prompt,  # Inspect makes its messages from dictionaries
            target=explained(source, problem)[0],
            id=problem.id,
            metadata={"answer": problem.answer},
        )
        for problem in draw(source, split, seed, problems)
    ]
    return Task(
        dataset=MemoryDataset(samples, name=name),
        solver=generate(),
        scorer=verified(name, written),
        metadata={"hysteretic": __version__},
    )


def _listed(value: Any) -> Any:
    """Inspect makes a list of `-T kinds=telelogs,network`; options of a task are text with commas."""
    is_words = isinstance(value, list) and all(isinstance(word, str) for word in value)
    return ",".join(value) if is_words else value


task(name="task")(inspect_task)


def _register(name: str) -> None:
    @task(name=name)
    def named(split: str = "test", seed: int = 0, problems: int | None = None, **options: Any) -> Task:
        return inspect_task(name, split, seed, problems, **options)


for _name in names():
    if _name != "task":  # of another package; it can be given as -T name=task
        _register(_name)
