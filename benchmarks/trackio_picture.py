"""Take a screenshot of a run in Trackio's local dashboard, after training the tiny model.

    python benchmarks/trackio_picture.py --output docs/trackio.png      about 40 s; requires Chromium and chromedriver

Fails if the dashboard does not draw alpha, the sign fractions and the reward, or loads anything from the network.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

SHOWN = ("alpha", "negative_share", "positive_share", "silent_share", "reward")
FILTER = "^train/(hpo/(alpha|positive_share|negative_share|silent_share)|reward)$"
SECONDS = 30


def train(folder: Path, updates: int) -> None:
    """A run of the tiny model that reports to Trackio."""
    words = ["train", "--task", "countdown-3", "--model", "tiny", "--max_steps", str(updates), "--eval_problems", "0"]
    words += ["--report_to", "trackio", "--output", str(folder / "countdown-3-a-hpo-tiny")]
    subprocess.run([sys.executable, "-m", "hysteretic", *words], env=environment(folder), check=True)


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TRACKIO_DIR": str(folder / "trackio"), "BROWSER": "true", "PYTHONUNBUFFERED": "1"}


@contextmanager
def dashboard(folder: Path) -> Iterator[str]:
    """The URL of `trackio show`."""
    command = [str(Path(sys.executable).with_name("trackio")), "show", "--project", "hysteretic"]
    log = folder / "dashboard.log"
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment(folder)) as server:
        try:
            deadline = time.monotonic() + SECONDS
            while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
                if time.monotonic() > deadline or server.poll() is not None:
                    raise RuntimeError(f"The dashboard did not start:\n{log.read_text()}")
                time.sleep(0.2)
            yield f"{found[0]}/?project=hysteretic"
        finally:
            server.terminate()


def browser() -> WebDriver:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1200"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def take(address: str, output: Path) -> None:
    """Filter the metrics of interest, wait until they are drawn, check them, and save the screenshot."""
    driver = browser()
    try:
        driver.get(address)
        deadline = time.monotonic() + SECONDS
        while not driver.find_elements(By.CSS_SELECTOR, "canvas") and time.monotonic() < deadline:
            time.sleep(0.2)
        field = next(
            one
            for one in driver.find_elements(By.CSS_SELECTOR, "input")
            if "loss" in (one.get_attribute("placeholder") or "")  # the filter: "e.g., loss|..."
        )
        field.send_keys(FILTER)
        while (drawn := curves(driver)) < len(SHOWN) and time.monotonic() < deadline:
            time.sleep(0.5)
        time.sleep(1)
        text = driver.find_element(By.TAG_NAME, "body").text
        missing = [name for name in SHOWN if not re.search(rf"^{name}$", text, re.MULTILINE)]
        if missing or drawn < len(SHOWN):
            raise RuntimeError(f"The dashboard draws {drawn} curves; missing: {missing}.")
        loaded = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        elsewhere = [name for name in loaded if not name.startswith(address.split("/?")[0]) and "://" in name]
        if elsewhere:
            raise RuntimeError(f"The dashboard loads from the network: {elsewhere}.")
        driver.save_screenshot(str(output))
        print(f"{drawn} curves drawn, {output}")
    finally:
        driver.quit()


def curves(driver: WebDriver) -> int:
    """Number of plots with a coloured line: canvases with more than a few pixels that are not grey."""
    script = """return [...document.querySelectorAll("canvas")].map(canvas => {
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      let coloured = 0;
      for (let i = 0; i < data.length; i += 4)
        coloured += data[i + 3] > 0 && Math.max(data[i], data[i + 1], data[i + 2])
          - Math.min(data[i], data[i + 1], data[i + 2]) > 60;
      return coloured;
    })"""
    return sum(1 for coloured in driver.execute_script(script) if coloured > 30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/trackio.png"))
    parser.add_argument("--updates", type=int, default=80)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        train(Path(name), options.updates)
        with dashboard(Path(name)) as address:
            take(address, options.output)


if __name__ == "__main__":
    main()
