"""Import an object by name: "path/to/file.py:Name" or "package.module:name"."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from hashlib import blake2b
from pathlib import Path
from types import ModuleType
from typing import Any

from ..common.errors import nearest


def import_object(reference: str, kind: str) -> Any:
    """Import the file or module of a reference and return the named object.

    kind: "class" or "function", for messages and for the list of names if the name does not exist.
    Raises ValueError, FileNotFoundError or ImportError. Exceptions of the imported code itself propagate unchanged.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise ValueError(
            f"{reference!r} does not name a {kind}; write path/to/file.py:{kind} or package.module:{kind}."
        )
    module = _from_file(place, reference) if place.endswith(".py") else _from_module(place, reference)
    if not hasattr(module, name):
        defined = [
            other
            for other, value in vars(module).items()
            if isinstance(value, type) == (kind == "class")
            and callable(value)
            and getattr(value, "__module__", None) == module.__name__
        ]
        raise ValueError(
            f"{place} has no {kind} {name!r}; it defines {', '.join(defined) or 'none'}.{nearest(name, defined)}"
        )
    return getattr(module, name)


def _from_file(place: str, reference: str) -> ModuleType:
    path = Path(place)
    if not path.is_file():
        raise FileNotFoundError(f"{place} is not a file (looked in {Path.cwd()}); check the path in {reference!r}.")
    path = path.resolve()
    name = f"_file_{path.stem}_{blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{place} cannot be imported; check that it is a Python source file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look up their module by name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _from_module(place: str, reference: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(error.name + ".")):
            raise ImportError(
                f"No module {place!r} for {reference!r}; install it, or give its file: path/to/file.py:name."
            ) from error
        raise
