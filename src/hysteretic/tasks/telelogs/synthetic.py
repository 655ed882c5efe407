"""TeleLogs without the data set: original drives with a known cause, as long questions or as compact ones.

telelogs-synthetic   the data set's text format, for models that read two thousand tokens
telelogs-compact     the same drives in about a hundred tokens, for a tiny model (see `compact.py`)
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count as count_up
from itertools import islice

from ..task import Problem
from .compact import LEGEND, compact
from .diagnosis import Diagnosis
from .drive import Difficulty, draw
from .reports import careful_report
from .scenario import CAUSES, Scenario
from .text import render

SPLITS = ("train", "validation", "test")
DEFAULT_COUNTS = {"train": 800, "validation": 200, "test": 200}


@dataclass(frozen=True)
class SyntheticTeleLogs(Diagnosis):
    """Drives drawn from a seed, and the score of a response: 1 when the last \\boxed{} holds the cause's label.

    Problems: every eight in a row have the eight causes, in an order of their own. There is no last problem; no drive
    is in two splits, or in two seeds.
    Score.has_format: the last box holds one of the labels.

    fewest_cells, most_cells, false_leads: see `Difficulty`.
    prompt: "chat", messages for an instruct model; "plain", text; "compact", for a tiny model.
    is_randomised: labels shuffled among the causes, and the tables in either order.
    """

    prompt: str = "chat"
    fewest_cells: int = Difficulty.cells[0]
    most_cells: int = Difficulty.cells[1]
    false_leads: float = Difficulty.false_leads
    is_randomised: bool = False

    def __post_init__(self) -> None:
        if self.prompt not in ("chat", "plain", "compact"):
            raise ValueError(f"prompt is {self.prompt!r}, which is no style; choose one of chat, plain, compact.")
        if self.prompt == "compact" and self.is_randomised:
            raise ValueError(
                "A compact prompt lists no options, so there are no labels to shuffle; set one of the two."
            )
        _ = self.difficulty

    @property
    def name(self) -> str:
        if self.prompt == "compact":
            return "telelogs-compact"
        return "telelogs-synthetic" + ("-randomised" if self.is_randomised else "")

    @property
    def difficulty(self) -> Difficulty:
        return Difficulty((self.fewest_cells, self.most_cells), self.false_leads)

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> tuple[Problem, ...]:
        """The first `count` problems of a split and a seed; the first k are the same for any count.

        count: None takes 800 of train and 200 of the others.
        Raises ValueError for an unknown split and a negative count.
        """
        problems = self.stream(split, seed)
        wanted = DEFAULT_COUNTS[split] if count is None else count
        if wanted < 0:
            raise ValueError(f"count is {wanted}; ask for 0 or more problems.")
        return tuple(islice(problems, wanted))

    def stream(self, split: str = "train", seed: int = 0) -> Iterator[Problem]:
        """The problems of a split in that order, one at a time, without end. Raises ValueError for an unknown split."""
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, but {self.name} has {', '.join(SPLITS)}; choose one of them.")
        causes = (cause for block in count_up() for cause in self._block(split, seed, block))
        return (self._problem(f"{split} {seed} {index}", cause) for index, cause in enumerate(causes))

    def scenario(self, problem: Problem) -> Scenario:
        """The drive that a problem of this task is about."""
        cause = self.class_of(problem)
        assert isinstance(problem.answer, dict)  # class_of has looked
        return draw(problem.answer["drive"], cause, self.difficulty)

    def demonstration(self, problem: Problem) -> str:
        """The reasoning by rules; for a compact prompt a report in its own short words."""
        return careful_report(self.scenario(problem)) if self.prompt == "compact" else super().demonstration(problem)

    def explanation(self, problem: Problem) -> str:
        """The cause, and what each rule finds; how to read a compact prompt."""
        said = super().explanation(problem)
        return f"{said}\n{LEGEND}" if self.prompt == "compact" else said

    def randomised(self) -> SyntheticTeleLogs | None:
        """The same drives with labels shuffled and tables in either order. A compact prompt has neither."""
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
