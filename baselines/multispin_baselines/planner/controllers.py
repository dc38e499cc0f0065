"""Planners: of the round, and of the long run."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from multispin_baselines.beliefs import acceptance_belief, acceptance_powers, expected_log_tokens, lasting, tokens_per_round
from multispin_baselines.planner.futures import Futures
from multispin_baselines.planner.known import best_for_known_rates
from multispin_baselines.planner.objective import Objective
from multispin_baselines.planner.texts import prefix_probabilities
from multispin_baselines.planner.search import Rounds, planned
from multispin_env import Allocation, RoundView
from multispin_env.core import EXACT
from multispin_env.core.equations import FloatArray
from multispin_env.envs.rewards import time_price
from multispin_env.evaluation.controller import Controller
from multispin_env.optimal import RoundProblem, average_round, solve_heterogeneous, equalize_bandwidth, predicted_spectral_efficiency, typical_delay_s

SAMPLES = 32
_REACH = 4.0
_TOGETHER = 16


class Planner(Controller):
    def __init__(self, samples: int = SAMPLES) -> None:
        self.samples = samples

    @abstractmethod
    def objective(self, view: RoundView) -> Objective:
        """What is maximised in these rounds."""

    def act(self, view: RoundView) -> Allocation:
        if view.csi == EXACT:
            problem = RoundProblem.from_view(view, acceptance_rate=acceptance_belief(view).mean)
            return best_for_known_rates(problem, self.objective(view))
        plans = [self._plan(view.take(slice(first, first + _TOGETHER))) for first in range(0, len(view.time_s), _TOGETHER)]
        return Allocation(*(np.concatenate(parts) for parts in zip(*plans, strict=True)))

    def _plan(self, view):
        rate = predicted_spectral_efficiency(view, typical_delay_s(view.config))
        problem = RoundProblem.from_view(view, acceptance_rate=acceptance_belief(view).mean, spectral_efficiency=rate)
        start = solve_heterogeneous(problem).allocation
        latency, _ = equalize_bandwidth(problem, start.draft_length)
        futures = Futures.sampled(view, self.samples, _REACH * latency[:, np.newaxis])
        plan = planned(Rounds(view, futures, self.objective(view)), start)
        self.last = plan
        return Allocation(plan.length, plan.share)


class Stochastic(Planner):
    name = "stochastic"

    def objective(self, view):
        return Objective(np.cumsum(prefix_probabilities(view), axis=-1))


class LongRun(Planner):
    name = "long-run"
    factor = 1.0

    def objective(self, view):
        evidence = acceptance_belief(view)
        lasts, longest = lasting(view)[..., np.newaxis], view.config.max_draft_length
        worth = np.cumsum(prefix_probabilities(view), axis=-1)
        if lasts.any():
            lasting_worth = _average_tokens(view)[..., np.newaxis] * expected_log_tokens(evidence, longest)
            worth = np.where(lasts, lasting_worth, worth)
        return Objective(worth, np.full(len(view.time_s), self.factor * time_price(view.config)))


def _average_tokens(view: RoundView) -> FloatArray:
    return tokens_per_round(view, average_round(view.config).draft_length)
