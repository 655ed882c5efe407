"""How long the report of a comparison takes to make and to open, and its size, by number of runs; the probe's page too.

    python benchmarks/report_pages.py --save results/report-pages.json

The first ten runs are real: five algorithms, two seeds, 100 updates of the tiny model. The others are copies of them
under further seeds, each with its rewards moved by noise of its own, so that statistics have as many runs.
To make a report is `hysteretic report` without the imports. To open it is until headless Chromium has drawn all charts
(Debian: chromium, chromium-driver; pip install selenium), the second time. The probe's page has as many problems.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hysteretic.cli import main as hysteretic
from hysteretic.common.environment import describe_environment
from hysteretic.compare.folder import ComparisonFolder
from hysteretic.compare.results import write_results

ALGORITHMS = ["grpo", "dapo", "gspo", "a-hpo", "adaptive-grpo"]
DRAWN = """
const done = arguments[0];
const isDrawn = () => document.readyState === 'complete'
  && [...document.querySelectorAll('[id^=chart]')].every(chart => chart.querySelector('svg'));
const look = () => isDrawn() ? requestAnimationFrame(() => done()) : setTimeout(look, 5);
look();
"""


def call(*words: str) -> None:
    """`hysteretic` with these words. Raises RuntimeError if it fails."""
    if code := hysteretic(list(words)):
        raise RuntimeError(f"hysteretic {' '.join(words)} ended with {code}.")


def real_runs(folder: Path, updates: int) -> None:
    """Ten runs, five arms of two seeds."""
    config = folder.with_suffix(".yaml")
    comparison = {
        "arms": {name: {"algorithm": name} for name in ALGORITHMS},
        "seeds": [0, 1],
        "baseline": "dapo",
        "settings": {"max_steps": updates, "eval_problems": 100 if updates >= 100 else 10, "eval_samples": 2},
    }
    config.write_text(yaml.safe_dump(comparison, sort_keys=False), encoding="utf-8")
    call("compare", "--config", str(config), "--output", str(folder), "--jobs", "2")


def with_copies(real: Path, folder: Path, runs: int) -> None:
    """A comparison of so many runs."""
    seeds = runs // len(ALGORITHMS)
    comparison = yaml.safe_load((real / "comparison.yaml").read_text(encoding="utf-8"))
    folder.mkdir()
    (folder / "comparison.yaml").write_text(yaml.safe_dump(comparison | {"seeds": list(range(seeds))}, sort_keys=False))
    for arm in (real / "runs").iterdir():
        for seed in range(seeds):
            copy = folder / "runs" / arm.name / f"seed-{seed}"
            shutil.copytree(arm / f"seed-{seed % 2}", copy, ignore=shutil.ignore_patterns("model", "checkpoint-*"))
            if seed > 1:
                _move_rewards(copy, random.Random(f"{arm.name} {seed}"))


def _move_rewards(run: Path, rng: random.Random) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    shift = rng.gauss(0, 0.01)
    for line in lines:
        if "reward" in line:
            line["reward"] = min(max(line["reward"] + shift + rng.gauss(0, 0.01), 0.0), 1.0)
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


@contextmanager
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def opened(driver: Any, page: Path) -> dict[str, float]:
    """The page's size, and the seconds until it is drawn."""
    for _ in range(2):
        driver.get("about:blank")
        start = time.monotonic()
        driver.get(page.resolve().as_uri())
        driver.execute_async_script(DRAWN)
        seconds = time.monotonic() - start
    return {"bytes": page.stat().st_size, "seconds_to_open": seconds}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; save the measurements as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[10, 100, 1000], help="Numbers of runs and of problems."
    )
    parser.add_argument("--updates", type=int, default=100, help="Updates of a run.")
    parser.add_argument("--save", type=Path, help="A JSON file for the measurements.")
    choice = parser.parse_args(arguments)
    if any(size < 10 or size % 5 for size in choice.sizes):
        parser.error("--sizes must be multiples of 5 from 10 on.")
    if not shutil.which("chromedriver"):
        parser.error("chromedriver is missing; install Chromium and its driver (Debian: chromium, chromium-driver).")
    found: dict[str, Any] = {"environment": describe_environment(), "report": {}, "probe": {}}
    with tempfile.TemporaryDirectory() as temporary, browser() as driver:
        home = Path(temporary)
        real_runs(home / "real", choice.updates)
        for size in choice.sizes:
            with_copies(home / "real", home / str(size), size)
            start = time.monotonic()
            write_results(ComparisonFolder(home / str(size)), with_report=True)
            made = {"seconds_to_make": time.monotonic() - start}
            found["report"][str(size)] = made | opened(driver, home / str(size) / "report.html")
            probe = home / f"probe-{size}"
            words = ["--task", "countdown-3", "--model", "tiny", "--problems", str(size), "--samples", "8"]
            call("probe", *words, "--task-options", '{"prompt": "terse"}', "--output", str(probe))
            found["probe"][str(size)] = opened(driver, next(probe.glob("*.html")))
    print(json.dumps(found, indent=1))
    if choice.save:
        choice.save.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
