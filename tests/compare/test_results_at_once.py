"""`hysteretic report` while `hysteretic compare` writes in the same folder: nothing half-written or stale."""

import json
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
from compare.made_up_runs import comparison_folder, write_run
from compare.test_compare import command, start, wait_for
from filelock import FileLock
from thorough import thorough

from hysteretic.cli import main
from hysteretic.common import files
from hysteretic.compare import results
from hysteretic.compare.results import write_results

LOCKS = {".lock", ".results.lock"}


def half_done(path):
    """A comparison of which one run is still to be made, and that run's folder."""
    folder = comparison_folder(path, {"grpo": [[0.1] * 4, [0.2] * 4], "a-hpo": [[0.3] * 4]})
    missing = next(run for run in folder.runs(folder.read(), {}) if not run.folder.exists())
    return folder, missing.folder


def progress(folder):
    return json.loads(folder.results.read_text())["progress"]["finished"]


def test_who_waits_for_its_turn_reads_the_runs_when_it_has_come(tmp_path):
    """Read before and written after, it would put three finished runs in the place of four."""
    folder, missing = half_done(tmp_path / "c")
    with FileLock(folder.path / ".results.lock"):
        waiting = threading.Thread(target=write_results, args=(folder,))
        waiting.start()
        time.sleep(1)
        assert waiting.is_alive()
        assert not folder.results.exists()
        write_run(missing, [0.4] * 4)
    waiting.join(60)
    assert progress(folder) == 4


def test_a_process_that_is_stopped_while_it_writes_holds_up_nobody_for_good(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "PATIENCE", 0.2)
    folder, _ = half_done(tmp_path / "c")
    with FileLock(folder.path / ".results.lock"):
        write_results(folder)
    assert progress(folder) == 3


def test_every_file_of_a_report_is_moved_into_place_whole(tmp_path, monkeypatch):
    """Written where it is read, a file is for a while only the half of itself."""
    folder, _ = half_done(tmp_path / "c")
    before = set(folder.path.rglob("*"))
    moved, replace = set(), files.os.replace

    def watched(part, path):
        moved.add(Path(path))
        replace(part, path)

    monkeypatch.setattr(files.os, "replace", watched)
    assert main(["report", str(folder.path)]) == 0
    made = {path for path in set(folder.path.rglob("*")) - before if path.is_file() and path.name not in LOCKS}
    assert made == moved
    assert {"report.html", "results.json", "results.csv", "curves.svg", "curves.png"} <= {path.name for path in made}


@pytest.mark.parametrize("name", ["results.json", "figures", "report.html"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, name, capsys):
    folder, _ = half_done(tmp_path / "c")
    if name == "figures":
        (folder.path / name).write_text("a file, where a folder must be")
    else:
        (folder.path / name / "full").mkdir(parents=True)
    assert main(["report", str(folder.path)]) == 2
    said = capsys.readouterr().err
    assert re.search(rf"Cannot write the (report to|page) {re.escape(str(folder.path))}", said)
    assert name in said


@thorough
def test_reports_while_the_comparison_is_at_work(quick, tmp_path):
    """As many as there is time for; the comparison ends as it would have, with all its runs in the results."""
    out = tmp_path / "c"
    process = start(command(quick, out, "--seeds", "1", "--jobs", "1"))
    wait_for((out / "comparison.yaml").is_file, process)
    reports = 0
    while process.poll() is None:
        assert main(["report", str(out)]) == 0
        assert json.loads((out / "results.json").read_text())["progress"]["planned"] == 2
        assert (out / "report.html").read_text().rstrip().endswith("</html>")
        reports += 1
        time.sleep(1)  # locks know no queue: without a pause the other would seldom get its turn
    printed = process.stdout.read()
    assert process.returncode == 0, printed
    assert reports >= 2
    assert json.loads((out / "results.json").read_text())["progress"]["finished"] == 2
    assert not list(out.rglob("*.part"))


def test_results_whose_runs_are_gone_are_kept_and_reported_from(tmp_path, capsys):
    """Published results have no runs beside them; a report of them must not put "0 of n runs" in their place."""
    folder, _ = half_done(tmp_path)
    assert main(["report", str(tmp_path)]) == 0
    kept = {name: (tmp_path / name).read_bytes() for name in ("results.json", "results.csv")}
    said = capsys.readouterr().out
    for run in folder.runs(folder.read(), {}):
        shutil.rmtree(run.folder, ignore_errors=True)
    (tmp_path / "report.html").unlink()
    assert main(["report", str(tmp_path)]) == 0
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
    again = capsys.readouterr().out
    assert "Made from results.json" in again
    assert again.splitlines()[0] == said.splitlines()[0]
    assert "Made from results.json" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert progress(folder) == 3
