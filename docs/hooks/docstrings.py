"""How do this project's docstrings, which are plain text, become Markdown?

Equations are indented, and stay blocks of code. Elsewhere *, _ and < mean themselves. A line that begins with the names
of parameters or fields and a colon is an entry of a list.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import Any

import griffe

ENTRY = re.compile(r"((?:\w+)(?:, \w+)*)( \([^)]*\))?:(?: |$)")
SECTIONS = ("Args:", "Returns:", "Raises:", "Example:", "References:")
CODE = re.compile(r"(``?[^`]+``?)")


class Plain(griffe.Extension):
    """Rewrites every docstring of a package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Once all of it is known, so that a class knows its fields."""
        _rewrite(pkg)


def _rewrite(thing: griffe.Object) -> None:
    if thing.docstring is not None:
        names = {parameter.name for parameter in getattr(thing, "parameters", [])} | set(thing.members)
        thing.docstring.value = markdown(thing.docstring.value, names)
    for member in thing.members.values():
        if isinstance(member, griffe.Object):  # an alias is rewritten where it stands
            _rewrite(member)


def markdown(text: str, names: set[str]) -> str:
    """The text of a docstring as Markdown. names: what an entry of a list may be called."""
    blocks = re.split(r"\n\s*\n", inspect.cleandoc(text))
    made, section = [], ""
    for block in blocks:
        heading, _, rest = block.partition("\n")
        if heading in SECTIONS:
            section, block = heading, textwrap.dedent(rest)
            made.append(f"**{heading[:-1]}**")
        made.append(_section(section, textwrap.dedent(block)) if section else _block(block.split("\n"), names))
    return "\n\n".join(made)


def _section(heading: str, text: str) -> str:
    """What stands under Args, Returns, Raises, Example or References."""
    if text.startswith(">>>"):
        return f"```python\n{text}\n```"
    is_list = heading in ("Args:", "Raises:")
    return _escaped(re.sub(r"(?m)^(\w+):", r"- `\1`:", text) if is_list else text)


def _block(lines: list[str], names: set[str]) -> str:
    """Lines without an empty one between them: text, then entries, with equations and tables between, and text."""
    made: list[str] = []
    before = ""  # what the line before was: "text", "entry", "heading" (an entry with a table below it) or "code"
    inset = ""
    for line in lines:
        entry = ENTRY.match(line)
        if entry is not None and set(entry[1].split(", ")) <= names:
            said = _escaped(line[entry.end() :])
            made += [*([""] if made and not inset else []), f"- `{entry[1]}`{entry[2] or ''}: {said}".rstrip()]
            before, inset = ("entry" if said else "heading"), "    "
        elif line.startswith("  ") and (not inset or before in ("heading", "code")):
            made += [*([] if before in ("code", "") else [""]), f"{inset}    {line}"]
            before = "code"
        elif inset and line.startswith(("Returns", "Raises")):
            made += ["", _escaped(line)]
            before, inset = "text", ""
        else:
            made += [*([""] if before == "code" else []), inset + _escaped(line.strip())]
            before = "text"
    return "\n".join(made)


def _escaped(text: str) -> str:
    """Text in which only code between backticks is markup."""
    parts = CODE.split(text)
    return "".join(part if CODE.fullmatch(part) else _literal(part) for part in parts)


def _literal(text: str) -> str:
    return re.sub(r"([\\*_\[\]])", r"\\\1", text).replace("<", "&lt;")
