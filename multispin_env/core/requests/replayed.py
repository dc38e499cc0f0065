"""Requests replayed from measured traces: a model pair's own acceptance, position by position."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from multispin_env.config import ConfigError, SystemConfig
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.requests.outcomes import WINDOW, Outcomes, WindowedOutcomes, luck_limit
from multispin_env.core.requests.positional import HORIZON, PositionalRequests, equivalent_rate
from multispin_env.core.streams import Streams, UIntArray, splitmix64
from multispin_env.profiles import Traces


def expected_prefix(acceptance: FloatArray) -> FloatArray:
    """Expected accepted prefix of a draft of ``HORIZON`` tokens from every position on.

    Args:
        acceptance: Probability that a draft at the position is accepted, 0 behind the end; (requests, positions).
    """
    prefix = np.zeros_like(acceptance)
    for _ in range(HORIZON):
        behind = np.zeros_like(acceptance)
        behind[:, :-1] = prefix[:, 1:]
        prefix = acceptance * (1.0 + behind)
    return prefix


class ReplayedRequests(PositionalRequests):
    """Requests whose acceptance was measured: texts of the target model, with how a draft would fare at each position.

    A prompt is a request measured of the user's task. Outcomes along its text are exact, see
    :class:`~multispin_env.profiles.Traces`. A text ends; no draft behind its end is accepted, but the server's own
    token there counts.

    Args:
        config: The system; its requests name tasks, prompts and the longest request.
        traces: The measured requests.

    Raises:
        ConfigError: No request of some task was measured.
    """

    def __init__(self, config: SystemConfig, traces: Traces) -> None:
        requests = config.requests
        names = np.array(traces.task)
        of_task = [np.flatnonzero(names == task.name) for task in requests.tasks]
        for task, rows in zip(requests.tasks, of_task, strict=True):
            if not rows.size:
                raise ConfigError(
                    "RequestConfig.tasks must be among those of the measured requests, "
                    f"{', '.join(dict.fromkeys(traces.task))}, got {task.name!r}"
                )
        # The measured requests of task after task, so that those of a task are a range.
        order = np.concatenate(of_task)
        self._count = np.array([len(rows) for rows in of_task], dtype=np.uint64)
        self._first = np.cumsum([0, *map(len, of_task[:-1])])
        self._text_length = np.minimum(traces.length[order], requests.tokens_high)
        longest = int(self._text_length.max())
        super().__init__(config)
        # Behind the end of a text nothing is accepted; positions behind the longest one read its last column.
        inside = np.arange(longest + 1) < self._text_length[:, np.newaxis]
        within = slice(longest)
        self._limits = np.pad(luck_limit(traces.outcome_probability[order, within]), ((0, 0), (0, 1))) * inside
        # Not from the outcome probabilities of the text: they know its tokens, which are luck before they are drafted.
        self._rates = equivalent_rate(expected_prefix(traces.acceptance[order, within] * inside[:, :-1]))

    @property
    def acceptance_rate(self) -> FloatArray:
        """See :class:`RequestModel`."""
        return self._rates[self._request, self._position].reshape(-1, self._num_users)

    def _draw_prompts(self, streams: Streams) -> Outcomes:
        self._prompt_seed = streams.seeds("requests.prompt", self._num_users).ravel()
        self._request = np.zeros(self._task.size, dtype=np.int64)
        return WindowedOutcomes(self._task.size, self._window_limits)

    def _begin_prompts(self, rows: IntArray, prompt: UIntArray) -> IntArray:
        task = self._task[rows]
        drawn = splitmix64(self._prompt_seed[rows], prompt)
        request = self._first[task] + (drawn % self._count[task]).astype(np.int64)
        self._request[rows] = request
        return self._text_length[request]

    def _window_limits(self, rows: IntArray, number: IntArray) -> NDArray[np.uint32]:
        position = np.minimum(WINDOW * number[:, np.newaxis] + np.arange(WINDOW), self._limits.shape[1] - 1)
        return self._limits[self._request[rows, np.newaxis], position]
