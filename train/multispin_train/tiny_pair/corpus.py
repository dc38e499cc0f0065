"""What the tiny pair learns from: Python's own top-level modules, cut into functions, as bytes."""

from __future__ import annotations

import hashlib
import json
import re
import sysconfig
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from multispin_env.files import write_atomically

END_OF_TEXT = "<|endoftext|>"
# One module in ten is never trained on: prompts and evaluation come from these.
_HELD_OUT_EVERY = 10
PROMPT_TASKS = ("signature", "docstring", "body")


def functions(source: str) -> list[str]:
    """The functions, methods and classes of a module, each with what follows it, and what stands before the first."""
    pieces = re.split(r"\n\n+(?=[ ]*(?:@|def |class |async def ))", source)
    return [textwrap.dedent(piece).strip("\n") + "\n" for piece in pieces if piece.strip()]


@dataclass(frozen=True)
class Corpus:
    """The functions of Python's top-level modules.

    Attributes:
        modules: Number of modules.
        digest: SHA-256 of their text: another version of Python has another library.
        kept: Functions to train on.
        held_out: Functions of the modules that are never trained on.
    """

    modules: int
    digest: str
    kept: list[str]
    held_out: list[str]


def standard_library() -> Corpus:
    """The text of this Python's own standard library, modules by name."""
    sources = [module.read_text(encoding="utf-8") for module in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))]
    parts: tuple[list[str], list[str]] = ([], [])
    for number, source in enumerate(sources):
        parts[number % _HELD_OUT_EVERY == 0].extend(functions(source))
    return Corpus(len(sources), hashlib.sha256("".join(sources).encode()).hexdigest(), *parts)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each byte, and one for the end of a text."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={symbol: token for token, symbol in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT)  # type: ignore[no-untyped-call]


def write_prompts(path: Path, texts: Sequence[str], per_task: int, generator: np.random.Generator) -> None:
    """Writes prompts as JSON Lines: beginnings of functions, of three kinds of text to go on with.

    A ``signature`` ends before the body, a ``docstring`` in the middle of its first line, a ``body`` after its first
    statements.
    """
    found: dict[str, list[str]] = {task: [] for task in PROMPT_TASKS}
    for number in generator.permutation(len(texts)):
        if match := re.match(r"(?:async )?def [^\n]*:\n", texts[number]):
            end = match.end()
            rest = texts[number][end:]
            if first_words := re.match(r' +r?"""(?:[^\s"]+ ){2}(?=\w)', rest):
                found["docstring"].append(texts[number][: end + first_words.end()])
            elif statements := re.match(r"(?: +[^\n]+\n){3}(?= +\w)", rest):
                found["body"].append(texts[number][: end + statements.end()])
            else:
                found["signature"].append(texts[number][:end])
    lines = []
    for task, prompts in found.items():
        if len(prompts) < per_task:
            raise ValueError(f"prompts_per_task must be at most {len(prompts)}, the prompts of {task}, got {per_task}")
        lines += [json.dumps({"task": task, "prompt": prompt}) + "\n" for prompt in prompts[:per_task]]
    write_atomically(path, "".join(lines))


def token_stream(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> NDArray[np.int64]:
    """All texts as one line of tokens, each with its end."""
    ends = [text + END_OF_TEXT for text in texts]
    return np.concatenate([np.asarray(tokens, dtype=np.int64) for tokens in tokenizer(ends)["input_ids"]])


def even_windows(stream: NDArray[np.int64], window: int, count: int) -> torch.Tensor:
    """Windows evenly spaced, (count, window)."""
    starts = np.linspace(0, len(stream) - window, count).astype(np.int64)
    return torch.from_numpy(stream[starts[:, np.newaxis] + np.arange(window)])
