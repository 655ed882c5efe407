"""The report of a comparison in a real browser: charts, reading values, hiding arms, narrow screens, dark mode, print.

Needs Chromium, its driver (Debian: chromium, chromium-driver) and the package selenium; without them these tests are
skipped, or fail where HYSTERETIC_REQUIRE_BROWSER=1 says that there must be a browser.
"""

import os
import re
import shutil

import pytest
from results_sample import ARMS, MEASURES, sample_results

from hysteretic.compare.page import save_page
from hysteretic.html.text import true_minus

FLAGS = [
    *["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"],
    *["--disable-background-networking", "--disable-component-update", "--disable-sync"],
]
WIDTHS = [360, 800, 1280]
PANELS = 12

LINES = """
return [...document.querySelectorAll('[id^=chart]')].map(chart =>
  [...chart.querySelectorAll('.mark-line path')].map(path => path.getAttribute('d')).filter(d => d))
"""
TEXTS = """
const isShown = text => text.textContent.trim() && text.getAttribute('opacity') !== '0';
return [...document.querySelectorAll('.chart svg')].map(svg => [...svg.querySelectorAll('text')].filter(isShown)
  .map(text => [text.textContent, text.getBoundingClientRect()])
  .map(([words, box]) => [words, box.left, box.top, box.right, box.bottom]))
"""
WIDER_THAN_THE_SCREEN = """
return [...document.querySelectorAll('main *')]
  .filter(element => !element.closest('.scroll, svg, .summary'))
  .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
  .map(element => element.outerHTML.slice(0, 80))
"""
CUT = """
return [...document.querySelectorAll('.scroll')].flatMap(box => {
  const [left, right] = [box.getBoundingClientRect().left - 1, box.getBoundingClientRect().right + 1];
  const isOut = ({ left: start, right: end }) => start < left || end > right;
  return [...box.querySelectorAll('th, td')]
    .filter(cell => cell.offsetWidth && getComputedStyle(cell.closest('thead, tbody')).position !== 'absolute')
    .filter(cell => isOut(cell.getBoundingClientRect()) || cell.scrollWidth > cell.clientWidth + 1)
    .map(cell => cell.textContent.slice(0, 60));
})
"""
READING = """
const tip = document.getElementById('vg-tooltip-element');
if (!tip || !tip.classList.contains('visible')) return null;
return [...tip.querySelectorAll('tr')].map(row => [...row.children].map(cell => cell.textContent));
"""
MARKED = "return document.querySelectorAll('#%s .mark-symbol path').length"
HIDDEN_READING = f"return (() => {{{READING}}})() === null"


def _missing(what):
    if os.environ.get("HYSTERETIC_REQUIRE_BROWSER") == "1":
        pytest.fail(f"HYSTERETIC_REQUIRE_BROWSER=1, but {what}.")
    pytest.skip(f"{what}: the page is not looked at in a browser")


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    try:
        from selenium import webdriver
    except ModuleNotFoundError:
        _missing("the Python package selenium is not installed")
    chrome = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    service = shutil.which("chromedriver")
    if not chrome or not service:
        _missing("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(service))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    save_page(sample_results(), path)
    return path.as_uri()


class Screen:
    """A browser of some width that shows the report, all charts drawn."""

    def __init__(self, driver, address, width, scheme="light"):
        self.driver = driver
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)  # windows are never narrower than 500
        self.media(scheme)
        driver.get(address)
        self.wait("return document.documentElement.classList.contains('drawn')")

    def media(self, scheme, kind=""):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": kind, "features": features})

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def wait(self, script):
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 60).until(lambda driver: driver.execute_script(script))

    def style(self, selector, name):
        return self.run(f"return getComputedStyle(document.querySelector({selector!r})).{name}")

    def hover(self, selector, across):
        """The pointer over an element, at a fraction of its width."""
        from selenium.webdriver.common.action_chains import ActionChains

        element = self.driver.find_element("css selector", selector)
        self.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
        self.wait("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        x = round(element.size["width"] * (across - 0.5))
        ActionChains(self.driver, duration=50).move_to_element_with_offset(element, x, 0).perform()

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(params=WIDTHS)
def screen(request, driver, report):
    return Screen(driver, report, request.param)


@pytest.fixture
def wide(driver, report):
    return Screen(driver, report, 1280)


def test_all_curves_are_drawn_and_nothing_is_complained_of(screen):
    """Scripts run under the page's own policy, which forbids eval and every request."""
    lines = screen.run(LINES)
    assert [len(paths) for paths in lines] == [len(ARMS)] * PANELS
    for path in (path for paths in lines for path in paths):
        assert path.count("L") >= 29
        assert not re.search("NaN|Infinity|undefined", path)
    assert screen.complaints() == []
    assert screen.run("return performance.getEntriesByType('resource').map(entry => entry.name)") == []


def test_no_text_in_a_chart_touches_another_or_leaves_the_screen(screen):
    """Axis labels and arm names have their own places at every width."""
    width = screen.run("return innerWidth")
    charts = screen.run(TEXTS)
    assert len(charts) == PANELS + 1
    for texts in charts:
        assert len(texts) >= 4
        for i, (text, left, top, right, bottom) in enumerate(texts):
            assert left >= 0, text
            assert right <= width, text
            for other, other_left, other_top, other_right, other_bottom in texts[:i]:
                apart = min(right, other_right) - max(left, other_left) <= 0.5
                above = min(bottom, other_bottom) - max(top, other_top) <= 0.5
                assert apart or above, (text, other)


def test_the_page_never_scrolls_sideways_even_with_everything_open(screen):
    """Tables scroll in their own boxes; responses of 2,400 letters without a space wrap."""
    screen.run("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert screen.run("return document.documentElement.scrollWidth <= innerWidth")
    assert screen.run(WIDER_THAN_THE_SCREEN) == []


@pytest.mark.parametrize("width", [390, 500, 800, 1200])
def test_no_header_or_figure_of_a_table_is_cut(driver, report, width):
    """At the edge of its box "Seeds" became "See"; a table that is too narrow for columns shows every row by itself."""
    screen = Screen(driver, report, width)
    screen.run("document.querySelectorAll('details').forEach(details => details.open = true)")
    for i in range(len(MEASURES)):
        screen.run(
            f"const s = document.getElementById('measure'); s.selectedIndex = {i}; s.dispatchEvent(new Event('change'))"
        )
        assert screen.run(CUT) == []
    named = (
        "return [...document.querySelectorAll('.pairs.chosen td')].map(td => getComputedStyle(td, '::before').content)"
    )
    if width < 500:
        assert '"P(better)"' in screen.run(named)


def test_text_of_models_becomes_no_element(wide):
    assert wide.run("return document.images.length + document.querySelectorAll('textarea').length") == 0
    assert wide.run("return document.scripts.length") == 3
    shown = wide.run("return [...document.querySelectorAll('.sample pre')].map(pre => pre.textContent)")
    assert '</script><script>alert(1)</script><img src=x onerror="alert(2)">' in shown


def test_hovering_reads_all_arms_at_that_place(screen):
    """With the numbers of the results, in the chart under the pointer; others with the same x mark the place."""
    screen.hover("#chart0", 0.55)
    (_, update), *shown = screen.wait(READING)
    curves = {curve["arm"]: curve for curve in sample_results()["panels"][0]["curves"]}
    i = curves["grpo"]["x"].index(int(update))
    assert {arm for arm, _ in shown} == set(ARMS)
    for arm, numbers in shown:
        found = [float(number) for number in re.findall(r"[\d.]+", numbers)]
        assert found == pytest.approx([curves[arm][key][i] for key in ("mean", "low", "high")], abs=6e-4)
    for chart in ("chart0", "chart5"):
        screen.wait(f"{MARKED % chart} === {len(ARMS)}")
    assert screen.run(MARKED % "chart1") == 0  # tokens, not updates
    box = "const r = document.getElementById('vg-tooltip-element').getBoundingClientRect(); return [r.left, r.top]"
    assert min(screen.run(box)) >= 0
    screen.press("\ue00c")  # escape
    screen.wait(HIDDEN_READING)
    assert screen.complaints() == []


def test_arrow_keys_read_a_chart(wide):
    wide.run("document.getElementById('chart3').focus()")
    wide.wait("return new Promise(done => setTimeout(() => done(true), 400))")  # the page scrolls under the pointer
    for keys, update in ((["\ue014", "\ue014"], "5"), (["\ue010"], "117")):  # right, right; end
        wide.press(*keys)
        wide.wait(f"return ((() => {{{READING}}})() ?? [[]])[0][1] === '{update}'")
    assert {arm for arm, _ in wide.run(READING)[1:]} == set(ARMS)


def test_a_checkbox_hides_its_arm_in_every_chart(screen):
    """By keyboard: it is a native box."""
    screen.run("document.querySelector('input[data-arm=\"1\"]').focus()")
    screen.press(" ")
    screen.wait(f"return (() => {{{LINES}}})().every(paths => paths.length === {len(ARMS) - 1})")
    drawn = screen.run("return [...document.querySelectorAll('.mark-line path')].map(p => p.getAttribute('stroke'))")
    assert "var(--arm1)" not in drawn
    screen.hover("#chart0", 0.5)
    assert {arm for arm, _ in screen.wait(READING)[1:]} == {*ARMS} - {"a-hpo"}
    screen.run("document.querySelector('input[data-arm=\"1\"]').click()")
    screen.wait(f"return (() => {{{LINES}}})().every(paths => paths.length === {len(ARMS)})")
    assert screen.complaints() == []


def test_with_all_arms_hidden_nothing_breaks(wide):
    wide.run("document.querySelectorAll('input[data-arm]').forEach(box => box.click())")
    wide.wait(f"return (() => {{{LINES}}})().every(paths => paths.length === 0)")
    assert wide.run("return document.querySelector('#curves').innerHTML.match(/NaN|Infinity/)") is None
    wide.hover("#chart0", 0.5)
    assert wide.run(READING) is None
    assert wide.complaints() == []


def test_intervals_can_be_hidden(wide):
    wide.run("document.getElementById('bands').click()")
    wide.wait(
        "return [...document.querySelectorAll('.mark-area path')].every(p => p.getAttribute('fill-opacity') === '0')"
    )


def test_the_selector_changes_chart_and_table(screen):
    """The tables of all measures are in the page; with a script one is shown at a time."""
    visible = (
        "return [...document.querySelectorAll('.pairs')].map((e, i) => e.offsetHeight ? i : -1).filter(i => i >= 0)"
    )
    assert screen.run(visible) == [0]
    before = screen.run("return document.querySelector('#forest svg').innerHTML")
    screen.run(
        "const s = document.getElementById('measure'); s.selectedIndex = 2; s.dispatchEvent(new Event('change'))"
    )
    assert screen.run(visible) == [2]
    screen.wait(f"return document.querySelector('#forest svg').innerHTML !== {before!r}")
    assert screen.run("return document.getElementById('measure').options.length") == len(MEASURES)


def test_the_dark_comes_and_goes_without_loading_again(driver, report):
    """Colours are variables of the page: charts follow at once."""
    screen = Screen(driver, report, 800, "dark")
    line = '#chart0 .mark-line path[stroke="var(--arm0)"]'
    dark = [screen.style("html", "backgroundColor"), screen.style(line, "stroke"), screen.style("#chart0 text", "fill")]
    assert dark == ["rgb(20, 23, 27)", "rgb(232, 234, 237)", "rgb(162, 169, 178)"]
    screen.media("light")
    light = [
        screen.style("html", "backgroundColor"),
        screen.style(line, "stroke"),
        screen.style("#chart0 text", "fill"),
    ]
    assert light == ["rgb(255, 255, 255)", "rgb(26, 28, 31)", "rgb(86, 93, 102)"]
    assert screen.complaints() == []


def test_paper_is_light_open_and_without_controls(driver, report):
    """From a dark screen too."""
    screen = Screen(driver, report, 1280, "dark")
    screen.media("dark", "print")
    assert screen.style("html", "backgroundColor") == "rgb(255, 255, 255)"
    for selector in ["select", "button", "nav", ".switches input"]:
        assert screen.style(selector, "display") == "none"
    assert screen.style("figure", "breakInside") == "avoid"
    assert screen.run("return [...document.querySelectorAll('.pairs')].every(table => table.offsetHeight > 0)")
    assert screen.run("return [...document.querySelectorAll('.sample pre')].every(text => text.offsetHeight > 0)")
    screen.run("dispatchEvent(new Event('beforeprint'))")
    screen.wait("return Number(document.querySelector('#chart0 svg').getAttribute('width')) < 760")
    assert screen.complaints() == []


def test_the_command_is_copied_by_keyboard(wide):
    wide.run("document.getElementById('copy').focus()")
    wide.press("\ue007")  # enter
    wide.wait("return document.getElementById('copied').textContent !== ''")
    assert wide.complaints() == []


def test_charts_follow_the_width_of_the_window(driver, report):
    screen = Screen(driver, report, 1280)
    size = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    screen.wait("return Number(document.querySelector('#chart0 svg').getAttribute('width')) < 345")  # not only scaled
    assert screen.run("return document.documentElement.scrollWidth <= innerWidth")


def test_without_a_script_everything_but_the_charts_is_there(driver, report):
    """Verdict, tables of all measures, settings, responses, and the charts in words."""
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(report)
        assert all(table.is_displayed() for table in driver.find_elements("css selector", ".pairs"))
        assert driver.find_element("id", "sum0").is_displayed()
        assert driver.find_element("css selector", ".lead").text == true_minus(sample_results()["verdicts"][0], ARMS)
        assert "need a script" in driver.find_element("id", "curves").text
        assert not driver.find_element("id", "measure").is_displayed()
        assert not driver.find_element("css selector", ".switches input").is_displayed()
        assert driver.find_element("css selector", ".switches .swatch").is_displayed()
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
