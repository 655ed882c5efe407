"""Read a data set, from a local file or from the hub, as rows: one dictionary per row."""

from __future__ import annotations

import csv
import importlib
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


class LeftOutWarning(UserWarning):
    """Rows of a data set do not fit the settings of the task, or were left out as bad; says how many and why."""


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
        return {WHOLE: _read_parquet(path)}
    return {WHOLE: _read_lines(path)}


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises ValueError for another encoding, naming the line and the likely one.
    """
    content = path.read_bytes()
    encoding = json.detect_encoding(content[:4])  # by byte order mark and null bytes, so it holds for CSV as well
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].decode(encoding, "replace").count("\n") + 1
        where, name = f"{path} line {line}", shlex.quote(path.name)
        if not encoding.startswith("utf-8"):
            raise ValueError(f"{where} is not valid {encoding.upper()}: {error.reason}. Save it as UTF-8.") from error
        byte = content[error.start : error.start + 1]
        raise ValueError(
            f"{where} is not UTF-8: byte 0x{byte.hex()}, which is {byte.decode('cp1252', 'replace')!r} in Windows-1252."
            f" Save the file as UTF-8 (Excel: CSV UTF-8), or convert it: iconv -f WINDOWS-1252 -t UTF-8 {name} > "
            f"{shlex.quote('utf8-' + path.name)}"
        ) from error


def column(row: Row, name: str, option: str, where: str) -> Any:
    """One field of a row. Raises ValueError when it is missing, None or not valid Unicode.

    option: what the message says about the option that selects the column.
    """
    if name not in row:
        found = ", ".join(sorted(map(str, row)))
        raise ValueError(f"{where} has no column {name!r}; its columns are {found or '(none)'}. {option}")
    if row[name] is None:
        raise ValueError(f"{where} is empty in column {name!r}; fill it in or remove the row.")
    half = lone_surrogate(row[name])
    if half is not None:
        raise ValueError(
            f"{where} has half of a surrogate pair ({half}) in column {name!r}, as when text is cut within an emoji; "
            "fix or remove the row."
        )
    return row[name]


def lone_surrogate(value: Any) -> str | None:
    """The first half of a surrogate pair in any text of a value, as \\ud83d; None if all of it can be encoded."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"\\u{ord(value[error.start]):04x}"
        return None
    parts = [*value.keys(), *value.values()] if isinstance(value, Mapping) else value
    if not isinstance(parts, list | tuple):
        return None
    return next((half for half in map(lone_surrogate, parts) if half is not None), None)


def _read_lines(path: Path) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            where = f"{path} line {number}"
            rows.extend(_checked([_json(line, where, "Each line must hold one object.")], where))
    return rows


def _json(text: str, where: str, advice: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError also for an integer of thousands of digits
        raise ValueError(f"{where} is not valid JSON: {str(error).rstrip('.')}. {advice}") from error


def _read_json(path: Path) -> dict[str, list[Row]]:
    data = _json(read_text(path), str(path), "If it has one object per line, name it .jsonl.")
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
    text = read_text(path)
    lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    limit = csv.field_size_limit(max(len(text), 1))  # Python's own is 128 KiB, less than a long prompt
    rows: list[Row] = []
    start = 1  # the line on which a row begins; with an unclosed quote it ends far below
    try:
        names = list(lines.fieldnames or ())
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{path} has two columns {twice!r}; rename one of them.")
        start = lines.line_num + 1
        for row in lines:
            if None in row:
                raise ValueError(
                    f"{path} line {start} has more fields than the header; quote fields that contain commas."
                )
            rows.append(row)
            start = lines.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path} line {start} is not valid CSV: {error}. A field with quotes in it must be quoted, and each of its "
            'own quotes doubled: "say ""yes""".'
        ) from error
    finally:
        csv.field_size_limit(limit)
    return rows


def _read_parquet(path: Path) -> list[Row]:
    parquet, pyarrow = (_optional(name, f"read {path}") for name in ("pyarrow.parquet", "pyarrow"))
    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as parquet: {str(error).rstrip('.')}. Write it again, or give it the ending of "
            f"its format ({', '.join(SUFFIXES)})."
        ) from error
    return rows


def _read_hub(source: str, config: str | None) -> dict[str, list[Row]]:
    datasets = _optional("datasets", f"load {source!r} from the hub")
    try:
        tables = datasets.load_dataset(source, config)
        return {str(split): table.to_list() for split, table in tables.items()}
    except datasets.exceptions.DatasetGenerationError as error:
        cause = " ".join(str(error.__cause__ or error).split()).rstrip(".")
        raise ValueError(
            f"The files of {source!r} do not form one table: {cause}. Files of different columns need different "
            "configurations: set config to one of them, or download the file you need and give its path as the task."
        ) from error
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        if "onfig name is missing" in str(error):
            said = " ".join(str(error).split())
            raise ValueError(f"{source!r} has several configurations; set config to one of them. {said}") from error
        raise ValueError(
            f"{source!r} is not a {', '.join(SUFFIXES)} file, and loading it from the hub failed: {error}. "
            "Check the name, your access to it, and your connection."
        ) from error


def _optional(module: str, purpose: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f'To {purpose}, the package {package} is required; run: pip install "hysteretic[trl]".'
        ) from error
