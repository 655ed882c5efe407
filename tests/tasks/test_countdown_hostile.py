"""Model text against the verifier: attacks, a hundred thousand mutations, time. Nothing raises, nothing is run."""

import random
import string
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.countdown_oracle import oracle_tree, oracle_value, oracle_verify

from hysteretic.tasks.countdown import Countdown, verify
from hysteretic.tasks.countdown_expression import LONGEST_TAIL, MAX_CHARACTERS, parse
from hysteretic.tasks.task import Problem

MEGABYTE = 1_000_000


def block(text):
    return f"<answer>{text}</answer>"


# (what it is, response, numbers, target): each reaches the target, or crashes, in a verifier that is less strict.
ATTACKS = [
    ("tower of powers", block("99**98**97"), [99, 98, 97], 1),
    ("power", block("2**3"), [2, 3], 8),
    ("power with a caret", block("2^3"), [2, 3], 8),
    ("floor division", block("7//2"), [7, 2], 3),
    ("modulo", block("7%4"), [7, 4], 3),
    ("decimal that smuggles digits", block("4.5*2"), [4, 5, 2], 9),
    ("decimal without a whole part", block(".5*8"), [5, 8], 4),
    ("decimal without a fraction", block("5.*8"), [5, 8], 40),
    ("exponent notation", block("1e2"), [1, 2], 100),
    ("hexadecimal", block("0x10"), [16], 16),
    ("underscore between digits", block("1_0+2"), [10, 2], 12),
    ("complex power", block("(-8)**(1/3)"), [8, 1, 3], 2),
    ("unary minus", block("-3+5"), [3, 5], 2),
    ("unary plus", block("+3+5"), [3, 5], 8),
    ("unary minus in parentheses", block("5*(-3)"), [5, 3], -15),
    ("unary minus after an operator", block("5--3"), [5, 3], 8),
    ("bitwise not", block("~3+9"), [3, 9], 5),
    ("leading zero", block("07+1"), [7, 1], 8),
    ("two leading zeros", block("1+007"), [1, 7], 8),
    ("implicit product", block("5(3)"), [5, 3], 15),
    ("implicit product of parentheses", block("(5)(3)"), [5, 3], 15),
    ("digits put together by blanks", block("1 2"), [12], 12),
    ("digits apart", block("1 2+3"), [12, 3], 15),
    ("division by zero", block("1/0"), [1, 0], 1),
    ("division by zero in the middle", block("6/(3-3)"), [6, 3, 3], 6),
    ("Arabic-Indic digits", block("٣+٥"), [3, 5], 8),  # noqa: RUF001
    ("full-width digits", block("３+５"), [3, 5], 8),  # noqa: RUF001
    ("superscript", block("3²"), [3, 2], 9),
    ("minus sign of typography", block("5−3"), [5, 3], 2),  # noqa: RUF001
    ("times sign", block("5×3"), [5, 3], 15),  # noqa: RUF001
    ("no-break space", block("5\u00a0+ 3"), [5, 3], 8),
    ("zero-width space", block("5\u200b+3"), [5, 3], 8),
    ("newline inside", block("3+\n5"), [3, 5], 8),
    ("newline around", block("\n3+5\n"), [3, 5], 8),
    ("carriage return", block("3+5\r"), [3, 5], 8),
    ("form feed", block("3\f+5"), [3, 5], 8),
    ("null byte", block("3+5\x00"), [3, 5], 8),
    ("null byte between", block("3\x00+5"), [3, 5], 8),
    ("lone surrogate", block("3+5\ud800"), [3, 5], 8),
    ("equation", block("10-3=7"), [10, 3], 7),
    ("equation with its target", block("10-3=7"), [10, 3, 7], 7),
    ("comparison", block("3+5==8"), [3, 5, 8], 1),
    ("comment", block("3+5#"), [3, 5], 8),
    ("call", block("__import__('os').getpid()"), [3, 5], 8),
    ("name", block("target"), [3, 5], 8),
    ("two blocks, the last wrong", block("3+5") + block("3-5"), [3, 5], 8),
    ("two blocks, the last empty", block("3+5") + block(""), [3, 5], 8),
    ("a block after the right one is not closed", block("3+5") + " <answer>3+", [3, 5], 8),
    ("unclosed block", "<answer>3+5", [3, 5], 8),
    ("block that is only closed", "3+5</answer>", [3, 5], 8),
    ("tags the wrong way round", "</answer>3+5<answer>", [3, 5], 8),
    ("closed twice", "<answer>3+5</answer></answer>", [3, 5], 8),
    ("capital tags", "<ANSWER>3+5</ANSWER>", [3, 5], 8),
    ("no tags", "3+5", [3, 5], 8),
    ("empty response", "", [3, 5], 8),
    ("empty answer", block(""), [3, 5], 8),
    ("blank answer", block("  "), [3, 5], 8),
    ("empty parentheses", block("()"), [], 0),
    ("empty parentheses beside", block("3+5()"), [3, 5], 8),
    ("open parenthesis", block("(3+5"), [3, 5], 8),
    ("close parenthesis", block("3+5)"), [3, 5], 8),
    ("parentheses the wrong way round", block(")3+5("), [3, 5], 8),
    ("operator missing its right", block("3+5+"), [3, 5], 8),
    ("operator alone", block("+"), [], 0),
    ("number used twice", block("3+5+3-3"), [3, 5], 8),
    ("number not used", block("8"), [3, 5, 8], 8),
    ("number of its own", block("3+5+0"), [3, 5], 8),
    ("the target itself", block("8"), [3, 5], 8),
    ("repeated number used once", block("4+2"), [4, 4, 2], 6),
    ("number once used twice", block("4+4-2"), [4, 2], 6),
    ("almost the target", block("1/3*3+9/10"), [1, 3, 3, 9, 10], 2),
    ("wrong value", block("3*5"), [3, 5], 8),
    ("ten thousand open parentheses", block("(" * 10_000 + "3+5" + ")" * 10_000), [3, 5], 8),
    ("ten thousand minus signs", block("-" * 10_000 + "3"), [3], 3),
    ("too long by blanks", block("3+5" + " " * MAX_CHARACTERS), [3, 5], 8),
    ("a megabyte of digits", block("9" * MEGABYTE), [9], 9),
    ("a megabyte of parentheses", block("(" * MEGABYTE), [3, 5], 8),
    ("a megabyte of sum", block("1+" * (MEGABYTE // 2) + "1"), [1], 1),
    ("a megabyte of opening tags", "<answer>" * (MEGABYTE // 8), [3, 5], 8),
    ("a megabyte of closing tags", "</answer>" * (MEGABYTE // 9), [3, 5], 8),
    ("a megabyte of blocks", block("1") * (MEGABYTE // 18), [3, 5], 8),
    ("a megabyte of beginnings of tags", "</answer" * (MEGABYTE // 8), [3, 5], 8),
    ("a megabyte of ends of tags", "/answer>" * (MEGABYTE // 8), [3, 5], 8),
    ("a megabyte without tags", "a" * MEGABYTE, [3, 5], 8),
    ("a megabyte after the answer", block("3+5") + "a" * MEGABYTE, [3, 5], 8),
    ("a megabyte of opening think tags", "<think>" * (MEGABYTE // 7) + block("3-5"), [3, 5], 8),
]

RIGHT = [
    (block("3+5"), [3, 5], 8),
    (block(" ( 3 + 5 )\t"), [3, 5], 8),
    ("text <answer>no</answer> more " + block("3*7+5") + " bye", [5, 3, 7], 26),
    (block("8/(3-8/3)"), [3, 3, 8, 8], 24),
    (block("((((3))))*(7)+5"), [3, 5, 7], 26),
    (block("(1/3)*99-9"), [1, 3, 99, 9], 24),
    (block("7-3-2"), [7, 3, 2], 2),
    (block("12/3/2"), [12, 3, 2], 2),
    (block("3-5+10"), [3, 5, 10], 8),
    ("<answer>" + block("3+5"), [3, 5], 8),
    ("a" * MEGABYTE + block("3+5"), [3, 5], 8),
    (block("(" * 98 + "3+5" + ")" * 98), [3, 5], 8),
]


def seconds(function, *arguments):
    """Processor time of a call: the lesser of two when the first is slow, so that a busy machine cannot fail it."""
    spent = []
    for _ in range(2):
        start = time.process_time()
        function(*arguments)
        spent.append(time.process_time() - start)
        if spent[-1] < 0.001:
            break
    return min(spent)


@pytest.mark.parametrize(("response", "numbers", "target"), [a[1:] for a in ATTACKS], ids=[a[0] for a in ATTACKS])
def test_an_attack_earns_nothing_at_once(response, numbers, target):
    """Each is known to break a verifier that evaluates model text. 0, never an exception, under a millisecond."""
    assert verify(response, numbers, target) == 0.0
    assert seconds(verify, response, numbers, target) < 0.001
    score = Countdown().score(Problem("x", "", {"numbers": numbers, "target": target}), response)
    assert (score.reward, score.is_correct) == (0.0, False)


@pytest.mark.parametrize(("response", "numbers", "target"), RIGHT)
def test_a_right_answer_earns_one(response, numbers, target):
    """A verifier that refuses everything would pass every attack above."""
    assert verify(response, numbers, target) == 1.0
    assert seconds(verify, response, numbers, target) < 0.001


def test_arithmetic_is_exact():
    """In floating point 1/49*49 is not 1, and a large intermediate value swallows a small one."""
    assert float(1 / 49 * 49) != 1
    assert verify(block("1/49*49"), [1, 49, 49], 1) == 1.0
    big = 10**17
    assert verify(block(f"{big}+1-{big}"), [big, 1, big], 1) == 1.0
    assert verify(block(f"{big}+1-{big}"), [big, 1, big], 0) == 0.0


def test_numbers_are_checked_before_any_arithmetic(monkeypatch):
    """Values the numbers cannot make must not be computed: evaluation is reached with the right multiset only."""
    reached = []
    monkeypatch.setattr(
        "hysteretic.tasks.countdown_expression.evaluate", lambda postfix: reached.append(postfix) or Fraction(8)
    )
    assert verify(block("*".join(["99"] * 60)), [3, 5], 8) == 0.0
    assert reached == []
    assert verify(block("3+5"), [3, 5], 8) == 1.0
    assert len(reached) == 1


def test_an_answer_is_read_up_to_its_documented_length_and_place():
    """MAX_CHARACTERS between the tags, and the closing tag within LONGEST_TAIL of the end; one more is no answer."""
    fits = "3+5" + " " * (MAX_CHARACTERS - 3)
    assert verify(block(fits), [3, 5], 8) == 1.0
    assert verify(block(fits + " "), [3, 5], 8) == 0.0
    assert parse(fits) is not None
    assert parse(fits + " ") is None
    assert parse("9" * 10_000) is None
    after = LONGEST_TAIL - len("</answer>")
    assert verify(block("3+5") + "." * after, [3, 5], 8) == 1.0
    assert verify(block("3+5") + "." * (after + 1), [3, 5], 8) == 0.0


def mutated(text, source):
    """The text after a few random edits with characters and pieces that break parsers."""
    pieces = [*"0123456789+-*/() \t", *"0123456789+-*/()", *".,=^%_~<>\n\r\0\u0663\uff13\u00b2\u2212\ud800eExX#'\"[]{}"]
    pieces += ["<answer>", "</answer>", "<think>", "</think>", "**", "//", "((", "))", "00", "(-", "1/0", "2 3"]
    for _ in range(source.choice((0, 1, 1, 1, 2, 3, 6))):
        start = source.randrange(len(text) + 1)
        end = min(len(text), start + source.choice((0, 0, 1, 1, 2, 9)))
        kind = source.randrange(6)
        if kind == 0:
            text = text[:start] + text[end:]
        elif kind == 1:
            text = text[:start] + text[start:end] * source.choice((2, 3, 30)) + text[end:]
        elif kind == 2:
            text = text[:start] + f"({text[start:end]})" + text[end:]
        else:
            text = text[:start] + source.choice(pieces) + text[end:]
    return text


def test_a_hundred_thousand_mutations_agree_with_the_oracle():
    """Right answers and attacks, edited at random: the oracle (Python's parser, an allow-list) must say the same.

    None raises and none takes 5 ms. Both verdicts must be common, or agreement would prove nothing.
    """
    source = random.Random(20_240_801)
    corpus = [(text, numbers, target) for text, numbers, target in RIGHT if len(text) < 2000]
    corpus += [(a[1], a[2], a[3]) for a in ATTACKS if len(a[1]) < 2000]
    for problem in Countdown(prompt="terse").problems("train", 0, 40) + Countdown(4).problems("train", 0, 20):
        numbers, target = problem.answer["numbers"], problem.answer["target"]
        for operators in ("+-*", "*+/", "-*+", "/-+"):
            text = str(numbers[0])
            for number, operator in zip(numbers[1:], operators, strict=False):
                text = f"({text}){operator}{number}" if source.random() < 0.5 else f"{text} {operator} {number}"
            value = oracle_value(oracle_tree(text))
            right = int(value) if value is not None and value.denominator == 1 else target
            corpus.append((f"<think>try</think><answer>{text}</answer>", numbers, right))
    verdicts = {0.0: 0, 1.0: 0}
    for _ in range(100_000):
        text, numbers, target = source.choice(corpus)
        response = mutated(text, source)
        start = time.process_time()
        verdict = verify(response, numbers, target)
        if time.process_time() - start > 0.005:
            assert seconds(verify, response, numbers, target) < 0.005, response
        assert verdict == oracle_verify(response, numbers, target), (response, numbers, target)
        verdicts[verdict] += 1
    assert min(verdicts.values()) > 10_000, verdicts


tags = st.sampled_from(["<answer>", "</answer>", "<think>", "</think>"])
arithmetic = st.text(alphabet="0123456789+-*/() \t", max_size=20)


@settings(max_examples=500, deadline=None)
@given(st.lists(tags | arithmetic | st.text(max_size=10), max_size=12).map("".join))
def test_any_text_is_scored_as_the_oracle_scores_it(response):
    """Shapes that no list of attacks thought of: tags, arithmetic and arbitrary Unicode in any order."""
    for numbers, target in (([1, 2], 3), ([0], 0), ([7], 7)):
        assert verify(response, numbers, target) == oracle_verify(response, numbers, target)
    Countdown().score(Problem("x", "", {"numbers": [1, 2], "target": 3}), response)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=string.printable, max_size=60))
def test_any_printable_answer_is_scored_as_the_oracle_scores_it(text):
    """The same for the inside of one block."""
    assert verify(block(text), [1, 2], 3) == oracle_verify(block(text), [1, 2], 3)
