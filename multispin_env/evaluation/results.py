"""Folders of results: a manifest of what was asked, and rows written as they come, so interrupted runs go on."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

RowT = TypeVar("RowT")


def claim_folder(path: Path, manifest: Mapping[str, Any]) -> None:
    """Makes a folder for results, with ``manifest.json`` saying what they are of, or takes one that says the same.

    Args:
        path: The folder; new, empty, or with the same manifest.
        manifest: JSON-able: everything that decides the results.

    Raises:
        FileExistsError: The folder holds something else.
    """
    manifest_file = path / "manifest.json"
    wanted = json.loads(json.dumps(manifest))
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"output must be a folder, but {path} is a file")
    if manifest_file.exists():
        held = json.loads(manifest_file.read_text(encoding="utf-8"))
        differing = sorted(name for name in {*wanted, *held} if wanted.get(name) != held.get(name))
        if differing:
            raise FileExistsError(
                f"output folder {path} holds results for another {', '.join(differing)}; "
                "give a new folder, or the same arguments to go on with it"
            )
    elif path.exists() and any(path.iterdir()):
        raise FileExistsError(f"output folder {path} exists and holds no results of ours; give a new or empty folder")
    path.mkdir(parents=True, exist_ok=True)
    manifest_file.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


class ResultsFolder(Generic[RowT]):
    """A folder with ``manifest.json`` and ``results.csv``, the rows.

    Args:
        path: The folder, as :func:`claim_folder` takes it.
        manifest: JSON-able description of what is run.
        row_type: Dataclass of a row; its fields are strings, integers and floats.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], row_type: type[RowT]) -> None:
        claim_folder(path, manifest)
        self.path = path
        self._row_type = row_type
        self._rows_file = path / "results.csv"

    def rows(self) -> list[RowT]:
        """The rows written so far."""
        if not self._rows_file.exists():
            return []
        kinds = get_type_hints(self._row_type)
        with self._rows_file.open(newline="", encoding="utf-8") as file:
            return [
                self._row_type(**{name: kinds[name](text) for name, text in line.items()})
                for line in csv.DictReader(file)
            ]

    def append(self, rows: Sequence[RowT]) -> None:
        """Adds rows. The file is replaced as a whole, so that an interruption never leaves half a line."""
        kept = self.rows()
        partial = self._rows_file.with_suffix(".partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, [item.name for item in fields(self._row_type)])  # type: ignore[arg-type]
            writer.writeheader()
            writer.writerows(asdict(row) for row in [*kept, *rows])  # type: ignore[call-overload]
        partial.replace(self._rows_file)
