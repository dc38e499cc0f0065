"""Prompts of four tasks, composed here: for training a draft model, and, held out, for measuring a pair."""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from multispin_env.files import write_atomically
from multispin_env.speculative.prompts import Prompt
from multispin_train.options import check_count

Split = Literal["train", "held-out"]
SPLITS: tuple[Split, ...] = get_args(Split)
# One subject in ten is held out, under every wording.
_HELD_OUT_ONE_IN = 10

# The folder itself, and these within it.
_PACKAGES = (
    *("", "asyncio", "collections", "concurrent/futures", "email", "html", "http", "importlib", "json", "logging"),
    *("multiprocessing", "unittest", "urllib", "xml/etree", "zoneinfo"),
)
_PASSAGE_WORDS = range(25, 111)

_CODE_WORDINGS = (
    "Explain what `{}` does in Python.",
    "What does the Python standard library's `{}` do?",
    "Write a short Python example that uses `{}`.",
)
_SUMMARY_WORDINGS = (
    "Summarize the following text in one sentence.\n\n{}",
    "Rewrite the following text in simpler words.\n\n{}",
    "What is the main point of this text?\n\n{}",
)
_PEOPLE = (
    *("Anna", "Ben", "Clara", "David", "Emma", "Farid", "Grace", "Hiro", "Ines", "Jack", "Lena", "Maria", "Noah"),
    *("Olga", "Paul", "Rosa", "Sam", "Tom", "Vera", "Wei"),
)
_THINGS = (
    *("apples", "books", "cards", "coins", "cookies", "eggs", "flowers", "marbles", "oranges", "pencils", "stamps"),
    *("stickers", "tickets", "toys"),
)
_MATH_WORDINGS = (
    "{person} has {a} {things} and buys {b} more. How many {things} does {person} have now?",
    "{person} had {c} {things} and gave {b} of them away. How many {things} are left?",
    "{person} buys {b} boxes of {things}. Each box holds {a} {things}. How many {things} are there in all?",
    "{person} shares {d} {things} equally among {b} friends. How many {things} does each friend get?",
    "{person} has {a} {things}. Each of them costs {b} dollars. What is the total cost?",
    "{person} earns {a} dollars an hour and works {b} hours. How much does {person} earn?",
    "A train travels {a} miles an hour for {b} hours. How far does it go?",
    "{person} reads {b} pages a day. How many days does {person} need for a book of {d} pages?",
)
_CHAT_WORDINGS = (
    "What are three tips for {}?",
    "Why do people enjoy {}?",
    "Write a short email that invites a friend to try {}.",
    "What do I need to get started with {}?",
    "Tell me a short story about {}.",
    "What are the benefits of {}?",
    "What is the history of {}?",
    "How can I get better at {}?",
    "What are common mistakes in {}?",
    "Explain {} to a child.",
    "Is {} expensive?",
    "Describe {} in two sentences.",
    "Give me a plan for my first week of {}.",
    "Who can I ask for help with {}?",
    "Write a slogan for a club that is about {}.",
    "How do I teach {} to a group of beginners?",
    "What should I not forget when it comes to {}?",
    "What is the hardest part of {}?",
    "Name three books or films about {}.",
    "How much time a week does {} take?",
)
_CHAT_SUBJECTS = """
archery, astronomy, badminton, baking bread, ballet, baseball, basketball, beekeeping, bird watching, board games,
bowling, boxing, brewing tea, calligraphy, camping, candle making, canoeing, carpentry, chess, choir singing,
climbing, collecting coins, collecting stamps, composting, cooking at home, crossword puzzles, cycling, dancing,
debating, diving, drawing, embroidery, fencing, fishing, gardening, geocaching, golf, growing tomatoes,
gymnastics, hiking, home repair, horse riding, ice skating, improv theatre, jogging, journaling, judo, juggling,
karate, kayaking, keeping a budget, keeping an aquarium, knitting, learning Spanish, learning a new language,
magic tricks, making cheese, making jam, making podcasts, meditation, model trains, mountain biking,
mushroom hunting, origami, orienteering, painting, photography, pilates, playing cards, playing the drums,
playing the flute, playing the guitar, playing the piano, playing the violin, poetry, pottery, public speaking,
quilting, reading novels, recycling, road trips, robotics, rowing, rugby, running a marathon, sailing, sculpture,
sewing, singing, skateboarding, skiing, sleeping well, snowboarding, soap making, soccer, surfing, swimming,
table tennis, teamwork, tennis, time management, training a dog, travelling alone, video games, volleyball,
volunteering, walking, watching films, weaving, weight lifting, wine tasting, wood carving,
working from home, writing a diary, writing letters, writing software, yoga
"""


def _code() -> Iterator[tuple[str, str]]:
    names = dict.fromkeys(name for name, _ in _documentation() if "." in name)
    for wording, name in itertools.product(_CODE_WORDINGS, names):
        yield name, wording.format(name)


def _math() -> Iterator[tuple[str, str]]:
    numbers = itertools.product(range(12, 100), range(2, 10))
    cast = itertools.cycle(itertools.product(_PEOPLE, _THINGS))
    for (a, b), wording in itertools.product(numbers, _MATH_WORDINGS):
        person, things = next(cast)
        # Whatever is subtracted or divided leaves a whole number.
        yield f"{a} {b}", wording.format(person=person, things=things, a=a, b=b, c=a + b, d=a * b)


def _chat() -> Iterator[tuple[str, str]]:
    subjects = [subject.strip() for subject in _CHAT_SUBJECTS.split(",")]
    for wording, subject in itertools.product(_CHAT_WORDINGS, subjects):
        yield subject, wording.format(subject)


def _summary() -> Iterator[tuple[str, str]]:
    passages = dict.fromkeys(passage for _, text in _documentation() for passage in _passages(text))
    for wording, passage in itertools.product(_SUMMARY_WORDINGS, passages):
        yield passage, wording.format(passage)


_COMPOSERS = {"code": _code, "math": _math, "chat": _chat, "summary": _summary}
TASKS = tuple(_COMPOSERS)


def compose_prompts(split: str, per_task: int, seed: int = 0) -> list[Prompt]:
    """Composes prompts of every task, the tasks in turn.

    What is asked about (a function of the standard library, two numbers, a pastime, a passage of the standard
    library's documentation) is either in training or held out, in all wordings. The documentation is the running
    Python's own, so ``code`` and ``summary`` depend on its version.

    Args:
        split: ``train`` or ``held-out``.
        per_task: Number of prompts of each task.
        seed: Decides which prompts of the split are taken, and their order.

    Returns:
        ``per_task * len(TASKS)`` different prompts.

    Raises:
        ValueError: No such split, or a task has fewer prompts.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    check_count("per_task", per_task)
    columns = []
    for task in TASKS:
        found = _split_prompts(task, split)
        if per_task > len(found):
            raise ValueError(f"per_task must be at most {len(found)} ({split} prompts of {task}), got {per_task}")
        # All are shuffled, so that fewer prompts are the first of more.
        columns.append(random.Random(f"{seed} {task}").sample(found, len(found))[:per_task])
    return [prompt for row in zip(*columns, strict=True) for prompt in row]


def prompts(output: Path, split: Split = "held-out", per_task: int = 40) -> None:
    """Writes a file of prompts of four tasks.

    Composes prompts of the tasks code, math, chat and summary from templates and the standard library, and writes them
    as JSON Lines, as measure --prompts takes them.

    Example: multispin prompts --per-task 40 --output runs/prompts.jsonl

    Args:
        output: A new file.
        split: Which of them; the two share no subject.
        per_task: Prompts of each task.

    Raises:
        FileExistsError: There is such a file.
        ValueError: A task has fewer prompts.
    """
    if output.exists():
        raise FileExistsError(f"output must be a new file, and {output} exists")
    composed = compose_prompts(split, per_task)
    write_prompts(output, composed)
    Console().print(f"{len(composed)} prompts: {output}", highlight=False, markup=False, soft_wrap=True)


def write_prompts(path: Path, prompts: Sequence[Prompt]) -> None:
    """Writes a prompts file: JSON Lines, one object with ``task`` and ``prompt`` a line."""
    write_atomically(path, "".join(json.dumps(asdict(prompt)) + "\n" for prompt in prompts))


@lru_cache
def _split_prompts(task: str, split: str) -> list[Prompt]:
    wanted = split == "held-out"
    return [Prompt(task, text) for subject, text in _COMPOSERS[task]() if _held_out(f"{task} {subject}") == wanted]


def _held_out(subject: str) -> bool:
    return hashlib.sha256(subject.encode()).digest()[0] % _HELD_OUT_ONE_IN == 0


@lru_cache
def _documentation() -> list[tuple[str, str]]:
    """Dotted names and docstrings of the standard library's modules, classes and functions written in Python."""
    root = Path(os.__file__).parent
    found: list[tuple[str, str]] = []

    def visit(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> None:
        text = ast.get_docstring(node)
        if text:
            found.append((name, text))
        if isinstance(node, ast.Module | ast.ClassDef):
            for child in node.body:
                if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name[0] != "_":
                    visit(child, f"{name}.{child.name}")

    for package in _PACKAGES:
        for file in sorted((root / package).glob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            module = ".".join(part for part in parts if part != "__init__")
            if not any(part.startswith("_") for part in module.split(".")):
                visit(ast.parse(file.read_text(encoding="utf-8")), module)
    return found


def _passages(text: str) -> Iterator[str]:
    """Paragraphs of running text: no lists, no code, of a length worth a summary."""
    for paragraph in text.split("\n\n"):
        words = paragraph.split()
        indented = any(line.startswith("  ") for line in paragraph.splitlines())
        prose = paragraph[:1].isalpha() and paragraph.rstrip().endswith(".") and ">>>" not in paragraph
        if len(words) in _PASSAGE_WORDS and prose and not indented:
            yield " ".join(words)
