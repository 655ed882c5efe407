"""Read a data set, from a local file or from the hub, as rows: one dictionary per row."""

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
"""Name of the table of a file that has no splits."""


def read_tables(source: str, config: str | None = None) -> dict[str, list[Row]]:
    """The rows of every split of a data set; a file without splits is one table, named WHOLE.

    source: a path ending in one of SUFFIXES, otherwise a hub id. A JSON file holds a list of rows, or
        {"train": [rows], "test": [rows]}.
    config: the configuration of a hub data set that has several.
    Raises FileNotFoundError; ImportError when an optional package is missing; ValueError for malformed content.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        return _read_hub(source, config)
    if config is not None:
        raise ValueError(f"config is {config!r}, but {source} is a file; config applies to hub data sets only.")
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
    """One field of a row. Raises ValueError when it is missing or None, naming the columns found.

    option: what the message says about the option that selects the column.
    """
    if name not in row:
        found = ", ".join(sorted(map(str, row)))
        raise ValueError(f"{where} has no column {name!r}; its columns are {found or '(none)'}. {option}")
    if row[name] is None:
        raise ValueError(f"{where} is empty in column {name!r}; fill it in or remove the row.")
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
                        f"{path} line {number} is not valid JSON: {error}. Each line must hold one object."
                    ) from error
                rows.extend(_checked([row], f"{path} line {number}"))
    return rows


def _read_json(path: Path) -> dict[str, list[Row]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path} is not valid JSON: {error}. If it has one object per line, name it .jsonl."
        ) from error
    if isinstance(data, dict) and data and all(isinstance(rows, list) for rows in data.values()):
        return {split: _checked(rows, f"{path}, split {split!r},") for split, rows in data.items()}
    if not isinstance(data, list):
        raise ValueError(
            f'{path} holds {type(data).__name__}; it must hold a list of rows or {{"train": [...], "test": [...]}}.'
        )
    return {WHOLE: _checked(data, str(path))}


def _checked(rows: Sequence[Any], where: str) -> list[Row]:
    for row in rows:
        if not isinstance(row, dict):
            raise ValueError(
                f"{where} has a row that is {type(row).__name__}; each row must be an object with named columns."
            )
    return list(rows)


def _read_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = list(csv.DictReader(lines))
    for number, row in enumerate(rows, 1):
        if None in row:
            raise ValueError(f"{path} row {number} has more fields than the header; quote fields that contain commas.")
    return list(rows)


def _read_hub(source: str, config: str | None) -> dict[str, list[Row]]:
    datasets = _optional("datasets", f"load {source!r} from the hub")
    try:
        tables = datasets.load_dataset(source, config)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{source!r} is not a {', '.join(SUFFIXES)} file, and loading it from the hub failed: {error}. "
            "Check the name, your access to it, and your connection."
        ) from error
    return {str(split): table.to_list() for split, table in tables.items()}


def _optional(module: str, purpose: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f'To {purpose}, the package {package} is required; run: pip install "hysteretic[trl]".'
        ) from error
