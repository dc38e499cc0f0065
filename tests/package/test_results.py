"""Folders of results: what interrupts a write leaves the old file, and what is no file of ours is refused by name."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from multispin_env.evaluation.results import ResultsFolder, claim_folder, read_rows

MANIFEST = {"scenario": "mobile", "seeds": 2, "system": {"num_users": 3}}
HEADER = "controller,seed,goodput_tok_s"


@dataclass(frozen=True)
class Row:
    controller: str
    seed: int
    goodput_tok_s: float


ROWS = [Row("fixed", 1, 61.25), Row("predictive", 1, 1e-3), Row("predictive", 2, float("1e22"))]


def opened(path: Path, **changes: object) -> ResultsFolder[Row]:
    allowed = {"controller": ("fixed", "predictive")}
    return ResultsFolder(path, {**MANIFEST, **changes}, Row, unique=("controller", "seed"), allowed=allowed)


def filled(path: Path) -> ResultsFolder[Row]:
    folder = opened(path)
    folder.append(ROWS)
    return folder


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    filled(tmp_path / "run").append([Row("fixed", 2, float("nan"))])
    rows = opened(tmp_path / "run").rows()
    assert rows[:3] == ROWS
    assert np.isnan(rows[3].goodput_tok_s)


def test_a_manifest_that_says_the_same_is_not_written_again(tmp_path: Path) -> None:
    opened(tmp_path)
    before = (tmp_path / "manifest.json").stat()
    opened(tmp_path)
    after = (tmp_path / "manifest.json").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def broken(monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)


CALLS = ["fsync", "replace"]


@pytest.mark.parametrize("call", CALLS)
def test_who_is_killed_while_the_manifest_is_written_starts_again(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        broken(patch, call, KeyboardInterrupt())
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: None)  # a kill tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            opened(tmp_path / "run")
    assert list((tmp_path / "run").iterdir())  # what was begun is left
    filled(tmp_path / "run")
    assert opened(tmp_path / "run").rows() == ROWS


@pytest.mark.parametrize("call", CALLS)
def test_who_is_killed_while_rows_are_written_keeps_the_old_ones(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path)
    with monkeypatch.context() as patch:
        broken(patch, call, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            folder.append([Row("fixed", 2, 60.0)])
    assert opened(tmp_path).rows() == ROWS


def full_disk(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    broken(monkeypatch, call, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


@pytest.mark.parametrize("call", CALLS)
def test_a_full_disk_is_said_of_the_file_that_keeps_what_it_had(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path)
    with monkeypatch.context() as patch:
        full_disk(patch, call)
        for file, write in (
            ("results.csv", lambda: folder.append([Row("fixed", 2, 60.0)])),
            ("new/manifest.json", lambda: opened(tmp_path / "new")),
        ):
            with pytest.raises(OSError, match="No space left on device") as raised:
                write()
            assert raised.value.filename == str(tmp_path / file)
    assert opened(tmp_path).rows() == ROWS
    filled(tmp_path / "new")


def test_a_picture_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from multispin_env.evaluation.plots import new_figure, save

    file = tmp_path / "goodput.png"
    save(new_figure(2.0, 2.0)[0], file)
    picture = file.read_bytes()
    assert picture.startswith(b"\x89PNG")
    full_disk(monkeypatch, "fsync")
    with pytest.raises(OSError, match=r"No space left on device: .*goodput\.png"):
        save(new_figure(3.0, 2.0)[0], file)
    assert file.read_bytes() == picture
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"[]", "must hold an object"),
        (b"null", "must hold an object"),
        (b'{"scenario": "mob', "column 14"),
        (b"\xff\xfe{}", "byte order mark"),
        (b'{"scenario": "\xe9"}', "UTF-8"),
        (b"[" * 10_000, "nested deeper"),
        (b'{"seeds": ' + b"1" * 400 + b"}", "digits"),
        (b'{"seeds": 1e999}', "finite"),
        (b'{"seeds": 2, "seeds": 2}', "twice"),
    ],
)
def test_a_manifest_that_is_none_is_named_and_left(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as raised:
        claim_folder(tmp_path, MANIFEST)
    assert str(raised.value).startswith(str(tmp_path / "manifest.json"))
    assert (tmp_path / "manifest.json").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "header"),
        ("controller,goodput_tok_s,seed\n", "line 1: the header must be controller,seed,goodput_tok_s"),
        (f"{HEADER},jain\nfixed,1,60.0,1.0\n", "line 1: the header must be"),
        (f"\ufeff{HEADER}\nfixed,1,60.0\n", "byte order mark"),
        (f"{HEADER}\nfixed,1\n", "line 2: a row must have 3 cells, controller,seed,goodput_tok_s, got 2"),
        (f"{HEADER}\nfixed,1,60.0\nrob", "line 3: a row must have 3 cells"),
        (f"{HEADER}\nfixed,1,60.0,7\n", "line 2: a row must have 3 cells"),
        (f"{HEADER}\n\nfixed,1,60.0\n", "line 2: a row must have 3 cells"),
        (f"{HEADER}\nfixed,1.0,60.0\n", "line 2: seed must be an integer of at most 18 digits, got '1.0'"),
        (f"{HEADER}\nfixed,{'1' * 400},60.0\n", "line 2: seed must be an integer"),
        (f"{HEADER}\nfixed,1_000,60.0\n", "line 2: seed must be an integer"),
        (f"{HEADER}\nfixed,\u0661,60.0\n", "line 2: seed must be an integer"),
        (f"{HEADER}\nfixed,1,fast\n", "line 2: goodput_tok_s must be a finite number"),
        (f"{HEADER}\nfixed,1,inf\n", "line 2: goodput_tok_s must be a finite number"),
        (f"{HEADER}\nfixed,1,1e999\n", "line 2: goodput_tok_s must be a finite number"),
        (f"{HEADER}\nfixed,1,60.0\0\n", "line 2: goodput_tok_s must be a finite number"),
        (f'{HEADER}\nfixed,1,"60.0\n', "is no CSV"),
        (f"{HEADER}\n{'x' * 200_000},1,60.0\n", "is no CSV"),
        (f"{HEADER}\nmine,1,60.0\n", "row 1: controller must be one of fixed, predictive in this folder, got 'mine'"),
        (f"{HEADER}\nfixed,1,60.0\nfixed,1,61.0\n", "row 2 stands there twice: controller, seed are"),
    ],
)
def test_rows_that_are_none_of_ours_are_named_and_left(content: str, message: str, tmp_path: Path) -> None:
    opened(tmp_path)
    file = tmp_path / "results.csv"
    file.write_bytes(content.encode())
    with pytest.raises(ValueError, match=message) as raised:
        opened(tmp_path)
    assert str(raised.value).startswith(str(file))
    assert file.read_bytes() == content.encode()


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A file that was cut, had bytes changed, or a part of it doubled or swapped for something of another type."""
    data, at = bytearray(content), int(rng.integers(len(content)))
    kind = rng.integers(5)
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        for place in rng.integers(len(data), size=int(rng.integers(1, 6))):
            data[place] = int(rng.integers(256))
    elif kind == 2:
        data[at:at] = data[at : at + int(rng.integers(1, 40))]
    elif kind == 3:
        other = [b"null", b"[]", b"{}", b'"x"', b"-1", b"1e999", b"NaN", b",", b"\n", b"\0", b'"', b"9" * 400]
        data[at : at + int(rng.integers(1, 6))] = other[int(rng.integers(len(other)))]
    else:
        data[at:at] = b"[" * 10_000
    return bytes(data)


def test_whatever_happens_to_the_files_the_error_names_one(tmp_path: Path) -> None:
    filled(tmp_path)
    rng = np.random.default_rng(0)
    named = []
    for name in ("manifest.json", "results.csv"):
        file = tmp_path / name
        content = file.read_bytes()
        for _ in range(500):
            file.write_bytes(mutated(content, rng))
            try:
                opened(tmp_path)
            except (ValueError, OSError) as error:
                named.append(str(tmp_path) in str(error))
        file.write_bytes(content)
    assert all(named)
    assert len(named) > 600
    assert opened(tmp_path).rows() == ROWS


def test_a_folder_cannot_be_read_as_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_rows(tmp_path, Row)
