"""TeleLogs without the data set: generated drives with a known cause, as long questions or as compact ones.

telelogs-synthetic   in the text format of the data set, about two thousand tokens
telelogs-compact     the same drives in about a hundred tokens, for a tiny model (see `compact.py`)
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count as count_up
from itertools import islice

from ..splits import check_split, number_of_problems
from ..task import Problem
from .compact import LEGEND, careful_report, compact
from .diagnosis import Diagnosis, check_grading
from .difficulty import COMPACT, OFFICIAL, Difficulty
from .drive import draw
from .scenario import CAUSES, Scenario
from .text import render


@dataclass(frozen=True)
class SyntheticTeleLogs(Diagnosis):
    """Find the root cause of low throughput in generated drives; reward 1 if the last \\boxed{} holds its label.

    Problems: each block of eight has the eight causes in random order. There is no last problem; no drive is in two
    splits, or under two seeds.
    Score.has_format: the last box holds one of the labels.

    Args:
        prompt: "chat", messages for an instruct model; "plain", text; "compact", for a tiny model.
        fewest_cells, most_cells, false_leads: see `Difficulty`.
        is_randomised: shuffle the labels of the causes, with the two tables in random order.
        grading: "strict", or "gsma" to grade as GSMA's evaluations do (see `answers.py`).

    Raises:
        ValueError: a setting is out of range, or a compact prompt is to be randomised.

    Example:
        >>> task = SyntheticTeleLogs("plain")
        >>> problem = task.problems("test", seed=0, count=1)[0]
        >>> task.score(problem, f"The cause is \\\\boxed{{{problem.answer['label']}}}").reward
        1.0
    """

    prompt: str = "chat"
    fewest_cells: int = Difficulty.cells[0]
    most_cells: int = Difficulty.cells[1]
    false_leads: float = Difficulty.false_leads
    is_randomised: bool = False
    grading: str = "strict"

    def __post_init__(self) -> None:
        if self.prompt not in ("chat", "plain", "compact"):
            raise ValueError(f"prompt is {self.prompt!r}; choose one of chat, plain, compact.")
        if self.prompt == "compact" and self.is_randomised:
            raise ValueError(
                "A compact prompt lists no options, so there are no labels to shuffle; unset is_randomised or prompt."
            )
        check_grading(self.grading)
        _ = self.difficulty

    @property
    def name(self) -> str:
        if self.prompt == "compact":
            return "telelogs-compact"
        return "telelogs-synthetic" + ("-randomised" if self.is_randomised else "")

    @property
    def is_chat(self) -> bool:
        """Whether prompts are chat messages: the option `prompt` decides."""
        return self.prompt == "chat"

    @property
    def difficulty(self) -> Difficulty:
        ranges = COMPACT if self.prompt == "compact" else OFFICIAL
        return Difficulty((self.fewest_cells, self.most_cells), self.false_leads, ranges)

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> tuple[Problem, ...]:
        """The first `count` problems of a split and a seed; a smaller count gives a prefix of a larger one.

        count: None means 800 of train and 200 of the others.
        Raises ValueError for an unknown split and a negative count.
        """
        return tuple(islice(self.stream(split, seed), number_of_problems(split, count)))

    def stream(self, split: str = "train", seed: int = 0) -> Iterator[Problem]:
        """The problems of a split in that order, one at a time, without end. Raises ValueError for an unknown split."""
        check_split(split, self.name)
        causes = (cause for block in count_up() for cause in self._block(split, seed, block))
        return (self._problem(f"{split} {seed} {index}", cause) for index, cause in enumerate(causes))

    def scenario(self, problem: Problem) -> Scenario:
        """The drive that a problem of this task is about."""
        cause = self.class_of(problem)
        assert isinstance(problem.answer, dict)  # checked by class_of
        assert cause is not None
        return draw(problem.answer["drive"], cause, self.difficulty)

    def demonstration(self, problem: Problem) -> str:
        """Reasoning by the rules; for a compact prompt a short report (see `compact.py`)."""
        return careful_report(self.scenario(problem)) if self.prompt == "compact" else super().demonstration(problem)

    def explanation(self, problem: Problem) -> str:
        """The cause, what each rule finds, and how to read a compact prompt."""
        said = super().explanation(problem)
        return f"{said}\n{LEGEND}" if self.prompt == "compact" else said

    def randomised(self) -> SyntheticTeleLogs | None:
        """The same drives with labels shuffled and tables in random order; None for compact prompts: they lack both."""
        return None if self.prompt == "compact" or self.is_randomised else replace(self, is_randomised=True)

    def _block(self, split: str, seed: int, block: int) -> list[str]:
        return random.Random(f"causes {split} {seed} {block}").sample(list(CAUSES), len(CAUSES))

    def _problem(self, drive: str, cause: str) -> Problem:
        scenario = draw(drive, cause, self.difficulty)
        shuffle = random.Random(f"labels {drive}")
        labels = shuffle.sample(list(CAUSES), len(CAUSES)) if self.is_randomised else list(CAUSES)
        label_by_cause = dict(zip(CAUSES, labels, strict=True))
        causes = dict(sorted(zip(labels, CAUSES, strict=True)))
        answer = {"label": label_by_cause[cause], "causes": causes, "drive": drive}
        name = f"{self.name}:{self.fewest_cells}-{self.most_cells}-{self.false_leads:g}:{drive.replace(' ', '-')}"
        if self.prompt == "compact":
            return Problem(name, compact(scenario), answer)
        in_order = {found: label for label, found in causes.items()}
        text = render(scenario, in_order, drive_first=not (self.is_randomised and shuffle.random() < 0.5))
        return Problem(name, [{"role": "user", "content": text}] if self.prompt == "chat" else text, answer)
