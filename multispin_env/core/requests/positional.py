"""Requests whose texts have easy and hard places: what a draft meets belongs to its position, whatever was decided."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.equations import FloatArray, IntArray, expected_tokens
from multispin_env.core.requests.base import RequestModel, draw_tasks
from multispin_env.core.streams import Streams, UIntArray, splitmix64

# Draft length by which stretches of text are compared: the paper's fixed one.
HORIZON = 8
# Luck is one of 2^31 equally likely integers, two of them from a number of the generator.
LUCK_BITS = 31

# Positions whose outcomes are decided ahead, or twice the longest draft: most requests at once, long ones in parts.
_WINDOW = 512
# Requests whose outcomes are decided together: some of 256 tokens stay in the processor's cache.
_ROWS_PER_BLOCK = 128


def luck_limit(probability: FloatArray) -> NDArray[np.uint32]:
    """The integer that luck is below with this probability."""
    return np.rint(np.ldexp(probability, LUCK_BITS)).astype(np.uint32)


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

    Outcomes are kept a request, or a stretch of it, ahead: two bytes a token.

    Args:
        config: The system.
        longest: Positions of the longest request at which a draft can stand.
    """

    def __init__(self, config: SystemConfig, longest: int) -> None:
        super().__init__(config)
        self._config = config.requests
        self._num_users = config.num_users
        self._longest_draft = config.max_draft_length
        self._window = min(longest, max(_WINDOW, 2 * config.max_draft_length))
        self._in_parts = longest > self._window

    def reset(self, streams: Streams) -> None:
        """See :class:`RequestModel`."""
        task = draw_tasks(self._config, streams, self._num_users)
        self.task_acceptance_mean = self._task_mean[task]
        self.task_acceptance_std = self._task_std[task]
        self._begin_record(task.shape)

        # From here on a row is a user of some environment.
        self._task = task.ravel()
        self._luck_seeds = streams.seeds("requests.outcome", self._num_users).ravel()
        self._request_luck = np.empty_like(self._luck_seeds)
        self._number = np.zeros(task.size, dtype=np.uint64)
        self._position = np.zeros(task.size, dtype=np.int64)
        self._length = np.zeros(task.size, dtype=np.int64)
        self._window_start = np.zeros(task.size, dtype=np.int64)
        self._next_rejection = np.empty((task.size, self._window), dtype=np.int16)
        self._rows = np.arange(task.size)
        self._draw_prompts(streams)
        self._begin_requests(self._rows)

    def verify(self, draft_length: IntArray) -> IntArray:
        """See :class:`RequestModel`."""
        offset = self._position - self._window_start
        run = self._next_rejection[self._rows, offset] - offset
        accepted = np.minimum(run.reshape(draft_length.shape), draft_length)
        tokens = accepted + 1
        self._position += tokens.ravel()
        finished = self._position >= self._length
        self._record(draft_length, accepted, ~finished.reshape(draft_length.shape))
        rows = np.flatnonzero(finished)
        if rows.size:
            self._number[rows] += np.uint64(1)
            self._begin_requests(rows)
        if self._in_parts:
            reach = self._position - self._window_start + self._longest_draft
            self._look_ahead(np.flatnonzero(reach > self._window))
        return tokens

    @abstractmethod
    def _draw_prompts(self, streams: Streams) -> None:
        """Draws what decides each user's prompts."""

    @abstractmethod
    def _begin_prompts(self, rows: IntArray, prompt: UIntArray) -> IntArray:
        """Puts the prompts of these numbers in their users' places and returns the lengths of their texts."""

    @abstractmethod
    def _luck_limits(self, rows: IntArray, start: IntArray, width: int) -> NDArray[np.uint32]:
        """The integers that luck is below where drafts are accepted, from positions ``start`` on, (rows, width or 1)."""

    def _begin_requests(self, rows: IntArray) -> None:
        number = self._number[rows]
        self._request_luck[rows] = splitmix64(self._luck_seeds[rows], number)
        self._length[rows] = self._begin_prompts(rows, number % np.uint64(self._config.prompts_per_user))
        self._position[rows] = 0
        self._look_ahead(rows)

    def _look_ahead(self, rows: IntArray) -> None:
        """Decides the outcome of a draft at each position from where these requests stand."""
        start = self._position[rows] & ~1  # as luck comes in pairs
        self._window_start[rows] = start
        width = np.minimum(self._length[rows] + self._longest_draft - start, self._window)
        order = np.argsort(width)
        for first in range(0, len(rows), _ROWS_PER_BLOCK):
            block = order[first : first + _ROWS_PER_BLOCK]
            self._decide(rows[block], start[block], int(width[block[-1]]))

    def _decide(self, rows: IntArray, start: IntArray, width: int) -> None:
        pairs = (start >> 1)[:, np.newaxis] + np.arange((width + 1) // 2)
        luck = splitmix64(self._request_luck[rows, np.newaxis], pairs.astype(np.uint64)).view(np.uint32)[:, :width]
        rejected = (luck >> np.uint32(32 - LUCK_BITS)) >= self._luck_limits(rows, start, width)
        # The first rejection from each position on; the end of the window where none is left.
        rejection = np.where(rejected, np.arange(width, dtype=np.int16), np.int16(self._window))
        self._next_rejection[rows, :width] = np.minimum.accumulate(rejection[:, ::-1], axis=1)[:, ::-1]
