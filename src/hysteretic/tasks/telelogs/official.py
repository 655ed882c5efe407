"""The published questions, or others in their format, as a task: from your own copy, prompts unchanged."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..rows import SUFFIXES, WHOLE, Row, column, read_tables
from ..splits import check_fraction, digest, in_order, side, table_of
from ..task import Problem
from .diagnosis import Diagnosis
from .parse import parse_question
from .randomise import randomise_question
from .scenario import Scenario
from .synthetic import SyntheticTeleLogs

HUB_ID = "netop/TeleLogs"
ACCESS = (
    f"The official data set is gated: request access at https://huggingface.co/datasets/{HUB_ID}, log in with "
    "`hf auth login`, and try again. A local file works too: --task telelogs --task-options "
    """'{"source": "telelogs_test.json"}'."""
)
SHOWN = 3
"""How many bad rows a message describes; all are counted."""


class BadRowsWarning(UserWarning):
    """Rows of a data set were left out, as on_bad_row="skip" requests."""


@dataclass(frozen=True)
class TeleLogs(Diagnosis):
    """Find the root cause of low throughput in the log of a 5G drive test; the answer goes into \\boxed{}.

    Reward: 1 if the last box of a response holds the row's label, otherwise 0 (see `answers.py`). Each row has a
    question that `parse_question` accepts tolerantly, and one of the labels that the question lists.

    Splits: those of the data. A single table named "test", or a file with that word in its name, is all test; any other
    single table is divided by a hash of the question. Identical rows are one problem.

    Args:
        source: a .json, .jsonl, .ndjson, .csv or .parquet file, or a hub id.
        question_column: holds the text of the question.
        answer_column: holds the label, such as "C3".
        on_bad_row: "refuse" raises an error if any row of the table is bad, "skip" leaves bad rows out with a warning.
        is_randomised: shuffle labels and swap tables, as in the paper's second test set (see `randomise.py`). Splits
            and order of the rows stay the same.
        shuffle_seed: which shuffle.
        is_chat: make each question one user message, for instruct models.
        test_fraction: fraction of a single table that becomes the test split.

    Raises:
        ValueError: an option is invalid. The data is read later, by `problems`.

    References:
        The data set (gated): https://huggingface.co/datasets/netop/TeleLogs
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

        Raises ValueError for a split that does not exist, for bad rows unless they are skipped, when fewer than `count`
        problems exist, and without access to the hub, saying where to request it.
        """
        table, is_divided = self._table_of(split)
        found = [p for p, part in self._problems(table) if not is_divided or part == split]
        return in_order(found, split, seed, count, self.source, key=lambda problem: problem.id.rpartition(":")[2])

    def scenario(self, problem: Problem) -> Scenario:
        """The drive in the tables of the question."""
        text = problem.prompt if isinstance(problem.prompt, str) else problem.prompt[0]["content"]
        return parse_question(text, is_strict=False).scenario

    def randomised(self) -> TeleLogs | None:
        """The same questions with shuffled labels and swapped tables."""
        return None if self.is_randomised else replace(self, is_randomised=True)

    def stand_in(self) -> SyntheticTeleLogs | None:
        """Generated questions, in place of the gated data set."""
        return SyntheticTeleLogs() if self.source == HUB_ID else None

    @cached_property
    def _tables(self) -> dict[str, list[Row]]:
        try:
            return read_tables(self.source)
        except ValueError as error:
            if Path(self.source).suffix.lower() in SUFFIXES:
                raise
            raise ValueError(f"{error} {ACCESS}") from error

    def _table_of(self, split: str) -> tuple[str, bool]:
        """The table that holds a split, and whether it has to be divided first."""
        only = next(iter(self._tables)) if len(self._tables) == 1 else None
        if only == "test" or (only == WHOLE and "test" in re.split(r"[^a-z]+", Path(self.source).stem.lower())):
            if split == "test":
                return only, False
            raise ValueError(
                f"{self.source} is all test because of its name, so it has no split {split!r}; for training, give a "
                'file with {"train": [...], "test": [...]}, or one without "test" in its name, which is divided.'
            )
        return table_of(split, self._tables, self.source)

    def _problems(self, table: str) -> list[tuple[Problem, str]]:
        """The distinct problems of a table in the order of the data, each with its split if the table is divided."""
        if table not in self._read:
            self._read[table] = self._checked(table)
        return self._read[table]

    @cached_property
    def _read(self) -> dict[str, list[tuple[Problem, str]]]:
        return {}

    def _checked(self, table: str) -> list[tuple[Problem, str]]:
        rows = self._tables[table]
        found: dict[str, tuple[Problem, str]] = {}  # by question
        answers: dict[str, tuple[int, str]] = {}  # by question: its first row, and the answer there
        contradicted: set[str] = set()
        bad: list[str] = []
        for index, row in enumerate(rows):
            try:
                question, answer, causes = self._row(row, f"row {index}")
                before, other = answers.setdefault(question, (index, answer))
                if other != answer:
                    contradicted.add(question)
                    raise ValueError(
                        f"row {index} has the question of row {before}, but the answer {answer!r} instead of {other!r}."
                    )
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
            raise ValueError(f'{words} Fix or remove them, or leave them out with on_bad_row="skip".')
        warnings.warn(f"{words} They are left out.", BadRowsWarning, stacklevel=2)

    def _row(self, row: Row, where: str) -> tuple[str, str, dict[str, str]]:
        """Question, answer, and the cause of each label of the question. Raises ValueError naming the row."""
        question = column(row, self.question_column, "Set question_column to one of them.", where)
        answer = column(row, self.answer_column, "Set answer_column to one of them.", where)
        if not isinstance(question, str):
            raise ValueError(
                f"{where} has {type(question).__name__} in column {self.question_column!r}; a question must be text."
            )
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
    """The label that an answer names. An integer is accepted if labels are digits: spreadsheets turn "3" into 3."""
    said = str(answer) if isinstance(answer, int) and not isinstance(answer, bool) else answer
    label = (
        {label.casefold(): label for label in labels}.get(said.strip().casefold()) if isinstance(said, str) else None
    )
    if label is None:
        raise ValueError(f"{where} has the answer {str(answer)[:60]!r}; expected one of {', '.join(sorted(labels))}.")
    return label
