"""Which settings are kept under a name? YAML files of settings, one a recipe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from hysteretic.common.errors import UsageError, nearest

PACKAGE_RECIPES = Path(__file__).parent.parent / "recipes"
CHECKOUT_RECIPES = Path(__file__).parents[3] / "recipes"


OF_THE_PROBLEMS = ("task", "task_options", "train_problems", "eval_problems")
"""Settings of a recipe that are about its task."""


def recipes() -> dict[str, Path]:
    """Every recipe by name, from the checkout or the installed package."""
    folder = PACKAGE_RECIPES if PACKAGE_RECIPES.is_dir() else CHECKOUT_RECIPES
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def tiny_recipe(task: str) -> dict[str, Any]:
    """The settings under which the tiny model learns a task.

    A task without a recipe of its own has those of countdown-3 but for what is said of the problems: with the trainer's
    own defaults (a learning rate of 1e-6, one group an update) a model this small does not move.
    """
    known = recipes()
    if f"tiny-{task}" in known:
        return read_recipe(str(known[f"tiny-{task}"]))
    recipe = read_recipe(str(known["tiny-countdown-3"])) if "tiny-countdown-3" in known else {}
    return {key: value for key, value in recipe.items() if key not in OF_THE_PROBLEMS}


def read_recipe(name: str) -> dict[str, Any]:
    """The mapping in a YAML file, or in the recipe of that name. Raises UsageError."""
    path = Path(name)
    if not path.is_file():
        known = recipes()
        if name not in known:
            raise UsageError(f"There is no file or recipe {name!r}.{nearest(name, known)} Recipes: {', '.join(known)}.")
        path = known[name]
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UsageError(
            f"{path} holds a {type(content).__name__}; it must be a mapping of settings, such as task: countdown-3."
        )
    return content


def processes_of(name: str) -> int | None:
    """How many processes a recipe's batch is meant for: --num_processes of the command in its comments, if it is there.

    It is no setting: `accelerate launch` starts them, and they multiply per_device_train_batch_size.
    """
    path = Path(name) if Path(name).is_file() else recipes()[name]
    comments = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    found = re.search(r"--num_processes[ =](\d+)", "\n".join(comments))
    return int(found.group(1)) if found else None


def read_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises UsageError where it is no YAML, or a mapping has a key twice.

    PyYAML takes the last of two equal keys in silence; YAML itself forbids them, and which was meant nobody knows.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        if root is None:
            return None
        _check_duplicate_keys(root, loader, path)
        return loader.construct_document(root)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no YAML: {error}") from error
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error


def _check_duplicate_keys(root: yaml.Node, loader: yaml.SafeLoader, path: Path) -> None:
    """Looks at the nodes, before merge keys (<<) are resolved: what they bring may be overruled."""
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
