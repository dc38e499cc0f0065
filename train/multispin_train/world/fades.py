"""What the paper's controller does in a deep fade that it takes to last, and what the smallest remedies win."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from multispin_baselines import Controller, make_controller

from multispin_env import Allocation, RoundView, SystemConfig
from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.evaluator import evaluation_seeds
from multispin_env.evaluation.plots import BLACK, COLOURS, GREEN, PALE, YELLOW, new_figure, save
from multispin_env.evaluation.rollout import play
from multispin_env.evaluation.statistics import Estimate, interquartile_mean
from multispin_env.evaluation.tables import markdown_table
from multispin_env.optimal import RoundProblem, cautious_spectral_efficiency, solve_heterogeneous
from multispin_train.study.behaviour import observe


class RatesTold(Controller):
    """The heterogeneous optimum told the rates to count on, and nothing else that the paper's controller does not see.

    Args:
        margin_std: Standard deviations that they are below the expected ones.
    """

    name = "rates-told"

    def __init__(self, margin_std: float) -> None:
        self.margin_std = margin_std

    def act(self, view: RoundView) -> Allocation:
        """The optimum for these rates."""
        rates = cautious_spectral_efficiency(view, self.margin_std)
        return solve_heterogeneous(RoundProblem.from_view(view, spectral_efficiency=rates)).allocation


# What the closed form is told of the rates to come, from what the paper's controller does to `predictive`.
_PAPER, _TUNED = "the rate observed", "predictive, tuned"
REMEDIES: Mapping[str, tuple[str, Callable[[str], Controller]]] = {
    _PAPER: (COLOURS["heterogeneous"], lambda pair: make_controller("heterogeneous", pair)),
    "the rate expected": (YELLOW, lambda pair: RatesTold(0.0)),
    "2 standard deviations less": (GREEN, lambda pair: RatesTold(2.0)),
    _TUNED: (COLOURS["predictive"], lambda pair: make_controller("predictive", pair)),
}
# Fades by their depth; the first group has all that are deeper.
_DEPTHS_DB = np.array([-20.0, -15.0, -10.0, -7.0, -4.0, -1.0, 2.0, 5.0])
_FEWEST = 30


@dataclass(frozen=True)
class Remedy:
    """One way to tell the closed form what uploads will find.

    Attributes:
        told: What it is told.
        model_pair: The pair.
        goodput: Goodput of each episode, tok/s.
        depth_db: Middles of the groups of fades, dB over the mean power.
        relative_share: Mean share of the band times the number of users in each group.
    """

    told: str
    model_pair: str
    goodput: FloatArray
    depth_db: FloatArray
    relative_share: FloatArray


def try_remedy(told: str, model_pair: str, config: SystemConfig, seeds: int) -> Remedy:
    """Plays the evaluation seeds, and looks at the shares decided in worlds of its own."""
    make = REMEDIES[told][1]
    episodes = play(make(model_pair), config, evaluation_seeds(seeds), timed=False)
    decisions = observe(make(model_pair), config)
    group = np.searchsorted(_DEPTHS_DB, decisions.fade_db)
    groups = [number for number in range(len(_DEPTHS_DB)) if np.sum(group == number) >= _FEWEST]
    return Remedy(
        told,
        model_pair,
        np.array([episode.goodput_tok_s for episode in episodes]),
        np.array([decisions.fade_db[group == number].mean() for number in groups]),
        np.array([decisions.relative_share[group == number].mean() for number in groups]),
    )


def _gains(remedies: list[Remedy]) -> dict[str, Estimate]:
    """Of one pair, over the first in per cent, paired by episode."""
    return {one.told: interquartile_mean(100.0 * (one.goodput / remedies[0].goodput - 1.0)) for one in remedies}


def _by_pair(remedies: list[Remedy]) -> dict[str, list[Remedy]]:
    return {
        pair: [one for one in remedies if one.model_pair == pair]
        for pair in dict.fromkeys(one.model_pair for one in remedies)
    }


def markdown(remedies: list[Remedy]) -> str:
    """Goodput and gains."""
    lines = []
    for pair, own in _by_pair(remedies).items():
        gains = _gains(own)
        for one in own:
            gain = "" if one is own[0] else gains[one.told].text(sign=True)
            lines.append(
                (
                    one.told,
                    pair,
                    interquartile_mean(one.goodput).text(),
                    gain,
                    f"{one.relative_share[0]:.2f}",
                )
            )
    header = ("told", "pair", "goodput, tok/s", "gain, %", f"share x users, fades below {_DEPTHS_DB[0]:g} dB")
    return markdown_table(header, lines, 2)


def draw_fades(path: Path, remedies: list[Remedy]) -> None:
    """Draws shares of the band by the depth of the fade, and the gains, for each pair."""
    pairs = _by_pair(remedies)
    figure, panels = new_figure(10.0, 3.4 * len(pairs), rows=len(pairs), columns=2)
    for row, (pair, own) in enumerate(pairs.items()):
        shares, gains = panels[2 * row : 2 * row + 2]
        for one in own:
            shares.plot(one.depth_db, one.relative_share, ".-", color=REMEDIES[one.told][0], label=one.told)
        shares.axhline(1.0, color=PALE, linewidth=0.8, zorder=0)
        shares.set_ylim(bottom=0.0)
        shares.set_ylabel("band share x users")
        shares.set_title(pair, loc="left")
        found = _gains(own)
        for place, told in enumerate(REMEDIES):
            value, low, high = found[told]
            gains.barh(place, value, color=REMEDIES[told][0], height=0.6)
            if told != _PAPER:
                gains.plot([low, high], [place, place], color=BLACK, linewidth=1.2)
            gains.annotate(
                f"{value:+.1f} %" if told != _PAPER else "0",
                (max(high, 0.0), place),
                (4, -3),
                textcoords="offset points",
                fontsize=9,
            )
        gains.set_yticks(range(len(REMEDIES)), list(REMEDIES))
        gains.invert_yaxis()
        gains.set_xlim(0.0, 1.35 * max(estimate.high for estimate in found.values()))
    panels[0].legend(fontsize=8, frameon=False, title="the closed form is told", title_fontsize=8)
    panels[-2].set_xlabel("fading seen, dB over its mean power")
    panels[-1].set_xlabel("gain over the paper's controller, %")
    save(figure, path)
