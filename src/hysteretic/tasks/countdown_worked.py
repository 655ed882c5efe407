"""Worked solutions of Countdown problems, for `hysteretic warmup`: a short search in writing, then the answer.

    chat, plain    <think>I need 26 from 3, 5 and 7, each used once.
                   7 - 3 = 4, 5 + 4 = 9. That is 9, not 26.
                   7 * 3 = 21, 21 + 5 = 26. That is 26.</think>
                   <answer>3 * 7 + 5</answer>
    terse          <think>26;7-3=4,5+4=9;7*3=21,21+5=26</think><answer>(7*3)+5</answer>

The search is honest: each failed try uses every number once, its arithmetic is right, and it is not called right. The
last try is a solution of the exact solver, one without fractions or negative numbers if there is one. The terse
form is that of the embedded model's careful demonstrations (`hysteretic/models/countdown_demonstrations.py`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TypeAlias

from .countdown_expression import evaluate, parse
from .countdown_solver import solve

Tree: TypeAlias = "int | tuple[str, Tree, Tree]"
"""An expression: a number, or an operator with two expressions."""

MISSES = (4, 4, 2)
"""Relative frequency of 0, 1, 2 failed tries before the solution."""

LARGEST_MISS = 99
"""A failed try of the terse form does not end above it, as in the embedded model's demonstrations."""


def worked_solution(numbers: Sequence[int], target: int, prompt: str, name: str) -> str:
    """A right response in the style of a prompt: "chat", "plain" or "terse". name: decides the failed tries.

    Raises ValueError for a problem without a solution.
    """
    rng = random.Random(f"worked solution of {name}")
    text, solution = _solution(numbers, target)
    highest = LARGEST_MISS if prompt == "terse" else None
    tries = [*_misses(numbers, target, rng.choices(range(len(MISSES)), MISSES)[0], highest, rng), solution]
    if prompt == "terse":
        searched = ";".join([str(target), *(",".join(_steps(tree, "")) for tree in tries)])
        return f"<think>{searched}</think><answer>{_bracketed(solution)}</answer>"
    listed = ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
    lines = [f"I need {target} from {listed}, each used once."]
    for tree in tries:
        value = _text(_value(tree))
        lines.append(f"{', '.join(_steps(tree, ' '))}. That is {value}{'' if tree is solution else f', not {target}'}.")
    opening = "" if prompt == "plain" else "<think>"  # the plain prompt has opened it
    answer = re.sub(r"([-+*/])", r" \1 ", text)
    return opening + "\n".join(lines) + f"</think>\n<answer>{answer}</answer>"


def _solution(numbers: Sequence[int], target: int) -> tuple[str, Tree]:
    """The first solution, shortest first, whose steps are all natural numbers; the shortest if none is like that."""
    found = [(text, _larger_first(_tree(text))) for text in solve(numbers, target)]
    if not found:
        raise ValueError(f"{list(numbers)} cannot make {target}, so there is no worked solution; drop the problem.")
    natural = ((text, tree) for text, tree in found if all(_is_natural(_value(each)) for each in _compounds(tree)))
    return next(natural, found[0])


def _misses(numbers: Sequence[int], target: int, count: int, highest: int | None, rng: random.Random) -> Iterator[Tree]:
    """Up to `count` different tries in natural numbers that miss the target."""
    seen: set[Tree] = set()
    for _ in range(20 * count):
        tree = _random_try(numbers, rng)
        value = _value(tree)
        if len(seen) < count and tree not in seen and value != target and (highest is None or value <= highest):
            seen.add(tree)
            yield tree


def _random_try(numbers: Sequence[int], rng: random.Random) -> Tree:
    """Combine two random parts until one is left, the larger first, in natural numbers."""
    parts: list[Tree] = list(numbers)
    while len(parts) > 1:
        left, right = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        if (_value(left), not isinstance(left, int)) < (_value(right), not isinstance(right, int)):
            left, right = right, left
        divides = _value(right) != 0 and _is_natural(_value(left) / _value(right))
        parts.append((rng.choice("+*-/" if divides else "+*-"), left, right))
    return parts[0]


def _tree(text: str) -> Tree:
    stack: list[Tree] = []
    for symbol in parse(text) or ():
        if isinstance(symbol, int):
            stack.append(symbol)
        else:
            right, left = stack.pop(), stack.pop()
            stack.append((symbol, left, right))
    return stack.pop()


def _larger_first(tree: Tree) -> Tree:
    """The tree with the larger operand of every + and * first, a compound one before an equal number."""
    if isinstance(tree, int):
        return tree
    operator, left, right = tree[0], _larger_first(tree[1]), _larger_first(tree[2])
    left_key, right_key = ((_value(part), not isinstance(part, int)) for part in (left, right))
    return (operator, right, left) if operator in "+*" and left_key < right_key else (operator, left, right)


def _value(tree: Tree) -> Fraction:
    value = evaluate(_postfix(tree))
    assert value is not None  # only solutions, and tries that divide without remainder
    return value


def _postfix(tree: Tree) -> list[int | str]:
    return [tree] if isinstance(tree, int) else [*_postfix(tree[1]), *_postfix(tree[2]), tree[0]]


def _compounds(tree: Tree) -> Iterator[tuple[str, Tree, Tree]]:
    """Every operation, in the order in which it is carried out."""
    if not isinstance(tree, int):
        yield from _compounds(tree[1])
        yield from _compounds(tree[2])
        yield tree


def _is_natural(value: Fraction) -> bool:
    return value >= 0 and value.denominator == 1


def _steps(tree: Tree, space: str) -> Iterator[str]:
    """Each operation with its result: 7 * 3 = 21. space: on either side of a sign."""
    for compound in _compounds(tree):
        operator, *operands = compound
        left, right, result = (_text(_value(part)) for part in (*operands, compound))
        yield f"{left}{space}{operator}{space}{right}{space}={space}{result}"


def _text(value: Fraction) -> str:
    """A number; a fraction or a negative number in brackets."""
    return str(value) if _is_natural(value) else f"({value})"


def _bracketed(tree: Tree, is_whole: bool = True) -> str:
    """The expression with brackets around every operation inside another."""
    if isinstance(tree, int):
        return str(tree)
    text = f"{_bracketed(tree[1], False)}{tree[0]}{_bracketed(tree[2], False)}"
    return text if is_whole else f"({text})"
