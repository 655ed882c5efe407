"""The pages of `hysteretic show` and `eval` in a real browser: whole and readable on narrow screens and dark ones.

Skipped without Chromium, as test_report_in_browser.py says.
"""

import json
import random

import pytest
from compare.test_report_in_browser import Screen
from compare.test_report_in_browser import driver as driver
from thorough import one_quick

from hysteretic.cli import main
from hysteretic.tasks import load

TEXTS = """
return [...document.querySelectorAll('.chart svg')].map(svg => [...svg.querySelectorAll('text')]
  .filter(text => text.textContent.trim() && text.getAttribute('opacity') !== '0')
  .map(text => [text.textContent, text.getBoundingClientRect()])
  .map(([words, box]) => [words, box.left, box.top, box.right, box.bottom]))
"""
FRAMES = """
return [...document.querySelectorAll('.chart svg')].map(svg => svg.getBoundingClientRect())
  .map(box => [box.left, box.right])
"""
SCALED = """
return [...document.querySelectorAll('.chart svg')]
  .filter(svg => Math.abs(svg.getBoundingClientRect().width - Number(svg.getAttribute('width'))) > 1).length
"""


@pytest.fixture(scope="module", params=["telelogs-synthetic", "telelogs-compact"])
def problem_page(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("show") / "page.html"
    assert main(["show", "--task", request.param, "--seed", "7", "--index", "2", "--output", str(path)]) == 0
    return path.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1400])
def test_the_picture_is_whole_and_its_texts_are_apart(driver, problem_page, width, scheme):
    screen = Screen(driver, problem_page, width, scheme)
    charts = screen.run(TEXTS)
    assert len(charts) == 8
    check_texts(charts, screen.run(FRAMES))
    assert screen.run(SCALED) == 0
    assert screen.run("return document.documentElement.scrollWidth <= innerWidth")
    assert screen.complaints() == []
    ground = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    assert screen.style("html", "backgroundColor") == ground


def check_texts(charts, frames):
    """Every text is within its chart and touches no other."""
    for texts, (left_end, right_end) in zip(charts, frames, strict=True):
        assert len(texts) > 4
        for i, (text, left, top, right, bottom) in enumerate(texts):
            assert left >= left_end - 1, text
            assert right <= right_end + 1, text
            for other, other_left, other_top, other_right, other_bottom in texts[:i]:
                apart = min(right, other_right) - max(left, other_left) <= 0.5
                above = min(bottom, other_bottom) - max(top, other_top) <= 1.5
                assert apart or above, (text, other)


HOSTILE = "</pre><script>document.title = 'taken'</script><img src=x onerror=alert(2)> " + "x" * 3000


@pytest.fixture(scope="module")
def evaluation_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    task = load("telelogs-synthetic")
    rng = random.Random(1)
    with (folder / "responses.jsonl").open("w") as file:
        for variant in (task, task.randomised()):
            for problem in variant.problems("test", count=24):
                for _ in range(2):
                    text = HOSTILE if rng.random() < 0.3 else f"\\boxed{{C{rng.randint(1, 8)}}}"
                    file.write(json.dumps({"problem": problem.id, "response": text}) + "\n")
    command = ["eval", "--task", "telelogs-synthetic", "--problems", "24", "--page", str(folder / "page.html")]
    assert main([*command, "--responses", str(folder / "responses.jsonl")]) == 0
    return (folder / "page.html").as_uri()


@pytest.mark.parametrize("scheme", one_quick(["light", "dark"]))
@pytest.mark.parametrize("width", [390, 800, 1400])
def test_the_evaluation_is_whole_and_its_pictures_open(driver, evaluation_page, width, scheme):
    screen = Screen(driver, evaluation_page, width, scheme)
    charts = screen.run(TEXTS)
    assert len(charts) == 2  # the confusions; pictures of problems are drawn when they are opened
    check_texts(charts, screen.run(FRAMES))
    screen.run("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
    screen.wait("return document.querySelectorAll('.chart svg').length === 2 + 8 * 8")
    check_texts(screen.run(TEXTS), screen.run(FRAMES))
    assert screen.run("return document.documentElement.scrollWidth <= innerWidth")
    assert screen.run("return document.title").startswith("How good")
    assert screen.run("return document.images.length") == 0
    assert screen.complaints() == []
