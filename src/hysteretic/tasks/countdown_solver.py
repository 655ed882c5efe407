"""Exact counts for Countdown: which targets the numbers reach, in how many ways, and how often a random guess is right.

Values are reduced fractions (numerator, denominator > 0). The expressions of a set S of numbers are built from every
partition of S in two: with D(S)[v] the number of expressions of S whose value is v,

    D({a})[a] = 1        D(S)[v] = sum over ordered partitions (A, B) of S, operators o, a o b = v:  D(A)[a] * D(B)[b]

For a single target the last step is solved for b instead of enumerated: a + b = t has only b = t - a.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations, product
from math import comb, factorial, gcd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    Fractions = tuple[Tensor, Tensor]

Value = tuple[int, int]


@lru_cache
def _partitions(size: int) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Each partition of the places 0..size-1 in two, once: the smaller part first."""
    both = []
    for smaller in range(1, size // 2 + 1):
        for part in combinations(range(size), smaller):
            if 2 * smaller < size or part[0] == 0:
                both.append((part, tuple(place for place in range(size) if place not in part)))
    return tuple(both)


def _parts(numbers: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    for small, large in _partitions(len(numbers)):
        yield tuple([numbers[i] for i in small]), tuple([numbers[i] for i in large])


def _reduced(numerator: int, denominator: int) -> Value:
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    divisor = gcd(numerator, denominator)
    return numerator // divisor, denominator // divisor


def value_counts(numbers: tuple[int, ...]) -> dict[Value, int]:
    """D(numbers): how many expressions have each value. Expressions that divide by zero are left out."""
    return _pair_counts(numbers) if len(numbers) <= 2 else _larger_counts(numbers)


def _value_counts(numbers: tuple[int, ...]) -> dict[Value, int]:
    if len(numbers) == 1:
        return {(numbers[0], 1): 1}
    counts: dict[Value, int] = {}
    for small, large in _parts(numbers):
        others = value_counts(large).items()
        for a, ways in value_counts(small).items():
            for b, other_ways in others:
                for _, is_inverse, _, value in _results(a, b):  # a + b and b + a, a * b and b * a are two expressions
                    counts[value] = counts.get(value, 0) + (1 if is_inverse else 2) * ways * other_ways
    return counts


_pair_counts = lru_cache(maxsize=8192)(_value_counts)
_larger_counts = lru_cache(maxsize=1024)(_value_counts)


def expression_count(size: int) -> int:
    """Number of well-formed expressions of n = `size` numbers, orders x operators x shapes: n! 4^(n-1) Catalan(n-1)."""
    n = size - 1
    return factorial(size) * 4**n * comb(2 * n, n) // (n + 1)


def hits(numbers: Sequence[int], target: int) -> int:
    """How many of the `expression_count(len(numbers))` expressions equal the target."""
    if target < 1:
        raise ValueError(f"target is {target}, but a Countdown target is a positive integer; set target >= 1.")
    numbers = tuple(sorted(numbers))
    if len(numbers) == 1:
        return int(numbers[0] == target)
    found = 0
    for small, large in _parts(numbers):
        ways_of = value_counts(large).get
        for (p, q), ways in value_counts(small).items():
            # p/q is reduced, so target +- p/q is too.
            total = 2 * ways_of((target * q - p, q), 0)  # a + b, b + a
            total += ways_of((p - target * q, q), 0)  # a - b
            total += ways_of((p + target * q, q), 0)  # b - a
            if p:
                total += 2 * ways_of(_reduced(target * q, p), 0)  # a * b, b * a
                total += ways_of(_reduced(p, q * target), 0)  # a / b
                total += ways_of(_reduced(target * p, q), 0)  # b / a
            found += ways * total
    return found


def hits_of_each(problems: Sequence[tuple[tuple[int, ...], int]]) -> list[int]:
    """`hits` of each (numbers, target), all with equally many numbers: thousands at once take a tenth of the time."""
    size, largest = len(problems[0][0]), max(max(numbers) for numbers, _ in problems)
    # Numerators and denominators of k numbers are at most (2 * largest)^k / 2; two of them are multiplied below.
    fits = max(target for _, target in problems) * (2 * largest) ** size < 2**63
    if len(problems) < 256 or size > 4 or not fits:  # the values of four numbers are too many to hold for each problem
        return [hits(numbers, target) for numbers, target in problems]
    import torch

    targets = torch.tensor([target for _, target in problems])
    found = torch.zeros_like(targets)
    for (p, q), (r, s), ways in _halves(torch.tensor([numbers for numbers, _ in problems]).T):
        ps, qr, qs = p * s, q * r, q * s
        t = targets * qs
        total = 2 * (ps + qr == t).long() + (ps - qr == t).long() + (qr - ps == t).long() + 2 * (p * r == t).long()
        total += (ps == targets * qr).long() * (qr != 0) + (qr == targets * ps).long() * (ps != 0)
        found += ways * total * (qs != 0)
    return found.tolist()


def _halves(numbers: Tensor) -> Iterator[tuple[Fractions, Fractions, int]]:
    """What the last operators of the expressions combine, and in how many ways; numbers of shape [size, problems]."""
    for small, large in _partitions(len(numbers)):
        others = list(_fractions(numbers[list(large)]))
        for first, ways in _fractions(numbers[list(small)]):
            for second, other_ways in others:
                yield first, second, ways * other_ways


def _fractions(numbers: Tensor) -> Iterator[tuple[Fractions, int]]:
    """Numerators and denominators of every expression, 0 and 0 if it divides by zero, and in how many ways."""
    if len(numbers) == 1:
        yield (numbers[0], numbers[0].new_ones(numbers.shape[1])), 1
        return
    for (p, q), (r, s), ways in _halves(numbers):
        ps, qr, qs = p * s, q * r, q * s
        yield (ps + qr, qs), 2 * ways
        yield (ps - qr, qs), ways
        yield (qr - ps, qs), ways
        yield (p * r, qs), 2 * ways
        yield (ps * (qr != 0), qr), ways
        yield (qr * (ps != 0), ps), ways


def guess_rate(numbers: Sequence[int], target: int) -> float:
    """Probability that a uniformly random well-formed expression of these numbers equals the target.

    Random order of the numbers, random operators, random shape of the tree: 192 expressions for three numbers, 7680
    for four. 0.0 means that the problem has no solution.

    Example:
        >>> guess_rate([3, 5, 7], 26)  # 4 of 192: the two operands of + and of * in either order
        0.020833333333333332
    """
    return hits(numbers, target) / expression_count(len(numbers))


# A form is an expression regardless of the order and grouping of its sums and products: what is added and subtracted,
# or multiplied and divided, as sorted texts: ("+", ("35",), ("11",)) is 35-11.
Form = tuple[str, tuple[str, ...], tuple[str, ...]]


def _text(form: Form) -> str:
    kind, up, down = form
    joint, inverse = ("+", "-") if kind == "+" else ("*", "/")
    return joint.join(up) + "".join(inverse + text for text in down)


def _joined(kind: str, left: Form, right: Form, is_inverse: bool) -> Form:
    """left + right or left - right (kind "+"), left * right or left / right (kind "*"), with one kind flattened."""

    def sides(form: Form) -> tuple[tuple[str, ...], tuple[str, ...]]:
        if form[0] in (kind, "number"):
            return form[1], form[2]
        return (f"({_text(form)})" if kind == "*" else _text(form),), ()

    (up, down), (other_up, other_down) = sides(left), sides(right)
    if is_inverse:
        other_up, other_down = other_down, other_up
    return kind, tuple(sorted(up + other_up)), tuple(sorted(down + other_down))


def _results(a: Value, b: Value) -> Iterator[tuple[str, bool, bool, Value]]:
    """The ways to combine two values: kind, whether it is - or /, whether b is on the left, and the value."""
    (p, q), (r, s) = a, b
    total, difference = _reduced(p * s + r * q, q * s), _reduced(p * s - r * q, q * s)
    yield "+", False, False, total
    yield "+", True, False, difference
    yield "+", True, True, (-difference[0], difference[1])
    yield "*", False, False, _reduced(p * r, q * s)
    if r:
        yield "*", True, False, _reduced(p * s, q * r)
    if p:
        yield "*", True, True, _reduced(q * r, p * s)


def _forms(numbers: tuple[int, ...], wanted: Value | None) -> dict[Value, set[Form]]:
    """The forms of every value, or of the wanted value only."""
    if len(numbers) == 1:
        return {(numbers[0], 1): {("number", (str(numbers[0]),), ())}}
    found: dict[Value, set[Form]] = {}
    for small, large in set(_parts(numbers)):
        others = _forms(large, None)
        for a, forms_a in _forms(small, None).items():
            for b, forms_b in others.items():
                for kind, is_inverse, is_b_left, value in _results(a, b):
                    if wanted is None or value == wanted:
                        pairs = product(forms_b, forms_a) if is_b_left else product(forms_a, forms_b)
                        joined = {_joined(kind, left, right, is_inverse) for left, right in pairs}
                        found.setdefault(value, set()).update(joined)
    return found


def solve(numbers: Sequence[int], target: int) -> list[str]:
    """Every distinct expression that uses each number once and equals the target, shortest first; [] if there is none.

    Expressions that differ only in the order and grouping of sums and of products count once: 3+5*7 and 7*5+3, a-(b-c)
    and (a-b)+c, a/(b/c) and a/b*c. Signs are not moved through products: (a-b)*(c-d) and (b-a)*(d-c) are two, as are
    x*1 and x/1.

    Example:
        >>> solve([8, 3, 8, 3], 24)
        ['8/(3-8/3)']
    """
    forms = _forms(tuple(sorted(numbers)), (target, 1)).get((target, 1), set())
    return sorted((_text(form) for form in forms), key=lambda text: (len(text), text))
