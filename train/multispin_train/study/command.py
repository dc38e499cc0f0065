"""The command ``multispin study``."""

from __future__ import annotations

from pathlib import Path

import tyro
from rich.console import Console
from rich.markdown import Markdown

from multispin_train.display import CommandProgress
from multispin_train.options import check_count
from multispin_train.study.plan import Plan, Study
from multispin_train.study.report import write_report


def study(plan: tyro.conf.OmitArgPrefixes[Plan], output: Path, jobs: int = 2) -> None:
    """Trains agents for every question and plays them.

    The study of learned controllers: trains every kind of agent on several seeds, plays agents and controllers on the
    same unseen episodes, and writes results.csv, report.md and its pictures. About two hours on two cores. Run again
    with the same arguments to go on after an interruption.

    Example: multispin study --jobs 2 --output runs/study

    Args:
        plan: How much is trained and played.
        output: A new folder, or one to go on with.
        jobs: Processes side by side.

    Raises:
        ValueError: There is no job.
        FileExistsError: The folder holds something else.
    """
    check_count("jobs", jobs)
    console = Console()
    whole = Study(output, plan)
    with CommandProgress(console) as progress:
        rows = whole.run(jobs, progress)
    console.print(Markdown(write_report(whole, rows).read_text(encoding="utf-8")))
