"""The rows of a data set, as dictionaries, from a local file or from the hub."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")
WHOLE = "all"
"""The name of the only table of a file that has no splits."""


def read_tables(source: str, config: str | None = None) -> dict[str, list[Row]]:
    """Every split of a data set and its rows; a file without splits is one table, named WHOLE.

    source: a path ending in one of SUFFIXES, else the id of a data set on the hub. A JSON file is a list of rows, or
        {"train": [rows], "test": [rows]}.
    config: the configuration of a hub data set that has several.
    Raises FileNotFoundError, ImportError without the optional packages, ValueError for text that is no table.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        return _read_hub(source, config)
    if config is not None:
        raise ValueError(f"config is {config!r}, but {source} is a file; config is for data sets on the hub.")
    if not path.is_file():
        raise FileNotFoundError(f"{source} is not a file (looked in {Path.cwd()}); check the path.")
    if suffix == ".json":
        return _read_json(path)
    if suffix == ".csv":
        return {WHOLE: _read_csv(path)}
    if suffix == ".parquet":
        parquet = _optional("pyarrow.parquet", f"read {source}")
        return {WHOLE: parquet.read_table(path).to_pylist()}
    return {WHOLE: _read_lines(path)}


def column(row: Row, name: str, option: str, where: str) -> Any:
    """One field of a row. Raises ValueError naming the column, the columns found, and the option that chooses it.

    An empty field (None) is missing too.
    """
    if name not in row:
        found = ", ".join(sorted(map(str, row)))
        raise ValueError(f"{where} has no column {name!r}; its columns are {found or '(none)'}. {option}")
    if row[name] is None:
        raise ValueError(f"{where} has nothing in column {name!r}; fill it in or remove the row.")
    return row[name]


def _read_lines(path: Path) -> list[Row]:
    rows: list[Row] = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(
                        f"{path} line {number} is not JSON: {error}. Each line holds one object."
                    ) from error
                rows.extend(_checked([row], f"{path} line {number}"))
    return rows


def _read_json(path: Path) -> dict[str, list[Row]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}. For one object a line, name it .jsonl.") from error
    if isinstance(data, dict) and data and all(isinstance(rows, list) for rows in data.values()):
        return {split: _checked(rows, f"{path}, split {split!r},") for split, rows in data.items()}
    if not isinstance(data, list):
        raise ValueError(
            f'{path} holds {type(data).__name__}; it should hold a list of rows or {{"train": [...], "test": [...]}}.'
        )
    return {WHOLE: _checked(data, str(path))}


def _checked(rows: Sequence[Any], where: str) -> list[Row]:
    for row in rows:
        if not isinstance(row, dict):
            raise ValueError(f"{where} has a row that is {type(row).__name__}; a row is an object with named columns.")
    return list(rows)


def _read_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for number, row in enumerate(rows, 1):
        if None in row:
            raise ValueError(f"{path} row {number} has more fields than the header; quote fields that hold commas.")
    return list(rows)


def _read_hub(source: str, config: str | None) -> dict[str, list[Row]]:
    datasets = _optional("datasets", f"load {source!r} from the hub")
    try:
        tables = datasets.load_dataset(source, config)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{source!r} is no file ending in {', '.join(SUFFIXES)}, and the hub did not give it: {error}. "
            "Check the name, your access to it, and the connection."
        ) from error
    return {str(split): table.to_list() for split, table in tables.items()}


def _optional(module: str, purpose: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise ImportError(f'To {purpose}, the package {package} is needed; pip install "hysteretic[trl]".') from error
