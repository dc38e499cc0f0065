"""Tunes the margin of the predictive controller in `mobile`, on seeds that no benchmark uses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from multispin_baselines import Predictive
from rich.console import Console
from rich.progress import Progress

from multispin_env import MODEL_PAIRS, SystemConfig, make_config
from multispin_env.evaluation.plots import COLOURS, new_figure, save
from multispin_env.evaluation.results import ResultsFolder
from multispin_env.evaluation.rollout import play
from multispin_env.evaluation.statistics import Estimate, interquartile_mean
from multispin_env.files import write_atomically
from multispin_train.display import CommandProgress
from multispin_train.options import check_count
from multispin_train.workers import Workers

RATE_MARGINS_STD = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)


@dataclass(frozen=True)
class TuningRow:
    """One line of ``results.csv``: a pair and a margin."""

    model_pair: str
    rate_margin_std: float
    goodput_tok_s: float
    low: float
    high: float


def tune(
    output: Path,
    seeds: int = 64,
    workers: tyro.conf.OmitArgPrefixes[Workers] = Workers(),  # noqa: B008 (frozen)
) -> None:
    """Tunes the predictive controller's margin.

    Plays it with a range of margins in the scenario mobile, on training seeds, for each pair of the package; writes the
    rows as they come, tuned.json and tuned.png. baselines/multispin_baselines/tuned.json is the committed result. Run
    again with the same arguments to go on after an interruption.

    Example: multispin tune --output runs/tune

    Args:
        output: A new folder, or one to go on with.
        seeds: Episodes of every margin.
        workers: Who plays.

    Raises:
        ValueError: There is no seed.
        FileExistsError: The folder holds something else.
    """
    console = Console()
    with CommandProgress(console) as progress:
        console.print_json(data=tune_margin(output, seeds, progress, workers))


def tune_margin(output: Path, seeds: int, progress: Progress, workers: Workers) -> dict[str, Any]:
    """Plays all margins for each pair and writes ``tuned.json`` with the best of each.

    Args:
        output: A new or empty folder, or one of an interrupted run.
        seeds: Episodes a margin; the interquartile mean of their goodput decides.
        progress: Where progress is shown.
        workers: Who plays.

    Returns:
        What ``tuned.json`` holds.

    Raises:
        FileExistsError: The folder holds something else.
    """
    check_count("seeds", seeds)
    systems = {pair: make_config("mobile", pair) for pair in MODEL_PAIRS}
    manifest = {
        "seeds": seeds,
        "rate_margins_std": RATE_MARGINS_STD,
        "systems": {pair: system.to_dict() for pair, system in systems.items()},
    }
    folder = ResultsFolder(
        output,
        manifest,
        TuningRow,
        unique=("model_pair", "rate_margin_std"),
        allowed={"model_pair": MODEL_PAIRS, "rate_margin_std": RATE_MARGINS_STD},
    )
    finished = {(row.model_pair, row.rate_margin_std) for row in folder.rows()}
    task = progress.add_task("predictive", total=len(systems) * len(RATE_MARGINS_STD), completed=len(finished))
    pieces = [
        (pair, margin_std, system, seeds)
        for pair, system in systems.items()
        for margin_std in RATE_MARGINS_STD
        if (pair, margin_std) not in finished
    ]
    for (pair, margin_std, *_), goodput in workers.work(_goodput, pieces):
        folder.append([TuningRow(pair, margin_std, *goodput)])
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
                "goodput_tok_s": round(row.goodput_tok_s, 1),
                "interval_tok_s": [round(row.low, 1), round(row.high, 1)],
            }
            for pair, row in best.items()
        },
    }
    write_atomically(output / "tuned.json", json.dumps(tuned, indent=2) + "\n")
    _picture(output / "tuned.png", rows)
    return tuned


def _goodput(pair: str, margin_std: float, system: SystemConfig, seeds: int) -> Estimate:
    episodes = play(Predictive(margin_std), system, range(seeds), timed=False)
    return interquartile_mean([episode.goodput_tok_s for episode in episodes])


def _picture(path: Path, rows: list[TuningRow]) -> None:
    figure, axes = new_figure(4.0 * len(MODEL_PAIRS), 3.5, columns=len(MODEL_PAIRS))
    for pair, panel in zip(MODEL_PAIRS, axes, strict=True):
        own = sorted((row for row in rows if row.model_pair == pair), key=lambda row: row.rate_margin_std)
        margins = [row.rate_margin_std for row in own]
        panel.fill_between(
            margins, [row.low for row in own], [row.high for row in own], color=COLOURS["predictive"], alpha=0.2
        )
        panel.plot(margins, [row.goodput_tok_s for row in own], "o-", color=COLOURS["predictive"])
        panel.set_xlabel("margin, standard deviations of the rate")
        panel.set_ylabel("goodput, tok/s")
        panel.set_title(f"predictive in mobile / {pair}")
    save(figure, path)
