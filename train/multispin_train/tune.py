"""Tunes the two margins of the robust controller in `mobile`, on seeds that no benchmark uses."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from multispin_baselines import Margins, Robust
from rich.console import Console
from rich.progress import Progress

from multispin_env import MODEL_PAIRS, make_config
from multispin_env.evaluation.plots import new_figure, save
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.evaluation.rollout import play
from multispin_env.evaluation.statistics import interquartile_mean
from multispin_env.files import write_atomically
from multispin_train.display import CommandProgress
from multispin_train.options import check_count

RATE_QUANTILES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5)
POSTERIOR_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class TuningRow:
    """One line of ``results.csv``: a point of the grid."""

    model_pair: str
    rate_quantile: float
    posterior_weight: float
    goodput_tok_s: float
    low: float
    high: float


def tune(output: Path, seeds: int = 64) -> None:
    """Tunes the robust controller's two margins.

    Plays the robust controller on a grid of rate quantile and posterior weight in the scenario mobile, on training
    seeds, for each pair of the package; writes the rows as they come, margins.json and margins.png.
    baselines/multispin_baselines/margins.json is the committed result. Run again with the same arguments to go on after
    an interruption.

    Example: multispin tune --output runs/margins

    Args:
        output: A new folder, or one to go on with.
        seeds: Episodes of every point.

    Raises:
        ValueError: There is no seed.
        FileExistsError: The folder holds something else.
    """
    console = Console()
    with CommandProgress(console) as progress:
        console.print_json(data=tune_margins(output, seeds, progress))


def tune_margins(output: Path, seeds: int, progress: Progress) -> dict[str, Any]:
    """Plays the whole grid for each pair and writes ``margins.json`` with the best point of each.

    Args:
        output: A new or empty folder, or one of an interrupted run.
        seeds: Episodes a point; the interquartile mean of their goodput decides.
        progress: Where progress is shown.

    Returns:
        What ``margins.json`` holds.

    Raises:
        FileExistsError: The folder holds something else.
    """
    check_count("seeds", seeds)
    systems = {pair: make_config("mobile", pair) for pair in MODEL_PAIRS}
    grid = list(itertools.product(RATE_QUANTILES, POSTERIOR_WEIGHTS))
    manifest = {"seeds": seeds, "grid": grid, "systems": {pair: system.to_dict() for pair, system in systems.items()}}
    folder = ResultsFolder(
        output,
        manifest,
        TuningRow,
        unique=("model_pair", "rate_quantile", "posterior_weight"),
        allowed={
            "model_pair": MODEL_PAIRS,
            "rate_quantile": RATE_QUANTILES,
            "posterior_weight": POSTERIOR_WEIGHTS,
        },
    )
    finished = {(row.model_pair, row.rate_quantile, row.posterior_weight) for row in folder.rows()}
    for pair, system in systems.items():
        task = progress.add_task(f"robust / {pair}", total=len(grid))
        for quantile, weight in grid:
            if (pair, quantile, weight) not in finished:
                episodes = play(Robust(Margins(quantile, weight)), system, range(seeds))
                goodput = interquartile_mean([episode.goodput_tok_s for episode in episodes])
                folder.append([TuningRow(pair, quantile, weight, *goodput)])
            progress.advance(task)

    rows = folder.rows()
    best = {
        pair: max((r for r in rows if r.model_pair == pair), key=lambda row: row.goodput_tok_s) for pair in MODEL_PAIRS
    }
    margins = {
        "command": f"multispin tune --seeds {seeds}",
        "margins": {
            pair: {
                "rate_quantile": row.rate_quantile,
                "posterior_weight": row.posterior_weight,
                "goodput_tok_s": round(row.goodput_tok_s, 1),
                "interval_tok_s": [round(row.low, 1), round(row.high, 1)],
            }
            for pair, row in best.items()
        },
    }
    write_atomically(output / "margins.json", json.dumps(margins, indent=2) + "\n")
    _picture(output / "margins.png", rows)
    return margins


def _picture(path: Path, rows: list[TuningRow]) -> None:
    figure, axes = new_figure(4.5 * len(MODEL_PAIRS), 4.0, columns=len(MODEL_PAIRS))
    for pair, panel in zip(MODEL_PAIRS, axes, strict=True):
        found = {(r.rate_quantile, r.posterior_weight): r.goodput_tok_s for r in rows if r.model_pair == pair}
        values = np.array([[found[q, w] for q in RATE_QUANTILES] for w in POSTERIOR_WEIGHTS])
        panel.imshow(values, aspect="auto", origin="lower", cmap="viridis")
        panel.grid(False)
        for row, column in np.ndindex(values.shape):
            shade = "white" if values[row, column] < 0.5 * (values.min() + values.max()) else "black"
            panel.text(column, row, f"{values[row, column]:.0f}", ha="center", va="center", fontsize=8, color=shade)
        panel.set_xticks(range(len(RATE_QUANTILES)), [f"{quantile:g}" for quantile in RATE_QUANTILES], fontsize=8)
        panel.set_yticks(range(len(POSTERIOR_WEIGHTS)), [f"{weight:g}" for weight in POSTERIOR_WEIGHTS])
        panel.set_xlabel("rate quantile counted on")
        panel.set_ylabel("weight of the posterior acceptance")
        panel.set_title(f"robust in mobile / {pair}, tok/s")
    save(figure, path)
