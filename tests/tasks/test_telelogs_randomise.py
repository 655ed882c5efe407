"""The second test set: labels at other causes, tables swapped, the answer with them, and nothing else changed."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from telelogs_questions import OFFICIAL, as_official, question

from hysteretic.tasks.telelogs import CAUSES, parse_question, randomise_question, solve

WORDINGS = {"own": lambda text: text, "official": as_official}
LABELS = list(CAUSES)
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("wording", WORDINGS)
def test_the_answer_moves_with_its_cause(wording):
    """The rules, which read only text, find the mapped answer, and the scenario is the same."""
    for n in range(80):
        answer = LABELS[n % 8]
        text = WORDINGS[wording](question(n, answer))
        changed, mapped = randomise_question(text, answer, seed=3)
        before, after = parse_question(text), parse_question(changed)
        assert after.scenario == before.scenario
        assert after.options[mapped] == before.options[answer] == answer
        assert list(after.options) == LABELS
        assert solve(changed) == mapped


@pytest.mark.parametrize("wording", WORDINGS)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_only_options_and_the_place_of_the_tables_change(wording, line_end):
    """Prompts are the user's: the same lines in another order, prose and the lines between the tables in place."""
    text = WORDINGS[wording](question("only")).replace("\n", line_end)
    words = CAUSES if wording == "own" else OFFICIAL
    for seed in range(12):
        changed, _ = randomise_question(text, "C3", seed)
        assert len(changed) == len(text)
        assert Counter(changed) == Counter(text)
        for cause in words.values():
            assert changed.count(cause) == 1
        plain, other = text, changed
        for cause in words.values():
            plain, other = plain.replace(cause, "#"), other.replace(cause, "#")
        lines, other_lines = plain.split(line_end), other.split(line_end)
        assert sorted(lines) == sorted(other_lines)
        drive = next(i for i, line in enumerate(lines) if line.startswith(("Drive test log", "User plane")))
        assert other_lines[:drive] == lines[:drive]
        assert other_lines[-3:] == lines[-3:]
        if lines != other_lines:  # swapped: each table under its own introduction
            place = other_lines.index(lines[drive])
            assert other_lines[drive].startswith(("Engineering parameters", "Engeneering parameters"))
            assert other_lines[drive + 2].startswith("gNodeB ID|")
            assert other_lines[place : place + 13] == lines[drive : drive + 13]


def test_swaps_and_labels_are_fair_and_set_by_seed_and_question():
    """Half of the questions are swapped, every label is the answer equally often, and the same seed does the same."""
    texts = [question(n, "C5") for n in range(8)]
    done = [randomise_question(text, "C5", seed) for text in texts for seed in range(100)]
    swaps = sum(text.index("gNodeB ID|") < text.index("Timestamp|") for text, _ in done)
    answers = Counter(answer for _, answer in done)
    assert 330 <= swaps <= 470  # 5 standard deviations
    assert set(answers) == set(CAUSES)
    assert all(53 <= count <= 147 for count in answers.values())
    assert len(set(done)) == 800
    assert done == [randomise_question(text, "C5", seed) for text in texts for seed in range(100)]


def test_another_process_gives_the_same():
    """Hashes of strings differ between processes; this must not."""
    code = (
        "from telelogs_questions import question\n"
        "from hysteretic.tasks.telelogs import randomise_question\n"
        "print(repr(randomise_question(question('p'), 'C3', 5)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=TESTS)
    assert done.stdout.strip() == repr(randomise_question(question("p"), "C3", 5))


def test_letters_and_digits_stay_the_labels():
    """The labels are the question's own."""
    for names in ("ABCDEFGH", "12345678"):
        text = question("letters", "C2")
        for cause, name in zip(CAUSES, names, strict=True):
            text = text.replace(f"{cause}: ", f"{name}) ")
        changed, mapped = randomise_question(text, names[1], 1)
        assert list(parse_question(changed).options) == list(names)
        assert solve(changed) == mapped


def test_options_that_name_no_known_cause_move_too():
    """Five options under any labels are enough: what moves is words."""
    text = question("five", "C2")
    for cause, words in list(CAUSES.items())[5:]:
        text = text.replace(f"{cause}: {words}\n", "")
    text = text.replace(CAUSES["C4"], "It rains.")
    for cause, label in zip(CAUSES, ("M5", "P6", "K2", "Z9", "B1"), strict=False):
        text = text.replace(f"{cause}: ", f"{label}: ")
    changed, mapped = randomise_question(text, "Z9", 1)
    assert parse_question(changed).options[mapped] == "It rains."
    assert Counter(changed) == Counter(text)


@pytest.mark.parametrize(
    ("text", "answer", "message"),
    [
        (question(), "C9", "'C9'.* C1, C2, C3"),
        (question(), "3", "The answer is '3'"),
        (question().replace("C4: ", "C5: "), "C1", "line 9: label 'C5' is already used"),
        (question().partition("Drive test log")[0], "C1", "0 of the two tables"),
    ],
    ids=["no option", "a bare digit", "a label twice", "no tables"],
)
def test_what_cannot_be_mapped_is_rejected(text, answer, message):
    """A wrong answer key would be trained on."""
    with pytest.raises(ValueError, match=message):
        randomise_question(text, answer, 0)
