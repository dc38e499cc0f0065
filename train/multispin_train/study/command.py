"""The command ``multispin study``."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console
from rich.markdown import Markdown

from multispin_train.display import CommandProgress
from multispin_train.study.plan import Plan, Study
from multispin_train.study.report import write_report
from multispin_train.workers import Workers


def study(
    plan: tyro.conf.OmitArgPrefixes[Plan],
    output: Path,
    workers: tyro.conf.OmitArgPrefixes[Workers] = Workers(),  # noqa: B008 (frozen)
) -> None:
    """Trains agents for every question and plays them.

    The study of learned controllers: trains every kind of agent on several seeds, plays agents and controllers on the
    same unseen episodes, and writes results.csv, report.md and its pictures. Some three hours on two cores. Run again
    with the same arguments to go on after an interruption.

    Example: multispin study --jobs 2 --output runs/study

    Args:
        plan: How much is trained and played.
        output: A new folder, or one to go on with.
        workers: Who trains and plays; all of them read and write the output.

    Raises:
        FileExistsError: The folder holds something else.
    """
    console = Console()
    whole = Study(output, plan)
    with CommandProgress(console) as progress:
        rows = whole.run(workers, progress)
    console.print(Markdown(write_report(whole, rows).read_text(encoding="utf-8")))
