"""The command ``multispin paper``."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown

from multispin_train.display import CommandProgress
from multispin_train.paper.reproduction import reproduce


def paper(output: Path, seeds: int = 32) -> None:
    """Draws the paper's figures 3, 4, 6, 7 and 8 beside ours.

    Reproduces the paper's figures and its Table I: writes a picture each, results.csv (the points, as they come) and
    report.md, with the paper's values beside ours. Run again with the same arguments to go on after an interruption.

    Example: multispin paper --output runs/paper

    Args:
        output: A new folder, or one to go on with.
        seeds: Episodes of every point.

    Raises:
        ValueError: There is no seed.
        FileExistsError: The folder holds something else.
    """
    console = Console()
    with CommandProgress(console) as progress:
        report = reproduce(output, seeds, progress)
    console.print(Markdown(report.read_text(encoding="utf-8")))
    console.print(f"report: {report}", highlight=False, markup=False, soft_wrap=True)
