"""What all TeleLogs tasks do with their problems: score, compare, explain, draw and solve them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ..task import Problem, Score
from .answers import label_of
from .explain import explanation, trace
from .rules import root_cause
from .scenario import CAUSES, Scenario


class Diagnosis(ABC):
    """Tasks whose problems have the answer {"label": the right one, "causes": {label: cause}}."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def scenario(self, problem: Problem) -> Scenario:
        """The drive that a problem is about."""

    def score(self, problem: Problem, response: str) -> Score:
        """Reward 1.0 if the last \\boxed{} holds the right label, otherwise 0.0. has_format: it holds some label."""
        causes = self._causes(problem)
        label = label_of(response, causes)
        is_correct = label == problem.answer["label"]  # type: ignore[index]
        return Score(float(is_correct), is_correct, label is not None)

    def class_of(self, problem: Problem) -> str:
        """The right cause, whatever its label."""
        return self._causes(problem)[problem.answer["label"]]  # type: ignore[index]

    def answer_of(self, problem: Problem, response: str) -> str | None:
        """The cause that a response gives, whatever its label."""
        causes = self._causes(problem)
        label = label_of(response, causes)
        return None if label is None else causes[label]

    def explanation(self, problem: Problem) -> str:
        """The cause, and what each rule finds in the drive."""
        return explanation(self.scenario(problem), self.class_of(problem), self._labels(problem))

    def picture(self, problem: Problem) -> Sequence[Any]:
        """Maps, and what the rules look at over time. Requires altair."""
        from .charts import charts

        return charts(self.scenario(problem))

    def demonstration(self, problem: Problem) -> str:
        """Reasoning by the rules and the right label; the label alone when the rules find another cause."""
        scenario, cause, labels = self.scenario(problem), self.class_of(problem), self._labels(problem)
        if root_cause(scenario).cause == cause:
            return trace(scenario, labels)
        return f"{CAUSES[cause]} \\boxed{{{labels[cause]}}}"

    def _labels(self, problem: Problem) -> dict[str, str]:
        return {cause: label for label, cause in self._causes(problem).items()}

    def _causes(self, problem: Problem) -> dict[str, str]:
        answer = problem.answer
        if not isinstance(answer, dict) or not {"label", "causes"} <= answer.keys():
            raise TypeError(
                f"Problem {problem.id!r} has the answer {answer!r}, but {self.name} needs "
                '{"label": ..., "causes": {...}}; score problems made by this task only.'
            )
        causes: dict[str, str] = answer["causes"]
        if not isinstance(causes, dict) or answer["label"] not in causes:
            raise ValueError(
                f"Problem {problem.id!r} has the label {answer['label']!r}, which is not among its causes "
                f"{causes!r}, so no response could be right; fix the answer."
            )
        return causes
