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
    "predictive": "#aa3377",
    "stochastic": "#994455",
    "long-run": "#AA4499",
    "clairvoyant": "#000000",
}

# Agents that are none of these take turns.
_OTHERS = ("#ee7733", "#0077bb", "#33bbee", "#cc3311", "#009988", "#ee3377")

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
