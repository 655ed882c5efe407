"""Tasks of other installed packages, found through the entry-point group `hysteretic.tasks`, imported on first use.

    [project.entry-points."hysteretic.tasks"]
    anagram = "hysteretic_anagram:Anagram"       name = "module:class, or function that returns a task"

Finding them reads the metadata of installed packages only. A package that cannot be imported is an error where its task
is used and a warning in `hysteretic list`; both name the package. Nothing else notices.
"""

from __future__ import annotations

import functools
import re
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .import_object import import_object
from .rows import SUFFIXES

GROUP = "hysteretic.tasks"


@dataclass(frozen=True)
class InstalledTask:
    """The entry point of a task. reference: "module:object". package: name and version of the distribution."""

    name: str
    reference: str
    package: str

    def factory(self) -> Callable[..., Any]:
        """Import the class or function. Raises ImportError or ValueError, naming the package."""
        try:
            found = import_object(self.reference, "class")
        except (Exception, SystemExit) as error:  # whatever the package's own code raises while it is imported
            words, module = str(error).rstrip("."), self.reference.partition(":")[0]
            raise ImportError(
                f"The task {self.name!r} of the package {self.package} cannot be imported: {type(error).__name__}: "
                f'{words}. Repair or uninstall the package; `python -c "import {module}"` imports it alone.'
            ) from error
        if flaw := _flaw(found):
            raise ValueError(
                f"The task {self.name!r} of the package {self.package} cannot be used: {self.reference} {flaw}. It "
                "must be the class of a task, or a function that returns one; repair or uninstall the package."
            )
        factory: Callable[..., Any] = found
        return factory

    def description(self) -> str:
        """First line of the docstring, and the package. Raises ImportError or ValueError, as `factory`."""
        factory = self.factory()
        documented = factory.func if isinstance(factory, functools.partial) else factory
        line = (documented.__doc__ or "").strip().partition("\n")[0]
        is_signature = line.startswith(f"{getattr(documented, '__name__', '')}(")  # of a dataclass without a docstring
        return f"({self.package})" if not line or is_signature else f"{line} ({self.package})"


def _flaw(found: Any) -> str:
    """Why an object cannot make a task, as far as can be seen without calling it; "" if it can."""
    if not callable(found):
        return f"is {type(found).__name__}"
    missing = [member for member in ("problems", "score") if not hasattr(found, member)]
    return f"lacks {' and '.join(missing)}" if isinstance(found, type) and missing else ""


def installed_tasks(taken: Collection[str]) -> tuple[dict[str, InstalledTask], dict[str, str]]:
    """Tasks of other packages by name, and by name why an entry point is not used.

    taken: names of built-in tasks, which no package replaces.
    """
    from importlib.metadata import entry_points  # reads in 20 ms what most commands do not need

    by_name = defaultdict(list)
    for point in entry_points(group=GROUP):
        package = "unknown" if point.dist is None else f"{point.dist.name} {point.dist.version}"
        reference = f"{point.module}:{point.attr}" if ":" in point.value else point.value  # without spaces and extras
        by_name[point.name].append(InstalledTask(point.name, reference, package))
    tasks, unused = {}, {}
    for name, found in sorted(by_name.items()):
        packages = " and ".join(sorted(task.package for task in found))
        if name in taken:
            unused[name] = f"The task {name!r} of the package {packages} is not used: a built-in task has this name."
        elif len(found) > 1:
            references = " or ".join(sorted(task.reference for task in found))
            unused[name] = (
                f"The task {name!r} is registered by more than one package, {packages}; uninstall all but one, or give "
                f"{references} in place of the name."
            )
        elif not re.fullmatch(r"\w[\w.-]*", name) or Path(name).suffix.lower() in (".py", *SUFFIXES):
            unused[name] = (
                f"The task {name!r} of the package {packages} is not used: a name has letters, digits, '-', '_' and "
                "'.', and no ending of a file."
            )
        else:
            tasks[name] = found[0]
    return tasks, unused
