"""The picture of measured uplinks beside our models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.plots import BLACK, BLUE, BROWN, GREEN, GREY, ORANGE, PURPLE, RED, STYLE, YELLOW, save
from multispin_train.channel.comparison import MODEL, Source
from multispin_train.channel.statistics import (
    AHEAD_S,
    COURSE_WINDOW_S,
    autocorrelation,
    later_over_now,
    variation,
)

# Models from slow to fast, and files, which are dashed where they share a panel.
MODEL_INKS = (BLUE, GREEN, RED, PURPLE, YELLOW)
_FILE_INKS = (BLACK, GREY, ORANGE, BROWN)
_SHOWN_S = 20.0
_WINDOWS_S = tuple(0.01 * np.array([1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]))


def draw(path: Path, sources: Sequence[Source]) -> None:
    """Draws twenty seconds of each source, files beside models, and statistics over time of all."""
    inks = _inks(sources)
    columns = [[source for source in sources if (source.kind == MODEL) is model] for model in (False, True)]
    rows = max(map(len, columns))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 1.15 * rows + 3.5), dpi=110)
        parts = np.asarray(figure.subfigures(2, 1, height_ratios=(1.15 * rows, 3.5)))
        top, bottom = parts.tolist()
        strips = top.subplots(rows, 2, squeeze=False, sharex=True)
        panels = bottom.subplots(1, 3)
    for strip, column in zip(strips.T, columns, strict=True):
        for panel, source in zip(strip, column, strict=False):
            _strip(panel, source, inks[source.name])
        for panel in strip[len(column) :]:
            panel.set_axis_off()
        lowest = strip[len(column) - 1]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel("time, s")
    top.supylabel("rate / mean (100 ms)", fontsize=10)
    _variations(panels[0], sources, inks)
    _correlations(panels[1], sources, inks)
    _ratios(panels[2], sources, inks)
    save(figure, path)


def _inks(sources: Sequence[Source]) -> dict[str, str]:
    inks: dict[str, str] = {}
    for kind_inks, of_kind in (
        (MODEL_INKS, [source for source in sources if source.kind == MODEL]),
        (_FILE_INKS, [source for source in sources if source.kind != MODEL]),
    ):
        inks |= {source.name: kind_inks[number % len(kind_inks)] for number, source in enumerate(of_kind)}
    return inks


def _strip(panel: Axes, source: Source, ink: str) -> None:
    """The first seconds of the file, or of the model's first user."""
    rates = source.rates[0]
    window_s = max(COURSE_WINDOW_S, rates.resolution_s)
    shown = rates.means(window_s)[: round(_SHOWN_S / window_s)] / rates.cell.mean()
    panel.stairs(shown, window_s * np.arange(len(shown) + 1), color=ink, baseline=None, linewidth=1.2)
    panel.set_ylim(0.0, max(2.6, 1.05 * float(shown.max())))
    panel.set_xlim(0.0, _SHOWN_S)
    panel.set_title(f"{source.name}, {source.kind}", loc="left", fontsize=9, pad=2)


def _variations(panel: Axes, sources: Sequence[Source], inks: dict[str, str]) -> None:
    for source in sources:
        curves = [[variation(rates, window_s) for window_s in _WINDOWS_S] for rates in source.rates]
        _line(panel, source, inks, np.array(_WINDOWS_S), np.array(curves))
    panel.set_xscale("log")
    panel.set_ylim(bottom=0.0)
    panel.set_xlabel("averaged over, s")
    panel.set_title("coefficient of variation", fontsize=10)


def _correlations(panel: Axes, sources: Sequence[Source], inks: dict[str, str]) -> None:
    found = {source.name: [autocorrelation(rates) for rates in source.rates] for source in sources}
    shortest = min(len(curve) for curves in found.values() for curve in curves if curve.size)
    for source in sources:
        curves = np.array([curve[:shortest] for curve in found[source.name] if curve.size])
        if not curves.size:
            continue
        _line(panel, source, inks, COURSE_WINDOW_S * np.arange(curves.shape[1], dtype=np.float64), curves, skip=1)
    panel.axhline(np.exp(-1.0), color="black", linewidth=0.6, linestyle=":")
    panel.set_xscale("log")
    panel.set_ylim(-0.5, 1.02)
    panel.set_xlabel("lag, s (dotted: 1/e)")
    panel.set_title("autocorrelation, 100 ms means", fontsize=10)


def _ratios(panel: Axes, sources: Sequence[Source], inks: dict[str, str]) -> None:
    levels = np.linspace(0.005, 0.995, 199)
    for source in sources:
        found = [later_over_now(rates) for rates in source.rates]
        curves = np.array([np.quantile(ratios, levels) for ratios in found if ratios.size])
        if curves.size:
            style = "-" if source.kind == MODEL else "--"
            panel.plot(np.median(curves, axis=0), levels, style, color=inks[source.name], label=source.name)
    panel.set_xscale("log")
    panel.set_xlim(0.05, 20.0)
    panel.set_xlabel(f"rate(t + {AHEAD_S:g} s) / rate(t)")
    panel.set_title("distribution of the change", fontsize=10)
    panel.legend(fontsize=7, loc="upper left", handlelength=1.6, frameon=False)


def _line(
    panel: Axes, source: Source, inks: dict[str, str], places: FloatArray, curves: FloatArray, skip: int = 0
) -> None:
    """The median over the source's users, with their quartiles; one dash for what was measured."""
    low, middle, high = np.percentile(curves[:, skip:], [25, 50, 75], axis=0)
    if source.kind == MODEL:
        panel.fill_between(places[skip:], low, high, color=inks[source.name], alpha=0.15, linewidth=0)
    panel.plot(places[skip:], middle, "-" if source.kind == MODEL else "--", color=inks[source.name])
