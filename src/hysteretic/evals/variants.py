"""The responses that an evaluation scores, in each variant of a task: from a model (greedy, sampled) or from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hysteretic.common.errors import UsageError
from hysteretic.evals.evaluate import Generate, decodings, score_all
from hysteretic.evals.metrics import Answered, answered
from hysteretic.tasks.checked import is_labelled
from hysteretic.tasks.rows import read_text
from hysteretic.tasks.task import Problem, Randomises, Task


@dataclass(frozen=True)
class Variant:
    """A task and its problems. name: "plain", or "randomised" for the same problems reordered and renamed."""

    name: str
    task: Task
    problems: Sequence[Problem]


Judged = dict[str, dict[str, list[Answered]]]
"""By variant name, then by decoding: "greedy" and "sampled" for a model, "given" for a file."""


def variants(task: Task, problems: Sequence[Problem], split: str, seed: int, plain_only: bool = False) -> list[Variant]:
    """The task with its problems, and its randomised variant if it has one and plain_only is not set.

    split, seed: of the problems. Raises UsageError if the two cannot be paired.
    """
    other = task.randomised() if isinstance(task, Randomises) and not plain_only else None
    if other is None:
        return [Variant("plain", task, problems)]
    others = other.problems(split, seed=seed, count=len(problems))
    if len(others) != len(problems):
        raise UsageError(
            f"{task.name} has {len(problems)} problems, but {other.name} has {len(others)}; they cannot be compared. "
            "Give --plain-only, or fix the method `randomised` of the task."
        )
    return [Variant("plain", task, problems), Variant("randomised", other, others)]


def of_model(found: Sequence[Variant], generate: Generate, samples: int) -> Judged:
    """A model's responses to every problem of every variant, scored.

    generate: the model. samples: sampled responses per problem, besides the greedy one; 0 for none.
    Raises UsageError, RewardError.
    """
    judged: Judged = {}
    for variant in found:
        judged[variant.name] = {}
        for decoding, count in decodings(samples):
            texts = generate(variant.problems, count)
            judged[variant.name][decoding] = _judged(variant, texts)
    return judged


def of_file(found: Sequence[Variant], path: Path) -> Judged:
    """The responses in a file, which may be to either variant, scored. Raises UsageError, RewardError."""
    places = {problem.id: (variant.name, i) for variant in found[::-1] for i, problem in enumerate(variant.problems)}
    texts: dict[str, list[list[str]]] = {variant.name: [[] for _ in variant.problems] for variant in found}
    for number, name, response in _lines(path):
        if name not in places:
            plain = found[0].problems
            raise UsageError(
                f"Line {number} of {path} answers problem {name!r}, which is not among the {len(plain)} problems "
                f"chosen (the first is {plain[0].id!r}); give the same --seed, --split, --problems and options."
            )
        where, index = places[name]
        texts[where][index].append(response)
    judged: Judged = {}
    for variant in found:
        some = texts[variant.name]
        rows = _judged(variant, some)
        if rows:
            judged[variant.name] = {"given": rows}
            if len(rows) < len(some):
                which = "" if len(found) == 1 else f"{variant.name} "
                print(
                    f"{len(some) - len(rows)} of {len(some)} {which}problems have no response in {path} and are "
                    "skipped."
                )
    if not judged:
        raise UsageError(f"{path} has no responses.")
    return judged


def _judged(variant: Variant, texts: list[list[str]]) -> list[Answered]:
    """The responses to each problem, scored if its answer is known."""
    task, problems = variant.task, variant.problems
    scores = score_all(task, problems, texts) if is_labelled(task) else [[] for _ in problems]
    return answered(task, problems, texts, scores)


def _lines(path: Path) -> list[tuple[int, str, str]]:
    """Number, problem and response of each line."""
    try:
        lines = read_text(path).split("\n")  # splitlines would cut at U+2028 within a response
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise UsageError(str(error)) from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append((number, str(row["problem"]), str(row["response"])))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UsageError(
                f'Line {number} of {path} is not {{"problem": id, "response": text}}: {type(error).__name__} {error}.'
            ) from error
    return found
