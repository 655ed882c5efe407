"""Pictures and pages of runs, and the demo that ends with them."""

import json
import re

import pytest

from hysteretic.cli import main
from hysteretic.lab import demo
from hysteretic.lab.curves import PANELS, WINDOW, read_curves, save_page, save_picture, text_table
from hysteretic.lab.run_folder import RunFolder


@pytest.fixture
def runs(tmp_path):
    """Two runs of 20 rollouts, two updates each; the second update of a rollout has no reward of its own."""
    made = {}
    for shift, name in enumerate(["a-hpo", "<grpo>"]):
        made[name] = RunFolder(tmp_path / f"run{shift}")
        made[name].claim(resume=False)
        for step in range(1, 41):
            line = {"step": step, "loss": 0.0, "hpo/alpha": 0.5, "hpo/silent_share": 0.8, "hpo/mean_length": 30.0}
            made[name].append_metrics(line | ({"reward": step / 100 + shift} if step % 2 else {}))
    return made


def test_a_curve_has_a_point_a_rollout_and_a_moving_mean(runs):
    curve = read_curves(runs["a-hpo"])["reward"]
    assert curve.updates == list(range(1, 40, 2))
    assert curve.raw == [step / 100 for step in range(1, 40, 2)]
    assert curve.smooth[0] == curve.raw[0]
    assert curve.smooth[-1] == pytest.approx(sum(curve.raw[-WINDOW:]) / WINDOW)


def test_a_run_without_rollouts_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"metrics\.jsonl records no rollout"):
        read_curves(RunFolder(tmp_path))


def test_the_page_works_offline_and_shows_names_as_text(runs, tmp_path):
    page = tmp_path / "index.html"
    save_page(runs, page, "Two runs", ["one & two"], [["", "reward"], ["<grpo>", "0.1"]])
    text = page.read_text()
    assert not re.search(r"<(script|link)[^>]+(src|href)=", text)
    assert "one &amp; two" in text
    assert "<td>&lt;grpo&gt;</td>" in text
    assert all(title in text for title in PANELS.values())
    assert page.stat().st_size < 6e6


def test_the_picture_is_a_png(runs, tmp_path):
    save_picture(runs, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_for_the_terminal_is_aligned():
    assert text_table([["", "reward"], ["a-hpo", "0.1"]]).splitlines() == [
        "       reward",
        "─────  ──────",
        "a-hpo  0.1",
    ]


def test_the_demo_ends_with_table_picture_and_page(tmp_path, capsys):
    """The real thing, four updates each: both runs from the same start on the same problems."""
    out = tmp_path / "demo"
    assert main(["demo", "--output", str(out), "--updates", "4"]) == 0
    printed = capsys.readouterr().out
    assert "held-out sampled before" in printed
    assert "One seed each" in printed
    assert (out / "curves.png").is_file()
    assert (out / "index.html").is_file()
    records = [json.loads((out / name / "run.json").read_text()) for name in demo.ALGORITHMS]
    assert records[0]["train_problems_sha256"] == records[1]["train_problems_sha256"]
    rewards = [read_curves(RunFolder(out / name))["reward"].raw[0] for name in demo.ALGORITHMS]
    assert rewards[0] == rewards[1]  # the first rollout is the same: same model, problems and seed
    assert main(["demo", "--output", str(out)]) == 2


def test_a_failed_run_shows_the_end_of_its_log(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "ALGORITHMS", ("gprro",))
    assert main(["demo", "--output", str(tmp_path / "demo"), "--updates", "4"]) == 1
    said = capsys.readouterr().err
    assert "gprro failed" in said
    assert "No algorithm is named" in said
