"""Tunes the two constants of the predictive controller in `mobile`, on seeds that no benchmark uses."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from multispin_baselines import Caution, Predictive
from rich.console import Console
from rich.progress import Progress

from multispin_env import MODEL_PAIRS, SystemConfig, make_config
from multispin_env.evaluation.plots import new_figure, save
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.evaluation.rollout import play
from multispin_env.evaluation.statistics import Estimate, interquartile_mean
from multispin_env.files import write_atomically
from multispin_train.display import CommandProgress
from multispin_train.options import check_count
from multispin_train.workers import Workers

RATE_MARGINS_STD = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
POSTERIOR_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class TuningRow:
    """One line of ``results.csv``: a point of the grid."""

    model_pair: str
    rate_margin_std: float
    posterior_weight: float
    goodput_tok_s: float
    low: float
    high: float


def tune(
    output: Path,
    seeds: int = 64,
    workers: tyro.conf.OmitArgPrefixes[Workers] = Workers(),  # noqa: B008 (frozen)
) -> None:
    """Tunes the predictive controller's two constants.

    Plays it on a grid of rate margin and posterior weight in the scenario mobile, on training seeds, for each pair of
    the package; writes the rows as they come, tuned.json and tuned.png. baselines/multispin_baselines/tuned.json is the
    committed result. Run again with the same arguments to go on after an interruption.

    Example: multispin tune --output runs/tune

    Args:
        output: A new folder, or one to go on with.
        seeds: Episodes of every point.
        workers: Who plays.

    Raises:
        ValueError: There is no seed.
        FileExistsError: The folder holds something else.
    """
    console = Console()
    with CommandProgress(console) as progress:
        console.print_json(data=tune_caution(output, seeds, progress, workers))


def tune_caution(output: Path, seeds: int, progress: Progress, workers: Workers) -> dict[str, Any]:
    """Plays the whole grid for each pair and writes ``tuned.json`` with the best point of each.

    Args:
        output: A new or empty folder, or one of an interrupted run.
        seeds: Episodes a point; the interquartile mean of their goodput decides.
        progress: Where progress is shown.
        workers: Who plays.

    Returns:
        What ``tuned.json`` holds.

    Raises:
        FileExistsError: The folder holds something else.
    """
    check_count("seeds", seeds)
    systems = {pair: make_config("mobile", pair) for pair in MODEL_PAIRS}
    grid = [Caution(*point) for point in itertools.product(RATE_MARGINS_STD, POSTERIOR_WEIGHTS)]
    manifest = {"seeds": seeds, "grid": grid, "systems": {pair: system.to_dict() for pair, system in systems.items()}}
    folder = ResultsFolder(
        output,
        manifest,
        TuningRow,
        unique=("model_pair", *Caution._fields),
        allowed={
            "model_pair": MODEL_PAIRS,
            "rate_margin_std": RATE_MARGINS_STD,
            "posterior_weight": POSTERIOR_WEIGHTS,
        },
    )
    finished = {(row.model_pair, Caution(row.rate_margin_std, row.posterior_weight)) for row in folder.rows()}
    task = progress.add_task("predictive", total=len(systems) * len(grid), completed=len(finished))
    pieces = [
        (pair, caution, system, seeds)
        for pair, system in systems.items()
        for caution in grid
        if (pair, caution) not in finished
    ]
    for (pair, caution, *_), goodput in workers.work(_goodput, pieces):
        folder.append([TuningRow(pair, *caution, *goodput)])
        progress.advance(task)

    rows = folder.rows()
    best = {
        pair: max((r for r in rows if r.model_pair == pair), key=lambda row: row.goodput_tok_s) for pair in MODEL_PAIRS
    }
    tuned = {
        "command": f"multispin tune --seeds {seeds}",
        "tuned": {
            pair: {
                "rate_margin_std": row.rate_margin_std,
                "posterior_weight": row.posterior_weight,
                "goodput_tok_s": round(row.goodput_tok_s, 1),
                "interval_tok_s": [round(row.low, 1), round(row.high, 1)],
            }
            for pair, row in best.items()
        },
    }
    write_atomically(output / "tuned.json", json.dumps(tuned, indent=2) + "\n")
    _picture(output / "tuned.png", rows)
    return tuned


def _goodput(pair: str, caution: Caution, system: SystemConfig, seeds: int) -> Estimate:
    episodes = play(Predictive(caution), system, range(seeds), timed=False)
    return interquartile_mean([episode.goodput_tok_s for episode in episodes])


def _picture(path: Path, rows: list[TuningRow]) -> None:
    figure, axes = new_figure(4.5 * len(MODEL_PAIRS), 4.0, columns=len(MODEL_PAIRS))
    for pair, panel in zip(MODEL_PAIRS, axes, strict=True):
        found = {(r.rate_margin_std, r.posterior_weight): r.goodput_tok_s for r in rows if r.model_pair == pair}
        values = np.array([[found[m, w] for m in RATE_MARGINS_STD] for w in POSTERIOR_WEIGHTS])
        panel.imshow(values, aspect="auto", origin="lower", cmap="viridis")
        panel.grid(False)
        for row, column in np.ndindex(values.shape):
            shade = "white" if values[row, column] < 0.5 * (values.min() + values.max()) else "black"
            panel.text(column, row, f"{values[row, column]:.0f}", ha="center", va="center", fontsize=8, color=shade)
        panel.set_xticks(range(len(RATE_MARGINS_STD)), [f"{margin:g}" for margin in RATE_MARGINS_STD], fontsize=8)
        panel.set_yticks(range(len(POSTERIOR_WEIGHTS)), [f"{weight:g}" for weight in POSTERIOR_WEIGHTS])
        panel.set_xlabel("margin under the expected rate, standard deviations")
        panel.set_ylabel("weight of the posterior acceptance")
        panel.set_title(f"predictive in mobile / {pair}, tok/s")
    save(figure, path)
