"""Files from outside, read strictly, and files of our own, replaced as a whole or not at all."""

from __future__ import annotations

import json
import math
import os
import secrets
from pathlib import Path
from typing import Any, NoReturn

from multispin_env.config.validation import ConfigError, shown

# What is nested deeper is an attack or a mistake, and nothing that walks over it may meet Python's recursion limit.
DEEPEST = 50
# The longest integer of 64 bits; a float takes no more digits either.
_MOST_DIGITS = 20
_PARTIAL = ".tmp"


def read_text(path: str | os.PathLike[str]) -> str:
    """The text of a file in UTF-8 without a byte order mark.

    Raises:
        ConfigError: The file cannot be read, or holds something else; the message names the file and the place.
    """
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise ConfigError(f"{os.fspath(path)} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return decode(data, os.fspath(path))


def decode(data: bytes, name: str) -> str:
    """Bytes in UTF-8 without a byte order mark, as text.

    Raises:
        ConfigError: They are something else; the message begins with ``name`` and names the place.
    """
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise ConfigError(f"{name}: line 1: must be UTF-8 without a byte order mark, got {data[:3]!r}")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        got = data[error.start : error.start + 1]
        raise ConfigError(f"{name}: line {line}, byte {error.start}: must be UTF-8, got {got!r}") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file says, strictly: see :func:`parse_json`.

    Raises:
        ConfigError: The file cannot be read or is no such JSON; the message begins with the file and names the place.
    """
    return parse_json(read_text(path), os.fspath(path))


def parse_json(text: str, name: str) -> Any:
    """What a JSON text says: plain dicts, lists, strings, numbers, booleans and None.

    Beyond the syntax no key stands twice in an object, numbers are finite and integers have at most 20 digits, strings
    can be written as UTF-8, and nothing is nested deeper than 50.

    Args:
        text: The text.
        name: What errors call it: a file's path, an option's name.

    Raises:
        ConfigError: It is no such JSON; the message begins with ``name`` and names the place and what is allowed.
    """

    def refuse(literal: str, allowed: str) -> NoReturn:
        line = text.count("\n", 0, max(text.find(literal), 0)) + 1
        place = f"line {line}: " if has_lines else ""
        raise ConfigError(f"{name}: {place}{allowed}, got {shown(literal)}")

    def integer(literal: str) -> int:
        if len(literal) > _MOST_DIGITS:
            refuse(literal, f"integers must have at most {_MOST_DIGITS} digits")
        return int(literal)

    def number(literal: str) -> float:
        value = float(literal)
        if not math.isfinite(value):
            refuse(literal, "numbers must be finite")
        return value

    def constant(literal: str) -> NoReturn:
        refuse(literal, "numbers must be finite")

    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(entries)
        if len(values) < len(entries):
            keys = [key for key, _ in entries]
            twice = next(key for key in values if keys.count(key) > 1)
            raise ConfigError(f"{name}: a key must stand once in an object, got {shown(twice)} twice")
        return values

    has_lines = "\n" in text.strip()
    if not text.strip():
        raise ConfigError(f"{name} must hold JSON, and is empty")
    try:
        values = json.loads(
            text, parse_int=integer, parse_float=number, parse_constant=constant, object_pairs_hook=pairs
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " if has_lines else ""
        raise ConfigError(f"{name}: {place}column {error.colno}: is no JSON: {error.msg}") from error
    except RecursionError:
        raise ConfigError(f"{name} must not be nested deeper than {DEEPEST}") from None
    _check_depth_and_text(values, name)
    return values


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Creates a file or replaces it: whoever reads it, at any time, finds the old content or all of the new one.

    Args:
        path: The file. A link is followed.
        content: Bytes, or text that is written in UTF-8 with the line ends that it has.

    Raises:
        OSError: It cannot be written, for instance as the disk is full; the error names ``path``, and what was there
            before is still there.
    """
    target = Path(os.path.realpath(path))
    partial = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}{_PARTIAL}")
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            partial.chmod(target.stat().st_mode & 0o7777)
        os.replace(partial, target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def is_partial(path: Path) -> bool:
    """Whether a file is what :func:`write_atomically` leaves where it is killed: it never holds anything of worth."""
    return path.name.startswith(".") and path.suffix == _PARTIAL


def _check_depth_and_text(values: Any, name: str) -> None:
    """Refuses what is nested too deep, and strings with half a surrogate pair."""
    depth, level = 0, [values]
    while level:
        if depth > DEEPEST:
            raise ConfigError(f"{name} must not be nested deeper than {DEEPEST}")
        depth += 1
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, str) and not value.isascii():
                try:
                    value.encode("utf-8")
                except UnicodeEncodeError as error:
                    raise ConfigError(
                        f"{name}: strings must be text, got half of a surrogate pair: {value[:50]!a}"
                    ) from error
        level = below
