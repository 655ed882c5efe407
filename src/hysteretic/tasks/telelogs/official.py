"""The published questions, or others in their format, as a task: from your own copy, prompts unchanged."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ..rows import SUFFIXES, WHOLE, LeftOutWarning, Row, column, read_tables
from ..splits import check_fraction, digest, in_order, side, table_of
from ..task import Problem
from .diagnosis import Diagnosis, check_grading
from .parse import NotApplicableError, parse_question
from .questions import KINDS, Asked, UnusableError, as_text, read_question
from .randomise import randomise_question
from .scenario import Scenario
from .synthetic import SyntheticTeleLogs

HUB_ID = "netop/TeleLogs"
ACCESS = (
    "If the data set is gated, as the official one is, request access at https://huggingface.co/datasets/{source}, log "
    "in with `hf auth login`, and try again. A local file works too: --task telelogs --task-options "
    """'{{"source": "telelogs_test.json"}}'."""
)
SHOWN = 3
"""How many bad rows a message describes; all are counted."""


@dataclass(frozen=True)
class TeleLogs(Diagnosis):
    """Find the root cause of low throughput in the log of a 5G drive test; the answer goes into \\boxed{}.

    Reward: 1 if the last box of a response holds the row's label, otherwise 0 (see `answers.py`). Each row has a
    question and one of the labels that the question lists: some of the eight causes, or others, under any labels. Rows
    may hold questions of other kinds as well (see `questions.py`).

    Splits: those of the data. A single table named "test", or a file with that word in its name, is all test; any other
    single table is divided by a hash of the question. Identical rows are one problem.

    Args:
        source: a .json, .jsonl, .ndjson, .csv or .parquet file, or a hub id.
        config: the configuration of a hub data set that has several, such as "troubleshooting" of netop/TeleLogs or
            "telelogs" of GSMA/ot-lite.
        answers: a file with the answers, if they are not beside the questions; joined by id_column.
        id_column: identifies a row; only `answers` and `hysteretic eval --submission` need it.
        question_column: holds the text of the question.
        answer_column: holds the label, such as "C3".
        is_labelled: false for questions whose answers are secret: they can be posed, not scored.
        kinds: which kinds of questions to use, for example "telelogs" or "telelogs,network"; "all" for every kind. The
            others are left out and counted.
        grading: "strict", or "gsma" to grade as GSMA's evaluations do (see `answers.py`).
        on_bad_row: "refuse" raises an error if any row of the table is bad, "skip" leaves bad rows out with a warning;
            "keep" does as well, but keeps rows of which only the tables cannot be read.
        is_randomised: shuffle labels and swap tables, as in the paper's second test set (see `randomise.py`). Splits
            and order of the rows stay the same; questions of other kinds stay as they are.
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
    on_bad_row: Literal["refuse", "skip", "keep"] = "refuse"
    is_randomised: bool = False
    shuffle_seed: int = 0
    is_chat: bool = True
    test_fraction: float = 0.1
    config: str | None = None
    answers: str | None = None
    id_column: str = "ID"
    is_labelled: bool = True
    kinds: str = "all"
    grading: str = "strict"

    def __post_init__(self) -> None:
        check_fraction(self.test_fraction)
        check_grading(self.grading)
        if self.on_bad_row not in ("refuse", "skip", "keep"):
            raise ValueError(f'on_bad_row is {self.on_bad_row!r}; expected "refuse", "skip" or "keep".')
        if not self._kinds or not self._kinds <= set(KINDS):
            raise ValueError(f'kinds is {self.kinds!r}; expected "all", or some of {", ".join(KINDS)} with commas.')
        if not isinstance(self.answers, str | None):
            raise ValueError(f"answers is {self.answers!r}; expected the name of a file.")
        if self.answers is not None and not self.is_labelled:
            raise ValueError(f"is_labelled is false, but answers are given ({self.answers}); leave one of them out.")

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
        """The drive in the tables of the question. Raises NotApplicableError if it has none."""
        text = problem.prompt if isinstance(problem.prompt, str) else problem.prompt[0]["content"]
        try:
            return parse_question(text).scenario
        except ValueError as error:
            raise NotApplicableError(f"The rules are not applicable: {error}") from error

    def ids_of(self, problem: Problem) -> Sequence[str]:
        """The data's own ids of a problem, several if rows are identical. Raises ValueError without any."""
        if problem.id not in self._ids:
            raise ValueError(
                f"The row of problem {problem.id!r} has nothing in the column {self.id_column!r}; set id_column to the "
                "one that identifies rows."
            )
        return self._ids[problem.id]

    def randomised(self) -> TeleLogs | None:
        """The same questions with shuffled labels and swapped tables."""
        return None if self.is_randomised else replace(self, is_randomised=True)

    def stand_in(self) -> SyntheticTeleLogs | None:
        """Generated questions, in place of the gated data set."""
        return SyntheticTeleLogs() if self.source == HUB_ID else None

    @cached_property
    def _tables(self) -> dict[str, list[Row]]:
        try:
            return read_tables(self.source, self.config)
        except ValueError as error:
            if Path(self.source).suffix.lower() in SUFFIXES:
                raise
            raise ValueError(f"{error} {ACCESS.format(source=self.source)}") from error

    def _table_of(self, split: str) -> tuple[str, bool]:
        """The table that holds a split, and whether it has to be divided first."""
        only = next(iter(self._tables)) if len(self._tables) == 1 else None
        if only is not None and not self.is_labelled and split == "test":
            return only, False  # nothing to train on: all of it is posed
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

    @cached_property
    def _ids(self) -> dict[str, list[str]]:
        """The data's own ids by problem."""
        return {}

    @cached_property
    def _kinds(self) -> set[str]:
        return set(KINDS) if self.kinds == "all" else {kind.strip() for kind in self.kinds.split(",")}

    @cached_property
    def _answers(self) -> dict[str, Row]:
        """The rows of the file of answers, by id."""
        assert self.answers is not None
        found: dict[str, Row] = {}
        for rows in read_tables(self.answers).values():
            for index, row in enumerate(rows):
                where = f"{self.answers}, row {index},"
                name = as_text(column(row, self.id_column, "Set id_column to one of them.", where))
                if found.setdefault(name, row) != row:
                    raise ValueError(f"{where} has the id {name!r} of another row; keep one.")
        return found

    def _checked(self, table: str) -> list[tuple[Problem, str]]:
        rows = self._tables[table]
        if self.answers is not None and self.is_labelled:
            _ = self._answers  # a file that cannot be read is one error, not one of every row
        found: dict[str, tuple[Problem, str]] = {}  # by question
        labels: dict[str, tuple[int, str | None]] = {}  # by question: its first row, and the answer there
        contradicted: set[str] = set()
        bad: list[str] = []
        unusable: list[str] = []
        gaps: list[str] = []
        kinds: Counter[str] = Counter()
        for index, row in enumerate(rows):
            given = row.get(self.id_column)
            name = "" if given is None or given != given else as_text(given)  # NaN: an empty cell, to pandas
            where = f"row {index} ({name})" if name else f"row {index}"
            try:
                asked = self._row(row)
                before, other = labels.setdefault(asked.text, (index, asked.label))
                if other != asked.label:
                    contradicted.add(asked.text)
                    raise ValueError(
                        f"the question of row {before}, but the answer {asked.label!r} instead of {other!r}."
                    )
                problem = self._problem(asked)
            except UnusableError as error:
                if error.kind == "telelogs" and error.kind in self._kinds:
                    bad.append(f"{where}, {error}")
                    continue
                kinds[error.kind] += 1
                unusable.append(f"{where}, {error}")
                continue
            except ValueError as error:
                bad.append(f"{where}, {error}")
                continue
            kinds[asked.kind] += 1
            gaps += [f"{where}, {remark}" for remark in asked.remarks[:1]]
            if asked.kind in self._kinds:
                found.setdefault(asked.text, (problem, side(asked.text, self.test_fraction)))
                if name:
                    self._ids.setdefault(problem.id, []).append(name)
        where = self.source if table == WHOLE else f"{self.source}, split {table!r},"
        self._report(where, len(rows), bad, kinds, unusable, gaps)
        return [pair for question, pair in found.items() if question not in contradicted]

    def _report(
        self, where: str, rows: int, bad: list[str], kinds: Counter[str], unusable: list[str], gaps: list[str]
    ) -> None:
        """Raise for bad rows, or count what is left out in one line."""
        said = []
        if bad:
            shown = " ".join(f"({number}) {words}" for number, words in enumerate(bad[:SHOWN], 1))
            more = f" And {len(bad) - SHOWN} more." if len(bad) > SHOWN else ""
            words = f"{where} has {len(bad)} bad row{'s' * (len(bad) > 1)} of {rows}: {shown}{more}"
            if self.on_bad_row == "refuse":
                raise ValueError(
                    f'{words} Fix or remove them, or leave them out with on_bad_row="skip" ("keep" does as well, but '
                    "keeps those of which only the tables cannot be read)."
                )
            said.append(f"{words} They are left out.")
        if len(kinds) > 1 or not kinds.keys() <= self._kinds:
            counts = [
                f"{kinds[kind]} {kind}" + " (left out)" * (kind not in self._kinds) for kind in KINDS if kinds[kind]
            ]
            said.append(f"{where} has questions of these kinds: {', '.join(counts)}.")
        if unusable:
            said.append(f"{len(unusable)} of {rows} rows cannot be scored and are left out, the first is {unusable[0]}")
        if gaps:
            said.append(f"The tables of {len(gaps)} of {rows} rows have gaps, the first is {gaps[0]}.")
        if said:
            warnings.warn(" ".join(said), LeftOutWarning, stacklevel=2)

    def _row(self, row: Row) -> Asked:
        question = column(row, self.question_column, "Set question_column to one of them.", "it")
        if not isinstance(question, str):
            raise ValueError(f"{type(question).__name__} in column {self.question_column!r}; a question must be text.")
        answer = self._answer(row) if self.is_labelled else None
        return read_question(question, answer, needs_tables=self.on_bad_row != "keep")

    def _answer(self, row: Row) -> Any:
        where = "it"
        if self.answers is not None:
            name = as_text(column(row, self.id_column, "Set id_column to one of them.", where))
            found = self._answers.get(name) or self._answers.get(f"{name}_1")  # a row for each of four responses
            if found is None:
                raise ValueError(f"the id {name!r} is not in {self.answers}; add its answer.")
            row, where = found, f"{self.answers}, the row of {name},"
        return column(row, self.answer_column, "Set answer_column to one of them.", where)

    def _problem(self, asked: Asked) -> Problem:
        question, label, causes = asked.text, asked.label, asked.options
        content = f"{digest(question, label):016x}"
        identity = f"{self.name}:{content}"
        if self.is_randomised:
            identity = f"{self.name}-{self.shuffle_seed}:{content}"
            if asked.kind == "telelogs":
                question, label, causes = self._shuffled(asked)
        prompt = [{"role": "user", "content": question}] if self.is_chat else question
        return Problem(identity, prompt, {"label": label, "causes": causes})

    def _shuffled(self, asked: Asked) -> tuple[str, str | None, dict[str, str]]:
        """Question, label and options after `randomise_question`; the same if it has no two tables to swap."""
        first = next(iter(asked.options))
        try:
            question, moved = randomise_question(asked.text, asked.label or first, self.shuffle_seed)
        except ValueError:
            if self.on_bad_row == "keep":
                return asked.text, asked.label, asked.options
            raise
        label = None if asked.label is None else moved
        return question, label, read_question(question, label, needs_tables=False).options
