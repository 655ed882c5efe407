"""The documentation site builds strictly, all of its links resolve, and it needs no other host."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="the extra `docs` is not installed")


class Page(HTMLParser):
    """What a page links to, what it loads, and which anchors it has."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors, self.maths = [], [], set(), 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self.maths += tag == "math"
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("href"):
            self.loads.append(given["href"])
        self.loads += [given[key] for key in ("src", "srcset", "poster", "data") if given.get(key)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder that `make docs` would fill, and its pages."""
    folder = tmp_path_factory.mktemp("site")
    recipe = re.search(r"^docs:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]
    assert recipe.endswith("mkdocs build --strict")
    made = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return folder, {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}


def test_every_link_within_the_site_leads_to_a_file_and_an_anchor(site):
    """The pages from docstrings and tables from the code too, which mkdocs does not look into."""
    folder, pages = site
    for path, page in pages.items():
        if path.name == "404.html":  # its links begin at the root of a host
            continue
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.relative_to(folder)}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in pages[target].anchors | {"__skip"}, f"{path.name}: {link}"


def test_links_out_of_the_site_are_well_formed(site):
    """Whether they lead somewhere is not asked here: tests run without a network."""
    out = {link for page in site[1].values() for link in page.links if urlsplit(link).scheme}
    assert len(out) > 10
    for link in out:
        assert re.fullmatch(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[\w./~%#?=&+-]*)?", link), link
    for link in out:
        assert "arxiv.org" not in link or re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", link), link


def test_no_page_loads_anything_from_another_host(site):
    """No font, script, style or picture."""
    folder, pages = site
    for path, page in pages.items():
        for load in page.loads:
            assert not re.match(r"(\w+:)?//", load), f"{path.name}: {load}"
    for path in folder.rglob("*.css"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"(?:url\(|@import\s+)[\"']?(?:https?:)?//", text), path.name


def test_formulas_and_generated_parts_are_rendered(site):
    """No formula is left as it is in the pages' source."""
    folder, pages = site
    assert pages[folder / "method.html"].maths > 40
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert "<!-- generated" not in text or "</table>" in text or "<code>" in text, path.name
        assert 'class="arithmatex"' not in text, path.name


def test_every_setting_of_ours_is_in_the_reference(site):
    """By its anchor, so that it can be linked to."""
    from dataclasses import fields

    from trl import GRPOConfig

    from hysteretic.config.settings import RunConfig
    from hysteretic.trl import HPOConfig

    folder, pages = site
    own = set(HPOConfig.__annotations__) | {field.name for field in fields(RunConfig)}
    assert {field.name for field in fields(HPOConfig)} - {field.name for field in fields(GRPOConfig)} <= own
    assert own <= pages[folder / "settings.html"].anchors


def test_every_public_name_is_in_the_reference(site):
    """`import hysteretic` offers no more than the API pages say."""
    import hysteretic

    folder, pages = site
    anchors = {anchor.rsplit(".", 1)[-1] for anchor in pages[folder / "api" / "objectives.html"].anchors}
    assert set(hysteretic.__all__) <= anchors
