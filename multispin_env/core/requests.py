"""Requests: what any kind of them tells the simulator, and those whose acceptance has a Beta distribution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from multispin_env.config import RequestConfig, TaskConfig
from multispin_env.core.channel import ornstein_uhlenbeck
from multispin_env.core.round import FloatArray, IntArray

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


@dataclass(frozen=True)
class Passage:
    """A user's text as a round left it.

    Attributes:
        prompt: What the user asked.
        text: All that is written behind the prompt.
        gained_from: Where in ``text`` that begins which the round gained: the accepted drafts.
        own_from: Where the server's own token behind them begins; the end of ``text`` if an accepted draft ended it.
        ended: Whether the request ended with the round.
    """

    prompt: str
    text: str
    gained_from: int
    own_from: int
    ended: bool


class UserRequests(ABC):
    """The requests of every lane's users, whatever decides what is accepted. Arrays are (lanes, users).

    A user works through its own list of prompts, fixed at the start of the episode: request i of a user is the same
    whatever was decided before. When a request has its tokens the next begins with the next round; the tokens that the
    last round gained beyond its end count (eq. 13 knows no end of a request).

    Views hand the arrays out: a round puts new ones in their places and writes to none of them.

    Attributes:
        num_normals: Standard normal variates that a round needs for each user.
        num_exponentials: Standard exponential variates that a round needs for each user.
        task_acceptance_mean: Mean acceptance over the prompts of the user's task.
        task_acceptance_std: Its standard deviation over prompts.
        acceptance_rate: The running request's true acceptance, now.
        request_tested: Drafts of the running request that verification has decided.
        request_accepted: Drafts of the running request that were accepted.
        last_draft_length: Draft length of the last round; 0 in the first round.
        last_accepted: Drafts accepted in the last round.
        passages: Each lane's users' texts as the last round left them; None where no text is written.
    """

    num_normals: int
    num_exponentials = 1
    task_acceptance_mean: FloatArray
    task_acceptance_std: FloatArray
    acceptance_rate: FloatArray
    request_tested: IntArray
    request_accepted: IntArray
    last_draft_length: IntArray
    last_accepted: IntArray
    passages: tuple[tuple[Passage, ...], ...] | None = None

    @abstractmethod
    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Draws tasks and prompts and begins every user's first request; one generator a lane."""

    @abstractmethod
    def verify(self, draft_length: IntArray, outcome: FloatArray, drift_innovation: FloatArray | None) -> IntArray:
        """Verifies the drafts and moves the requests on.

        Args:
            draft_length: Drafted tokens, (lanes, users).
            outcome: The round's standard exponential variates, (lanes, users).
            drift_innovation: The round's standard normal variates, or None where the requests need none.

        Returns:
            Tokens gained, (lanes, users): the accepted prefix and one token of the server's own.
        """

    def _begin_record(self, shape: tuple[int, ...]) -> None:
        """Nothing was drafted yet."""
        self.request_tested = np.zeros(shape, dtype=np.int64)
        self.request_accepted = np.zeros(shape, dtype=np.int64)
        self.last_draft_length = np.zeros(shape, dtype=np.int64)
        self.last_accepted = np.zeros(shape, dtype=np.int64)

    def _record(self, draft_length: IntArray, accepted: IntArray, goes_on: NDArray[np.bool_]) -> None:
        """What a round told of the requests; those that do not go on give way to new ones."""
        # Verification decides the accepted drafts and the first rejected one, and says nothing about those behind it.
        tested = accepted + (accepted < draft_length)
        self.request_tested = (self.request_tested + tested) * goes_on
        self.request_accepted = (self.request_accepted + accepted) * goes_on
        self.last_draft_length = draft_length.copy()  # the caller may write to its own
        self.last_accepted = accepted


class Requests(UserRequests):
    """Requests whose acceptance and length are drawn.

    A prompt's acceptance is the Beta quantile of a standard normal variate. Its ``drift_share`` is an
    Ornstein-Uhlenbeck process over the tokens of the request, the rest is the prompt's own; the marginal stays Beta.
    """

    def __init__(self, config: RequestConfig, num_users: int) -> None:
        self._config = config
        self._num_users = num_users
        self._drifts = config.drift_share > 0.0 and config.acceptance_spread > 0.0
        self.num_normals = int(self._drifts)
        self._table = np.concatenate([_acceptance_table(task, config.acceptance_spread) for task in config.tasks])
        self._task_mean = np.array([task.acceptance_mean for task in config.tasks])
        self._task_std = np.array([task.acceptance_std for task in config.tasks]) * config.acceptance_spread

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """See :class:`UserRequests`."""
        config, users = self._config, self._num_users
        prompts = (users, config.prompts_per_user)
        self._task = np.stack([g.integers(len(config.tasks), size=users) for g in generators])
        self._prompt_variate = np.stack([g.standard_normal(prompts, dtype=np.float32) for g in generators])
        self._prompt_tokens = np.stack(
            [
                g.integers(config.tokens_low, config.tokens_high, size=prompts, dtype=np.int32, endpoint=True)
                for g in generators
            ]
        )
        drift = np.stack([g.standard_normal(users) for g in generators])

        shape = self._task.shape
        self.task_acceptance_mean = self._task_mean[self._task]
        self.task_acceptance_std = self._task_std[self._task]
        self._prompt = np.zeros(shape, dtype=np.int64)
        self._tokens_left = self._prompt_tokens[:, :, 0].astype(np.int64)
        self._variate = self._prompt_variate[:, :, 0].astype(np.float64)
        self._drift = drift
        self.acceptance_rate = self._rate(self._mixed_variate(), self._task)
        self._begin_record(shape)

    def verify(self, draft_length: IntArray, outcome: FloatArray, drift_innovation: FloatArray | None) -> IntArray:
        """See :class:`UserRequests`; the outcome decides the length of the accepted prefix."""
        accepted = accepted_tokens(self.acceptance_rate, draft_length, outcome)
        tokens = accepted + 1
        left = self._tokens_left - tokens
        goes_on = left > 0
        self._record(draft_length, accepted, goes_on)

        finished = np.flatnonzero(~goes_on)
        self._begin_next_requests(finished, left)
        if drift_innovation is not None:
            # A new request's drift is a fresh draw, an old one's has moved by the tokens gained.
            rate = tokens / self._config.drift_correlation_tokens
            rate.ravel()[finished] = np.inf
            self._drift = ornstein_uhlenbeck(self._drift, rate, drift_innovation)
            self.acceptance_rate = self._rate(self._mixed_variate(), self._task)
        elif finished.size:
            acceptance_rate = self.acceptance_rate.copy()
            acceptance_rate.ravel()[finished] = self._rate(
                self._mixed_variate().ravel()[finished], self._task.ravel()[finished]
            )
            self.acceptance_rate = acceptance_rate
        return tokens

    def _begin_next_requests(self, finished: IntArray, left: IntArray) -> None:
        prompt = (self._prompt.ravel()[finished] + 1) % self._config.prompts_per_user
        self._prompt.ravel()[finished] = prompt
        prompts = self._config.prompts_per_user
        self._variate.ravel()[finished] = self._prompt_variate.reshape(-1, prompts)[finished, prompt]
        left.ravel()[finished] = self._prompt_tokens.reshape(-1, prompts)[finished, prompt]
        self._tokens_left = left

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
