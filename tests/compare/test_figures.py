"""Curves as they are drawn: how many points, in which colours and patterns, written to which files."""

from xml.etree import ElementTree

import pytest
from results_sample import ARMS, HOSTILE, sample_results

from hysteretic.compare.charts import arm_colours, arm_dashes
from hysteretic.compare.curves import LONGEST_CURVE, MOST_POINTS, thin
from hysteretic.compare.figures import save_figures


def test_thinned_curves_keep_their_ends_and_a_bounded_number_of_points():
    results = sample_results()
    x = list(range(1, 5001))
    for panel in results["panels"]:
        panel["curves"] = [{"arm": arm, "x": x, "mean": x, "low": None, "high": None, "seeds": 1} for arm in ARMS]
    curves = [curve for panel in thin(results) for curve in panel["curves"]]
    for curve in curves:
        assert (curve["x"][0], curve["x"][-1]) == (1, 5000)
        assert curve["mean"] == pytest.approx(curve["x"], rel=1e-3)
        assert len(curve["x"]) <= LONGEST_CURVE
        assert curve["low"] is None
    assert sum(len(curve["x"]) for curve in curves) <= MOST_POINTS


def test_curves_with_other_x_are_read_at_the_same_places():
    """By token every arm has its own x; between its points a line is straight, outside them there is none."""
    curves = [{"arm": ARMS[0], "x": [0, 10], "mean": [0, 1]}, {"arm": ARMS[1], "x": [5, 20], "mean": [1, 4]}]
    panel = {"curves": [{**curve, "low": None, "high": None} for curve in curves]}
    first, second = thin({**sample_results(), "panels": [panel]})[0]["curves"]
    assert first["x"] == second["x"]
    assert {first["x"][0], first["x"][-1]} == {0, 20}
    assert dict(zip(first["x"], first["mean"], strict=True)) == {0: 0, 5: 0.5, 10: 1, 20: None}
    assert second["mean"] == [None, 1, 2, 4]


def test_a_short_curve_keeps_every_point():
    assert [len(curve["x"]) for curve in thin(sample_results())[0]["curves"]] == [30] * 5


@pytest.mark.parametrize("baseline", [0, 3, 11])
def test_a_dozen_arms_differ_in_colour_or_pattern_and_the_first_seven_in_pattern_alone(baseline):
    """In black and white, and for who sees no colours."""
    results = {"arms": [{"name": str(i)} for i in range(12)], "baseline": str(baseline)}
    colours, dashes = arm_colours(results), arm_dashes(results)
    looks = [(colour, tuple(dash)) for colour, dash in zip(colours, dashes, strict=True)]
    assert len(set(looks)) == 12
    assert len({tuple(dash) for dash in dashes[:7]}) == 7
    assert colours.count("arm0") == 1
    assert colours[baseline] == "arm0"


def test_figures_are_pictures_of_each_panel_and_an_overview(tmp_path):
    results = sample_results()
    results["arms"][1]["name"] = HOSTILE[0]
    results["panels"] = [p for p in results["panels"] if p["key"] in ("reward", "hpo/alpha") and p["x"] != "second"]
    for panel in results["panels"]:
        panel["curves"] = [
            curve | {"arm": HOSTILE[0] if i == 1 else curve["arm"]} for i, curve in enumerate(panel["curves"])
        ]
    written = save_figures(results, tmp_path / "figures")
    names = ["reward-by-update", "reward-by-token", "hpo-alpha-by-update", "curves", "differences"]
    assert [path.name for path in written] == [f"{name}.{kind}" for name in names for kind in ("svg", "png")]
    for path in written:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            picture = ElementTree.fromstring(path.read_text(encoding="utf-8"))
            assert "NaN" not in ElementTree.tostring(picture, encoding="unicode")
    overview = ElementTree.parse(tmp_path / "figures" / "curves.svg")
    texts = {text.text for text in overview.iter("{http://www.w3.org/2000/svg}text")}
    assert {"grpo", "hpo alpha=0.3", "dr-grpo"} <= texts
    assert any(text.startswith("</script><script>alert") for text in texts if text)


def test_every_tick_of_an_axis_has_a_label_of_its_own(tmp_path):
    """A reward that ends at 0.12: d3 gives such an axis one digit, and two of its ticks the label 0.1."""
    results = sample_results()
    results["pairs"], results["panels"] = [], results["panels"][:1]
    for curve in results["panels"][0]["curves"]:
        curve |= {"mean": [0.118 * i / 29 for i in range(30)], "low": None, "high": None}
    save_figures(results, tmp_path)
    picture = ElementTree.parse(tmp_path / "reward-by-update.svg")
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    ticks = [text for text in texts if text and text.replace(".", "").isdigit() and float(text) < 1]
    assert len(ticks) == len(set(ticks))
    assert "0.12" in ticks


def test_a_comparison_without_curves_or_pairs_has_no_figures(tmp_path):
    assert save_figures({**sample_results(), "pairs": [], "panels": []}, tmp_path) == []
