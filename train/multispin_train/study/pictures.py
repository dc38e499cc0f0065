"""The pictures of the study's page."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from multispin_agents.policy import LearnedController
from multispin_baselines import Controller, make_controller

from multispin_env import PAPER_PAIRS, make_config
from multispin_env.evaluation.plots import COLOURS, new_figure, save
from multispin_train.study import behaviour as study_behaviour
from multispin_train.study.plan import (
    ACTIONS,
    FLAGSHIP,
    OTHER_USERS,
    SCENARIOS,
    SPEED_SETTINGS,
    SPEEDS_M_S,
    TRANSFER_CONTROLLERS,
    USER_SETTINGS,
    Study,
    agents_of,
    cell_name,
)
from multispin_train.study.results import Results


def draw_goodput(path: Path, results: Results) -> None:
    """Draws everybody's goodput in every scenario with every pair."""
    figure, panels = new_figure(14.0, 6.0, len(PAPER_PAIRS), len(SCENARIOS))
    for row, pair in enumerate(PAPER_PAIRS):
        for column, scenario in enumerate(SCENARIOS):
            panel, name = panels[row * len(SCENARIOS) + column], f"{scenario}-{pair}"
            players = [
                (who, COLOURS[who]) for who in ("heterogeneous", "posterior", "predictive", "stochastic", "long-run")
            ]
            players += [(cell, COLOURS[cell.rsplit("-", 1)[-1]]) for cell in agents_of(scenario, pair)]
            players += [("clairvoyant", COLOURS["clairvoyant"])]
            players = [(player, colour) for player, colour in players if results.has(name, player)]
            for place, (player, colour) in enumerate(players):
                value, low, high = results.mean(name, player)
                panel.errorbar(place, value, yerr=[[value - low], [high - value]], fmt="o", color=colour, capsize=3)
                panel.annotate(
                    f"{value:.0f}", (place, high), (0, 4), textcoords="offset points", ha="center", fontsize=7
                )
            labels = [player.rsplit(f"-{pair}-", 1)[-1] for player, _ in players]
            panel.set_xticks(range(len(players)), labels, rotation=60, ha="right", fontsize=8)
            panel.set_xlim(-0.5, len(players) - 0.2)
            panel.set_ylim(0.0, 1.1 * max(results.mean(name, player).high for player, _ in players))
            panel.set_title(f"{scenario} / {pair}", fontsize=10)
            if not column:
                panel.set_ylabel("goodput, tok/s")
    save(figure, path)


def draw_transfer(path: Path, results: Results) -> None:
    """Draws agents and controllers in other systems than the one trained on."""
    figure, (users_panel, speed_panel) = new_figure(10.0, 4.0, 1, 2)
    players = {name: (name, COLOURS[name]) for name in TRANSFER_CONTROLLERS}
    players |= {action: (cell_name(*FLAGSHIP, action), COLOURS[action]) for action in ACTIONS}
    for label, (player, colour) in players.items():
        for panel, values, names in (
            (users_panel, OTHER_USERS, USER_SETTINGS),
            (speed_panel, SPEEDS_M_S, SPEED_SETTINGS),
        ):
            means = [results.mean(name, player) for name in names]
            panel.plot(values, [one.value for one in means], ".-", color=colour, label=label)
            panel.fill_between(
                values, [one.low for one in means], [one.high for one in means], color=colour, alpha=0.12
            )
    users_panel.plot(
        OTHER_USERS,
        [results.mean(f"users-{users}", f"users-{users}").value for users in OTHER_USERS],
        "k*",
        markersize=8,
        label="specialist",
    )
    users_panel.set_xlabel("users")
    users_panel.set_xscale("log")
    users_panel.minorticks_off()
    users_panel.set_xticks(OTHER_USERS, list(map(str, OTHER_USERS)))
    speed_panel.set_xscale("log")
    speed_panel.minorticks_off()
    speed_panel.set_xticks(SPEEDS_M_S, [f"{speed:g}" for speed in SPEEDS_M_S])
    speed_panel.set_xlabel("speed of all users, m/s")
    users_panel.set_ylabel("goodput, tok/s")
    for panel in (users_panel, speed_panel):
        panel.set_ylim(bottom=0.0)
    users_panel.legend(fontsize=8)
    save(figure, path)


def draw_curves(path: Path, study: Study) -> None:
    """Draws the agents' evaluations as they learned in the flagship setting."""
    figure, (panel,) = new_figure(8.0, 4.2)
    for action, name in zip(ACTIONS, agents_of(*FLAGSHIP), strict=True):
        curves: dict[int, list[float]] = {}
        for line in study.curves(name):
            if line.controller.startswith("seed"):
                curves.setdefault(line.timesteps, []).append(line.gain)
        timesteps = sorted(curves)
        means = [100.0 * np.mean(curves[one]) for one in timesteps]
        panel.plot(timesteps, means, ".-", color=COLOURS[action], label=action)
        panel.fill_between(
            timesteps,
            [100.0 * min(curves[one]) for one in timesteps],
            [100.0 * max(curves[one]) for one in timesteps],
            color=COLOURS[action],
            alpha=0.12,
        )
    panel.set_xlabel("rounds of training")
    panel.set_ylabel("gain over the paper's controller, %")
    panel.legend(fontsize=8)
    save(figure, path)


def draw_behaviour(path: Path, study: Study) -> None:
    """Draws what the agents of training seed 0 do, beside controllers."""
    scenario, pair = FLAGSHIP
    mobile, thermal = make_config(scenario, pair), make_config("thermal", pair)
    makers: dict[str, Callable[[], Controller]] = {
        name: functools.partial(make_controller, name, pair) for name in TRANSFER_CONTROLLERS
    }
    for action in ACTIONS:
        policy = study.policy_path(cell_name(scenario, pair, action), 0)
        makers[action] = functools.partial(LearnedController.load, policy)
    speeds = {speed: mobile.updated({"channel": {"speeds_m_s": [speed]}}) for speed in SPEEDS_M_S}
    players = {name: (COLOURS[name], make) for name, make in makers.items()}
    study_behaviour.picture(path, players, mobile, thermal, speeds)
