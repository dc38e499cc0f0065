"""How our pictures look, and how they are saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Paul Tol's bright scheme: told apart by the colour-blind and in print.
COLOURS = {
    "p2p": "#bbbbbb",
    "centralized": "#777777",
    "fixed": "#ccbb44",
    "uniform": "#228833",
    "homogeneous": "#4477aa",
    "algorithm1": "#ee9988",
    "heterogeneous": "#ee6677",
    "posterior": "#66ccee",
    "robust": "#aa3377",
    "stochastic": "#994455",
    "long-run": "#AA4499",
    "clairvoyant": "#000000",
}

STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e5e5",
    "legend.frameon": False,
    "font.size": 10,
    "figure.constrained_layout.use": True,
}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in our style, and its axes row by row."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=110)
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def save(figure: Figure, path: Path) -> None:
    """Writes a PNG."""
    figure.savefig(path)
