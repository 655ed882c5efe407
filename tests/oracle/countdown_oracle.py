"""Countdown judged another way: Python's own parser and an allow-list of nodes; brute force for the counts."""

import ast
import itertools
import operator
import re
import warnings
from fractions import Fraction

_OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def oracle_answer(response):
    """Text of the last answer block by walking over the tags from left to right, or None."""
    opened, final = None, None
    for piece in re.split(r"(</?answer>)", response):
        if piece == "<answer>":
            opened, final = "", None
        elif piece == "</answer>":
            final = opened
            opened = None if opened is None else opened + piece
        elif opened is not None:
            opened += piece
    return final


def oracle_tree(text):
    """The ast of an expression of the allowed kind, or None."""
    if text is None or len(text) > 200 or not set(text) <= set("0123456789+-*/() \t") or re.search(r"\b0\d", text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            tree = ast.parse(text.strip(" \t"), mode="eval").body
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        is_sum = isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS
        is_integer = isinstance(node, ast.Constant) and type(node.value) is int
        if not (is_sum or is_integer or isinstance(node, (*_OPERATORS, ast.Load))):
            return None
    return tree


def oracle_value(tree):
    """Exact value of a tree, or None when it divides by zero."""
    if isinstance(tree, ast.Constant):
        return Fraction(tree.value)
    left, right = oracle_value(tree.left), oracle_value(tree.right)
    if left is None or right is None or (isinstance(tree.op, ast.Div) and right == 0):
        return None
    return _OPERATORS[type(tree.op)](left, right)


def oracle_verify(response, numbers, target):
    """1.0 or 0.0, as `verify` should say."""
    tree = oracle_tree(oracle_answer(response))
    if tree is None:
        return 0.0
    used = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    if sorted(used) != sorted(numbers):
        return 0.0

    return float(oracle_value(tree) == target)


def all_values(numbers):
    """Value of every well-formed expression, one by one: order x operators x shape; None where it divides by zero."""

    def shapes(leaves):
        if len(leaves) == 1:
            yield Fraction(leaves[0])
            return
        for cut in range(1, len(leaves)):
            for left, right in itertools.product(list(shapes(leaves[:cut])), list(shapes(leaves[cut:]))):
                for operation in _OPERATORS.values():
                    try:
                        yield None if left is None or right is None else operation(left, right)
                    except ZeroDivisionError:
                        yield None

    for order in itertools.permutations(numbers):
        yield from shapes(order)
