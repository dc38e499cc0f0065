"""Requests replayed from measured traces: a model pair's own acceptance, position by position."""

from __future__ import annotations

import numpy as np

from multispin_env.config import ConfigError, RequestConfig
from multispin_env.core.equations import FloatArray, IntArray, expected_tokens
from multispin_env.core.requests.base import RequestModel, draw_tasks
from multispin_env.core.streams import Streams, splitmix64
from multispin_env.profiles import Traces

# Draft length by which stretches of text are compared: the paper's fixed one.
HORIZON = 8
# Requests whose outcomes are drawn together: some of 256 tokens stay in the processor's cache.
_ROWS_PER_BLOCK = 64


def equivalent_rate(acceptance: FloatArray) -> FloatArray:
    """The one rate that says how drafts fare in the positions ahead, for every position.

    It is the i.i.d. rate (eq. 11) with which a draft of ``HORIZON`` tokens has the expected accepted prefix that the
    coming acceptances give it. Their mean would not do: it hides that the early ones decide whether the later ones are
    reached. Nor would the outcome probabilities of the text: they know its tokens, which are luck as long as they are
    not drafted.

    Args:
        acceptance: Probability that a draft at the position is accepted, 0 behind the end; (requests, positions).
    """
    prefix = np.zeros_like(acceptance)
    for _ in range(HORIZON):
        behind = np.zeros_like(acceptance)
        behind[:, :-1] = prefix[:, 1:]
        prefix = acceptance * (1.0 + behind)
    rates = np.linspace(0.0, 1.0, 4097)
    return np.interp(prefix, expected_tokens(rates, HORIZON) - 1.0, rates)


class ReplayedRequests(RequestModel):
    """Requests whose acceptance was measured: texts of the target model, with how a draft would fare at each position.

    A prompt is a request measured of the user's task. A round of L drafts accepts up to the first rejection from where
    the text stands and goes on behind the server's token (see :class:`~multispin_env.profiles.Traces` for why that is
    exact). A text ends; no draft behind its end is accepted, but the server's own token there counts.

    Whether a draft at a position would be accepted belongs to the user, the number of its request and the position: it
    is a hash of these under the episode's stream, and no decision moves it.

    A user's outcomes are kept while its request runs: two bytes a token of the longest one.

    Args:
        config: Tasks, prompts and the longest request.
        traces: The measured requests.
        num_users: Users of an environment.

    Raises:
        ConfigError: No request of some task was measured.
    """

    def __init__(self, config: RequestConfig, traces: Traces, num_users: int) -> None:
        self._config = config
        self._num_users = num_users
        names = np.array(traces.task)
        of_task = [np.flatnonzero(names == task.name) for task in config.tasks]
        for task, rows in zip(config.tasks, of_task, strict=True):
            if not rows.size:
                raise ConfigError(
                    "RequestConfig.tasks must be among those of the measured requests, "
                    f"{', '.join(dict.fromkeys(traces.task))}, got {task.name!r}"
                )
        # The measured requests of task after task, so that those of a task are a range.
        order = np.concatenate(of_task)
        self._count = np.array([len(rows) for rows in of_task], dtype=np.uint64)
        self._first = np.cumsum([0, *map(len, of_task[:-1])])
        self._length = np.minimum(traces.length[order], config.tokens_high)
        within = slice(int(self._length.max()))
        # Of 2^53 equally likely integers, which compare faster than the uniform variates that they stand for.
        self._accepted_below = (traces.outcome_probability[order, within] * 2.0**53).astype(np.uint64)
        self._equivalent_rate = equivalent_rate(traces.acceptance[order, within])
        self._task_mean = np.array([task.acceptance_mean for task in config.tasks])
        self._task_std = np.array([task.acceptance_std for task in config.tasks])

    def reset(self, streams: Streams) -> None:
        """See :class:`RequestModel`."""
        task = draw_tasks(self._config, streams, self._num_users)
        self.task_acceptance_mean = self._task_mean[task]
        self.task_acceptance_std = self._task_std[task]
        self._begin_record(task.shape)

        # From here on a row is a user of some environment.
        self._task = task.ravel()
        self._prompt_seed = streams.seeds("requests.prompt", self._num_users).ravel()
        self._luck_seed = streams.seeds("requests.outcome", self._num_users).ravel()
        self._number = np.zeros(task.size, dtype=np.uint64)
        self._request = np.zeros(task.size, dtype=np.int64)
        self._position = np.zeros(task.size, dtype=np.int64)
        positions = self._accepted_below.shape[1]
        self._next_rejection = np.empty((task.size, positions), dtype=np.min_scalar_type(positions))
        self._rows = np.arange(task.size)
        self._begin_requests(self._rows)
        self._look_ahead()

    def verify(self, draft_length: IntArray) -> IntArray:
        """See :class:`RequestModel`."""
        run = self._next_rejection[self._rows, self._position] - self._position
        accepted = np.minimum(run.reshape(draft_length.shape), draft_length)
        tokens = accepted + 1
        self._position += tokens.ravel()
        finished = self._position >= self._length[self._request]
        self._record(draft_length, accepted, ~finished.reshape(draft_length.shape))
        self._begin_requests(np.flatnonzero(finished))
        self._look_ahead()
        return tokens

    def _begin_requests(self, rows: IntArray) -> None:
        """Begins the next request of these users and decides the outcome of a draft at each of its positions."""
        number, task = self._number[rows], self._task[rows]
        prompt = splitmix64(self._prompt_seed[rows], number % self._config.prompts_per_user)
        request = self._first[task] + (prompt % self._count[task]).astype(np.int64)
        luck_seed = splitmix64(self._luck_seed[rows], number)
        self._number[rows] += 1
        self._request[rows] = request
        self._position[rows] = 0

        # The first rejection from each position on; the end of the longest text where none is left.
        end = self._next_rejection.dtype.type(self._next_rejection.shape[1])
        places = np.arange(end, dtype=end.dtype)
        positions = places.astype(np.uint64)
        for start in range(0, len(rows), _ROWS_PER_BLOCK):
            block = slice(start, start + _ROWS_PER_BLOCK)
            luck = splitmix64(luck_seed[block, np.newaxis], positions) >> 11
            accepted = luck < self._accepted_below[request[block]]
            rejection = np.maximum(accepted * end, places)
            self._next_rejection[rows[block]] = np.minimum.accumulate(rejection[:, ::-1], axis=1)[:, ::-1]

    def _look_ahead(self) -> None:
        self.acceptance_rate = self._equivalent_rate[self._request, self._position].reshape(-1, self._num_users)
