"""Untrusted text made visible, and numbers as text."""

from hysteretic.html.text import number, probability, rate, true_minus, visible


def test_controls_are_shown_by_their_names():
    assert visible("a\x00\u202e\ud800\r\nb\tc") == "a[U+0000][U+202E][U+D800]\nb\tc"


def test_a_minus_of_a_sentence_is_a_minus_and_a_hyphen_of_a_name_stays():
    text = "a-hpo delta=-0.1 is worse: -0.0104 (-0.02 to -0.00), rate 6e-05, 2-3 seeds, off-policy -x"
    said = text.replace(": -0", ": \u22120").replace("(-", "(\u2212").replace("to -", "to \u2212")
    assert true_minus(text, ["a-hpo delta=-0.1", "a-hpo"]) == said.replace("6e-05", "6e\u221205")


def test_numbers_are_written_for_readers():
    minus = "\u2212"
    values = [None, 0.0, 0.12345, 12.341, 123.46, 12345.6, 0.0001]
    assert [number(v) for v in values] == ["\u2013", "0.000", "0.123", "12.34", "123.5", "12,346", f"1e{minus}4"]
    assert number(-0.0123, signed=True) == f"{minus}0.0123"
    assert [rate(value) for value in (3e-4, 1.5e-4, 1.0, None)] == [f"3e{minus}4", f"1.5e{minus}4", "1", "\u2013"]
    assert probability(0.00001) == "< 0.001"
