"""Which settings are kept under a name? YAML files of settings, one a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hysteretic.lab.errors import UsageError
from hysteretic.names import nearest

PACKAGE_RECIPES = Path(__file__).parent.parent / "recipes"
CHECKOUT_RECIPES = Path(__file__).parents[3] / "recipes"


def recipes() -> dict[str, Path]:
    """Every recipe by name, from the checkout or the installed package."""
    folder = PACKAGE_RECIPES if PACKAGE_RECIPES.is_dir() else CHECKOUT_RECIPES
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def tiny_recipe(task: str) -> dict[str, Any]:
    """The settings under which the tiny model learns that task; empty where none were found."""
    path = recipes().get(f"tiny-{task}")
    return {} if path is None else read_recipe(str(path))


def read_recipe(name: str) -> dict[str, Any]:
    """The mapping in a YAML file, or in the recipe of that name. Raises UsageError."""
    path = Path(name)
    if not path.is_file():
        known = recipes()
        if name not in known:
            raise UsageError(f"There is no file or recipe {name!r}.{nearest(name, known)} Recipes: {', '.join(known)}.")
        path = known[name]
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(
            f"{path} holds a {type(content).__name__}; it must be a mapping of settings, such as task: countdown-3."
        )
    return content
