r"""The label that a response gives in its last \boxed{...}: what a person who reads the box would say.

A box gives a label if it holds one option and nothing that makes it doubtful:

    the label                    \boxed{C3}  \boxed{{c 3}}  \boxed{C_{3}}  \boxed{(C3).}
    in any font                  \boxed{\text{C3}}  \boxed{\texttt{C3}}  \boxed{\boldsymbol{C}_3}  \boxed{**C3**}
    introduced by a noun         \boxed{Cause C3}  \boxed{The answer is C3}
    with its description         \boxed{C3: A neighbouring cell is better}  \boxed{C3 (overshooting)}

and none if a reader could not say which, or would have to guess:

    two options                  \boxed{C3, C4}  \boxed{C3 or C4}  \boxed{C3: or C4}  \boxed{1, 2}
    a number that is no label    \boxed{1.2}  \boxed{1.0}  \boxed{-3}: never joined to 12, 10 or 3
    no mark after the label      \boxed{C3 is it}, because \boxed{A handover} begins with an article
    another spelling             \boxed{3} where the labels are C1 to C8, full-width \boxed{C３}

That is grading "strict", the default. "gsma" grades as GSMA's evaluations do by default: the first integer in the last
closed box counts, so that \boxed{3}, \boxed{C3, C4} and \boxed{cause 3} all give C3. Use it for a number to compare
with theirs, not to train. Where no label has a digit, "gsma" is "strict".

`tests/tasks/test_telelogs_answers.py` has the whole table. Model text is only compared, never executed, in time linear
in its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping

OPENING = "\\boxed"
LONGEST = 1_000
"""Most characters in a box: a label with its LaTeX and a description, as long as an option may be."""

_FONT = re.compile(
    r"\\(?:text)?color\s*\{[^{}]*\}"
    r"|\\(?:text(?:bf|it|md|normal|rm|sc|sf|sl|tt|up|style)?|math[a-z]*|bold[a-z]*|operatorname|underline|emph"
    r"|[mhf]box|pmb|bm|bf|rm|it|tt|sf|sc|displaystyle|ensuremath|tiny|small|normalsize|large|Large|LARGE|huge|Huge"
    r"|left|right|[bB]igg?[lr]?)(?![A-Za-z])\*?"
)
"""LaTeX that changes how its argument looks, not what it says."""
_SPACE = re.compile(r"\\[,;:! ]|\\q?quad(?![A-Za-z])|\\\\|~|\s+")
_DELIMITER = re.compile(r"\\[(){}\[\]]|[{}]")
_MARK = "*_$`'\"\u2018\u2019\u201c\u201d"
_MARKUP = re.compile(rf"(?<![A-Za-z0-9{_MARK}])[{_MARK}]+|[{_MARK}]+(?![A-Za-z0-9{_MARK}])")
"""Markdown, dollars and quotes around a word; never between two digits."""

_LABEL = r"(?:[A-Za-z]{1,2}[ _.\-]{0,2}[0-9]{1,2}|[0-9]{1,2}|[A-Za-z])(?![A-Za-z0-9])"
_NOUN = r"(?:(?:the )?(?:final |correct )?(?:answer|root cause|cause|option|choice|label)(?: is)?:? )?"
_ANSWER = re.compile(rf"{_NOUN}[(\[ ]*(?P<label>{_LABEL})(?P<rest>.*)", re.IGNORECASE)
_END = re.compile(r"[.,;:!)\] ]*")
_DESCRIPTION = re.compile(r"[)\]]*(?: ?:|[.,;] | [-=\u2013\u2014] | ?[(\[]|(?<=[)\]]) ) ?(?P<words>[A-Za-z].*)")
_DOUBT = re.compile(r"(?:and|or|nor|not|but|to|then|maybe|perhaps)\b", re.IGNORECASE)
_MENTION = re.compile(rf"(?<![A-Za-z0-9]){_LABEL}")
_POINTED_AT = re.compile(r"(?:\b(?:and|or|nor|not|option|cause|answer|label)|[,/&:]) *$", re.IGNORECASE)


def boxed(response: str) -> str | None:
    """The content of the last \\boxed{...} with inner braces; None if there is none, or it is unclosed or too long."""
    at = response.rfind(OPENING)
    if at < 0:
        return None
    window = response[at + len(OPENING) : at + len(OPENING) + LONGEST + 16]
    rest = window.lstrip(" ")
    if not rest.startswith("{"):
        return None
    depth = 0
    for index, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[1:index]
    return None


def label_of(response: str, labels: Collection[str]) -> str | None:
    """The option that the response gives, ignoring case; None for no option or more than one."""
    content = boxed(response)
    if content is None:
        return None
    found = _ANSWER.fullmatch(_plain(content))
    if found is None:
        return None
    by_key = {_key(label): label for label in labels}
    label = by_key.get(_key(found["label"]))
    if label is None or _END.fullmatch(found["rest"]):
        return label
    described = _DESCRIPTION.fullmatch(found["rest"])
    if described is None or _is_doubtful(described["words"], by_key.keys() - {_key(label)}):
        return None
    return label


_CLOSED = re.compile(r"\\boxed\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}")
_INTEGER = re.compile(r"(?<!\d)\d{1,9}(?!\d)")


def gsma_label_of(response: str, labels: Collection[str], right: str | None) -> str | None:
    """The option with the first integer of the last closed box; the right one if several have that integer."""
    in_order = sorted(labels, key=lambda label: label == right)  # the right one last: it replaces others
    numbers = {number: label for label in in_order if (number := _first_integer(label)) is not None}
    if not numbers:
        return label_of(response, labels)
    boxes = _CLOSED.findall(response)
    found = _first_integer(boxes[-1]) if boxes else None
    return None if found is None else numbers.get(found)


def _first_integer(text: str) -> int | None:
    found = _INTEGER.search(text)
    return None if found is None else int(found.group())


Grading = Callable[[str, Mapping[str, str], "str | None"], "str | None"]

GRADINGS: dict[str, Grading] = {"strict": lambda response, labels, _: label_of(response, labels), "gsma": gsma_label_of}
"""By name: the label that a response gives, from the response, the labels of the question, and the right one."""


def _plain(content: str) -> str:
    """The text without fonts, delimiters, markup and repeated spaces."""
    text = _FONT.sub("", content)
    text = _DELIMITER.sub("", _SPACE.sub(" ", text)).replace("\\_", "_")
    return " ".join(_MARKUP.sub("", text).split())


def _key(label: str) -> str:
    return re.sub(r"[ _.\-]", "", label).casefold()


def _is_doubtful(words: str, others: Collection[str]) -> bool:
    """Whether a description is no words, takes the label back, or names another option.

    A bare letter or number is also a word or a quantity ("A handover", "5 dB"): it names an option only after a word
    such as "or", or at the end.
    """
    if not re.search(r"[A-Za-z]{2}", words) or _DOUBT.match(words):
        return True
    for mention in _MENTION.finditer(words):
        if _key(mention.group()) in others:
            is_bare = mention.group().isdigit() or len(mention.group()) == 1
            is_last = _END.fullmatch(words[mention.end() :]) is not None
            if not is_bare or is_last or _POINTED_AT.search(words[: mention.start()]):
                return True
    return False
