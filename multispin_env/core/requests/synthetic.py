"""Requests whose acceptance has a Beta distribution and whose length is uniform."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from multispin_env.config import SystemConfig, TaskConfig
from multispin_env.core.equations import FloatArray, IntArray, beta_parameters
from multispin_env.core.records import LENGTH_BITS, gauss_markov
from multispin_env.core.requests.outcomes import WINDOW, ConstantOutcomes, Outcomes, WindowedOutcomes, luck_limit
from multispin_env.core.requests.positional import HORIZON, PositionalRequests, equivalent_rate
from multispin_env.core.streams import Streams, UIntArray, splitmix64, uniform

# Grid of the standard normal variate on which a task's acceptance is tabulated. Beyond it lie 1e-15 of all requests.
_VARIATE_LIMIT = 8.0
_STEPS_PER_UNIT = 512
_GRID_POINTS = round(2.0 * _VARIATE_LIMIT * _STEPS_PER_UNIT) + 1
_LEAST_STD = 1e-6

# As arrays: a Python number takes NumPy as long as the operation on a few users.
_POSITIONS = np.arange(WINDOW)
_PLACE_MASK = np.array((1 << LENGTH_BITS) - 1)
_PLACE_SHIFT = np.array(64 - LENGTH_BITS, dtype=np.uint64)


@lru_cache(maxsize=64)
def _acceptance_table(task: TaskConfig, spread: float) -> FloatArray:
    """Acceptance at each grid point of the variate: the Beta quantile of its probability."""
    std = task.acceptance_std * spread
    # Beta quantiles lose their digits where the distribution is a spike.
    if std < _LEAST_STD:
        return np.full(_GRID_POINTS, task.acceptance_mean)
    variate = np.linspace(-_VARIATE_LIMIT, _VARIATE_LIMIT, _GRID_POINTS)
    first, second = beta_parameters(task.acceptance_mean, std)
    return np.clip(special.betaincinv(first, second, special.ndtr(variate)), 0.0, 1.0)


class SyntheticRequests(PositionalRequests):
    """Requests whose acceptance and length are drawn.

    The acceptance of a position is the Beta quantile of a standard normal variate. Its ``drift_share`` goes along the
    text with the autocorrelation ``exp(-tokens / drift_correlation_tokens)``, the rest is the prompt's own; the
    marginal stays Beta. A text has no end: what the last round gains beyond the request's length counts.

    Args:
        config: The system; its requests name tasks, acceptance and length of requests.
    """

    def __init__(self, config: SystemConfig) -> None:
        requests = config.requests
        super().__init__(config)
        self._task_std *= requests.acceptance_spread
        self._rates = np.concatenate([_acceptance_table(task, requests.acceptance_spread) for task in requests.tasks])
        self._drifts = requests.drift_share > 0.0 and requests.acceptance_spread > 0.0
        if self._drifts:
            self._limits = luck_limit(self._rates)
            # Where positions stand in the record of the drift, in samples from where the text enters it.
            samples = gauss_markov().samples_per_unit * np.arange(WINDOW + 1) / requests.drift_correlation_tokens
            self._within = np.rint(samples[:-1]).astype(np.int64)
            self._per_window = np.array(round(samples[-1]), dtype=np.int64)
            drift = np.rint(np.sqrt(requests.drift_share) * _STEPS_PER_UNIT * gauss_markov().samples[:-1])
            self._drift = drift.astype(np.int16)
            self._lasting_share = np.sqrt(1.0 - requests.drift_share)
        # Lasting part and drift together have to stay on the grid.
        self._farthest = np.array(_GRID_POINTS // 2 - (int(np.max(np.abs(self._drift))) if self._drifts else 0))
        self._tokens_low = np.array(requests.tokens_low)
        self._token_counts = np.array(requests.tokens_high - requests.tokens_low + 1)

    @property
    def acceptance_rate(self) -> FloatArray:
        """See :class:`RequestModel`."""
        if not self._drifts:
            return self._rates[self._lasting].reshape(-1, self._num_users)
        rows = np.arange(len(self._position))
        position = self._position[:, np.newaxis] + np.arange(HORIZON)
        rates = self._rates[self._grid_points(rows[:, np.newaxis], position // WINDOW, position % WINDOW)]
        return equivalent_rate(np.sum(np.cumprod(rates, axis=1), axis=1)).reshape(-1, self._num_users)

    def _draw_prompts(self, streams: Streams) -> Outcomes:
        names = ("requests.acceptance", "requests.length", "requests.drift")
        self._seeds = np.stack([streams.seeds(name, self._num_users).ravel() for name in names])
        self._middle = self._task * _GRID_POINTS + _GRID_POINTS // 2  # of the grid of each user's task
        self._lasting = np.zeros(self._task.size, dtype=np.int64)
        self._place = np.zeros(self._task.size, dtype=np.int64)
        if self._drifts:
            return WindowedOutcomes(self._task.size, self._window_limits)
        self._constant = ConstantOutcomes(self._task.size)
        return self._constant

    def _begin_prompts(self, rows: IntArray, prompt: UIntArray) -> IntArray:
        acceptance, length, drift = splitmix64(self._seeds.take(rows, axis=1), prompt)
        variate = special.ndtri(uniform(acceptance)) * _STEPS_PER_UNIT
        if self._drifts:
            variate *= self._lasting_share
            self._place[rows] = (drift >> _PLACE_SHIFT).astype(np.int64)
        point = np.minimum(np.maximum(np.rint(variate), -self._farthest), self._farthest).astype(np.int64)
        self._lasting[rows] = self._middle[rows] + point
        if not self._drifts:
            self._constant.set_rates(rows, self._rates[self._lasting[rows]])
        tokens = uniform(length) * self._token_counts
        return self._tokens_low + tokens.astype(np.int64)

    def _window_limits(self, rows: IntArray, number: IntArray) -> NDArray[np.uint32]:
        return self._limits.take(self._grid_points(rows[:, np.newaxis], number[:, np.newaxis], _POSITIONS))

    def _grid_points(self, rows: IntArray, number: IntArray, within: IntArray) -> IntArray:
        """Where the acceptances of positions, so many in the window of a number, stand in the tables."""
        place = (self._place[rows] + self._per_window * number) + self._within[within]
        place &= _PLACE_MASK
        return self._drift.take(place) + self._lasting[rows]
