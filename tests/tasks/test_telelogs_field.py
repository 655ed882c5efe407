"""TeleLogs as the field has it: configurations, ids, answers elsewhere, other options, other kinds of questions.

The questions are drawn or written here; only their shapes are those of published files.
"""

import csv
import json
import re
import sys
import warnings
from types import SimpleNamespace

import pytest
from telelogs_questions import as_official, question

from hysteretic.tasks import load
from hysteretic.tasks.rows import LeftOutWarning
from hysteretic.tasks.task import RewardError, Score
from hysteretic.tasks.telelogs import CAUSES
from hysteretic.tasks.telelogs.layout import layout
from hysteretic.tasks.telelogs.parse import parse_question
from hysteretic.tasks.telelogs.randomise import randomise_question
from hysteretic.tasks.telelogs.rules import explanation

LABELS = list(CAUSES)
SIX = dict(zip(("C2", "C3", "C5", "C6", "C7", "C8"), ("M5", "P6", "K2", "Z9", "B1", "Q7"), strict=True))

LTE = """\
Users of an LTE network complain. Find the cause of the low rate in the measurements.
1. Read the table.
2. Read the options.

A: The antenna of the eNodeB leans too far.
B: The handover threshold is too low.
C: Handovers come too late.
D: The power is too low.
E: The coverage overlaps.
F: The neighbour is not in the list.
G: The load is too high.
H: The PCI collides.
I: Something else.

|Time|UE|Serving PCI|Serving RSRP(dBm)|Neighbor 1 PCI|
|---|---|---|---|---|
|10:00|1|33|-101.5|34|

Give the letter in \\boxed{}.
"""
GENERAL = """\
A farmer has 12 cows and buys 30 more. How many has he now, if |x| means the size of x?

1: 18
2: |-42|
3: |-41|
4: 360
"""


def fewer(key, cause, labels=SIX):
    """A question with some of the causes as options, under labels of its own; and the right label."""
    text = as_official(question(key, cause))
    lines = []
    for line in text.split("\n"):
        name = line[:2]
        if line[2:4] != ": " or name not in CAUSES:
            lines.append(line)
        elif name in labels:
            lines.append(f"{labels[name]}{line[2:]}")
    return "\n".join(lines), labels[cause]


def csv_file(path, rows, encoding="utf-8", newline="\r\n"):
    with path.open("w", newline="", encoding=encoding) as file:
        table = csv.DictWriter(file, rows[0], lineterminator=newline)
        table.writeheader()
        table.writerows(rows)
    return str(path)


def text_of(problem):
    return problem.prompt[0]["content"]


def mixed():
    """Rows of every kind, with ids."""
    rows = [dict(zip(("question", "answer"), fewer(n, cause), strict=True)) for n, cause in enumerate(SIX)]
    rows += [{"question": LTE, "answer": "C"}, {"question": GENERAL, "answer": "2"}]
    rows += [{"question": as_official(question("all", "C4")), "answer": "C4"}]
    return [{"ID": f"ID_{n:03d}", **row} for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("name", "options", "source"),
    [
        ("telelogs", {"config": "troubleshooting"}, "netop/TeleLogs"),
        ("telelogs-randomised", {"source": "GSMA/ot-lite", "config": "telelogs"}, "GSMA/ot-lite"),
        ("countdown-3", {"source": "org/countdown", "config": "small"}, "org/countdown"),
        ("org/sums", {"reward": lambda response, answer: response == answer, "config": "main"}, "org/sums"),
    ],
)
def test_a_configuration_reaches_the_hub_from_every_task(monkeypatch, name, options, source):
    """One option, `config`, whatever the task; without it no configuration is named."""
    asked = []

    def load_dataset(path, config):
        asked.append((path, config))
        row = {"question": question(), "answer": "C3", "nums": [3, 5, 7], "target": 26, "prompt": "1+1="}
        return {split: SimpleNamespace(to_list=lambda: [row]) for split in ("train", "test")}

    errors = SimpleNamespace(DatasetsError=KeyError, DatasetGenerationError=KeyError)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset, exceptions=errors))
    split = "train" if name == "countdown-3" else "test"  # a hash decides of which split this problem is
    assert len(load(name, **options).problems(split)) == 1
    assert asked == [(source, options["config"])]
    asked.clear()
    load("telelogs", source="GSMA/ot-full").problems("test", count=1)
    assert asked == [("GSMA/ot-full", None)]


def test_a_configuration_that_is_missing_or_useless_is_an_error(monkeypatch, tmp_path):
    """What to set, not a stack of calls; a file has no configurations, and neither has a generated task."""

    def load_dataset(path, config):
        raise ValueError(
            "Config name is missing.\nPlease pick one among the available configs: ['teleqna', 'telelogs']"
        )

    errors = SimpleNamespace(DatasetsError=KeyError, DatasetGenerationError=KeyError)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset, exceptions=errors))
    with pytest.raises(ValueError, match=r"several configurations; set config to one of them.*'telelogs'\]"):
        load("telelogs", source="GSMA/ot-lite").problems("test")
    source = csv_file(tmp_path / "test.csv", mixed())
    with pytest.raises(ValueError, match=r"config is 'telelogs', but .* is a file"):
        load("telelogs", source=source, config="telelogs").problems("test")
    with pytest.raises(ValueError, match="config is 'main', but there is no source"):
        load("countdown-3", config="main")


@pytest.mark.parametrize("is_randomised", [False, True])
def test_rows_of_every_kind_are_posed_scored_and_counted(tmp_path, is_randomised):
    """Nothing is refused because one row is different, and one line says what there is."""
    task = load("telelogs", source=csv_file(tmp_path / "test.csv", mixed()), is_randomised=is_randomised)
    with pytest.warns(LeftOutWarning) as said:
        problems = task.problems("test")
    (line,) = [str(warning.message) for warning in said]
    assert line.endswith("test.csv has questions of these kinds: 7 telelogs, 1 network, 1 general.")
    assert len(problems) == 9
    for problem in problems:
        for label in problem.answer["causes"]:
            right = label == problem.answer["label"]
            assert task.score(problem, f"So \\boxed{{{label.lower()}}}") == Score(float(right), right, True)
    if not is_randomised:
        by_id = {task.ids_of(problem)[0]: problem for problem in problems}
        assert sorted(by_id) == [row["ID"] for row in mixed()]
        assert {name: by_id[name].answer["label"] for name in by_id} == {row["ID"]: row["answer"] for row in mixed()}
        assert by_id["ID_006"].answer["causes"]["C"] == "Handovers come too late."
        assert by_id["ID_007"].answer["causes"]["2"] == "|-42|"
        assert by_id["ID_000"].answer["causes"] == {label: cause for cause, label in SIX.items()}
        assert [task.class_of(by_id[name]) for name in ("ID_000", "ID_006", "ID_008")] == ["C2", None, "C4"]


def test_the_kinds_to_use_are_chosen_and_the_others_counted(tmp_path):
    """Who trains on root causes need not train on cows."""
    source = csv_file(tmp_path / "test.csv", mixed())
    for kinds, count in (("telelogs", 7), ("telelogs,network", 8), ("general", 1), ("all", 9)):
        task = load("telelogs", source=source, kinds=kinds)
        with pytest.warns(LeftOutWarning, match="7 telelogs.* 1 network.* 1 general") as said:
            assert len(task.problems("test")) == count
        assert ("1 general (left out)" in str(said[0].message)) == ("general" not in kinds and kinds != "all")
    with pytest.raises(ValueError, match="kinds is 'lte'; expected \"all\", or some of telelogs, network, general"):
        load("telelogs", source=source, kinds="lte")


def test_a_question_of_another_kind_without_options_is_left_out_and_named(tmp_path):
    """It cannot be scored, and is no reason to refuse the others."""
    rows = [*mixed(), {"ID": "ID_X", "question": "What is 6 times 7?", "answer": "42"}]
    rows += [{"ID": "ID_Y", "question": GENERAL, "answer": "5"}]
    task = load("telelogs", source=csv_file(tmp_path / "test.csv", rows))
    with pytest.warns(LeftOutWarning, match=r"2 of 11 rows cannot .* row 9 \(ID_X\), The question lists no options"):
        assert len(task.problems("test")) == 9


def test_rules_name_the_cause_only_where_all_eight_are_options(tmp_path):
    """Elsewhere they say that they do not apply; the right answer is shown, and imitated, all the same."""
    task = load("telelogs", source=csv_file(tmp_path / "test.csv", mixed()))
    with warnings.catch_warnings(action="ignore") if sys.version_info >= (3, 11) else pytest.warns(LeftOutWarning):
        by_id = {task.ids_of(problem)[0]: problem for problem in task.problems("test")}
    assert "✓ C4 holds" in task.explanation(by_id["ID_008"])
    assert "this is the cause" in task.demonstration(by_id["ID_008"])
    for name, words in (("ID_000", "the options name 6 of the eight causes"), ("ID_006", "the options name")):
        assert f"The rules are not applicable: {words}" in task.explanation(by_id[name])
    assert task.explanation(by_id["ID_007"]).startswith("2: |-42|")
    assert task.picture(by_id["ID_006"]) == ()
    assert len(task.picture(by_id["ID_000"])) == 8
    for problem in by_id.values():
        assert task.score(problem, task.demonstration(problem)).reward == 1.0


@pytest.mark.parametrize("suffix", ["", "_1"])
def test_answers_may_be_in_a_file_of_their_own(tmp_path, suffix):
    """Joined by id: in any order, with more rows than questions; and one row for each of four answers."""
    rows = mixed()
    questions = csv_file(
        tmp_path / "test.csv", [{"ID": row["ID"], "question": row["question"]} for row in rows], "utf-8-sig"
    )
    targets = [{"ID": row["ID"] + suffix, "target": row["answer"]} for row in rows[::-1]]
    targets += [{"ID": "ID_999", "target": ""}, *({"ID": row["ID"] + "_2", "target": "?"} for row in rows if suffix)]
    answers = csv_file(tmp_path / "targets.csv", targets)
    task = load("telelogs", source=questions, answers=answers, answer_column="target")
    with pytest.warns(LeftOutWarning, match="these kinds"):
        found = {task.ids_of(problem)[0]: problem.answer["label"] for problem in task.problems("test")}
    assert found == {row["ID"]: row["answer"] for row in rows}
    few = csv_file(tmp_path / "few.csv", targets[1:])
    with pytest.raises(
        ValueError, match=r"1 bad row of 9: \(1\) row 8 \(ID_008\), the id 'ID_008' is not in .*few.csv"
    ):
        load("telelogs", source=questions, answers=few, answer_column="target").problems("test")
    twice = csv_file(tmp_path / "twice.csv", [*targets, {**targets[0], "target": "C1"}])
    with pytest.raises(ValueError, match=r"has the id 'ID_008.*' of another row"):
        load("telelogs", source=questions, answers=twice, answer_column="target").problems("test")
    with pytest.raises(
        ValueError, match=r"targets.csv, the row of ID_000, has no column 'answer'; its columns are ID, t"
    ):
        load("telelogs", source=questions, answers=answers).problems("test")


def test_questions_whose_answers_are_secret_are_posed_and_never_scored(tmp_path):
    """A reward of 0 for everything would look like a bad model."""
    rows = [{"ID": row["ID"], "question": row["question"]} for row in mixed()]
    rows += [{"ID": "ID_X", "question": "What is 6 times 7?"}]
    source = csv_file(tmp_path / "test.csv", rows)
    with pytest.raises(ValueError, match=r"has 10 bad rows of 10: .*no column 'answer'"):
        load("telelogs", source=source).problems("test")
    task = load("telelogs", source=source, is_labelled=False)
    with pytest.warns(LeftOutWarning, match="7 telelogs, 1 network, 2 general"):
        problems = task.problems("test")
    assert len(problems) == 10
    with pytest.raises(RewardError, match="has no answer"):
        task.score(problems[0], "\\boxed{A}")
    with pytest.raises(ValueError, match="has no answer"):
        task.demonstration(problems[0])
    assert "unknown" in task.explanation(problems[0])


@pytest.mark.parametrize(
    ("answer", "labels"),
    [("3.0", "12345678"), (3.0, "12345678"), (3, "12345678"), (" 3 ", "12345678"), ("c", "ABCDEFGH")],
)
def test_labels_that_a_spreadsheet_changed_are_understood(tmp_path, answer, labels):
    """A column with gaps turns 3 into 3.0."""
    text, right = fewer("float", "C3", dict(zip(LABELS, labels, strict=True)))
    path = tmp_path / "test.json"
    path.write_text(json.dumps([{"question": text, "answer": answer}]))
    (problem,) = load("telelogs", source=str(path)).problems("test")
    assert problem.answer["label"] == right


@pytest.mark.parametrize("answer", ["3.5", 3.5, "C3.0", "03"])
def test_other_numbers_are_no_labels(tmp_path, answer):
    """1.5 is not option 1."""
    text, _ = fewer("float", "C3", dict(zip(LABELS, "12345678", strict=True)))
    path = tmp_path / "test.json"
    path.write_text(json.dumps([{"question": text, "answer": answer}]))
    with pytest.raises(ValueError, match=rf"row 0, the answer is '{answer}'; expected one of 1, 2"):
        load("telelogs", source=str(path)).problems("test")


def changed(column, value, row=2):
    """An official-style question with one cell of its drive log changed. None: without the column."""
    lines = as_official(question("changed", "C2")).split("\n")
    header = next(i for i, line in enumerate(lines) if line.startswith("Timestamp|"))
    place = lines[header].split("|").index(column)
    for i in range(header, header + 11):
        cells = lines[i].split("|")
        if value is None:
            del cells[place]
        elif i == header + row:
            cells[place] = value
        lines[i] = "|".join(cells)
    return "\n".join(lines)


SINR, LEVEL, RB = (
    "5G KPI PCell RF Serving SS-SINR [dB]",
    "Measurement PCell Neighbor Cell Top Set(Cell Level) Top 1 Filtered Tx BRSRP [dBm]",
    "5G KPI PCell Layer1 DL RB Num (Including 0)",
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed("Timestamp", None), r"have gaps, the first is row 0, line \d+: no Timestamp, assumed -"),
        (changed(SINR, None), None),
        (changed(SINR, "-"), None),
        (changed(LEVEL, "-"), None),
        (changed(RB, "-"), r"tables of 1 of 1 rows have gaps, the first is row 0, line \d+: left out, column '5G KPI"),
        (changed("GPS Speed (km/h)", "").replace("\n", "\r\n"), "have gaps, the first is row 0, line"),
        ("\ufeff" + changed(SINR, "12").replace("\n", "\r\n"), None),
    ],
)
def test_field_data_are_read_and_gaps_counted(tmp_path, text, said):
    """A column less, '-' for a number, line ends of Windows, a byte order mark within the text."""
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"question": text, "answer": "C2"}), encoding="utf-8")
    task = load("telelogs", source=str(path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (problem,) = task.problems("test")
    assert text_of(problem) == text
    assert task.class_of(problem) == "C2"
    if said is None:
        assert not caught
    else:
        (warning,) = caught
        assert warning.category is LeftOutWarning
        assert re.search(said, str(warning.message))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (changed(LEVEL, "-999"), r"row 0, line \d+: in the drive log, BRSRP is -999.0; expected -200.0 to 0.0"),
        (changed(RB, "n/a"), r"row 0, line \d+: .* is 'n/a'; expected a number"),
        (changed(RB, None), r"row 0, line \d+: the drive log has no column '5G KPI PCell Layer1 DL RB Num"),
        (changed(SINR, "1|2"), r"row 0, line \d+: a row of the drive log has 20 cells, but its header .* has 19"),
    ],
)
def test_damaged_tables_are_named_and_may_be_kept(tmp_path, text, said):
    """The row, the line and the reason; who needs no rules keeps the question, which its options suffice to score."""
    path = tmp_path / "test.json"
    path.write_text(json.dumps([{"question": text, "answer": "C2"}]))
    with pytest.raises(ValueError, match=said):
        load("telelogs", source=str(path)).problems("test")
    for name in ("telelogs", "telelogs-randomised"):
        task = load(name, source=str(path), on_bad_row="keep")
        (problem,) = task.problems("test")
        assert task.score(problem, f"\\boxed{{{problem.answer['label']}}}").reward == 1.0
        assert task.class_of(problem) == "C2"
        assert "not applicable" in task.explanation(problem)


@pytest.mark.parametrize(("name", "said"), [(7, "7"), (7.0, "7"), (" 7 ", "7"), ("v1.0", "v1.0"), ("ID_1", "ID_1")])
def test_ids_are_the_datas_own(tmp_path, name, said):
    """A submission under other ids would be rejected; 7.0 is what a table with gaps makes of 7."""
    path = tmp_path / "test.json"
    path.write_text(json.dumps([{"ID": name, "question": question(1, "C2"), "answer": "C2"}]))
    task = load("telelogs", source=str(path))
    assert task.ids_of(task.problems("test")[0]) == [said]


@pytest.mark.parametrize(("encoding", "newline"), [("utf-8-sig", "\r\n"), ("utf-16", "\n"), ("utf-8", "\r\n")])
def test_files_of_windows_are_read(tmp_path, encoding, newline):
    """Excel writes a byte order mark before the name of the first column."""
    rows = [{"ID": 7, "question": as_official(question(1, "C2")), "answer": "C2"}]
    task = load("telelogs", source=csv_file(tmp_path / "test.csv", rows, encoding, newline))
    (problem,) = task.problems("test")
    assert task.ids_of(problem) == ["7"]


def test_latin_1_is_refused_with_the_line(tmp_path):
    """Its bytes would be guessed; the message has the command that converts them."""
    path = tmp_path / "test.csv"
    path.write_bytes('ID,question,answer\n1,"Zürich"\n'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"test.csv line 2 is not UTF-8: byte 0xfc, which is 'ü' .*iconv"):
        load("telelogs", source=str(path)).problems("test")


def test_identical_rows_keep_all_their_ids(tmp_path):
    """A submission needs every id, though a question is posed once."""
    row = mixed()[0]
    path = csv_file(tmp_path / "test.csv", [row, {**row, "ID": "ID_TWIN"}])
    task = load("telelogs", source=path)
    (problem,) = task.problems("test")
    assert task.ids_of(problem) == ["ID_000", "ID_TWIN"]
    without = csv_file(tmp_path / "other_test.csv", [{"question": row["question"], "answer": row["answer"]}])
    task = load("telelogs", source=without)
    with pytest.raises(ValueError, match="nothing in the column 'ID'; set id_column"):
        task.ids_of(task.problems("test")[0])


def written(path, rows):
    path.write_text(json.dumps([{"question": text, "answer": answer} for text, answer in rows]))
    return str(path)


CELLS = "\n".join(
    ["eNodeB ID|Cell ID|Longitude|Latitude|Mechanical Azimuth|Mechanical Downtilt|PCI|Height(m)", "1|2|3|4|5|6|7|8"]
)


def test_a_table_of_cells_alone_does_not_make_a_question_one_of_telelogs(tmp_path):
    other = f"Which cell of this LTE network is highest?\n{CELLS}\nA: the first\nB: the second"
    rows = [(other, "A"), (as_official(question("k", "C3")), "C3")]
    with pytest.warns(LeftOutWarning, match="1 telelogs, 1 network"):
        assert len(load("telelogs", source=written(tmp_path / "test.json", rows)).problems("test")) == 2


def test_a_bad_question_of_a_kind_that_is_left_out_is_counted(tmp_path):
    broken = as_official(question("k", "C3")).replace("Timestamp|", "Time|", 1).replace("C3:", "C2:", 1)
    source = written(tmp_path / "test.json", [(broken, "C3"), (LTE, "A")])
    with pytest.warns(LeftOutWarning, match="1 of 2 rows cannot be scored"):
        assert len(load("telelogs", source=source, kinds="network").problems("test")) == 1
    with pytest.raises(ValueError, match="1 bad row of 2"):
        load("telelogs", source=source).problems("test")


def test_steps_right_below_the_options_are_no_options():
    text = as_official(question("k", "C3"))
    at = text.index("\n", text.index("\nC8:") + 1)
    text = text[:at] + "\n1. Read the log.\n2. Then read the cells." + text[at:]
    assert [option.label for option in layout(text).options] == LABELS


def test_a_list_that_is_repeated_is_moved_wherever_it_stands():
    """Otherwise the prompt would give one label two meanings."""
    text = as_official(question("k", "C3"))
    lines = [line for line in text.split("\n") if re.match(r"C[1-8]:", line)]
    moved, _ = randomise_question(text + "\n\nAgain:\n\n" + "\n".join(lines), "C3", seed=1)
    found = [line for line in moved.split("\n") if re.match(r"C[1-8]:", line)]
    assert found[:8] == found[8:] != lines


def test_options_that_are_called_like_causes_stay_words(tmp_path):
    atoms = "Which carbon atom of this molecule is chiral?\nA: C1\nB: C2\nC: C3"
    task = load("telelogs", source=written(tmp_path / "test.json", [(atoms, "B")]))
    [problem] = task.problems("test")
    assert task.class_of(problem) is None
    assert task.explanation(problem).startswith('B: "C2"\n')
    assert task.score(problem, r"\boxed{B}").is_correct


@pytest.mark.parametrize("answer", ["", "C9"])
def test_an_explanation_needs_no_known_answer(answer):
    scenario = parse_question(question("k", "C3")).scenario
    said = explanation(
        scenario, answer and "None of these.", {cause: cause for cause in CAUSES} | {"None of these.": "C9"}
    )
    assert ("C9: None of these." in said) == bool(answer)


def test_answers_that_cannot_be_read_are_one_error(tmp_path):
    rows = [{"ID": n, "question": as_official(question(str(n), "C3"))} for n in range(3)]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    (tmp_path / "answers.csv").write_bytes(b"ID,answer\n0,\xe9\n")
    task = load("telelogs", source=str(tmp_path / "test.json"), answers=str(tmp_path / "answers.csv"))
    with pytest.raises(ValueError, match=r"answers\.csv") as raised:
        task.problems("test")
    assert "bad row" not in str(raised.value)


@pytest.mark.parametrize("missing", ["\u2013", "\u2014", ""])
def test_a_cell_without_a_value_may_be_written_in_several_ways(missing):
    text = question("k", "C3")
    assert "|-|" in text or "|-\n" in text
    other = re.sub(r"(?<=\|)-(?=[|\n])", missing, text)
    assert other != text
    assert parse_question(other).scenario == parse_question(text).scenario
