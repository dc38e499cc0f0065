"""How our pictures look, and how they are saved."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multispin_env.files import write_atomically

# Paul Tol's bright scheme, with two of his other colours: told apart by the colour-blind and in print.
BLUE, RED, GREEN, YELLOW, CYAN, PURPLE = "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"
ORANGE, BROWN, BLACK, GREY, PALE = "#ee7733", "#997700", "#000000", "#777777", "#bbbbbb"
# For series that are no controllers, and for three of a kind.
SERIES = (BLUE, RED, GREEN, YELLOW, CYAN, PURPLE)
SHADES = ("#99ccee", BLUE, "#113355")

# Of the controllers, and of agents by their action.
COLOURS = {
    "p2p": PALE,
    "centralized": GREY,
    "fixed": YELLOW,
    "uniform": GREEN,
    "homogeneous": BLUE,
    "algorithm1": "#ee9988",
    "heterogeneous": RED,
    "posterior": CYAN,
    "predictive": PURPLE,
    "stochastic": BROWN,
    "long-run": ORANGE,
    "clairvoyant": BLACK,
    "direct": BLUE,
    "lengths": YELLOW,
    "residual": GREEN,
}

# Agents that are none of these take turns.
_OTHERS = ("#0077bb", "#33bbee", "#cc3311", "#009988", "#ee3377")

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


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each of these: a known controller's own, and others for the rest."""
    others = itertools.cycle(_OTHERS)
    return {name: COLOURS.get(name) or next(others) for name in names}


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure in our style, and its axes row by row."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), dpi=110)
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, list(axes.flat)


def save(figure: Figure, path: Path) -> None:
    """Creates or replaces a PNG.

    Raises:
        OSError: It cannot be written.
    """
    data = io.BytesIO()
    figure.savefig(data, format="png")
    write_atomically(path, data.getvalue())
