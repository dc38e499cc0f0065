"""What the study says: tables and pictures on one page, made from its rows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from multispin_agents.policy import LearnedController
from multispin_baselines import make_controller
from numpy.typing import NDArray

from multispin_env import PAPER_PAIRS, SystemConfig, make_config
from multispin_env.evaluation.plots import COLOURS, new_figure, save
from multispin_env.evaluation.results import read_rows
from multispin_env.evaluation.statistics import Estimate, interquartile_mean
from multispin_env.evaluation.tables import markdown_table
from multispin_env.files import write_atomically
from multispin_train.fit.training import CurveRow
from multispin_train.study import behaviour as study_behaviour
from multispin_train.study.plan import (
    ACTIONS,
    CONTROLLERS,
    CORRELATION_TIMES_S,
    FLAGSHIP,
    SCENARIOS,
    TRANSFER_CONTROLLERS,
    USERS,
    Study,
    StudyRow,
    cell_name,
)

_ACTION_COLOURS = {"direct": "#4477aa", "residual": "#228833"}
_FLAGSHIP_SETTING = "-".join(FLAGSHIP)
_VERDICT = {True: "met", False: "**missed**"}


class Results:
    """The rows by setting and player, as arrays of goodput.

    Args:
        rows: All of a study's.
    """

    def __init__(self, rows: Sequence[StudyRow]) -> None:
        found: dict[tuple[str, str], dict[tuple[int, int], StudyRow]] = {}
        for row in rows:
            found.setdefault((row.setting, row.player), {})[row.training_seed, row.seed] = row
        self._rows = found

    def has(self, setting: str, player: str) -> bool:
        """Whether a player was played; in an unfinished study some were not yet."""
        return (setting, player) in self._rows

    def goodput(self, setting: str, player: str) -> NDArray[np.float64]:
        """Goodput, (training seeds, evaluation seeds); a controller has one training seed."""
        rows = self._rows[setting, player]
        training_seeds, seeds = (sorted({key[part] for key in rows}) for part in (0, 1))
        return np.array([[rows[one, seed].goodput_tok_s for seed in seeds] for one in training_seeds])

    def decision_us(self, setting: str, player: str) -> float:
        """Median time of a decision."""
        return float(np.median([row.decision_us for row in self._rows[setting, player].values()]))

    def mean(self, setting: str, player: str) -> Estimate:
        """Interquartile mean over training and evaluation seeds."""
        return interquartile_mean(self.goodput(setting, player))

    def ratio(self, setting: str, player: str, other: str) -> Estimate:
        """The same of the ratio to another player, paired by evaluation seed."""
        ours, theirs = self.goodput(setting, player), self.goodput(setting, other)
        return interquartile_mean(ours / (theirs if len(theirs) == 1 else theirs.mean(axis=0)))

    def training_range(self, setting: str, player: str) -> tuple[float, float]:
        """The least and the most that one training seed reaches."""
        each = [interquartile_mean(one).value for one in self.goodput(setting, player)]
        return min(each), max(each)


def write_report(study: Study, rows: Sequence[StudyRow]) -> Path:
    """Writes ``report.md`` and the pictures into the study's folder; returns the page."""
    results, folder = Results(rows), study.folder.path
    _goodput(folder / "goodput.png", results)
    _transfer(folder / "transfer.png", results)
    _curves(folder / "learning_curves.png", study)
    _behaviour(folder / "behaviour.png", study)
    plan = study.plan
    page = folder / "report.md"
    write_atomically(
        page,
        f"""# Learned controllers beside the closed forms

{plan.training_seeds} training seeds of every agent, {plan.evaluation_seeds} episodes that no training has seen; 20
users, 10 MHz. Goodput is total tokens over total seconds of an episode. Figures are interquartile means over training
seeds and episodes, with 95 % intervals from a bootstrap over both; gains are paired by episode. "Training seeds" is the
range of the single agents' figures. A decision's time is that of a single one on one core, shared with other work.

## Targets

{_targets(results)}

## Scenarios

Agents are PPO with equivariant networks that first imitate `long-run`, as `direct` or `residual` actions.

![goodput](goodput.png)

{_scenarios(results)}

## Variants, in {" / ".join(FLAGSHIP)}

{_variants(study, results)}

![learning curves](learning_curves.png)

## Other systems than the one trained on

Trained with 20 users and a correlation time of 1.9 s, in {" / ".join(FLAGSHIP)}. Specialists are trained where they
are played.

{_transfer_table(study, results)}

![transfer](transfer.png)

## What the agent does

![behaviour](behaviour.png)

The agent is training seed 0 of `{cell_name(*FLAGSHIP, "direct")}`, in worlds of its own making.

Who was not played yet, in an unfinished study, is left out. The rows are in `results.csv`, everything that decides them
in `manifest.json`, the agents in `agents/`.
""",
    )
    return page


def _scenarios(results: Results) -> str:
    sections = []
    for scenario in SCENARIOS:
        for pair in PAPER_PAIRS:
            name = f"{scenario}-{pair}"
            agents = (cell_name(scenario, pair, action) for action in ACTIONS)
            players = [who for who in (*CONTROLLERS[:-1], *agents, CONTROLLERS[-1]) if results.has(name, who)]
            sections.append(f"### {scenario} / {pair}\n\n{_table(results, name, players)}")
    return "\n\n".join(sections)


def _table(results: Results, setting: str, players: Sequence[str]) -> str:
    header = (
        "player",
        "goodput, tok/s",
        "training seeds",
        "% over heterogeneous",
        "% over robust",
        "% of long-run",
        "decision, µs",
    )
    lines = []
    for player in players:
        over, over_robust = (
            Estimate(*(value - 1.0 for value in results.ratio(setting, player, other)))
            for other in ("heterogeneous", "robust")
        )
        low, high = results.training_range(setting, player)
        lines.append(
            (
                player.removeprefix(f"{setting}-") if player.startswith(setting) else player,
                results.mean(setting, player).text(),
                f"{low:.1f} to {high:.1f}" if low < high else "",
                over.text(scale=100.0, sign=True),
                over_robust.text(scale=100.0, sign=True),
                results.ratio(setting, player, "long-run").text(scale=100.0) if "long-run" in players else "",
                f"{results.decision_us(setting, player):.0f}",
            )
        )
    return markdown_table(header, lines)


def _variants(study: Study, results: Results) -> str:
    cells = study.plan.cells
    header = ("agent", "algorithm", "action", "network", "teacher", "rounds", "goodput, tok/s", "training seeds")
    lines = []
    for name in study.plan.settings[_FLAGSHIP_SETTING].cells:
        cell = cells[name]
        low, high = results.training_range(_FLAGSHIP_SETTING, name)
        values = cell.values()
        lines.append(
            (
                name,
                cell.agent,
                cell.action,
                cell.network,
                cell.teacher,
                f"{values.chunks * values.chunk_frames}",
                results.mean(_FLAGSHIP_SETTING, name).text(),
                f"{low:.1f} to {high:.1f}",
            )
        )
    return markdown_table(header, lines, text_columns=5)


def _users() -> list[str]:
    return [f"users-{users}" for users in USERS]


def _correlations() -> list[str]:
    return [f"correlation-time-{seconds:g}" for seconds in CORRELATION_TIMES_S]


def _transfer_table(study: Study, results: Results) -> str:
    header = ("system", *TRANSFER_CONTROLLERS, *ACTIONS, "specialist", *(f"{action}, % of it" for action in ACTIONS))
    lines = []
    for name in (_FLAGSHIP_SETTING, *_users(), *_correlations()):
        direct, residual = (cell_name(*FLAGSHIP, action) for action in ACTIONS)
        texts = [results.mean(name, player).text() for player in (*TRANSFER_CONTROLLERS, direct, residual)]
        special = ["", "", ""]
        if name in study.plan.cells:
            shares = (results.ratio(name, agent, name).text(scale=100.0) for agent in (direct, residual))
            special = [results.mean(name, name).text(), *shares]
        lines.append((name, *texts, *special))
    return markdown_table(header, lines)


def _targets(results: Results) -> str:
    """Each target of the study with what was measured."""
    lines = []

    def add(target: str, where: str, found: Estimate, wanted: float, met: bool) -> None:
        lines.append((target, where, found.text(scale=100.0), f"{100.0 * wanted:g}", _VERDICT[met]))

    def against(setting: str, agent: str, other: str, wanted: float) -> None:
        if results.has(setting, other):
            found = results.ratio(setting, agent, other)
            add(f"against {other}", agent, found, wanted, found.value >= wanted)

    for pair in PAPER_PAIRS:
        for action in ACTIONS:
            paper, requests, mobile, thermal = (f"{scenario}-{pair}" for scenario in SCENARIOS)
            against(paper, f"{paper}-{action}", "heterogeneous", 0.99)
            against(requests, f"{requests}-{action}", "heterogeneous", 1.0)
            against(requests, f"{requests}-{action}", "posterior", 0.99)
            agent = f"{mobile}-{action}"
            for other, wanted in (("heterogeneous", 1.25), ("robust", 1.05)):
                found = results.ratio(mobile, agent, other)
                apart = results.mean(mobile, agent).low > results.mean(mobile, other).high
                text = "intervals apart" if apart else "intervals overlap"
                add(f"against {other} ({text})", agent, found, wanted, found.value >= wanted and apart)
            for gold in ("stochastic", "long-run"):
                if results.has(mobile, gold):
                    found = results.ratio(mobile, agent, gold)
                    times = results.decision_us(mobile, gold) / results.decision_us(mobile, agent)
                    add(f"against {gold} ({times:.0f} times as fast)", agent, found, 0.97, found.value >= 0.97)
            for other in ("stochastic", "long-run", "clairvoyant"):
                against(thermal, f"{thermal}-{action}", other, 1.0)
    for users in USERS:
        for action in ACTIONS:
            name, agent = f"users-{users}", cell_name(*FLAGSHIP, action)
            found = results.ratio(name, agent, name)
            add(f"against a specialist for {users} users", agent, found, 0.95, found.value >= 0.95)
    header = ("target", "agent", "measured, %", "wanted, %", "verdict")
    return markdown_table(header, lines, text_columns=2)


def _goodput(path: Path, results: Results) -> None:
    figure, panels = new_figure(12.0, 6.0, len(PAPER_PAIRS), len(SCENARIOS))
    for row, pair in enumerate(PAPER_PAIRS):
        for column, scenario in enumerate(SCENARIOS):
            panel, name = panels[row * len(SCENARIOS) + column], f"{scenario}-{pair}"
            players = [
                (who, COLOURS[who]) for who in ("heterogeneous", "posterior", "robust", "stochastic", "long-run")
            ]
            players += [(f"{name}-{action}", _ACTION_COLOURS[action]) for action in ACTIONS]
            players += [("clairvoyant", COLOURS["clairvoyant"])]
            players = [(player, colour) for player, colour in players if results.has(name, player)]
            for place, (player, colour) in enumerate(players):
                value, low, high = results.mean(name, player)
                panel.errorbar(place, value, yerr=[[value - low], [high - value]], fmt="o", color=colour, capsize=3)
                panel.annotate(
                    f"{value:.0f}", (place, high), (0, 4), textcoords="offset points", ha="center", fontsize=7
                )
            labels = [player.removeprefix(f"{name}-") for player, _ in players]
            panel.set_xticks(range(len(players)), labels, rotation=60, ha="right", fontsize=8)
            panel.set_xlim(-0.5, len(players) - 0.2)
            panel.set_ylim(0.0, 1.1 * max(results.mean(name, player).high for player, _ in players))
            panel.set_title(f"{scenario} / {pair}", fontsize=10)
            if not column:
                panel.set_ylabel("goodput, tok/s")
    save(figure, path)


def _transfer(path: Path, results: Results) -> None:
    figure, (users_panel, age_panel) = new_figure(10.0, 4.0, 1, 2)
    direct, residual = (cell_name(*FLAGSHIP, action) for action in ACTIONS)
    players = {
        "heterogeneous": ("heterogeneous", COLOURS["heterogeneous"]),
        "robust": ("robust", COLOURS["robust"]),
        "direct, trained at 20 users, 1.9 s": (direct, _ACTION_COLOURS["direct"]),
        "residual, likewise": (residual, _ACTION_COLOURS["residual"]),
    }
    numbers = sorted([*USERS, 20])
    times = sorted([*CORRELATION_TIMES_S, 1.9])
    for label, (player, colour) in players.items():
        for panel, values, kind, trained in (
            (users_panel, numbers, "users", 20),
            (age_panel, times, "correlation-time", 1.9),
        ):
            names = [f"{kind}-{value:g}" if value != trained else _FLAGSHIP_SETTING for value in values]
            means = [results.mean(name, player) for name in names]
            panel.plot(values, [one.value for one in means], ".-", color=colour, label=label)
            panel.fill_between(
                values, [one.low for one in means], [one.high for one in means], color=colour, alpha=0.12
            )
    users_panel.plot(
        USERS, [results.mean(name, name).value for name in _users()], "k*", markersize=8, label="specialist"
    )
    users_panel.set_xlabel("users")
    age_panel.set_xscale("log")
    age_panel.minorticks_off()
    age_panel.set_xticks(times, [f"{seconds:g}" for seconds in times])
    age_panel.set_xlabel("correlation time of the fading, s")
    users_panel.set_ylabel("goodput, tok/s")
    for panel in (users_panel, age_panel):
        panel.set_ylim(bottom=0.0)
    users_panel.legend(fontsize=8)
    save(figure, path)


def _curves(path: Path, study: Study) -> None:
    figure, panels = new_figure(11.0, 4.2, 1, 2)
    cells = study.plan.settings[_FLAGSHIP_SETTING].cells
    for panel, taught in zip(panels, (True, False), strict=True):
        for name in (one for one in cells if (study.plan.cells[one].teacher != "none") == taught):
            curves: dict[int, list[float]] = {}
            for line in read_rows(study.cell_path(name) / "results.csv", CurveRow):
                if line.controller.startswith("seed"):
                    curves.setdefault(line.frames, []).append(line.goodput_tok_s)
                elif line.controller in ("heterogeneous", "robust") and name == cells[0 if taught else -1]:
                    colour = COLOURS[line.controller]
                    panel.axhline(line.goodput_tok_s, linestyle="--", color=colour, label=line.controller)
            frames = sorted(curves)
            (drawn,) = panel.plot(frames, [np.mean(curves[one]) for one in frames], ".-", label=name)
            panel.fill_between(
                frames,
                [min(curves[one]) for one in frames],
                [max(curves[one]) for one in frames],
                color=drawn.get_color(),
                alpha=0.12,
            )
        panel.set_xlabel("rounds of training")
        panel.set_title("after a teacher" if taught else "without a teacher", fontsize=10)
        panel.legend(fontsize=8)
        panel.set_ylim(bottom=0.0)
    panels[0].set_ylabel("goodput, tok/s: mean and range of training seeds", fontsize=9)
    save(figure, path)


def _behaviour(path: Path, study: Study) -> None:
    scenario, pair = FLAGSHIP
    mobile, thermal = make_config(scenario, pair), make_config("thermal", pair)
    players = {
        name: (COLOURS[name], functools.partial(make_controller, name, pair))
        for name in ("heterogeneous", "robust", "long-run")
    }
    agent = study.policy_path(cell_name(scenario, pair, "direct"), 0)
    study_behaviour.picture(
        path,
        {
            **players,
            "agent": (
                _ACTION_COLOURS["direct"],
                functools.partial(LearnedController.load, agent),
            ),
        },
        mobile,
        thermal,
        {_correlation(mobile, seconds): _aged(mobile, seconds) for seconds in sorted([*CORRELATION_TIMES_S, 1.9])},
    )


def _aged(config: SystemConfig, correlation_time_s: float) -> SystemConfig:
    return config.updated({"channel": {"fading_correlation_time_s": correlation_time_s}})


def _correlation(config: SystemConfig, correlation_time_s: float) -> float:
    """Between the fading observed and used, at drafts of 8 tokens."""
    return float(np.exp(-8.0 * config.drafting_latency_s / correlation_time_s))
