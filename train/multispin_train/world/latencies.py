"""How long rounds last, by controller: rows, table and picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from multispin_baselines import make_controller
from rich.table import Table

from multispin_env import Simulator, SystemConfig
from multispin_env.evaluation.evaluator import evaluation_seeds
from multispin_env.evaluation.plots import colours, new_figure, save
from multispin_env.evaluation.tables import markdown_table, terminal_table

# Shares of rounds that last longer than a latency that is written down; of 0 it is the longest.
LONGER = (0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 5e-3, 3e-3, 2e-3, 1e-3, 5e-4, 3e-4, 2e-4, 0.0)
# What nobody waits for.
LIMIT_S = 60.0


@dataclass(frozen=True)
class LatencyRow:
    """One line of ``results.csv``.

    Attributes:
        model_pair: The pair.
        controller: Who decided.
        rounds: Rounds of all episodes together.
        longer: Share of the rounds that last longer than ``latency_s``.
        latency_s: A round's duration.
    """

    model_pair: str
    controller: str
    rounds: int
    longer: float
    latency_s: float


def play_latencies(
    controller: str, model_pair: str, config: SystemConfig, seeds: int, on_round: Callable[[], None] = lambda: None
) -> list[LatencyRow]:
    """Plays a controller on the evaluation seeds, all side by side, and sums up how long its rounds last."""
    player = make_controller(controller, model_pair)
    system = player.transform_config(config)
    simulator = Simulator(system, seeds)
    simulator.reset([np.random.default_rng(seed) for seed in evaluation_seeds(seeds)])
    player.reset(seeds)
    latency_s = np.empty((system.episode_rounds, seeds))
    for number in range(system.episode_rounds):
        view = simulator.true_view() if player.privileged else simulator.view()
        latency_s[number] = simulator.step(player.act(view)).latency_s
        on_round()
    shares = [longer for longer in LONGER if longer == 0.0 or longer * latency_s.size >= 1.0]
    return [
        LatencyRow(model_pair, controller, latency_s.size, longer, round(float(np.quantile(latency_s, 1 - longer)), 4))
        for longer in shares
    ]


def _lines(rows: Sequence[LatencyRow]) -> list[tuple[str, ...]]:
    found = {(row.model_pair, row.controller, row.longer): row.latency_s for row in rows}
    return [
        (controller, pair, *(_text(found.get((pair, controller, longer))) for longer in _TABLED))
        for pair, controller in dict.fromkeys((row.model_pair, row.controller) for row in rows)
    ]


def _text(latency_s: float | None) -> str:
    return "-" if latency_s is None else f"{latency_s:.2f}"


_TABLED = (0.5, 0.01, 1e-3, 0.0)
_HEADER = ("controller", "pair", "median, s", "99 %, s", "99.9 %, s", "longest, s")


def table(rows: Sequence[LatencyRow]) -> Table:
    """The latencies for a terminal of 80 columns."""
    return terminal_table("How long rounds of mobile last", "", _HEADER, _lines(rows), 2)


def markdown(rows: Sequence[LatencyRow]) -> str:
    """The same in Markdown."""
    return markdown_table(_HEADER, _lines(rows), 2)


def draw_latencies(path: Path, rows: Sequence[LatencyRow], shown: Sequence[str]) -> None:
    """Draws, for each pair, the share of rounds that last longer than a latency."""
    pairs = tuple(dict.fromkeys(row.model_pair for row in rows))
    figure, panels = new_figure(9.6, 3.8, columns=len(pairs))
    inks = colours(shown)
    for panel, pair in zip(panels, pairs, strict=True):
        for controller in shown:
            held = [row for row in rows if (row.model_pair, row.controller) == (pair, controller)]
            # The longest stands for itself, one of all rounds.
            longer = [row.longer or 1.0 / row.rounds for row in held]
            panel.plot([row.latency_s for row in held], longer, color=inks[controller], label=controller)
            panel.plot(held[-1].latency_s, longer[-1], "o", color=inks[controller], markersize=5)
        panel.axvline(LIMIT_S, color="black", linewidth=0.8, linestyle=":")
        panel.annotate("1 min", (LIMIT_S, 1.0), (3, -8), textcoords="offset points", fontsize=8)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(pair)
        panel.set_xlabel("latency of a round, s (dot: the longest)")
    panels[0].set_ylabel("share of rounds that last longer")
    panels[0].legend(fontsize=9, loc="upper center", frameon=False)
    save(figure, path)
