"""How are the published questions, or others in their format, a task? From the user's own copy, prompts untouched."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..rows import SUFFIXES, WHOLE, Row, column, read_tables
from ..splits import check_fraction, digest, in_order, side
from ..task import Problem
from .diagnosis import Diagnosis
from .parse import parse_question
from .randomise import randomise_question
from .scenario import Scenario

HUB_ID = "netop/TeleLogs"
ACCESS = (
    f"The official data set is gated: ask for access at https://huggingface.co/datasets/{HUB_ID}, log in with "
    "`hf auth login`, and try again. A local file works too: --task telelogs --task-options "
    """'{"source": "telelogs_test.json"}'."""
)
SHOWN = 3
"""Bad rows that an error describes; all are counted."""


class BadRowsWarning(UserWarning):
    """Rows of a data set were left out, as asked."""


@dataclass(frozen=True)
class TeleLogs(Diagnosis):
    """The root cause of a fall in throughput, from the log of a 5G drive test; the answer goes into \\boxed{}.

    Reward: 1 when the last box of a response holds the row's label, else 0 (see `answers.py`). A row is a question that
    `parse_question` reads tolerantly and one of the labels that the question lists.

    Splits: those of the data. A single table named "test", or a file with that word in its name, is all test; another
    single table is divided by a hash of the question. Identical rows are one problem.

    source: a .json, .jsonl, .csv or .parquet file, or a hub id.
    question_column: the question, text.
    answer_column: the label, such as "C3".
    on_bad_row: "refuse" raises when any row of the table is bad, "skip" leaves bad rows out with a warning.
    is_randomised: labels shuffled and tables swapped, as in the paper's second test set (see `randomise.py`). The same
        rows are in the same splits and order as without.
    shuffle_seed: which shuffle.
    is_chat: each question is one user message, for instruct models.
    test_fraction: the share of a single table that becomes test.
    """

    source: str = HUB_ID
    question_column: str = "question"
    answer_column: str = "answer"
    on_bad_row: Literal["refuse", "skip"] = "refuse"
    is_randomised: bool = False
    shuffle_seed: int = 0
    is_chat: bool = True
    test_fraction: float = 0.1

    def __post_init__(self) -> None:
        check_fraction(self.test_fraction)
        if self.on_bad_row not in ("refuse", "skip"):
            raise ValueError(f'on_bad_row is {self.on_bad_row!r}; expected "refuse" or "skip".')

    @property
    def name(self) -> str:
        return "telelogs-randomised" if self.is_randomised else "telelogs"

    def problems(self, split: str = "train", seed: int = 0, count: int | None = None) -> tuple[Problem, ...]:
        """The first `count` problems of a split in the order of a seed; None: all of them.

        Raises ValueError for a split that is not there, for bad rows unless they are skipped, when fewer than `count`
        problems exist, and without access to the hub, saying where to ask for it.
        """
        table, is_divided = self._table_of(split)
        found = [p for p, part in self._problems(table) if not is_divided or part == split]
        return in_order(found, split, seed, count, self.source, key=lambda problem: problem.id.rpartition(":")[2])

    def scenario(self, problem: Problem) -> Scenario:
        """What the question's tables say."""
        text = problem.prompt if isinstance(problem.prompt, str) else problem.prompt[0]["content"]
        return parse_question(text, is_strict=False).scenario

    def randomised(self) -> TeleLogs | None:
        """The same questions, shuffled."""
        return None if self.is_randomised else replace(self, is_randomised=True)

    @cached_property
    def _tables(self) -> dict[str, list[Row]]:
        try:
            return read_tables(self.source)
        except ValueError as error:
            if Path(self.source).suffix.lower() in SUFFIXES:
                raise
            raise ValueError(f"{error} {ACCESS}") from error

    def _table_of(self, split: str) -> tuple[str, bool]:
        """The table that a split is in, and whether the split is only a part of it."""
        tables = self._tables
        only = next(iter(tables)) if len(tables) == 1 else None
        if only == "test" or (only == WHOLE and "test" in re.split(r"[^a-z]+", Path(self.source).stem.lower())):
            if split == "test":
                return only, False
            raise ValueError(
                f"{self.source} is all test by its name, and has no split {split!r}; for training give a file with "
                '{"train": [...], "test": [...]}, or one without "test" in its name, which is divided.'
            )
        if only is not None and split in ("train", "test"):
            return only, True
        if split not in tables or only is not None:
            has = ", ".join(tables) if only is None else "train, test"
            raise ValueError(f"{self.source} has no split {split!r}; it has {has}.")
        return split, False

    def _problems(self, table: str) -> list[tuple[Problem, str]]:
        """The distinct problems of a table and the side each would be on, in the order of the data."""
        if table not in self._read:
            self._read[table] = self._checked(table)
        return self._read[table]

    @cached_property
    def _read(self) -> dict[str, list[tuple[Problem, str]]]:
        return {}

    def _checked(self, table: str) -> list[tuple[Problem, str]]:
        rows = self._tables[table]
        found: dict[str, tuple[Problem, str]] = {}  # by question
        answers: dict[str, tuple[int, str]] = {}  # by question, the row that had it first and its answer
        contradicted: set[str] = set()
        bad: list[str] = []
        for index, row in enumerate(rows):
            try:
                question, answer, causes = self._row(row, f"row {index}")
                before, other = answers.setdefault(question, (index, answer))
                if other != answer:
                    contradicted.add(question)
                    said = f"row {index} answers {answer!r} where row {before}, its equal, answers {other!r}"
                    raise ValueError(f"{said}; neither is used.")
                problem = self._problem(question, answer, causes)
            except ValueError as error:
                bad.append(str(error))
            else:
                found.setdefault(question, (problem, side(question, self.test_fraction)))
        if bad:
            self._report(bad, len(rows), self.source if table == WHOLE else f"{self.source}, split {table!r},")
        return [pair for question, pair in found.items() if question not in contradicted]

    def _report(self, bad: Sequence[str], rows: int, where: str) -> None:
        shown = " ".join(f"({number}) {words}" for number, words in enumerate(bad[:SHOWN], 1))
        more = f" And {len(bad) - SHOWN} more." if len(bad) > SHOWN else ""
        words = f"{where} has {len(bad)} bad row{'s' * (len(bad) > 1)} of {rows}: {shown}{more}"
        if self.on_bad_row == "refuse":
            raise ValueError(f'{words} Mend or remove them, or leave them out with on_bad_row="skip".')
        warnings.warn(f"{words} They are left out.", BadRowsWarning, stacklevel=2)

    def _row(self, row: Row, where: str) -> tuple[str, str, dict[str, str]]:
        """Question, answer, and the cause of each of the question's labels. Raises ValueError naming the row."""
        question = column(row, self.question_column, "Set question_column to one of them.", where)
        answer = column(row, self.answer_column, "Set answer_column to one of them.", where)
        if not isinstance(question, str):
            raise ValueError(f"{where} has {type(question).__name__} in {self.question_column!r}; a question is text.")
        try:
            causes = parse_question(question, is_strict=False).options
        except ValueError as error:
            raise ValueError(f"{where}, {error}") from error
        return question, _label(answer, causes, where), causes

    def _problem(self, question: str, answer: str, causes: dict[str, str]) -> Problem:
        content = f"{digest(question, answer):016x}"
        identity = f"{self.name}:{content}"
        if self.is_randomised:
            question, answer = randomise_question(question, answer, self.shuffle_seed)
            causes = parse_question(question, is_strict=False).options
            identity = f"{self.name}-{self.shuffle_seed}:{content}"
        prompt = [{"role": "user", "content": question}] if self.is_chat else question
        return Problem(identity, prompt, {"label": answer, "causes": causes})


def _label(answer: Any, labels: Collection[str], where: str) -> str:
    """The label that an answer names. A whole number counts where labels are digits: tables turn "3" into 3."""
    said = str(answer) if isinstance(answer, int) and not isinstance(answer, bool) else answer
    label = (
        {label.casefold(): label for label in labels}.get(said.strip().casefold()) if isinstance(said, str) else None
    )
    if label is None:
        raise ValueError(f"{where} has the answer {str(answer)[:60]!r}; expected one of {', '.join(sorted(labels))}.")
    return label
