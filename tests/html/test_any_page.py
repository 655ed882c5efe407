"""What every page guarantees, whatever is on it: text stays text, and nothing is loaded or run but its own scripts."""

import base64
import hashlib
import json
import re

import altair as alt
import pytest

from hysteretic.common.errors import UsageError
from hysteretic.html.page import render, save_page
from hysteretic.html.text import visible
from hysteretic.tasks.task import Problem

HOSTILE = [
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>",
    "]]> --> </style></textarea></title></pre> &amp; ${title} {{ title }} {% raw %} %s {0}",
    "right to left \u202e drowkcab \u2067\u05e9\u05dc\u05d5\u05dd",
    "null \x00 escape \x1b[31m lone surrogate \ud800 separators \u2028\u2029",
]


def page_of(text):
    chart = alt.Chart(alt.Data(values=[{"x": text}])).mark_text().encode(text="x:N")
    problem = Problem(text, [{"role": text, "content": text}], text)
    return render("html/problem.html", text, problem=problem, lines=[text, text], charts=[chart])


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_wherever_it_is_put(text):
    page = page_of(text)
    assert page.count("<script") == page.count("</script>") == 3
    assert page.count("<title>") == page.count("</title>") == 1
    assert "<img" not in page.split("<script")[0]
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page.split("<script")[0])
    escaped = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert escaped in page
    data = json.loads(re.search('id="data">(.*?)</script>', page, re.S)[1])
    assert data[0]["data"]["values"] == [{"x": text}]


def test_the_policy_allows_the_scripts_of_the_page_and_no_request():
    page = page_of("text")
    policy = re.search('Content-Security-Policy" content="(.*?)"', page)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; ")
    assert "eval" not in policy
    hashes = re.search("script-src ([^;]*)", policy)[1].split()
    scripts = re.findall("<script>(.*?)</script>", page, re.S)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert hashes == [f"'sha256-{digest}'" for digest in digests]


def test_a_page_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UsageError, match="Cannot write the page"):
        save_page(tmp_path, "html/problem.html", "title", problem=Problem("", "", ""), lines=[""], charts=[])
