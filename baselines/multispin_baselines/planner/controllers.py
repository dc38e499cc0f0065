"""Planners: of the round, and of the long run."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache

import numpy as np

from multispin_baselines.beliefs import acceptance_belief, expected_log_tokens, is_request_level, tokens_per_round
from multispin_baselines.planner.futures import Futures
from multispin_baselines.planner.known import best_for_known_rates
from multispin_baselines.planner.objective import Objective
from multispin_baselines.planner.search import Rounds, planned
from multispin_baselines.prefixes import prefix_probabilities
from multispin_env import Allocation, RoundView, SystemConfig
from multispin_env.core import EXACT
from multispin_env.core.equations import FloatArray
from multispin_env.envs.rewards import time_price
from multispin_env.evaluation.controller import Controller
from multispin_env.evaluation.rollout import play
from multispin_env.optimal import (
    RoundProblem,
    average_round,
    cautious_spectral_efficiency,
    equalize_bandwidth,
    solve_heterogeneous,
)

# In `mobile` / llama2 8, 32 and 128 samples have -1.8, +.6 and +1.2 % (standard error .3 to .4) over `predictive`,
# at 11, 22 and 79 ms a decision (8 episodes of 60 rounds).
SAMPLES = 32
# Sampled futures reach so many times the latency of the start.
_REACH = 4.0
# Rounds that are planned at once, for the memory that their futures take.
_TOGETHER = 16
# The price is what is earned in so many worlds and rounds by plans with fewer samples.
_PRICE_SEEDS = range(970_000, 970_008)
_PRICE_ROUNDS, _PRICE_SAMPLES = 100, 8


class Planner(Controller):
    """Maximises the expected objective over lengths and shares, given the view.

    Rates to come are weighed by futures drawn from the channel's own model, acceptance by its posterior. From the
    closed form's answer to predicted rates shares are improved by steps along the gradient of the expected end of the
    round, and lengths by moves of one token. Where the rates are known there is nothing to draw.

    Args:
        samples: Futures of each user, a multiple of 4.
    """

    def __init__(self, samples: int = SAMPLES) -> None:
        self.samples = samples

    @abstractmethod
    def objective(self, view: RoundView) -> Objective:
        """What is maximised in these rounds."""

    def act(self, view: RoundView) -> Allocation:
        """The best allocation found."""
        mean = acceptance_belief(view).mean
        if view.csi == EXACT:
            return best_for_known_rates(RoundProblem.from_view(view, acceptance_rate=mean), self.objective(view))
        parts = (slice(first, first + _TOGETHER) for first in range(0, len(mean), _TOGETHER))
        plans = [self._planned(view.take(part), mean[part]) for part in parts]
        return Allocation(*(np.concatenate(arrays) for arrays in zip(*plans, strict=True)))

    def _planned(self, view: RoundView, acceptance: FloatArray) -> Allocation:
        rate = cautious_spectral_efficiency(view)
        problem = RoundProblem.from_view(view, acceptance_rate=acceptance, spectral_efficiency=rate)
        start = solve_heterogeneous(problem).allocation
        latency_s, _ = equalize_bandwidth(problem, start.draft_length)
        futures = Futures.sampled(view, self.samples, _REACH * latency_s[:, np.newaxis])
        plan = planned(Rounds(view, futures, self.objective(view)), start)
        return Allocation(plan.length, plan.share)


class Stochastic(Planner):
    """Expected tokens over expected seconds of the round, maximised: the gold standard of a round.

    It sees what every controller sees. It plans no further than the round, and misses something by that: see
    :class:`LongRun`.
    """

    name = "stochastic"

    def objective(self, view: RoundView) -> Objective:
        """See :class:`Planner`."""
        return Objective(np.cumsum(prefix_probabilities(view), axis=-1))


class LongRun(Planner):
    """What a round adds to total tokens over total seconds of many rounds, maximised: the gold standard.

    A second has one price then, whatever the round: the goodput that the planner itself earns (Dinkelbach). And where a
    request keeps its acceptance a token does not count the same in every request: a request's tokens come in any case,
    what a decision changes is the rounds that they take, and hard requests take most of them. With r(t) tokens a round
    where the user's text has come to token t, a user gains ``1 / mean_t(1 / r(t))`` tokens a round over a long text.
    Its change with r(t), counted by rounds, is ``g d ln r(t)`` with g the user's tokens a round: so the utility of a
    draft is ``g E[ln E[N | alpha, L]]``. Where acceptance is known, or drifts so that every request meets all of it, a
    token is a token, and the utility ``E[N | L]``.

    Args:
        samples: Futures of each user, a multiple of 4.
        price: Of a second, in tokens; None to have what the planner earns in the system, measured once for each.
    """

    name = "long-run"

    def __init__(self, samples: int = SAMPLES, price: float | None = None) -> None:
        super().__init__(samples)
        self._price = price

    def objective(self, view: RoundView) -> Objective:
        """See :class:`Planner`."""
        price = earned_time_price(view.config) if self._price is None else self._price
        return Objective(long_run_utility(view), np.full(len(view.time_s), price))


def long_run_utility(view: RoundView) -> FloatArray:
    """Utility of drafts by their length from 0 on, in tokens, (num_envs, num_users, lengths); see :class:`LongRun`."""
    tokens = np.cumsum(prefix_probabilities(view), axis=-1)
    request_level = is_request_level(view)[..., np.newaxis]
    if not request_level.any():
        return tokens
    per_round = tokens_per_round(view, average_round(view.config).draft_length)[..., np.newaxis]
    log_tokens = expected_log_tokens(acceptance_belief(view), view.config.max_draft_length)
    return np.where(request_level, per_round * log_tokens, tokens)


@lru_cache
def earned_time_price(config: SystemConfig) -> float:
    """Goodput of :class:`LongRun` in a system, in tokens per second, measured in a few worlds of its own.

    One step of Dinkelbach's iteration from what the closed form earns (where models write, with requests in their place
    that have the tasks' acceptance).
    """
    if config.requests.live is not None:
        config = config.updated({"requests": {"live": None}})
    config = config.updated({"episode_rounds": min(config.episode_rounds, _PRICE_ROUNDS)})
    episodes = play(LongRun(_PRICE_SAMPLES, time_price(config)), config, _PRICE_SEEDS, timed=False)
    return sum(episode.tokens for episode in episodes) / sum(episode.seconds for episode in episodes)
