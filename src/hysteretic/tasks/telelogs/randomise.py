"""Randomise a question as in the paper's second test set: labels are reassigned to causes, and tables may swap.

A model that has memorised "C3 is the usual answer", or where to look, loses accuracy; one that reads the logs does
not. Works on the text of any TeleLogs question, official or synthetic, together with its answer.

    before   C1: downtilt   C2: distance    ...   answer C2
    after    C1: handovers  C2: downtilt    ...   answer: the new label of "distance"

Labels keep their lines and their order: the words move between them. The tables swap with probability 1/2, each with
the line that introduces it. Every other character stays as it is, and so do the tables themselves.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from hashlib import blake2b

from .layout import Layout, Table, layout
from .parse import read_options


def randomise_question(question: str, answer: str, seed: int) -> tuple[str, str]:
    """Shuffle the labels of a question and maybe swap its tables, depending on the seed and the question alone.

    Args:
        question: the text of a question.
        answer: its right label.
        seed: which shuffle.

    Returns:
        The new question and its right label.

    Raises:
        ValueError: the answer is not a label of the question, or the question lists no options or lacks a table.

    Example:
        >>> from hysteretic.tasks.telelogs import Difficulty, draw, render, solve
        >>> question, answer = randomise_question(render(draw("example", "C7", Difficulty())), "C7", seed=0)
        >>> solve(question) == answer
        True
    """
    found = layout(question)
    options = read_options(found.options)
    if answer not in options:
        raise ValueError(f"The answer is {answer!r}; it must be one of the options {', '.join(options)}.")
    if len(found.tables) != 2:
        raise ValueError(f"The question has {len(found.tables)} of the two tables; give the complete question.")
    rng = random.Random(f"{seed} {blake2b(question.encode('utf-8', 'replace')).hexdigest()}")
    shuffled = list(options)
    rng.shuffle(shuffled)
    source = dict(zip(options, shuffled, strict=True))  # by label: the label whose words it gets
    is_swapped = rng.random() < 0.5
    pieces = _moved_words(found, question, source)
    if is_swapped:
        one, other = (_place(found, table) for table in found.tables)
        pieces += [(*one, question[slice(*other)]), (*other, question[slice(*one)])]
    return _replaced(question, pieces), next(label for label, before in source.items() if before == answer)


def _moved_words(found: Layout, question: str, source: Mapping[str, str]) -> list[tuple[int, int, str]]:
    named = {option.label: option.cause or option.words for option in found.options}
    again = [some for some in found.lists if {option.label: option.cause or option.words for option in some} == named]
    pieces = []
    for options in [found.options, *(some for some in again if some != found.options)]:
        words = {option.label: question[option.start : option.end] for option in options}
        pieces += [(option.start, option.end, words[source[option.label]]) for option in options]
    return pieces


def _place(found: Layout, table: Table) -> tuple[int, int]:
    """Start and end in the text: from the introduction to the last row, without its line break."""
    first = table.introduction or table.header[0]
    last, line = table.rows[-1] if table.rows else table.header
    return found.starts[first - 1], found.starts[last - 1] + len(line.removesuffix("\r"))


def _replaced(text: str, pieces: list[tuple[int, int, str]]) -> str:
    """The text with each (start, end) replaced by its new text; the pieces do not overlap."""
    done, at = [], 0
    for start, end, new in sorted(pieces):
        done += [text[at:start], new]
        at = end
    return "".join([*done, text[at:]])
