"""The learning curves as a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from multispin_env.evaluation.plots import COLOURS, colours, new_figure, save
from multispin_env.evaluation.tables import markdown_table
from multispin_env.files import write_atomically
from multispin_train.learning.evaluation import REFERENCE, LearningRow
from multispin_train.learning.recipes import RECIPES

_HEADER = (
    "agent",
    "seed",
    "steps",
    "CPU s",
    "start, tok/s",
    "end, tok/s",
    "best, tok/s",
    f"end over `{REFERENCE}`",
    "standard error",
)


def write_report(folder: Path, rows: Sequence[LearningRow]) -> None:
    """Writes ``report.md`` and ``learning.png``.

    Args:
        folder: Where they go.
        rows: All evaluations, the reference's among them.
    """
    reference = next(row for row in rows if row.agent == REFERENCE)
    curves = _curves(rows)
    _draw(folder / "learning.png", reference.goodput_tok_s, curves)
    lines = [_line(curve) for seeds in curves.values() for curve in seeds]
    page = [
        "# What agents learn",
        "![learning curves](learning.png)",
        f"Goodput of the mean action in episodes not trained on, mean over episodes; `{REFERENCE}`, the paper's "
        f"controller, has {reference.goodput_tok_s:.1f} tok/s there. Processor time without evaluations. The standard "
        "error is that of the gain over the episodes, paired by seed.",
        markdown_table(_HEADER, lines),
    ]
    write_atomically(folder / "report.md", "\n\n".join(page) + "\n")


def _curves(rows: Sequence[LearningRow]) -> dict[str, list[list[LearningRow]]]:
    """Of each agent, the evaluations of each seed, in order."""
    found: dict[str, list[list[LearningRow]]] = {}
    for agent in (name for name in RECIPES if any(row.agent == name for row in rows)):
        seeds = sorted({row.seed for row in rows if row.agent == agent})
        mine = [[row for row in rows if row.agent == agent and row.seed == seed] for seed in seeds]
        found[agent] = [sorted(curve, key=lambda row: row.timesteps) for curve in mine]
    return found


def _line(curve: Sequence[LearningRow]) -> list[str]:
    first, last = curve[0], curve[-1]
    best = max(row.goodput_tok_s for row in curve)
    return [
        first.agent,
        str(first.seed),
        str(last.timesteps),
        f"{last.cpu_s:.0f}",
        f"{first.goodput_tok_s:.1f}",
        f"{last.goodput_tok_s:.1f}",
        f"{best:.1f}",
        f"{100 * last.gain:+.1f} %",
        f"{100 * last.gain_std_error:.1f} %",
    ]


def _draw(path: Path, reference_tok_s: float, curves: dict[str, list[list[LearningRow]]]) -> None:
    """Mean over seeds, and a band from the worst to the best, against steps and against processor time."""
    figure, panels = new_figure(10.0, 4.4, columns=2)
    shade = colours(list(curves))
    for agent, seeds in curves.items():
        goodput = np.array([[row.goodput_tok_s for row in curve] for curve in seeds])
        across = (
            np.mean([[row.timesteps / 1e6 for row in curve] for curve in seeds], axis=0),
            np.mean([[row.cpu_s for row in curve] for curve in seeds], axis=0),
        )
        label = f"{agent}, {len(seeds)} {'seeds' if len(seeds) > 1 else 'seed'}"
        for panel, x in zip(panels, across, strict=True):
            panel.plot(x, goodput.mean(axis=0), color=shade[agent], marker=".", label=label)
            panel.fill_between(x, goodput.min(axis=0), goodput.max(axis=0), color=shade[agent], alpha=0.2, linewidth=0)
    for panel, title in zip(panels, ("million steps", "processor seconds, one core"), strict=True):
        panel.axhline(reference_tok_s, color=COLOURS[REFERENCE], linestyle="--", label=f"{REFERENCE} controller")
        panel.set_xlim(left=0.0)
        panel.set_xlabel(title)
    panels[0].set_ylabel("goodput of the mean action, tok/s")
    panels[0].legend(fontsize=8)
    save(figure, path)
