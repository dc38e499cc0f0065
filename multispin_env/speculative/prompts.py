"""Files of prompts: JSON Lines, an object with ``task`` and ``prompt`` a line."""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FIELDS = "task and prompt"
# Characters of what somebody wrote that an error repeats.
_SHOWN = 80


@dataclass(frozen=True)
class Prompt:
    """One line of a prompts file.

    Attributes:
        task: What kind of text it asks for.
        prompt: What the user asks, without any model's chat format.
    """

    task: str
    prompt: str


def read_prompts(path: Path) -> list[Prompt]:
    """Reads a prompts file, UTF-8 with or without a byte order mark; empty lines do not count.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: A line is not an object with the two fields, both non-empty strings, or there is no line.
    """
    prompts = []
    # Lines end as in files, not where some character of a string would end one.
    for number, line in enumerate(path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line.strip():
            try:
                prompts.append(_parsed(line))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    if not prompts:
        raise ValueError(f"{path} must hold at least one prompt, a JSON object with {_FIELDS} a line, got none")
    return prompts


def _parsed(line: bytes) -> Prompt:
    try:
        values = json.loads(line.decode("utf-8"), object_pairs_hook=_without_repetition)
    except UnicodeDecodeError as error:
        raise ValueError(f"must be UTF-8, got the byte 0x{line[error.start]:02x} at byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise ValueError(f"must be an object with {_FIELDS}, got lists or objects nested too deep") from error
    except ValueError as error:  # an integer of thousands of digits, or a repeated field
        raise ValueError(f"must be an object with {_FIELDS}: {error}") from error
    if not isinstance(values, dict) or set(values) != {"task", "prompt"}:
        got = ", ".join(map(repr, values)) or "none" if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"must be an object with {_FIELDS}, got {_shortened(got)}")
    for field, value in values.items():
        if not isinstance(value, str) or not value:
            got = type(value).__name__ if isinstance(value, list | dict) else _shortened(repr(value))
            raise ValueError(f"{field} must be a non-empty string, got {got}")
        if (place := _lone_surrogate(value)) is not None:
            raise ValueError(f"{field} must be text, got half of a surrogate pair at character {place + 1}")
    return Prompt(**values)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{_shortened(repr(repeated))} stands there more than once")
    return values


def _lone_surrogate(text: str) -> int | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."
