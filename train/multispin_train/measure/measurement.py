"""What is measured of a pair of language models."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from multispin_env.config import whole
from multispin_env.speculative.reader import check_temperature
from multispin_env.speculative.sampling import Payload
from multispin_train.options import CheckedOptions, Model

_MOST_TOKENS = 10**6


@dataclass(frozen=True, kw_only=True)
class Measurement(CheckedOptions):
    """What is measured.

    Attributes:
        draft: The draft model: tiny-draft, tiny-target, a folder, a GGUF file, a package that carries one, or a name on
            the hub.
        target: The target model, likewise.
        prompts: A file of JSON Lines with "task" and "prompt".
        name: The pair's name, and its file's; by default that of the output folder.
        max_tokens: Tokens after which a text is cut.
        temperature: That of both models.
        retained_entries: Entries of the draft's distribution that are uploaded, V_hat; the whole vocabulary where that
            is smaller.
        probability_bits: Bits of each entry's probability, Q_B.
        device: Where the models run, as PyTorch names it.
    """

    draft: Model
    target: Model
    prompts: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    name: Annotated[str, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = ""
    max_tokens: int = whole(1, _MOST_TOKENS, default=192)
    temperature: float = 1.0
    retained_entries: int = 1024
    probability_bits: int = 16
    device: Annotated[str, tyro.conf.arg(metavar="NAME")] = "cpu"

    def __post_init__(self) -> None:
        super().__post_init__()
        if Path(self.name).name != self.name:
            raise ValueError(f"name must be a file's name without its ending, got {self.name!r}")
        check_temperature(self.temperature)
        Payload(self.retained_entries, self.probability_bits)

    def command(self) -> str:
        """The command that measures this, for whoever reads the profile."""
        values = asdict(self)
        options = " ".join(f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in values.items())
        return f"multispin measure {options} --output DIR"
