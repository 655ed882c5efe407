"""What does the site need beside its pages? Tables made from the code, formulas as MathML, files outside docs/."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import importlib.util
import inspect
import io
import json
import os
import re
import shlex
import types
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"<!-- made: (.+?) -->")
"""A page says where a table belongs: <!-- made: settings RunConfig -->. As a file it then shows the text around it."""
NARROW = '<span class="narrow">Default: </span>'
"""Before a default where a narrow screen shows no heads of columns."""
OUTSIDE = re.compile(r"\]\(((?:\.\./)+)([\w./-]+)")
"""A link out of docs/, as it works in a checkout."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages link to outside docs/ (measurements, examples), and all pages of results/."""
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "results").rglob("*.md")} | {"CHANGELOG.md"}
    docs = Path(config.docs_dir)
    for path in docs.rglob("*.md"):
        for _, target in _outside(path.relative_to(docs).parent, path.read_text(encoding="utf-8")):
            wanted.add(target)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    wanted |= set(re.findall(r"\]\(((?:results|benchmarks|examples)/[\w./-]+)", readme))
    wanted |= {f"results/{name}/results.csv" for name in ("sparse", "easy", "telelogs")}
    wanted = {name for name in wanted if (ROOT / name).is_file()}
    for name in sorted(wanted):
        inclusion = InclusionLevel.NOT_IN_NAV if name.endswith(".md") else InclusionLevel.INCLUDED
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls, inclusion=inclusion))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the tables, and let links out of docs/ lead to the copies within the site."""
    folder = Path(page.file.src_uri).parent
    if (Path(config.docs_dir) / page.file.src_uri).is_file():
        for written, target in _outside(folder, markdown):
            markdown = markdown.replace(f"]({written}", f"]({os.path.relpath(target, folder)}")
    return MARK.sub(lambda mark: "\n".join(_made(*shlex.split(mark[1]))), markdown)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas, which arithmatex has found, as MathML: browsers draw it without a script or a font of the site's."""

    def mathml(found: re.Match[str]) -> str:
        is_block = found[1] == "div"
        return str(convert(html.unescape(found[2]).strip(), display="block" if is_block else "inline"))

    return re.sub(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', mathml, content, flags=re.DOTALL)


def _outside(folder: Path, markdown: str) -> Iterable[tuple[str, str]]:
    """Links that leave docs/, as written and from the root, of a page in a folder of it."""
    depth = len(folder.parts)
    for climb, rest in set(OUTSIDE.findall(markdown)):
        if climb.count("../") == depth + 1:
            yield climb + rest, rest


def _made(kind: str, *arguments: str) -> Sequence[str]:
    return MADE[kind](*arguments)


# Settings.


def _settings(owner: str, *groups: str) -> Sequence[str]:
    """A table of a configuration's own fields; groups: the first and the last of them, as a..b."""
    from hysteretic.config.settings import RunConfig
    from hysteretic.trl import HPOConfig

    kind = {"RunConfig": RunConfig, "HPOConfig": HPOConfig}[owner]
    found = {field.name: field for field in dataclasses.fields(kind)}
    names = [name for name in kind.__annotations__ if name in found]  # as written; what is inherited is elsewhere
    first, last = groups[0].split("..") if groups else (names[0], names[-1])
    rows = ["| setting | default | what it does |", "|---|---|---|"]
    for field in (found[name] for name in names[names.index(first) : names.index(last) + 1]):
        default = "not set" if field.default is None else f"`{_as_yaml(field.default)}`"
        text = str(field.metadata["help"]).replace("|", "\\|")
        rows.append(f"| `{field.name}`{{#{field.name}}} | {NARROW}{default} | {text} |")
    return rows


def _options(*tasks: str) -> Sequence[str]:
    """The options of built-in tasks, with their defaults."""
    from hysteretic.tasks import FileTask, built_in

    rows = []
    for name in tasks:
        factory: Callable[..., Any] = FileTask if name == "data" else built_in(name)
        fields = [f for f in inspect.signature(factory).parameters.values() if f.kind is not f.VAR_KEYWORD]
        listed = [
            f"`{field.name}`" + ("" if field.default is field.empty else f" = `{_as_yaml(field.default)}`")
            for field in fields
            if not (name == "data" and field.name in ("source", "reward"))
        ]
        rows.append(f"| {'a data file, hub data set' if name == 'data' else f'`{name}`'} | {', '.join(listed)} |")
    return ["| task | options and defaults |", "|---|---|", *rows]


def _as_yaml(value: Any) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


# The README, whose parts are not written twice.


def _section(title: str, part: str = "all") -> Sequence[str]:
    """A section of the README, links as from docs/. part: "body" leaves its heading out."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(title)}\n.*?(?=^#{{1,}} |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    assert found is not None, f"The README has no section {title!r}."
    heading, body = found[0].rstrip().split("\n", 1)
    body = re.sub(r"\[([^\]]*)\]\(([\w./-]+)(#[^)]*)?\)", _as_within, body)
    return [body] if part == "body" else [re.sub(r"^#+", "##", heading), body]


def _as_within(link: re.Match[str]) -> str:
    """A link of the README, as from a page of the site; the text alone where its target is no file of the site."""
    text, target, anchor = link[1], link[2], link[3] or ""
    if target.startswith("docs/"):
        return f"[{text}]({target.removeprefix('docs/')}{anchor})"
    is_kept = target.split("/")[0] in ("results", "benchmarks", "examples") and (ROOT / target).is_file()
    return f"[{text}]({target}{anchor})" if is_kept else text


# What `hysteretic list` names, and what each command says of itself.


def _algorithms() -> Sequence[str]:
    """The presets and their parts."""
    from hysteretic.presets import ALGORITHMS

    rows = ["| algorithm | ratio | gate | weight | length | divided by std |", "|---|---|---|---|---|---|"]
    for name, preset in ALGORITHMS.items():
        made = preset()
        parts = [_part(getattr(made, part)) for part in ("ratio", "gate", "weight", "length")]
        rows.append(f"| `{name}` | {' | '.join(parts)} | {'yes' if made.scale == 'std' else 'no'} |")
    return rows


def _part(part: Any) -> str:
    name = type(part).__name__
    values = ", ".join("max length" if key == "max_length" else f"{value:g}" for key, value in vars(part).items())
    return f"[{name}](api/objectives.md#hysteretic.parts.{name})" + (f" {values}" if values else "")


def _list(what: str) -> Sequence[str]:
    """Tasks, or commands, with a line on each."""
    from hysteretic.cli import COMMANDS
    from hysteretic.tasks import TASKS

    lines = {"tasks": TASKS, "commands": COMMANDS}[what]
    names = {name: f"[`{name}`](#{name})" if what == "commands" else f"`{name}`" for name in lines}
    return [f"| {what[:-1]} | |", "|---|---|", *(f"| {names[name]} | {text} |" for name, text in lines.items())]


def _help(command: str) -> Sequence[str]:
    """What `hysteretic COMMAND --help` prints."""
    from hysteretic.cli import main

    said = io.StringIO()
    os.environ.update(COLUMNS="88", NO_COLOR="1")
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([command, "--help"])
    return ["```text", said.getvalue().rstrip().replace("%%", "%"), "```"]


# Results.


def _table_of(name: str) -> Sequence[str]:
    """The README's table of a comparison, from its committed results."""
    lines: Sequence[str] = _evidence().table(_results(name))
    return lines


def _against_grpo(*arms: str) -> Sequence[str]:
    """Arms against GRPO at the three starting points, on the measure decided beforehand."""
    starts = {
        "sparse": "countdown-3, sparse start",
        "easy": "countdown-3, easier start",
        "telelogs": "telelogs-compact",
    }
    rows = ["| start | arm | verdict | gain | difference (95 % interval) | seeds |", "|---|---|---|---|---|---|"]
    for name, words in starts.items():
        found = _results(name)
        for pair in found["pairs"]:
            if pair["treatment"] in arms and (pair["baseline"], pair["measure"]) == ("grpo", found["primary"]):
                low, high = pair["interval"]
                cells = [
                    f"[{words}](results/{name}/results.csv)",
                    pair["treatment"],
                    pair["verdict"],
                    f"{100 * pair['relative_gain']:+.0f} %",
                    f"{pair['mean_difference']:+.4f} ({low:+.4f} to {high:+.4f})",
                    f"{pair['seeds']}",
                ]
                rows.append("| " + " | ".join(cells) + " |")
    return rows


def _results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "results" / name / "results.json").read_text(encoding="utf-8"))
    return found


def _evidence() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("table", ROOT / "benchmarks" / "evidence" / "table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE: dict[str, Callable[..., Sequence[str]]] = {
    "settings": _settings,
    "options": _options,
    "section": _section,
    "algorithms": _algorithms,
    "list": _list,
    "help": _help,
    "table": _table_of,
    "against-grpo": _against_grpo,
}
