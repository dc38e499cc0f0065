"""The paper's figures 3, 4, 6, 7 and 8 and its Table I, beside ours."""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress

from multispin_env.files import write_atomically
from multispin_train.options import check_count
from multispin_train.paper.figures import draw_figure_3, draw_figure_4, draw_figure_6, draw_sweep
from multispin_train.paper.points import Points
from multispin_train.paper.report import report_text


def reproduce(output: Path, seeds: int, progress: Progress) -> Path:
    """Plays every point, writing ``results.csv`` as it goes, then the pictures and ``report.md``; returns the latter.

    Args:
        output: A new or empty folder, or one of an interrupted run.
        seeds: Episodes a point.
        progress: Where progress is shown.

    Raises:
        ValueError: ``seeds`` is below 1.
        FileExistsError: The folder holds something else.
    """
    check_count("seeds", seeds)
    points = Points(output, seeds, progress)
    draw_figure_3(output / "figure3.png")
    draw_figure_4(output / "figure4.png")
    draw_figure_6(output / "figure6.png", points)
    draw_sweep(output / "figure7.png", points, "bandwidth_hz")
    draw_sweep(output / "figure8.png", points, "num_users")
    report = output / "report.md"
    write_atomically(report, report_text(points, seeds))
    return report
