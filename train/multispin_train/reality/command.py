"""The command ``multispin reality``."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console
from rich.markdown import Markdown

from multispin_train.display import CommandProgress
from multispin_train.reality.question import Question, answer


def reality(question: tyro.conf.OmitArgPrefixes[Question], output: Path) -> None:
    """Holds a measured pair against the formulas.

    Writes DIR/reality.md and its pictures: acceptance of tasks and requests, its course along a text with the fitted
    drift, accepted drafts beside eq. 12, the entries uploaded, verification times, and every controller on
    the measured requests and on models of them. Rows of the three worlds come as they are played; run again with the
    same arguments to go on after an interruption.

    Example: multispin reality --model-pair runs/tiny/tiny.json --output runs/reality

    Args:
        question: What is asked.
        output: A new folder, or one to go on with.

    Raises:
        FileExistsError: The folder holds something else.
    """
    console = Console()
    with CommandProgress(console) as progress:
        page = answer(question, output, progress)
    console.print(Markdown(page.read_text(encoding="utf-8")))
    console.print(f"page: {page}", highlight=False, markup=False, soft_wrap=True)
