"""The page of `hysteretic probe` in a real browser: every chart is drawn whole, on narrow screens and dark ones.

Skipped without Chromium, as test_report_in_browser.py says.
"""

import numpy as np
import pytest
from compare.test_report_in_browser import driver as driver

from hysteretic.probe.page import save_page
from hysteretic.probe.record import describe
from hysteretic.probe.sampling import ProbeSettings, Sampled
from hysteretic.tasks.task import Problem, Score

CHARTS = "return [...document.querySelectorAll('figure svg')].map(svg => svg.querySelectorAll('path').length)"
CUT_OFF = """
return [...document.querySelectorAll('figure svg')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].map(text => [text.textContent, text.getBoundingClientRect()])
    .filter(([_, box]) => box.width && (box.left < frame.left - 1 || box.right > frame.right + 1))
    .map(([words]) => words);
})
"""
WIDER_THAN_THE_SCREEN = """
return [...document.querySelectorAll('body *')].filter(element => !element.closest('table, svg'))
  .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
  .map(element => element.outerHTML.slice(0, 80))
"""
LINE = "return getComputedStyle(document.querySelector('figure .mark-line path')).stroke"
GROUND = "return getComputedStyle(document.documentElement).backgroundColor"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(1)
    rewards = rng.random((200, 16)) < rng.beta(0.2, 8, (200, 1))
    scores = [[Score(float(r), bool(r), True) for r in row] for row in rewards]
    problems = [Problem(f"p{i}", "", "") for i in range(200)]
    sampled = Sampled([["x"] * len(row) for row in scores], scores, 9.0, 26.0, "hand")
    record = describe(sampled, problems, ProbeSettings("countdown-3", "tiny"))
    path = tmp_path_factory.mktemp("probe") / "index.html"
    save_page(record, path)
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1400])
def test_the_page_is_whole_at_every_width(driver, page, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    driver.get(page)
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 60).until(lambda driver: len(driver.execute_script(CHARTS)) == 4)
    assert all(paths > 3 for paths in driver.execute_script(CHARTS))
    assert driver.execute_script(CUT_OFF) == []
    assert driver.execute_script(WIDER_THAN_THE_SCREEN) == []
    expected = {"light": ("rgb(0, 114, 178)", "rgb(255, 255, 255)"), "dark": ("rgb(59, 155, 220)", "rgb(20, 23, 27)")}
    assert (driver.execute_script(LINE), driver.execute_script(GROUND)) == expected[scheme]
    assert [line for line in driver.get_log("browser") if line["level"] == "SEVERE"] == []
