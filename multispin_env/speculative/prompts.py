"""Files of prompts: JSON Lines, an object with ``task`` and ``prompt`` a line."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from multispin_env.config import ConfigError
from multispin_env.config.validation import check_text, from_mapping
from multispin_env.files import decode, parse_json


@dataclass(frozen=True)
class Prompt:
    """One line of a prompts file.

    Attributes:
        task: What kind of text it asks for.
        prompt: What the user asks, without any model's chat format.
    """

    task: str
    prompt: str

    def __post_init__(self) -> None:
        check_text("task", self.task)
        check_text("prompt", self.prompt)


def read_prompts(path: Path) -> list[Prompt]:
    """Reads a prompts file, UTF-8 with or without a byte order mark; empty lines do not count.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ConfigError: A line is not an object with the two fields, both non-empty strings, or there is no line; the
            message names the file and the line.
    """
    prompts = []
    # Lines end as in files, not where some character of a string would end one.
    for number, line in enumerate(path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if line.strip():
            prompts.append(_parsed(line, f"{path}, line {number}"))
    if not prompts:
        raise ConfigError(f"{path} must hold at least one prompt, an object with task and prompt a line, got none")
    return prompts


def _parsed(line: bytes, name: str) -> Prompt:
    values = parse_json(decode(line, name), name)
    try:
        return from_mapping(Prompt, values, "a prompt")
    except ConfigError as error:
        raise ConfigError(f"{name}: {error}") from error
