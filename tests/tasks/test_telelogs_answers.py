"""Which label a response gives: everything that a model can write has a defined result, and none is slow."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hysteretic.tasks.telelogs import CAUSES
from hysteretic.tasks.telelogs.answers import boxed, label_of

LETTERS, DIGITS = tuple("ABCDEFGH"), tuple("12345678")


@pytest.mark.parametrize(
    ("response", "label"),
    [
        (r"\boxed{C3}", "C3"),
        (r"\boxed{{C3}}", "C3"),
        (r"\boxed{{{C3}}}", "C3"),
        (r"\boxed{\text{C3}}", "C3"),
        (r"\boxed{\textbf{C3}}", "C3"),
        (r"\boxed{\mathrm{C3}.}", "C3"),
        (r"\boxed{c 3}", "C3"),
        (r"\boxed{ C3 }", "C3"),
        (r"\boxed {C3}", "C3"),
        ("\\boxed{\nC3\n}", "C3"),
        (r"$\boxed{C3}$.", "C3"),
        (r"\boxed{C_3}", "C3"),
        (r"\boxed{(C3)}", "C3"),
        (r"\boxed{\boxed{C3}}", "C3"),
        (r"\boxed{C1} no, \boxed{C3}", "C3"),
        (r"\boxed{C3} or rather \boxed{rain}", None),  # the last box counts, right or not
        (r"\boxed{C3} and \boxed{C4", None),
        (r"\boxed{C3, C4}", None),
        (r"\boxed{C3 or C4}", None),
        (r"\boxed{C3/C4}", None),
        (r"\boxed{C3C3}", None),
        (r"\boxed{C3: A neighbouring cell}", None),
        (r"\boxed{3}", None),
        (r"\boxed{C9}", None),
        (r"\boxed{C03}", None),
        ("\\boxed{C\uff13}", None),
        ("\\boxed{\uff23\uff13}", None),
        ("\\boxed{C\u0663}", None),
        ("\\boxed{C3\0}", None),
        ("\0\\boxed{C3}\0", "C3"),
        (r"\boxed{C3}}}}", "C3"),
        (r"\boxed{C3", None),
        (r"\boxed{", None),
        (r"\boxed", None),
        (r"\boxed{}", None),
        (r"\boxed C3", None),
        (r"boxed{C3}", None),
        (r"\Boxed{C3}", None),
        ("The answer is C3.", None),
        ("", None),
    ],
)
def test_a_label_is_what_the_last_box_holds_and_nothing_else(response, label):
    """A reward is what the task claims: one of the options, alone, in the last box."""
    assert label_of(response, CAUSES) == label


def test_bare_digits_and_letters_count_where_they_are_the_options():
    """In a randomised question the labels are its own."""
    assert label_of(r"\boxed{3}", DIGITS) == "3"
    assert label_of(r"\boxed{\text{(3)}}", DIGITS) == "3"
    assert label_of(r"\boxed{C3}", DIGITS) is None
    assert label_of(r"\boxed{1.2}", DIGITS) is None
    assert label_of(r"\boxed{b}", LETTERS) == "B"
    assert label_of(r"\boxed{A or B}", LETTERS) is None
    assert label_of(r"\boxed{\text{A}}", LETTERS) == "A"


MILLION = 1_000_000
HOSTILE = {
    "a million letters": "x" * MILLION,
    "a million letters, then the answer": "x" * MILLION + r"\boxed{C3}",
    "the answer, then a million letters": r"\boxed{C3}" + "x" * MILLION,
    "openings": "\\boxed{" * (MILLION // 7),
    "openings, then the answer": "\\boxed{" * (MILLION // 7) + "C3}",
    "openings, all closed": "\\boxed{" * (MILLION // 8) + "C3" + "}" * (MILLION // 8),
    "boxes": r"\boxed{C3}" * (MILLION // 10),
    "open braces": "\\boxed{" + "{" * MILLION,
    "nested braces": "\\boxed" + "{" * (MILLION // 2) + "C3" + "}" * (MILLION // 2),
    "spaces before the brace": "\\boxed" + " " * MILLION + "{C3}",
    "a long box": "\\boxed{" + "C" * MILLION + "}",
    "backslashes": "\\" * MILLION,
    "text in text": "\\boxed{" + "\\text{" * (MILLION // 6),
    "null bytes": "\0" * MILLION,
    "four-byte characters": "\U0001f600" * MILLION,
    "half of a surrogate": "\ud800" * MILLION + r"\boxed{C3}",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_megabyte_of_anything_is_judged_at_once(case):
    """A verifier that hangs stops a whole rollout: below 50 ms, the best of five."""
    answered = {"letters", "answer", "closed", "boxes", "surrogate"}
    right = case.split()[-1] in answered and case != "a million letters"
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        label = label_of(HOSTILE[case], CAUSES)
        seconds.append(time.perf_counter() - start)
    assert label == ("C3" if right else None)
    assert min(seconds) < 0.05


@given(st.text(alphabet=st.sampled_from("\\boxed{}C38 text,.$\0\n\uff13") | st.characters(), max_size=200))
def test_any_text_gives_a_label_or_none(response):
    """Never an exception, and never a label that the response does not hold."""
    label = label_of(response, CAUSES)
    assert label is None or label in CAUSES
    assert label is None or (boxed(response) is not None and label[1] in response)
