"""What a training's evaluations say: their rows, the best of each agent, and the learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from multispin_env.evaluation.plots import COLOURS, new_figure, save

REFERENCES = ("heterogeneous", "predictive")


@dataclass(frozen=True)
class CurveRow:
    """One line of ``results.csv``: an evaluation of one agent, or of a reference (at 0 rounds).

    Attributes:
        controller: ``seed0``, ``seed1`` and so on, or the reference's name.
        timesteps: Rounds trained on so far.
        goodput_tok_s: Interquartile mean of the evaluation episodes' goodput.
        low: Lower end of its 95 % interval.
        high: Its upper end.
        gain: Interquartile mean of the goodput over the heterogeneous controller's on the same seed, less 1.
        action_std: Mean standard deviation of the agent's actions in training; 0 for references.
    """

    controller: str
    timesteps: int
    goodput_tok_s: float
    low: float
    high: float
    gain: float
    action_std: float


def best_rows(rows: Sequence[CurveRow]) -> list[CurveRow]:
    """The references, and every agent's best evaluation: that of the policy kept."""
    best: dict[str, CurveRow] = {}
    for row in rows:
        if row.controller not in best or row.gain > best[row.controller].gain:
            best[row.controller] = row
    return list(best.values())


def draw_learning_curve(path: Path, title: str, rows: Sequence[CurveRow]) -> None:
    """Draws every agent's evaluations, from before the training on, beside the references.

    Args:
        path: Where the PNG goes.
        title: What is trained.
        rows: The evaluations, those of the references included.
    """
    figure, (axes,) = new_figure(7.0, 4.0)
    for name in REFERENCES:
        value = next(row.goodput_tok_s for row in rows if row.controller == name)
        axes.axhline(value, color=COLOURS[name], linestyle="--", label=name)
    for agent in dict.fromkeys(row.controller for row in rows if row.controller not in REFERENCES):
        mine = sorted((row for row in rows if row.controller == agent), key=lambda row: row.timesteps)
        timesteps = [row.timesteps for row in mine]
        label = agent.replace("seed", "agent of seed ")
        (line,) = axes.plot(timesteps, [row.goodput_tok_s for row in mine], marker=".", label=label)
        axes.fill_between(
            timesteps, [row.low for row in mine], [row.high for row in mine], color=line.get_color(), alpha=0.15
        )
    axes.set_xlim(left=0.0)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("rounds of training")
    axes.set_ylabel("goodput in worlds not trained on, tok/s", fontsize=9)
    axes.set_title(f"{title}\ninterquartile mean over episodes, 95 % interval", fontsize=10)
    axes.legend(loc="lower right")
    save(figure, path)
