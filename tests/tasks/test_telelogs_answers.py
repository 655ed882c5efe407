"""Which label a response gives: everything that a model can write has a defined result, and none is slow."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hysteretic.tasks import load
from hysteretic.tasks.task import Score
from hysteretic.tasks.telelogs import CAUSES
from hysteretic.tasks.telelogs.answers import GRADINGS, boxed, gsma_label_of, label_of

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


NUMBERS = tuple(str(number) for number in range(1, 13))
FONTS = ("text", "textbf", "textit", "texttt", "textrm", "textsf", "mathrm", "mathsf", "mathtt", "boldsymbol", "mbox")
TABLE = [
    # So do sizes, growing brackets and typographic quotes; other symbols that begin with \\text are symbols.
    (r"\boxed{\left(C3\right)}", CAUSES, "C3"),
    (r"\boxed{\bigl[C3\bigr]}", CAUSES, "C3"),
    (r"\boxed{\displaystyle C3}", CAUSES, "C3"),
    (r"\boxed{\huge\textbf{C3}}", CAUSES, "C3"),
    (r"\boxed{\ensuremath{C_3}}", CAUSES, "C3"),
    ("\\boxed{\u201cC3\u201d}", CAUSES, "C3"),
    (r"\boxed{1\textbar2}", NUMBERS, None),
    (r"\boxed{1\textbackslash{}2}", NUMBERS, None),
    # Fonts and markup say nothing: the person reads C3.
    *(
        (rf"\boxed{{\{font}{{C3}}}}", CAUSES, "C3")
        for font in ("text", "textbf", "textit", "texttt", "textrm", "textsf")
    ),
    *(
        (rf"\boxed{{\{font}{{C3}}}}", CAUSES, "C3")
        for font in ("mathrm", "mathsf", "mathtt", "boldsymbol", "mbox", "bm")
    ),
    (r"\boxed{\textcolor{red}{C3}}", CAUSES, "C3"),
    (r"\boxed{\bf C3}", CAUSES, "C3"),
    (r"\boxed{\boldsymbol{C}_{\mathrm{3}}}", CAUSES, "C3"),
    (r"\boxed{\, C3 \,}", CAUSES, "C3"),
    (r"\boxed{**C3**}", CAUSES, "C3"),
    ("\\boxed{`C3`}", CAUSES, "C3"),
    (r"\boxed{\(C3\)}", CAUSES, "C3"),
    (r"\boxed{C-3}", CAUSES, "C3"),
    (r"\boxed{C\_3}", CAUSES, "C3"),
    # With a description, set off by a mark: still one answer.
    (r"\boxed{C3: A neighbouring cell}", CAUSES, "C3"),
    (r"\boxed{\text{C3: A neighbouring cell gives more throughput}}", CAUSES, "C3"),
    (r"\boxed{\textbf{C3}: overlap of 5 dB}", CAUSES, "C3"),
    (r"\boxed{C3 (overshooting)}", CAUSES, "C3"),
    (r"\boxed{C3. The cell overshoots.}", CAUSES, "C3"),
    (r"\boxed{C3) overshooting}", CAUSES, "C3"),
    (r"\boxed{(C3) overshooting}", CAUSES, "C3"),
    (r"\boxed{C3 - overshooting}", CAUSES, "C3"),
    (r"\boxed{C3, overshooting}", CAUSES, "C3"),
    (r"\boxed{3: neighbour 5 dB stronger}", DIGITS, "3"),
    (r"\boxed{B: A handover fails}", LETTERS, "B"),
    # Introduced by what it is.
    (r"\boxed{Cause C3}", CAUSES, "C3"),
    (r"\boxed{\text{Root cause: }C3}", CAUSES, "C3"),
    (r"\boxed{The answer is C3.}", CAUSES, "C3"),
    (r"\boxed{option 3}", DIGITS, "3"),
    # A number that is not a label is not joined into one.
    (r"\boxed{12}", NUMBERS, "12"),
    (r"\boxed{\mathbf{1}\mathbf{2}}", NUMBERS, "12"),  # typeset as 12
    (r"\boxed{1, 2}", NUMBERS, None),
    (r"\boxed{1,2}", NUMBERS, None),
    (r"\boxed{1 2}", NUMBERS, None),
    (r"\boxed{1\,2}", NUMBERS, None),
    (r"\boxed{1.2}", NUMBERS, None),
    (r"\boxed{1.0}", NUMBERS, None),
    (r"\boxed{1:2}", NUMBERS, None),
    (r"\boxed{1_2}", NUMBERS, None),
    (r"\boxed{1*2}", NUMBERS, None),
    (r"\boxed{1*$2}", NUMBERS, None),
    (r"\boxed{1\\2}", NUMBERS, None),
    (r"\boxed{(1)(2)}", NUMBERS, None),
    (r"\boxed{-3}", NUMBERS, None),
    (r"\boxed{1/2}", NUMBERS, None),
    (r"\boxed{\frac{1}{2}}", NUMBERS, None),
    (r"\boxed{3 dB}", DIGITS, None),
    (r"\boxed{1,000 m}", DIGITS, None),
    # More than one option, or one that is taken back.
    (r"\boxed{C3, C4}", CAUSES, None),
    (r"\boxed{C3, 4}", CAUSES, None),
    (r"\boxed{C3, and 4}", CAUSES, None),
    (r"\boxed{C3: or C4}", CAUSES, None),
    (r"\boxed{C3 (or C4)}", CAUSES, None),
    (r"\boxed{C3: it might be C4}", CAUSES, None),
    (r"\boxed{C3 (C4)}", CAUSES, None),
    (r"\boxed{C3-C5}", CAUSES, None),
    (r"\boxed{C3: not the cause}", CAUSES, None),
    (r"\boxed{not C3}", CAUSES, None),
    (r"\boxed{1: or rather 2}", DIGITS, None),
    (r"\boxed{1: perhaps option 2 here}", DIGITS, None),
    (r"\boxed{A: B}", LETTERS, None),
    # Nothing says where the label ends.
    (r"\boxed{C3 is it}", CAUSES, None),
    (r"\boxed{A handover fails}", LETTERS, None),
    (r"\boxed{C3: }", CAUSES, "C3"),
    (r"\boxed{1(a)}", DIGITS, None),
    (r"\boxed{\foo{C3}}", CAUSES, None),  # not LaTeX; what it would show is unknown
    # The labels of the question only.
    (r"\boxed{3}", DIGITS, "3"),
    (r"\boxed{\text{(3)}}", DIGITS, "3"),
    (r"\boxed{C3}", DIGITS, None),
    (r"\boxed{b}", LETTERS, "B"),
    (r"\boxed{A or B}", LETTERS, None),
    (r"\boxed{\text{A}}", LETTERS, "A"),
]


@pytest.mark.parametrize(("response", "labels", "label"), TABLE)
def test_a_box_says_what_a_person_would_say_it_says(response, labels, label):
    """Each case decided once; in a randomised question the labels are its own."""
    assert label_of(response, labels) == label


@given(st.text(alphabet="12 .,:;()[]{}*_$-/\\~", max_size=12))
def test_digits_are_never_joined_across_a_mark(content):
    """Only braces vanish in print: 12 is read where 1 and 2 stand next to each other, not where a mark parts them."""
    if label_of(f"\\boxed{{{content}}}", NUMBERS) in ("11", "12"):
        assert re.search(r"1[{}]*(\\[(){}\[\]])*[{}]*[12]", content)


RANDOM = ("M5", "P6", "K2", "Z9", "B1", "Q7")
BOTH = [
    # response, labels, strict, gsma: the right answer is C3, 3, P6 or B
    (r"\boxed{C3}", CAUSES, "C3", "C3"),
    (r"**Answer:** $\boxed{C3}$", CAUSES, "C3", "C3"),
    (r"\[ \boxed{C3} \]", CAUSES, "C3", "C3"),
    (r"\boxed{\text{C3}}", CAUSES, "C3", "C3"),
    (r"\boxed{\texttt{C3}}", CAUSES, "C3", "C3"),
    (r"\boxed{\mathrm{C3}}", CAUSES, "C3", "C3"),
    (r"\boxed{\textbf{C3}}", CAUSES, "C3", "C3"),
    (r"\boxed{\mathbf{C}_3}", CAUSES, "C3", "C3"),
    (r"\boxed{C_{3}}", CAUSES, "C3", "C3"),
    (r"\boxed{\mathbf{C}_{\mathbf{3}}}", CAUSES, "C3", None),  # GSMA's pattern allows one level of braces
    (r"\boxed{\text{\textbf{C3}}}", CAUSES, "C3", None),
    (r"\boxed{{C3}}", CAUSES, "C3", "C3"),
    (r"\boxed{{{C3}}}", CAUSES, "C3", None),
    (r"\boxed{c3}", CAUSES, "C3", "C3"),
    (r"\boxed{C 3}", CAUSES, "C3", "C3"),
    (r"\boxed{C-3}", CAUSES, "C3", "C3"),
    (r"\boxed{C3.}", CAUSES, "C3", "C3"),
    (r"\boxed{:C3}", CAUSES, None, "C3"),
    (r"\boxed{(C3)}", CAUSES, "C3", "C3"),
    ("\\boxed{\nC3\n}", CAUSES, "C3", "C3"),
    (r"\boxed {C3}", CAUSES, "C3", None),
    (r"\boxed{3}", CAUSES, None, "C3"),
    (r"\boxed{03}", CAUSES, None, "C3"),
    (r"\boxed{\text{3}}", CAUSES, None, "C3"),
    (r"\boxed{3.0}", CAUSES, None, "C3"),
    (r"\boxed{-3}", CAUSES, None, "C3"),
    (r"\boxed{Cause 3}", CAUSES, None, "C3"),
    (r"\boxed{Root cause: C3}", CAUSES, "C3", "C3"),
    (r"\boxed{The answer is C3}", CAUSES, "C3", "C3"),
    (r"\boxed{C3: A neighboring cell provides higher throughput.}", CAUSES, "C3", "C3"),
    (r"\boxed{\text{C3: A neighboring cell provides higher throughput.}}", CAUSES, "C3", "C3"),
    (r"\boxed{C3 (Neighboring cell)}", CAUSES, "C3", "C3"),
    (r"\boxed{C3} The speed stays below 40 km/h.", CAUSES, "C3", "C3"),
    (r"\boxed{C3, C5}", CAUSES, None, "C3"),
    (r"\boxed{C5, C3}", CAUSES, None, "C5"),
    (r"\boxed{C3 and C4}", CAUSES, None, "C3"),
    (r"\boxed{C3 or C4}", CAUSES, None, "C3"),
    (r"\boxed{C3/C4}", CAUSES, None, "C3"),
    (r"\boxed{C3} \boxed{C4}", CAUSES, "C4", "C4"),
    (r"First \boxed{C4}, but finally \boxed{C3}", CAUSES, "C3", "C3"),
    (r"\boxed{C3} \boxed{}", CAUSES, None, None),
    (r"\boxed{}", CAUSES, None, None),
    (r"\boxed{C3} as asked in \boxed", CAUSES, None, "C3"),
    (r"\boxed{C3} and then \boxed{C4", CAUSES, None, "C3"),
    (r"\boxed{C9}", CAUSES, None, None),
    (r"\boxed{C30}", CAUSES, None, None),
    (r"\boxed{13}", CAUSES, None, None),
    (r"\boxed{neighbour}", CAUSES, None, None),
    (r"\boxed{\text{None of C1 to C8}}", CAUSES, None, "C1"),
    ("\\boxed{C\uff13}", CAUSES, None, "C3"),  # Python takes full-width digits for digits
    ("The root cause is C3.", CAUSES, None, None),
    ("", CAUSES, None, None),
    (r"\fbox{C3}", CAUSES, None, None),
    (r"\boxed{3}", DIGITS, "3", "3"),
    (r"\boxed{C3}", DIGITS, None, "3"),
    (r"\boxed{3.0}", DIGITS, None, "3"),
    (r"\boxed{3: 40 km/h}", DIGITS, None, "3"),
    (r"\boxed{1, 2}", NUMBERS, None, "1"),
    (r"\boxed{1.2}", NUMBERS, None, "1"),
    (r"\boxed{12}", NUMBERS, "12", "12"),
    (r"\boxed{P6}", RANDOM, "P6", "P6"),
    (r"\boxed{p6}", RANDOM, "P6", "P6"),
    (r"\boxed{M6}", RANDOM, None, "P6"),
    (r"\boxed{6}", RANDOM, None, "P6"),
    (r"\boxed{M5}", RANDOM, "M5", "M5"),
    (r"\boxed{B}", LETTERS, "B", "B"),  # no label has a digit, so no integer can be right: strict
    (r"\boxed{B. Too late}", LETTERS, "B", "B"),
    (r"\boxed{2}", LETTERS, None, None),
]


def test_both_gradings_of_the_answers_that_models_write():
    """Sixty and more shapes, each with what either grading takes it for; the reward follows."""
    assert len(BOTH) >= 60
    for response, labels, *expected in BOTH:
        found = [grade(response, dict.fromkeys(labels, ""), None) for grade in GRADINGS.values()]
        assert found == expected, response
        assert list(GRADINGS) == ["strict", "gsma"]


def test_the_grading_is_an_option_of_every_telelogs_task():
    """pass@1, maj@4 and the reward follow it; a name that does not exist is told at once."""
    for name in ("telelogs-synthetic", "telelogs-compact"):
        strict, gsma = load(name), load(name, grading="gsma")
        (problem,) = strict.problems("test", count=1)
        assert gsma.problems("test", count=1) == (problem,)
        digit = f"\\boxed{{{problem.answer['label'][1:]}}}"
        assert strict.score(problem, digit) == Score(0.0, False, False)
        assert gsma.score(problem, digit) == Score(1.0, True, True)
        assert (strict.answer_of(problem, digit), gsma.answer_of(problem, digit)) == (None, gsma.class_of(problem))
        with pytest.raises(ValueError, match="grading is 'soft'; choose one of strict, gsma"):
            load(name, grading="soft")
    with pytest.raises(ValueError, match="grading is 'soft'"):
        load("telelogs", grading="soft")


def test_of_two_labels_with_one_number_gsma_means_the_right_one():
    """Its comparison is with the number of the right label."""
    for number in "50":
        labels = (f"M{number}", f"P{number}")
        assert [gsma_label_of(rf"\boxed{{{number}}}", labels, right) for right in labels] == list(labels)


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
    start = time.perf_counter()
    gsma_label_of(HOSTILE[case], CAUSES, "C3")
    assert time.perf_counter() - start < 0.5


@given(st.text(alphabet=st.sampled_from("\\boxed{}C38 text,.$\0\n\uff13") | st.characters(), max_size=200))
def test_any_text_gives_a_label_or_none(response):
    """Never an exception, and never a label that the response does not hold."""
    label = label_of(response, CAUSES)
    assert label is None or label in CAUSES
    assert label is None or (boxed(response) is not None and label[1] in response)
    assert gsma_label_of(response, CAUSES, "C3") in (None, *CAUSES)
