"""``multispin COMMAND``: the list of commands, each a function that is imported when it is called for.

A command's options are its parameters, and the fields of those that are dataclasses; their docstrings are its help.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        function: Where it is, as ``module:function`` below ``multispin_train``.
        summary: The first line of its docstring, so that the list of commands needs no imports.
        extra: The extra that it needs.
    """

    function: str
    summary: str
    extra: str = "benchmark"

    def load(self) -> Callable[..., None]:
        """Imports the function."""
        module, name = self.function.split(":")
        function: Callable[..., None] = getattr(importlib.import_module(f"multispin_train.{module}"), name)
        return function


COMMANDS = {
    "benchmark": Command("benchmark.command:benchmark", "Plays every controller on the same seeds of one scenario."),
    "reference": Command("benchmark.reference:reference", "Plays what the package carries as reference results."),
    "fit": Command("fit.command:fit", "Trains agents on one scenario.", "train"),
    "learning": Command("learning.command:learning", "Shows what standard agents learn.", "train"),
    "search": Command("search:search", "Searches an agent's hyperparameters on one scenario.", "train"),
    "study": Command("study.command:study", "Trains agents for every question and plays them.", "train"),
    "measure": Command("measure.command:measure", "Measures a pair of language models.", "live"),
    "reality": Command("reality.command:reality", "Holds a measured pair against the formulas."),
    "chat": Command("chat:chat", "Shows two models writing for a few users, round after round.", "live"),
    "distill": Command("distill.command:distill", "Makes a small draft model for a target.", "live"),
    "prompts": Command("prompts:prompts", "Writes a file of prompts of four tasks.", "live"),
    "tiny-pair": Command("tiny_pair.command:tiny_pair", "Trains the byte-level pair that the package carries.", "live"),
    "channel": Command("channel.command:channel", "Holds measured uplinks against our models of them."),
    "world": Command("world.command:world", "Draws what the world of mobile is like."),
    "paper": Command("paper.command:paper", "Draws the paper's figures 3, 4, 6, 7 and 8 beside ours."),
    "calibrate": Command("calibrate:calibrate", "Fits the constants that the paper does not print."),
    "tune": Command("tune:tune", "Tunes the predictive controller's margin."),
    "speed": Command("speed.command:speed", "Measures how fast environment, optimum and training are."),
}

# The first of the extras that brings a module, if the command's own does not.
_EXTRAS = {
    "benchmark": ("matplotlib", "rich", "tyro"),
    "ray": ("ray",),
    "train": ("joblib", "optuna", "sb3_contrib", "stable_baselines3", "tensorboard", "torch", "yaml"),
    "live": ("accelerate", "gguf", "safetensors", "tokenizers", "torch", "transformers"),
}
_RULE = re.compile(r"[─-]{5,}")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class _UsageError(Exception):
    """The command line is wrong; the message says how."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status.

    Status 2 comes with one line that says what was wrong with the input, 130 with one that says what an interruption
    left.

    Args:
        argv: The arguments; those of the process if not given.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # whoever reads a pipe sees every line as it comes
    command = COMMANDS.get(words[0]) if words else None
    call: functools.partial[None] | None = None
    try:
        from multispin_train.display import one_line_warnings  # here, as this needs an extra

        with one_line_warnings():
            call = _parse(words, command)
            call()
    except BrokenPipeError:  # whoever read the output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        named = error.filename is not None and error.strerror is not None
        _say(f"error: {error.filename}: {error.strerror}" if named else f"error: {error}")
        return 2
    except (_UsageError, ValueError) as error:
        _say(f"error: {error}")
        return 2
    except ModuleNotFoundError as error:
        _say(f"error: {_missing(error, command)}")
        return 2
    except KeyboardInterrupt as interruption:
        _say(str(interruption) or _kept(call))
        return 130
    return 0


def _say(text: str) -> None:
    """A line on standard error."""
    print(" ".join(text.split()), file=sys.stderr, flush=True)


def _parse(words: list[str], command: Command | None) -> functools.partial[None]:
    """The call that the words mean; prints help and exits where they ask for that.

    Raises:
        _UsageError: They mean none.
    """
    if command is None:
        return _run_parser(_all_commands(), words, "multispin", "Commands of multispin_env.")
    function = command.load()

    @functools.wraps(function)
    def bound(*arguments: Any, **options: Any) -> functools.partial[None]:
        return functools.partial(function, *arguments, **options)

    return _run_parser(bound, words[1:], f"multispin {words[0]}", _description(function))


def _all_commands() -> Any:
    """What lists all commands, without importing any."""
    from tyro.extras import SubcommandApp

    app = SubcommandApp()
    for name, command in COMMANDS.items():
        app.command(name=name, help=command.summary)(lambda: None)
    return app


def _run_parser(target: Any, words: list[str], program: str, description: str) -> functools.partial[None]:
    import tyro
    from tyro.extras import SubcommandApp

    settings: dict[str, Any] = {
        "args": words,
        "prog": program,
        "description": description,
        "config": (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone, tyro.conf.HelptextFromCommentsOff),
    }
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            if isinstance(target, SubcommandApp):
                return target.cli(**settings)
            from multispin_train.options import number_registry

            call: functools.partial[None] = tyro.cli(target, registry=number_registry(), **settings)
            return call
    except SystemExit as end:
        if not end.code:
            raise
        raise _UsageError(_one_line(end, complaint.getvalue(), program)) from end


def _one_line(end: SystemExit, complaint: str, program: str) -> str:
    """What is wrong with a command line, of the box of several lines that the parser prints."""
    # The first line is the box's title; where the output is not UTF-8, a rule is below it.
    lines = [_COLOUR.sub("", line).strip(" │╰╯") for line in complaint.splitlines()[1:]]
    sections = (" ".join(section.split()) for section in _RULE.split("\n".join(lines)))
    problem, *hints = [section for section in sections if section] or ["the command line cannot be read"]
    # The exception itself holds the text as it was, before it was broken into lines.
    cause: BaseException | None = end
    while cause is not None and not isinstance(cause, ValueError):
        cause = cause.__context__
    if cause is not None:
        option = re.match(r"Error parsing (--[\w-]+)", problem)
        return str(cause) if option is None or option[1] in str(cause) else f"{option[1]} {cause}"
    guess = re.match(r"Perhaps you meant: (--[\w-]+)", hints[0] if hints else "")
    return problem + (f"; did you mean {guess[1]}?" if guess else f" (see {program} --help)")


def _description(function: Callable[..., None]) -> str:
    """A command's docstring up to its arguments, in lines that fit the terminal.

    All but a paragraph's first are indented: the parser joins lines that begin with a letter.
    """
    text = textwrap.dedent("    " + (function.__doc__ or "")).split("\nArgs:")[0].split("\nRaises:")[0]
    width = min(shutil.get_terminal_size().columns, 100)
    return "\n\n".join(
        textwrap.fill(" ".join(paragraph.split()), width, subsequent_indent="  ", break_on_hyphens=False)
        for paragraph in text.strip().split("\n\n")
    )


def _missing(error: ModuleNotFoundError, command: Command | None) -> str:
    """What to install for a module that is missing."""
    module = (error.name or "").split(".")[0]
    bringing = [extra for extra, modules in _EXTRAS.items() if module in modules]
    if not bringing:
        return str(error)
    extra = command.extra if command is not None and command.extra in bringing else bringing[0]
    return f"{module} is not installed; this needs the extra {extra!r}: pip install 'multispin_env[{extra}]'"


def _kept(call: functools.partial[None] | None) -> str:
    """What an interruption left of a command in its folder of results."""
    output = call.keywords.get("output") if call is not None else None
    rows = {}
    if isinstance(output, Path) and output.is_dir():
        for file in sorted(output.rglob("results.csv")):
            with contextlib.suppress(OSError):
                rows[file] = max(len(file.read_bytes().splitlines()) - 1, 0)
    if not any(rows.values()):
        return "interrupted before anything was finished; nothing was kept"
    where = "results.csv" if len(rows) == 1 else f"{len(rows)} files results.csv"
    return f"interrupted; {output} keeps {sum(rows.values())} rows in {where}; run the same command to go on"
