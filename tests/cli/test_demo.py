"""The demo is a comparison like any other, with a report at its end."""

import json

from hysteretic.cli import main


def test_the_demo_compares_on_the_tiny_model_and_ends_with_the_verdict(tmp_path, capsys):
    out = tmp_path / "demo"
    assert main(["demo", "--output", str(out), "--updates", "4", "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert [arm["name"] for arm in results["arms"]] == ["trl-default", "grpo", "a-hpo", "adaptive-grpo"]
    assert "too few for a verdict" in printed
    assert str(out / "report.html") in printed
    assert "hysteretic" in (out / "report.html").read_text(encoding="utf-8")
    first = [run["measures"]["early"] for run in results["runs"]]
    assert len(set(first)) == 1  # one rollout: the same start on the same problems
    assert "hysteretic probe" in printed.split("What to do next")[1]
