"""Folders of results: a manifest of what was asked, and rows written as they come, so interrupted runs go on."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from textwrap import shorten
from typing import Any, Generic, TypeVar, get_type_hints

from multispin_env.config.validation import ConfigError, shown
from multispin_env.files import is_partial, read_json, read_text, write_atomically

RowT = TypeVar("RowT")


def claim_folder(
    path: Path, manifest: Mapping[str, Any], grows: str | None = None, in_use: Callable[[], Container[str]] = tuple
) -> None:
    """Makes a folder for results, with ``manifest.json`` saying what they are of, or takes one that says the same.

    Args:
        path: The folder; new, empty, or with the same manifest.
        manifest: JSON-able: everything that decides the results.
        grows: The entry that is a mapping to which every claim may add; what the folder holds of it stays.
        in_use: Says which keys of that mapping results depend on: their values must be the same.

    Raises:
        FileExistsError: The folder holds something else.
        ValueError: Its manifest cannot be read; the message names the file and the place.
    """
    manifest_file = path / "manifest.json"
    wanted = json.loads(json.dumps(manifest))
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"output must be a folder, but {path} is a file")
    if manifest_file.exists():
        held = _read_manifest(manifest_file, grows)
        differing = sorted(name for name in {*wanted, *held} - {grows} if wanted.get(name) != held.get(name))
        if differing:
            raise FileExistsError(
                f"output folder {path} holds results for another {', '.join(differing)}; "
                "give a new folder, or the same arguments to go on with it"
            )
        if grows is not None:
            before, now, fixed = held.get(grows, {}), wanted[grows], in_use()
            changed = sorted(key for key in now if key in before and key in fixed and before[key] != now[key])
            if changed:
                raise FileExistsError(
                    f"output folder {path} holds results of {', '.join(changed)} as it was before it changed; give a "
                    "new folder, or call it something else"
                )
            wanted[grows] = {**before, **now}
        if wanted == held:
            return
    elif path.exists() and not all(map(is_partial, path.iterdir())):
        raise FileExistsError(f"output folder {path} exists and holds no results of ours; give a new or empty folder")
    path.mkdir(parents=True, exist_ok=True)
    write_atomically(manifest_file, json.dumps(wanted, indent=2) + "\n")


def _read_manifest(file: Path, grows: str | None) -> dict[str, Any]:
    held = read_json(file)
    if not isinstance(held, dict):
        raise ConfigError(f"{file} must hold an object that says what the results are of, got {shown(held)}")
    if grows is not None and not isinstance(held.get(grows, {}), dict):
        raise ConfigError(f"{file}: {grows} must be an object, got {shown(held[grows])}")
    return held


def read_rows(path: Path, row_type: type[RowT]) -> list[RowT]:
    """The rows of a CSV file whose header names exactly the fields of a dataclass, in their order.

    Args:
        path: The file.
        row_type: The dataclass; its fields are strings, integers and floats.

    Raises:
        ValueError: The file cannot be read, or holds something else; the message names it, the line and the column.
    """
    kinds = get_type_hints(row_type)
    names = [item.name for item in fields(row_type)]  # type: ignore[arg-type]
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows = []
    try:
        header = next(reader, [])
        if header != names:
            raise ConfigError(f"{path}, line 1: the header must be {','.join(names)}, got {shown(','.join(header))}")
        for cells in reader:
            place = f"{path}, line {reader.line_num}"
            if len(cells) != len(names):
                raise ConfigError(f"{place}: a row must have {len(names)} cells, {','.join(names)}, got {len(cells)}")
            values = zip(names, cells, strict=True)
            rows.append(row_type(**{name: _cell(text, kinds[name], f"{place}: {name}") for name, text in values}))
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: is no CSV: {error}") from error
    return rows


def _cell(text: str, kind: type, place: str) -> str | int | float:
    """What a cell says. Numbers are as this project and spreadsheets write them: plain ASCII, and none infinite."""
    if kind is int:
        if re.fullmatch(r"-?[0-9]{1,18}", text) is None:
            raise ConfigError(f"{place} must be an integer of at most 18 digits, got {shown(text)}")
        return int(text)
    if kind is float:
        plain = re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|nan", text) is not None
        if not plain or math.isinf(float(text)):
            raise ConfigError(f"{place} must be a finite number, or nan where nothing was measured, got {shown(text)}")
        return float(text)
    return text


class ResultsFolder(Generic[RowT]):
    """A folder with ``manifest.json`` and ``results.csv``, the rows.

    Args:
        path: The folder, as :func:`claim_folder` takes it.
        manifest: JSON-able description of what is run.
        row_type: Dataclass of a row; its fields are strings, integers and floats.
        unique: Columns that tell a row from all others.
        allowed: What a row may say in some of its columns.
        grows: As :func:`claim_folder` takes it.
        key: The column that holds the keys of that entry.

    Raises:
        FileExistsError: The folder holds something else.
        ValueError: Its manifest or its rows cannot be read, or are not of such a folder.
    """

    def __init__(
        self,
        path: Path,
        manifest: Mapping[str, Any],
        row_type: type[RowT],
        *,
        unique: Sequence[str],
        allowed: Mapping[str, Collection[Any]],
        grows: str | None = None,
        key: str | None = None,
    ) -> None:
        self.path = path
        self._row_type = row_type
        self._unique = unique
        self._allowed = allowed
        self._rows_file = path / "results.csv"
        claim_folder(path, manifest, grows, lambda: {getattr(row, key) for row in self.rows()} if key else ())
        self.rows()  # so that a damaged file ends a run before its work, not after

    def rows(self) -> list[RowT]:
        """The rows written so far."""
        if not self._rows_file.exists():
            return []
        rows = read_rows(self._rows_file, self._row_type)
        seen = set()
        for number, row in enumerate(rows, start=1):
            place = f"{self._rows_file}, row {number}"
            for name, allowed in self._allowed.items():
                if getattr(row, name) not in allowed:
                    raise ConfigError(
                        f"{place}: {name} must be one of {shorten(', '.join(map(str, allowed)), 500)} in this folder, "
                        f"got {shown(getattr(row, name))}"
                    )
            told_by = tuple(getattr(row, name) for name in self._unique)
            if told_by in seen:
                raise ConfigError(f"{place} stands there twice: {', '.join(self._unique)} are {shown(told_by)}")
            seen.add(told_by)
        return rows

    def append(self, rows: Sequence[RowT]) -> None:
        """Adds rows. The file is replaced as a whole, so that an interruption never leaves half a line."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, [item.name for item in fields(self._row_type)])  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(asdict(row) for row in [*self.rows(), *rows])  # type: ignore[call-overload]
        write_atomically(self._rows_file, text.getvalue())
