"""Verify a Countdown response with exact arithmetic, without ever executing model text.

Model text is hostile input: it is read by a tokenizer of seven symbols and evaluated on a stack. No eval, no
recursion, no floating point; only the last LONGEST_TAIL characters of a response are searched and at most
MAX_CHARACTERS characters of an answer are parsed.

    expression := term (("+" | "-") term)*
    term       := factor (("*" | "/") factor)*
    factor     := integer | "(" expression ")"
    integer    := "0" | [1-9][0-9]*            ASCII digits, no sign, no leading zero

Spaces and tabs may stand between symbols. Anything else is not an expression: a newline, `**`, `//`, `=`, a
decimal point, a sign in front of a number, `5(3)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from numbers import Real
from typing import Any

MAX_CHARACTERS = 200
"""Longest answer that is read, between the tags. This also bounds the depth of parentheses."""
LONGEST_TAIL = 65_536
"""How far from the end of a response the answer block is searched for; bounds the cost of very long responses."""

_OPEN, _CLOSE = "<answer>", "</answer>"
_SYMBOL = re.compile(r"[ \t]*(?:(0|[1-9][0-9]*)|([-+*/()]))")
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2}


def answer_span(response: str) -> tuple[int, int] | None:
    """Start and end of the text in the last answer block, or None when the response has no answer.

    The last `</answer>` closes the block and the nearest `<answer>` before it opens it. No answer: no such
    pair, more than MAX_CHARACTERS between them, or another `<answer>` opened afterwards and never closed.
    """
    end = response.rfind(_CLOSE, max(0, len(response) - LONGEST_TAIL))
    if end < 0 or response.find(_OPEN, end) >= 0:
        return None
    start = response.rfind(_OPEN, max(0, end - MAX_CHARACTERS - len(_OPEN)), end)
    return None if start < 0 else (start + len(_OPEN), end)


def parse(text: str) -> list[int | str] | None:
    """The expression in postfix order (3 5 7 * + for 3+5*7), or None when the text is not an expression.

    Operator precedence by two stacks (Dijkstra's shunting yard); left to right within a precedence.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    postfix: list[int | str] = []
    waiting: list[str] = []
    is_operand_next = True
    position, end = 0, len(text.rstrip(" \t"))
    while position < end:
        symbol = _SYMBOL.match(text, position)
        if symbol is None:
            return None
        position = symbol.end()
        integer, operator = symbol.groups()
        if (integer is not None or operator == "(") != is_operand_next:
            return None
        if integer is not None:
            postfix.append(int(integer))
            is_operand_next = False
        elif operator == "(":
            waiting.append("(")
        elif operator == ")":
            while waiting and waiting[-1] != "(":
                postfix.append(waiting.pop())
            if not waiting:
                return None
            waiting.pop()
        else:
            while waiting and waiting[-1] != "(" and _BINDING[waiting[-1]] >= _BINDING[operator]:
                postfix.append(waiting.pop())
            waiting.append(operator)
            is_operand_next = True
    if is_operand_next or "(" in waiting:
        return None
    return postfix + waiting[::-1]


def evaluate(postfix: Sequence[int | str]) -> Fraction | None:
    """The exact value of a parsed expression, or None when it divides by zero."""
    stack: list[Fraction] = []
    for symbol in postfix:
        if isinstance(symbol, int):
            stack.append(Fraction(symbol))
            continue
        right, left = stack.pop(), stack.pop()
        if symbol == "+":
            stack.append(left + right)
        elif symbol == "-":
            stack.append(left - right)
        elif symbol == "*":
            stack.append(left * right)
        elif right == 0:
            return None
        else:
            stack.append(left / right)
    return stack.pop()


def whole_number(value: Any, name: str) -> int:
    """An integer from problem data: 26, 26.0 (a table with gaps turns integers into floats) or "26" (a CSV field).

    Raises ValueError for anything else: compared with an integer it would only ever be unequal, a reward of 0.
    """
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and value == int(value):
        return int(value)
    raise ValueError(f"{name} is {value!r}; Countdown takes whole numbers, such as numbers [3, 5, 7] and target 26.")


def verify(response: str, numbers: Sequence[int], target: int) -> float:
    """1.0 if the last answer block uses exactly these numbers and equals the target exactly, otherwise 0.0.

    Args:
        response: text of a model; any string, never an exception.
        numbers: each must be used exactly once (as a multiset); checked before any arithmetic. Whole numbers written
            otherwise ("3", 3.0) are taken as what they are.
        target: an integer, likewise.

    Raises:
        ValueError: numbers or target are not whole numbers, whatever the response is. Bad problem data is never a
            reward of 0.

    Example:
        >>> verify("<answer>3 * 7 + 5</answer>", [3, 5, 7], 26)
        1.0
        >>> verify("<answer>26</answer>", [3, 5, 7], 26)
        0.0
    """
    if isinstance(numbers, str | bytes | Mapping) or not isinstance(numbers, Iterable):
        raise ValueError(f"numbers is {numbers!r}; give a list of whole numbers, such as [3, 5, 7].")
    wanted = sorted(whole_number(number, "A number of the problem") for number in numbers)
    goal = whole_number(target, "The target of the problem")
    span = answer_span(response)
    postfix = None if span is None else parse(response[span[0] : span[1]])
    if postfix is None or sorted(s for s in postfix if isinstance(s, int)) != wanted:
        return 0.0
    return 1.0 if evaluate(postfix) == goal else 0.0


def has_answer_format(response: str, needs_thinking: bool = True) -> bool:
    """Whether the response has the right format, whatever its numbers and value.

    1. The last answer block (see `answer_span`) holds an expression of the grammar above.
    2. Before it the thinking is closed: `</think>` occurs (if needs_thinking) and no `<think>` follows the last one.
       The opening tag is not required: the prompt or the chat template may contain it.
    """
    span = answer_span(response)
    if span is None or parse(response[span[0] : span[1]]) is None:
        return False
    closed = response.rfind("</think>", max(0, len(response) - LONGEST_TAIL), span[0])
    if closed < 0 and needs_thinking:
        return False
    return response.rfind("<think>", max(closed, len(response) - LONGEST_TAIL, 0), span[0]) < 0
