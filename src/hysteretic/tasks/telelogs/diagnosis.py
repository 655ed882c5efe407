"""What all TeleLogs tasks do with their problems: score, compare, explain, draw and solve them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ..task import Problem, RewardError, Score
from .answers import GRADINGS
from .parse import NotApplicableError, check_applicable
from .rules import explanation, root_cause, trace
from .scenario import CAUSES, Scenario


def check_grading(grading: str) -> None:
    """Raises ValueError for a name that is not in GRADINGS."""
    if grading not in GRADINGS:
        raise ValueError(f"grading is {grading!r}; choose one of {', '.join(GRADINGS)}.")


class Diagnosis(ABC):
    """Tasks whose problems have the answer {"label": the right one, "causes": {label: cause}}.

    An option that names none of the eight causes has its words in place of a cause.
    """

    grading: str

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def scenario(self, problem: Problem) -> Scenario:
        """The drive that a problem is about."""

    def score(self, problem: Problem, response: str) -> Score:
        """Reward 1.0 if the last \\boxed{} holds the right label, otherwise 0.0. has_format: it holds some label.

        Raises RewardError for a problem whose answer is unknown.
        """
        label = self._given(problem, response)
        right = problem.answer["label"]  # type: ignore[index]
        if right is None:
            raise RewardError(f"Problem {problem.id!r} has no answer (is_labelled is false); it cannot be scored.")
        return Score(float(label == right), label == right, label is not None)

    def class_of(self, problem: Problem) -> str | None:
        """The right cause, whatever its label; None if it is none of the eight, or unknown."""
        cause = self._causes(problem).get(problem.answer["label"])  # type: ignore[index]
        return cause if cause in CAUSES else None

    def answer_of(self, problem: Problem, response: str) -> str | None:
        """The cause that a response gives, whatever its label; the words of an option that names none."""
        label = self._given(problem, response)
        return None if label is None else self._causes(problem)[label]

    def explanation(self, problem: Problem) -> str:
        """The cause, and what each rule finds in the drive, or why the rules are not applicable."""
        cause, labels = self._right(problem), self._labels(problem)
        try:
            return explanation(self._drive(problem), cause, labels)
        except NotApplicableError as error:
            return f"{labels.get(cause, 'unknown')}: {CAUSES.get(cause, cause)}\n{error}"

    def picture(self, problem: Problem) -> Sequence[Any]:
        """Maps, and what the rules look at over time; nothing without tables. Requires altair."""
        from .charts import charts

        try:
            return charts(self.scenario(problem))
        except NotApplicableError:
            return ()

    def demonstration(self, problem: Problem) -> str:
        """Reasoning by the rules and the right label; the label alone when the rules do not find the right cause.

        Raises ValueError for a problem whose answer is unknown.
        """
        cause, labels = self._right(problem), self._labels(problem)
        if not cause:
            raise ValueError(f"Problem {problem.id!r} has no answer (is_labelled is false), so none can be shown.")
        try:
            scenario = self._drive(problem)
            if root_cause(scenario).cause == cause:
                return trace(scenario, labels)
        except NotApplicableError:
            pass
        return f"{CAUSES.get(cause, cause)} \\boxed{{{labels[cause]}}}"

    def _drive(self, problem: Problem) -> Scenario:
        """Raises NotApplicableError if the rules cannot be applied to it."""
        check_applicable(self._causes(problem))
        return self.scenario(problem)

    def _given(self, problem: Problem, response: str) -> str | None:
        """The label that a response gives, by the grading."""
        return GRADINGS[self.grading](response, self._causes(problem), problem.answer["label"])  # type: ignore[index]

    def _right(self, problem: Problem) -> str:
        """The right cause or words; empty if unknown."""
        return self._causes(problem).get(problem.answer["label"], "")  # type: ignore[index]

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
        if not isinstance(causes, dict) or answer["label"] not in (*causes, None):
            raise ValueError(
                f"Problem {problem.id!r} has the label {answer['label']!r}, which is not among its causes "
                f"{causes!r}, so no response could be right; fix the answer."
            )
        return causes
