"""Files from outside are read strictly, and files of our own are replaced as a whole or not at all."""

import errno
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multispin_env import ConfigError, files
from multispin_env.files import DEEPEST, parse_json, read_json, read_text, write_atomically

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(values=VALUES)
def test_what_json_can_say_is_read_as_it_was_written(values):
    for ascii_only in (True, False):
        assert parse_json(json.dumps(values, ensure_ascii=ascii_only), "x") == values


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", " must hold JSON, and is empty"),
        (b" \n ", " must hold JSON, and is empty"),
        (b"\xef\xbb\xbf{}", r": line 1: must be UTF-8 without a byte order mark, got b'\\xef\\xbb\\xbf'"),
        ("{}".encode("utf-16"), ": line 1: must be UTF-8 without a byte order mark, got b'"),
        (b'{\n"a": "\xe4"}', r": line 2, byte 8: must be UTF-8, got b'\\xe4'"),
        (b'{\n"a": 1,', ": line 2, column "),
        (b'{\n"a": [1, 2', "is no JSON: Expecting ',' delimiter"),
        (b'{"a": "b', ": column 7: is no JSON: Unterminated string"),
        (b"{} {}", ": column 4: is no JSON: Extra data"),
        (b"\x00", ": column 1: is no JSON: "),
        (b'[1,\n{"a": 1, "b": 2, "a": 1}]', ": a key must stand once in an object, got 'a' twice"),
        (b"[1,\nNaN]", ": line 2: numbers must be finite, got 'NaN'"),
        (b"[\n\n-Infinity]", ": line 3: numbers must be finite, got '-Infinity'"),
        (b"[1e999]", ": numbers must be finite, got '1e999'"),
        (b"[" + b"9" * 400 + b"]", ": integers must have at most 20 digits, got '999"),
        (b"[" + b"9" * 5000 + b"]", ": integers must have at most 20 digits, got '999"),
        (b"[" * 10_000 + b"]" * 10_000, f" must not be nested deeper than {DEEPEST}"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, f" must not be nested deeper than {DEEPEST}"),
        (b"[" * 100_000, f" must not be nested deeper than {DEEPEST}"),
        (rb'["\ud800"]', r": strings must be text, got half of a surrogate pair: '\\ud800'"),
        (rb'{"\udfff": 1}', r": strings must be text, got half of a surrogate pair: '\\udfff'"),
    ],
    ids=lambda part: None if isinstance(part, bytes) else part[:40],
)
def test_what_is_no_strict_json_is_refused_with_file_and_place(data, message, tmp_path):
    path = tmp_path / "some.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        read_json(path)
    assert str(caught.value).startswith(str(path))
    assert message.replace("\\\\", "\\") in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_a_depth_that_is_allowed_is_read():
    text = "[" * DEEPEST + "]" * DEEPEST
    assert parse_json(text, "x") == json.loads(text)


@pytest.mark.parametrize("name", ["missing", ".", "nowhere/file", "null\0byte"])
def test_what_cannot_be_read_is_refused_with_the_file(name, tmp_path):
    path = tmp_path / name if "\0" not in name else name
    with pytest.raises(ConfigError, match="cannot be read: ") as caught:
        read_text(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("content", ["", "one\ntwo\r\n\N{GRINNING FACE}", b"\x00\xff"])
def test_a_file_holds_what_was_written_whether_it_was_there_or_not(content, tmp_path):
    path = tmp_path / "file.txt"
    for _ in range(2):
        write_atomically(path, content)
        assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
        write_atomically(path, "a long text that stood there before")
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_alone_and_names_it(moment, tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_text("old", encoding="utf-8")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if moment == "write":
        monkeypatch.setattr(files, "open", lambda *_: full(), raising=False)
    else:
        monkeypatch.setattr(os, moment, full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, "new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_text(encoding="utf-8") == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_an_interruption_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    path.write_text("old", encoding="utf-8")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    path = tmp_path / "nowhere" / "file.txt"
    with pytest.raises(FileNotFoundError, match="nowhere") as caught:
        write_atomically(path, "x")
    assert caught.value.filename == str(path)


def test_permissions_and_links_stay(tmp_path):
    path, link = tmp_path / "file.txt", tmp_path / "link.txt"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o640)
    link.symlink_to(path)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == "new"
    assert path.stat().st_mode & 0o777 == 0o640
