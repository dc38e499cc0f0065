"""What agents learned to do: draft length and bandwidth against what they see, beside the controllers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
from matplotlib.axes import Axes
from multispin_baselines import Controller

from multispin_env import RoundView, SystemConfig
from multispin_env.core.equations import FloatArray, signal_to_noise_ratio
from multispin_env.envs import MultiSpinVectorEnv
from multispin_env.evaluation.plots import PALE, new_figure, save
from multispin_env.optimal import posterior_acceptance

FIRST_SEED = 950_000
NUM_ENVS = 24
ROUNDS = 40
_BINS = 8


@dataclass(frozen=True)
class Decisions:
    """What one player saw and decided, one entry a user and round.

    Attributes:
        fade_db: Power of the fading observed, over its mean.
        acceptance: Posterior mean acceptance of the running request.
        heat: Drafting latency now over the one at the episode's start, less 1.
        draft_length: Draft length.
        relative_share: Bandwidth share times the number of users.
    """

    fade_db: FloatArray
    acceptance: FloatArray
    heat: FloatArray
    draft_length: FloatArray
    relative_share: FloatArray


def observe(controller: Controller, config: SystemConfig) -> Decisions:
    """A player's decisions in worlds of its own making."""
    env = gym.make_vec("multispin_env/Heterogeneous-v0", num_envs=NUM_ENVS, config=config.to_dict()).unwrapped
    assert isinstance(env, MultiSpinVectorEnv)
    env.reset(seed=FIRST_SEED)
    controller.reset(NUM_ENVS)
    cool_s = env.round_view().drafting_latency_s
    columns: list[tuple[FloatArray, ...]] = []
    for _ in range(ROUNDS):
        view = env.round_view()
        decided = controller.act(view)
        columns.append(
            (
                _fade_db(view),
                posterior_acceptance(view),
                view.drafting_latency_s / cool_s - 1.0,
                decided.draft_length.astype(np.float64),
                decided.bandwidth_share * config.num_users,
            )
        )
        env.step_allocation(decided)
    return Decisions(*(np.concatenate([part.ravel() for part in column]) for column in zip(*columns, strict=True)))


def _fade_db(view: RoundView) -> FloatArray:
    now, mean = (
        signal_to_noise_ratio(efficiency)
        for efficiency in (view.observed_spectral_efficiency, view.long_term_spectral_efficiency)
    )
    return 10.0 * np.log10(now / mean)


def picture(
    path: Path,
    players: dict[str, tuple[str, Callable[[], Controller]]],
    mobile: SystemConfig,
    thermal: SystemConfig,
    speeds: dict[float, SystemConfig],
) -> None:
    """Mean draft length and share of players against fade, acceptance, heat, and speed.

    Args:
        path: Where the PNG goes.
        players: Colours and makers of the players, by name.
        mobile: The system for fade and acceptance.
        thermal: The one for heat.
        speeds: Systems by the speed of all users, m/s.
    """
    figure, panels = new_figure(10.0, 4.8, 2, 4)
    for name, (colour, make) in players.items():
        cool, hot = observe(make(), mobile), observe(make(), thermal)
        for column, (seen, decisions) in enumerate(((cool.fade_db, cool), (cool.acceptance, cool), (hot.heat, hot))):
            _curve(panels[column], seen, decisions.draft_length, colour, name)
            _curve(panels[4 + column], seen, decisions.relative_share, colour, name)
        by_speed = [observe(make(), system) for system in speeds.values()]
        panels[3].plot(list(speeds), [one.draft_length.mean() for one in by_speed], ".-", color=colour, label=name)
        faded = [one.relative_share[one.fade_db < np.quantile(one.fade_db, 0.25)].mean() for one in by_speed]
        panels[7].plot(list(speeds), faded, ".-", color=colour, label=name)
    for panel, label in zip(
        panels[4:],
        (
            "fading observed, dB over its mean",
            "acceptance expected of the request",
            "slowdown by heat, in thermal",
            "speed of all users, m/s",
        ),
        strict=True,
    ):
        panel.set_xlabel(label, fontsize=9)
        panel.axhline(1.0, color=PALE, linewidth=0.8, zorder=0)
    for panel in (panels[3], panels[7]):
        panel.set_xscale("log")
    panels[0].set_ylabel("mean draft length, tokens")
    panels[4].set_ylabel("mean bandwidth share x users")
    panels[7].set_ylabel("same, deepest quarter of fades", fontsize=9)
    panels[4].legend(fontsize=8, loc="upper right")
    save(figure, path)


def _curve(panel: Axes, seen: FloatArray, decided: FloatArray, colour: str, name: str) -> None:
    """Means in bins of equal numbers."""
    edges = np.unique(np.quantile(seen, np.linspace(0.0, 1.0, _BINS + 1)))
    if len(edges) < 2:
        return
    place = np.clip(np.searchsorted(edges, seen, side="right") - 1, 0, len(edges) - 2)
    middle = [seen[place == number].mean() for number in range(len(edges) - 1)]
    panel.plot(middle, [decided[place == n].mean() for n in range(len(edges) - 1)], ".-", color=colour, label=name)
