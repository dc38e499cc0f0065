"""Requests whose texts have easy and hard places: what a draft meets belongs to its position, whatever was decided."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from multispin_env.config import SystemConfig
from multispin_env.core.equations import FloatArray, IntArray, expected_tokens
from multispin_env.core.requests.base import RequestModel, draw_tasks
from multispin_env.core.requests.outcomes import Outcomes
from multispin_env.core.streams import Streams, UIntArray, splitmix64

# As an array: a Python number takes NumPy as long as the operation on a few users.
_ONE = np.array(1, dtype=np.uint64)

# Draft length by which stretches of text are compared: the paper's fixed one.
HORIZON = 8


def equivalent_rate(prefix: FloatArray) -> FloatArray:
    """The i.i.d. rate (eq. 11) with which a draft of ``HORIZON`` tokens has this expected accepted prefix.

    It is the one rate that says how drafts fare in the positions ahead. The mean of their acceptances would not do: it
    hides that the early ones decide whether the later ones are reached.
    """
    rates = np.linspace(0.0, 1.0, 4097)
    return np.interp(prefix, expected_tokens(rates, HORIZON) - 1.0, rates)


class PositionalRequests(RequestModel):
    """Requests that go along a text: a draft is accepted or not by the position at which it stands.

    A round of L drafts accepts up to the first rejection from where the text stands and goes on behind the server's
    token. Whether a draft at a position would be accepted belongs to the user, the number of its request and the
    position: how likely it is comes from the request, and luck is a hash of the three under the episode's stream. No
    decision moves either.

    Args:
        config: The system.
    """

    def __init__(self, config: SystemConfig) -> None:
        super().__init__(config)
        self._config = config.requests
        self._prompts = np.array(config.requests.prompts_per_user, dtype=np.uint64)
        self._num_users = config.num_users

    def reset(self, streams: Streams) -> None:
        """See :class:`RequestModel`."""
        task = draw_tasks(self._config, streams, self._num_users)
        self.task_acceptance_mean = self._task_mean[task]
        self.task_acceptance_std = self._task_std[task]
        self._begin_record(task.shape)

        # From here on a row is a user of some environment.
        self._task = task.ravel()
        self._luck_seeds = streams.seeds("requests.outcome", self._num_users).ravel()
        self._number = np.zeros(task.size, dtype=np.uint64)
        self._length = np.empty(task.size, dtype=np.int64)
        self._position = np.empty(task.size, dtype=np.int64)
        self._outcomes = self._draw_prompts(streams)
        self._begin_requests(np.arange(task.size))

    def verify(self, draft_length: IntArray) -> IntArray:
        """See :class:`RequestModel`."""
        length = draft_length.ravel()
        accepted = np.minimum(self._outcomes.runs(self._position, length), length)
        self._position = self._position + accepted
        self._position += 1
        ended = (self._position >= self._length).nonzero()[0]
        accepted = accepted.reshape(draft_length.shape)
        tokens = self._record(draft_length, accepted, ended)
        if ended.size:
            self._begin_requests(ended)
        return tokens

    @abstractmethod
    def _draw_prompts(self, streams: Streams) -> Outcomes:
        """Draws what decides each user's prompts, and returns what decides about their drafts, a user a row."""

    @abstractmethod
    def _begin_prompts(self, rows: IntArray, prompt: UIntArray) -> IntArray:
        """Puts the prompts of these numbers in their users' places and returns the lengths of their texts."""

    def _begin_requests(self, rows: IntArray) -> None:
        """Begins the request of each user's current number."""
        number = self._number[rows]
        self._number[rows] = number + _ONE
        self._length[rows] = self._begin_prompts(rows, number % self._prompts)
        self._position[rows] = 0
        self._outcomes.begin(rows, splitmix64(self._luck_seeds[rows], number))
