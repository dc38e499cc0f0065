"""What looking ahead to the devices' heat is worth: the closed form, told that drafting takes longer or shorter."""

from __future__ import annotations

from dataclasses import replace

from multispin_baselines import Controller, make_controller

from multispin_env import PAPER_PAIRS, Allocation, RoundView

# The slowest devices, the strongest and fastest throttling of the measured ones, and episodes long enough for all to be
# hot in most rounds.
HEAT_CONFIG = {
    "drafting_latency_s": 0.111,
    "heat": {"slowdown": 1.67, "time_constant_s": 35.0},
    "episode_rounds": 600,
}
# By how much drafting is said to take longer.
FACTORS = (0.5, 0.7, 0.85, 1.2, 1.5, 2.0)
HEAT_SETTINGS = tuple(f"heat-{pair}" for pair in PAPER_PAIRS)
_PREFIX = "predictive-drafting-"
HEAT_PLAYERS = {factor: f"{_PREFIX}{factor:g}" for factor in FACTORS}


class ToldDrafting(Controller):
    """``predictive`` told that a token takes its devices so many times as long to draft as it does now.

    With a factor above 1 it drafts less than is best for the round, and keeps devices cooler for the rounds to come;
    with one below 1 the other way round.

    Args:
        model_pair: The pair that ``predictive`` is tuned for.
        factor: How many times.
    """

    def __init__(self, model_pair: str, factor: float) -> None:
        self.name = f"{_PREFIX}{factor:g}"
        self._predictive, self._factor = make_controller("predictive", model_pair), factor

    def act(self, view: RoundView) -> Allocation:
        """See :class:`Controller`."""
        return self._predictive.act(replace(view, drafting_latency_s=self._factor * view.drafting_latency_s))


def make_player(name: str, model_pair: str) -> Controller:
    """A controller of a name, those of :data:`HEAT_PLAYERS` among them."""
    if name.startswith(_PREFIX):
        return ToldDrafting(model_pair, float(name.removeprefix(_PREFIX)))
    return make_controller(name, model_pair)
