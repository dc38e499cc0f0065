"""Requests whose acceptance has a Beta distribution and whose length is uniform."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from multispin_env.config import RequestConfig, TaskConfig
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.processes import ornstein_uhlenbeck
from multispin_env.core.requests.base import RequestModel, draw_tasks
from multispin_env.core.streams import RoundDraws, Streams, UIntArray, splitmix64, uniform

# Grid of the standard normal variate on which a task's acceptance is tabulated. Beyond it lie 1e-15 of all requests.
_VARIATE_LIMIT = 8.0
_GRID_STEPS = 4096
_LEAST_STD = 1e-6


def beta_parameters(mean: ArrayLike, std: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The two shape parameters of the Beta distribution with this mean and standard deviation (std > 0)."""
    mean = np.asarray(mean, dtype=np.float64)
    concentration = mean * (1.0 - mean) / np.square(std) - 1.0
    return mean * concentration, (1.0 - mean) * concentration


@lru_cache(maxsize=64)
def _acceptance_table(task: TaskConfig, spread: float) -> FloatArray:
    """Acceptance at each grid point of the variate: the Beta quantile of its probability."""
    std = task.acceptance_std * spread
    # Beta quantiles lose their digits where the distribution is a spike.
    if std < _LEAST_STD:
        return np.full(_GRID_STEPS + 1, task.acceptance_mean)
    variate = np.linspace(-_VARIATE_LIMIT, _VARIATE_LIMIT, _GRID_STEPS + 1)
    first, second = beta_parameters(task.acceptance_mean, std)
    return np.clip(special.betaincinv(first, second, special.ndtr(variate)), 0.0, 1.0)


def accepted_tokens(acceptance_rate: FloatArray, draft_length: IntArray, outcome: FloatArray) -> IntArray:
    """Length of the accepted prefix, 0 to L: with the server's own token, N - 1 of eq. 11.

    ``outcome / -ln(alpha)``, rounded down, is geometric when ``outcome`` is standard exponential. The same outcome
    serves any length and any rate, and more of either never accepts less: two controllers meet the same luck.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        run = outcome / np.abs(np.log(acceptance_rate))
    # An outcome of exactly 0 at a rate of exactly 1 is 0/0; fmin takes the length.
    return np.fmin(run, draft_length).astype(np.int64)


class SyntheticRequests(RequestModel):
    """Requests whose acceptance and length are drawn.

    A prompt's acceptance is the Beta quantile of a standard normal variate. Its ``drift_share`` is an
    Ornstein-Uhlenbeck process over the tokens of the request, the rest is the prompt's own; the marginal stays Beta.

    Args:
        config: Tasks, acceptance and length of requests.
        num_users: Users of an environment.
        rounds: Rounds of an episode.
    """

    def __init__(self, config: RequestConfig, num_users: int, rounds: int) -> None:
        self._config = config
        self._num_users = num_users
        self._drifts = config.drift_share > 0.0 and config.acceptance_spread > 0.0
        self._table = np.concatenate([_acceptance_table(task, config.acceptance_spread) for task in config.tasks])
        self._task_mean = np.array([task.acceptance_mean for task in config.tasks])
        self._task_std = np.array([task.acceptance_std for task in config.tasks]) * config.acceptance_spread
        self._outcomes = RoundDraws(np.random.Generator.standard_exponential, 1, num_users, rounds)
        # The first draw is the drift at the start of the episode.
        self._innovations = RoundDraws(np.random.Generator.standard_normal, 1, num_users, rounds + 1)

    def reset(self, streams: Streams) -> None:
        """See :class:`RequestModel`."""
        self._task = draw_tasks(self._config, streams, self._num_users)
        self._seeds = np.stack(
            [streams.seeds(name, self._num_users) for name in ("requests.acceptance", "requests.length")]
        )
        self._outcomes.reset(streams.generators("requests.outcome"))
        if self._drifts:
            self._innovations.reset(streams.generators("requests.drift"))
            self._drift = self._innovations.next()[0].copy()

        self.task_acceptance_mean = self._task_mean[self._task]
        self.task_acceptance_std = self._task_std[self._task]
        self._prompt = np.zeros(self._task.shape, dtype=np.uint64)
        self._variate, self._tokens_left = self._drawn(self._seeds, self._prompt)
        self.acceptance_rate = self._rate(self._mixed_variate(), self._task)
        self._begin_record(self._task.shape)

    def verify(self, draft_length: IntArray) -> IntArray:
        """See :class:`RequestModel`."""
        accepted = accepted_tokens(self.acceptance_rate, draft_length, self._outcomes.next()[0])
        self.advance(draft_length, accepted)
        return accepted + 1

    def advance(self, draft_length: IntArray, accepted: IntArray) -> None:
        """Moves the requests on by what verification accepted of the drafts, both (num_envs, num_users)."""
        tokens = accepted + 1
        self._tokens_left = self._tokens_left - tokens
        goes_on = self._tokens_left > 0
        self._record(draft_length, accepted, goes_on)

        finished = np.flatnonzero(~goes_on)
        if finished.size:
            self._begin_next_requests(finished)
        if self._drifts:
            # A new request's drift is a fresh draw, an old one's has moved by the tokens gained.
            rate = tokens / self._config.drift_correlation_tokens
            rate.ravel()[finished] = np.inf
            self._drift = ornstein_uhlenbeck(self._drift, rate, self._innovations.next()[0])
            self.acceptance_rate = self._rate(self._mixed_variate(), self._task)
        elif finished.size:
            acceptance_rate = self.acceptance_rate.copy()
            acceptance_rate.ravel()[finished] = self._rate(
                self._mixed_variate().ravel()[finished], self._task.ravel()[finished]
            )
            self.acceptance_rate = acceptance_rate

    def _begin_next_requests(self, finished: IntArray) -> None:
        """Puts the next prompt of its user in the place of each request that has ended, given by flat indices."""
        prompt = (self._prompt.ravel()[finished] + 1) % self._config.prompts_per_user
        self._prompt.ravel()[finished] = prompt
        variate, tokens = self._drawn(self._seeds.reshape(2, -1)[:, finished], prompt)
        self._variate.ravel()[finished] = variate
        self._tokens_left.ravel()[finished] = tokens

    def _drawn(self, seeds: UIntArray, prompt: UIntArray) -> tuple[FloatArray, IntArray]:
        """The acceptance variates of prompts and the tokens they ask for; seeds are (2, ...), prompts (...)."""
        acceptance, length = uniform(splitmix64(seeds, prompt))
        low, high = self._config.tokens_low, self._config.tokens_high
        return special.ndtri(acceptance), low + (length * (high - low + 1)).astype(np.int64)

    def _mixed_variate(self) -> FloatArray:
        if not self._drifts:
            return self._variate
        share = self._config.drift_share
        return np.sqrt(1.0 - share) * self._variate + np.sqrt(share) * self._drift

    def _rate(self, variate: FloatArray, task: IntArray) -> FloatArray:
        position = variate + _VARIATE_LIMIT
        position *= _GRID_STEPS / (2.0 * _VARIATE_LIMIT)
        np.clip(position, 0.0, _GRID_STEPS - 1e-6, out=position)
        below = position.astype(np.int64)
        position -= below
        below += task * (_GRID_STEPS + 1)
        low = self._table[below]
        below += 1
        rate = self._table[below]
        rate -= low
        rate *= position
        rate += low
        # Rounding may carry the sum a last digit beyond 1.
        return np.minimum(rate, 1.0, out=rate)
