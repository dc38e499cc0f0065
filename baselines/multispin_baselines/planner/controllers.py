"""Planners: of the round, and of the long run."""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from multispin_baselines.planner.futures import Futures
from multispin_baselines.planner.known import best_for_known_rates
from multispin_baselines.planner.objective import Objective
from multispin_baselines.planner.search import Rounds, planned
from multispin_baselines.texts import expected_progress, prefix_probabilities
from multispin_env import Allocation, RoundView, Simulator, SystemConfig
from multispin_env.core import EXACT
from multispin_env.core.equations import FloatArray
from multispin_env.evaluation.controller import Controller
from multispin_env.optimal import (
    RoundProblem,
    average_round,
    cautious_spectral_efficiency,
    equalize_bandwidth,
    posterior_acceptance,
)

SAMPLES = 64
# Searches start from what would be best if uploads found the predicted rates times these. Each ends in a local optimum:
# in `mobile` the best of the three lacks less than .1 % of the best value ever found, one of them alone .1 to .3 %.
_START_FACTORS = (0.7, 1.0, 1.4)
# Sampled futures reach so many times the latency of the start that expects the lowest rates.
_REACH = 3.0
# Rounds that are planned at once, for the memory that their futures take.
_TOGETHER = 16
# What the long run is like is measured in so many worlds and rounds, by plans with fewer samples.
_COURSE_STEPS, _COURSE_ENVS, _COURSE_ROUNDS, _COURSE_SAMPLES = 2, 8, 40, 16


class Planner(Controller):
    """Maximises the expected objective over lengths and shares, given the view.

    Rates to come are weighed by futures drawn from the channel's own model, acceptance by its posterior. From the
    best answers to predicted rates shares are improved by steps along the gradient of the expected end of the round,
    and lengths by moves of one token. Where the rates are known there is nothing to draw.

    Args:
        samples: Futures of each user.
    """

    def __init__(self, samples: int = SAMPLES) -> None:
        self.samples = samples

    @abstractmethod
    def objective(self, view: RoundView) -> Objective:
        """What is maximised in these rounds."""

    def act(self, view: RoundView) -> Allocation:
        """The best allocation found."""
        mean = posterior_acceptance(view)
        if view.csi == EXACT:
            return best_for_known_rates(RoundProblem.from_view(view, acceptance_rate=mean), self.objective(view))
        parts = (slice(first, first + _TOGETHER) for first in range(0, len(mean), _TOGETHER))
        plans = [self._planned(view.take(part), mean[part]) for part in parts]
        return Allocation(*(np.concatenate(arrays) for arrays in zip(*plans, strict=True)))

    def _planned(self, view: RoundView, acceptance: FloatArray) -> Allocation:
        objective, rate = self.objective(view), cautious_spectral_efficiency(view)
        problems = [
            RoundProblem.from_view(view, acceptance_rate=acceptance, spectral_efficiency=factor * rate)
            for factor in _START_FACTORS
        ]
        starts = [best_for_known_rates(problem, objective) for problem in problems]
        latency_s, _ = equalize_bandwidth(problems[0], starts[0].draft_length)
        futures = Futures.sampled(view, self.samples, _REACH * latency_s[:, np.newaxis])
        plan = planned(Rounds(view, futures, objective), starts)
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


class Course(NamedTuple):
    """How rounds go by in the long run.

    Attributes:
        draft_length: Typical draft length.
        rounds_per_s: What a second is worth: the progress of so many rounds of typical drafts.
    """

    draft_length: int
    rounds_per_s: float


class LongRun(Planner):
    """What a round adds to total tokens over total seconds of many rounds, maximised: the gold standard.

    A token does not count the same wherever it is: a text's tokens come in any case, what drafts change is the rounds
    that they take. So their utility is the progress that they make, see
    :func:`~multispin_baselines.texts.expected_progress`. And a second has one price, whatever the round: the goodput
    that the planner itself earns with these users (Dinkelbach), in proportion to the progress of their typical rounds.

    Args:
        samples: Futures of each user.
        course: How other rounds go by; None to have what the planner does in the system, measured once for each.
    """

    name = "long-run"

    def __init__(self, samples: int = SAMPLES, course: Course | None = None) -> None:
        super().__init__(samples)
        self._course = course

    def objective(self, view: RoundView) -> Objective:
        """See :class:`Planner`."""
        course = self._course or own_course(view.config)
        progress = expected_progress(view, course.draft_length)
        return Objective(progress, course.rounds_per_s * np.sum(progress[..., course.draft_length], axis=-1))


@lru_cache
def own_course(config: SystemConfig) -> Course:
    """How rounds of :class:`LongRun` go by in a system, measured in a few worlds of its own.

    Two steps of Dinkelbach's iteration from the average round (where models write, with requests in their place that
    have the tasks' acceptance). What is earned is progress: tokens of the first rounds after a reset say too much, as
    hard requests take more rounds and have not yet piled up.
    """
    if config.requests.live is not None:
        config = config.updated({"requests": {"live": None}})
    average = average_round(config)
    course = Course(average.draft_length, 1.0 / average.latency_s)
    for _ in range(_COURSE_STEPS):
        course = _course_after(config, course)
    return course


def _course_after(config: SystemConfig, course: Course) -> Course:
    """How rounds go by when they are planned for a course."""
    planner = LongRun(_COURSE_SAMPLES, course)
    simulator = Simulator(config, _COURSE_ENVS)
    simulator.reset([np.random.default_rng((_COURSE_ENVS, seed)) for seed in range(_COURSE_ENVS)])
    first = simulator.view()
    earned, drafted, seconds = 0.0, 0.0, np.zeros(_COURSE_ENVS)
    rounds = min(_COURSE_ROUNDS, config.episode_rounds)
    for _ in range(rounds):
        view = simulator.view()
        decided = planner.act(view)
        earned += float(np.sum(planner.objective(view).of_drafts(decided.draft_length)))
        drafted += float(np.mean(decided.draft_length))
        seconds += simulator.step(decided).latency_s
    draft_length = max(1, round(drafted / rounds))
    typical = np.sum(expected_progress(first, draft_length)[..., draft_length], axis=-1)
    return Course(draft_length, earned / float(seconds @ typical))
