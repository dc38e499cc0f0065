"""Files of prompts: JSON Lines, an object with ``task`` and ``prompt`` a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


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
    """Reads a prompts file; empty lines do not count.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is not an object with the two fields, both non-empty strings, or there is no line.
    """
    prompts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON: {error}") from error
        if not isinstance(values, dict) or set(values) != {"task", "prompt"}:
            raise ValueError(f"{path}, line {number}: must be an object with task and prompt, got {line[:80]}")
        for field, value in values.items():
            if not isinstance(value, str) or not value:
                raise ValueError(f"{path}, line {number}: {field} must be a non-empty string, got {value!r}")
        prompts.append(Prompt(**values))
    if not prompts:
        raise ValueError(f"{path} must hold at least one prompt, got none")
    return prompts
