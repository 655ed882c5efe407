"""MkDocs hooks: files outside docs/ become part of the site, settings get anchors, formulas become MathML."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = re.compile(r"\]\(((?:\.\./)+)([\w./-]+)")
"""A link out of docs/, as it works in a checkout."""

LINK = re.compile(r"\]\(([\w./-]+)")
"""Any relative link."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ that pages link to (measurements, examples), and all pages of results/."""
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "results").rglob("*.md")} | {"CHANGELOG.md"}
    docs = Path(config.docs_dir)
    for path in docs.rglob("*.md"):
        for _, target in _outside(path.relative_to(docs).parent, path.read_text(encoding="utf-8")):
            wanted.add(target)
    for page in [name for name in wanted if name.endswith(".md") and (ROOT / name).is_file()]:
        text = (ROOT / page).read_text(encoding="utf-8")
        wanted |= {os.path.normpath(Path(page).parent / target) for target in LINK.findall(text)}
    for name in sorted(name for name in wanted if (ROOT / name).is_file() and not name.startswith("docs/")):
        inclusion = InclusionLevel.NOT_IN_NAV if name.endswith(".md") else InclusionLevel.INCLUDED
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls, inclusion=inclusion))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links out of docs/ to the copies within the site."""
    folder = Path(page.file.src_uri).parent
    if (Path(config.docs_dir) / page.file.src_uri).is_file():
        for written, target in _outside(folder, markdown):
            markdown = markdown.replace(f"]({written}", f"]({os.path.relpath(target, folder)}")
    return markdown


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Anchors for settings; formulas, which arithmatex has found, as MathML, which needs no script and no font."""

    def mathml(found: re.Match[str]) -> str:
        is_block = found[1] == "div"
        return str(convert(html.unescape(found[2]).strip(), display="block" if is_block else "inline"))

    if page.file.src_uri == "settings.md":
        row = re.compile(r"<tr>(\s*<td><code>)(\w+)(</code></td>\s*)<td>(?=.*</td>\s*<td>)")
        content = row.sub(r'<tr id="\2">\1\2\3<td class="default">', content)
    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', mathml, content, flags=re.DOTALL)


def _outside(folder: Path, markdown: str) -> Iterable[tuple[str, str]]:
    """Links of a page in `folder` of docs/ that leave docs/: as written, and from the root."""
    for climb, rest in set(OUTSIDE.findall(markdown)):
        if climb.count("../") == len(folder.parts) + 1:
            yield climb + rest, rest
