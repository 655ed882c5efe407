"""Recipes: named YAML files of settings, composed of parts.

recipes/*.yaml                 complete recipes, by file name
recipes/models, tasks, methods parts; every combination MODEL-TASK-METHOD is a recipe
recipes/shared                 what several parts have in common
recipes/combinations.yaml      what depends on more than one part

A file may extend parts, recipes or files by `base: NAME` or `base: [NAME, ...]`. Later ones win, the file's own
settings last. `about` describes a part in a few words.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from hysteretic.common.errors import UsageError, nearest
from hysteretic.config.run import run_facts

PACKAGE_RECIPES = Path(__file__).parent.parent / "recipes"
CHECKOUT_RECIPES = Path(__file__).parents[3] / "recipes"
AXES = ("models", "tasks", "methods")

Layers = list[tuple[str, dict[str, Any]]]
"""Pairs of a name for error messages and settings; later ones override earlier ones."""


def recipes() -> dict[str, str]:
    """Every recipe by name, with a one-line description."""
    return {name: _about(paths) for name, paths in recipe_files().items()}


def recipe_files() -> dict[str, tuple[Path, ...]]:
    """The files of every recipe by name: its own, or those of a model, a task and a method. None of them is read."""
    found = [*((path,) for path in _files("")), *product(*map(_files, AXES))]
    return dict(sorted(("-".join(path.stem for path in paths), paths) for paths in found))


def tiny_recipe(task: str) -> dict[str, Any]:
    """The settings under which the tiny model learns a task.

    A task without its own recipe gets that of countdown-3, except for the settings of its problems: with the trainer's
    defaults (a learning rate of 1e-6, one group per update) a model this small does not learn.
    """
    if f"tiny-{task}" in recipe_files():
        return read_recipe(f"tiny-{task}")
    of_task = {name for name, facts in run_facts().items() if facts.of_task}
    return {key: value for key, value in read_recipe("tiny-countdown-3").items() if key not in of_task}


def read_recipe(name: str) -> dict[str, Any]:
    """The settings of a YAML file, or of the recipe of that name, with everything they extend. Raises UsageError."""
    return merged(layers_of(name))


def merged(layers: Layers) -> dict[str, Any]:
    """Merge layers, later over earlier. A layer with another task drops the earlier task's options and numbers."""
    found: dict[str, Any] = {}
    for _, layer in layers:
        if layer.get("task", found.get("task")) != found.get("task"):
            found = {key: value for key, value in found.items() if key not in ("task_options", "train_problems")}
        found |= layer
    return found


def layers_of(name: str) -> Layers:
    """The layers of a YAML file, or of the recipe of that name. Raises UsageError."""
    known = recipe_files()
    if not Path(name).is_file() and name not in known:
        raise UsageError(f"There is no file or recipe {name!r}.{nearest(name, known)} Recipes: {', '.join(known)}.")
    found = _Composition()
    found.add(name, Path(), ())
    return found.layers


class _Composition:
    """Collects layers: the parts found so far, and the combinations of them that were added."""

    def __init__(self) -> None:
        self.layers: Layers = []
        self._met: set[str] = set()
        self._left = list(_entries())

    def add(self, name: str, folder: Path, within: tuple[str, ...]) -> None:
        """Add a file, part or recipe. folder: that of the file that names it. within: the chain of bases so far."""
        path = next((each for each in (folder / name, Path(name)) if each.is_file()), None)
        part = None if path else _parts().get(name)
        if path is None and part is None and name in recipe_files():
            for each in recipe_files()[name]:
                self._read(each, within)
            return
        if path is None and part is None:
            known = [*_parts(), *recipe_files()]
            where = f" (base of {within[-1]})" if within else ""
            raise UsageError(
                f"There is no file, part or recipe {name!r}{where}.{nearest(name, known)} Parts: {', '.join(_parts())}."
            )
        self._read(path or part, within)  # type: ignore[arg-type]

    def _read(self, path: Path, within: tuple[str, ...]) -> None:
        if str(path.resolve()) in within:
            raise UsageError(f"{path} extends itself: {' -> '.join([*within, str(path)])}; remove one base.")
        is_part = path in _parts().values()
        if is_part and path.stem in self._met:
            return
        content = read_mapping(path)
        base = content.pop("base", [])
        content.pop("about", None)
        names = [base] if isinstance(base, str) else base
        if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
            raise UsageError(f"{path}: base is {base!r}; it must be a name or a list of names.")
        for each in names:
            self.add(each, path.parent, (*within, str(path.resolve())))
        self.layers.append((str(path), content))
        if is_part:
            self._met.add(path.stem)
            for entry in [each for each in self._left if set(each["for"]) <= self._met]:
                self._left.remove(entry)
                own = {key: value for key, value in entry.items() if key not in ("for", "about")}
                self.layers.append((f"combinations.yaml ({', '.join(entry['for'])})", own))


def _folder() -> Path:
    return PACKAGE_RECIPES if PACKAGE_RECIPES.is_dir() else CHECKOUT_RECIPES


@cache
def _files(axis: str) -> tuple[Path, ...]:
    found = sorted((_folder() / axis).glob("*.yaml"))
    return tuple(path for path in found if path.name != "combinations.yaml")


def _parts() -> dict[str, Path]:
    return {path.stem: path for axis in (*AXES, "shared") for path in _files(axis)}


@cache
def _entries() -> tuple[dict[str, Any], ...]:
    path = _folder() / "combinations.yaml"
    return tuple(read_yaml(path) or ()) if path.is_file() else ()


def _about(parts: tuple[Path, ...]) -> str:
    """A file's own words, or MODEL on TASK, METHOD, for HARDWARE."""
    if len(parts) == 1:
        return str(read_yaml(parts[0]).get("about", ""))
    model, task, method = (read_yaml(path)["about"] for path in parts)
    names = {path.stem for path in parts}
    places = [entry["about"] for entry in _entries() if "about" in entry and set(entry["for"]) <= names]
    return f"{model} on {task}, {method}" + "".join(f", for {place}" for place in places)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UsageError."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UsageError(
            f"{path} holds a {type(content).__name__}; it must be a mapping of settings, such as task: countdown-3."
        )
    return content


def read_yaml(path: Path) -> Any:
    """The contents of a YAML file. Raises UsageError if it is not valid YAML or a mapping has a key twice.

    PyYAML silently takes the last of two equal keys; YAML itself forbids them, since it is unclear which was meant.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        if root is None:
            return None
        _check_duplicate_keys(root, loader, path)
        return loader.construct_document(root)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid YAML: {error}") from error
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error


def _check_duplicate_keys(root: yaml.Node, loader: yaml.SafeLoader, path: Path) -> None:
    """Checks the nodes before merge keys (<<) are resolved: what those bring in may be overridden."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if not isinstance(node, yaml.MappingNode):
            waiting += node.value
            continue
        first: dict[Any, int] = {}
        for key, value in node.value:
            waiting += [key, value]
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            name, line = loader.construct_object(key), key.start_mark.line + 1
            if name in first:
                raise UsageError(
                    f"{path} sets {name!r} twice in one mapping, in line {first[name]} and in line {line}; keep one "
                    "of them."
                )
            first[name] = line
