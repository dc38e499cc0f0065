"""What any kind of request tells the simulator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from multispin_env.config import RequestConfig, SystemConfig
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.features import Feature
from multispin_env.core.streams import Streams

# As an array: a Python number takes NumPy as long as the operation on a few users.
_ONE = np.array(1)


@dataclass(frozen=True)
class GenerationState:
    """A user's text as a round left it.

    Attributes:
        prompt: What the user asked.
        text: All that is written behind the prompt.
        accepted_start: Where in ``text`` that begins which the round gained: the accepted drafts.
        server_token_start: Where the server's own token behind them begins; the end of ``text`` if an accepted draft
            ended it.
        ended: Whether the request ended with the round.
    """

    prompt: str
    text: str
    accepted_start: int
    server_token_start: int
    ended: bool


class RequestModel(ABC):
    """The requests of every environment's users, whatever decides what is accepted. Arrays are (num_envs, num_users).

    A user keeps its task for the episode and works through its own list of prompts: request i of a user is the same
    whatever was decided before. When a request has its tokens the next begins with the next round; the tokens that the
    last round gained beyond its end count (eq. 13 knows no end of a request).

    Views hand the arrays out: a round puts new ones in their places and writes to none of them.

    Args:
        config: The system.

    Attributes:
        task_acceptance_mean: Mean acceptance over the prompts of the user's task.
        task_acceptance_std: Its standard deviation over prompts.
        request_tested: Drafts of the running request that verification has decided.
        request_accepted: Drafts of the running request that were accepted.
        last_draft_length: Draft length of the last round; 0 in the first round.
        last_accepted: Drafts accepted in the last round.
        generation_states: Each environment's users' texts as the last round left them; None where no text is written.
    """

    task_acceptance_mean: FloatArray
    task_acceptance_std: FloatArray
    request_tested: IntArray
    request_accepted: IntArray
    last_draft_length: IntArray
    last_accepted: IntArray
    generation_states: tuple[tuple[GenerationState, ...], ...] | None = None

    def __init__(self, config: SystemConfig) -> None:
        self._task_mean = np.array([task.acceptance_mean for task in config.requests.tasks])
        self._task_std = np.array([task.acceptance_std for task in config.requests.tasks])

    @classmethod
    def features(cls, config: SystemConfig) -> tuple[Feature, ...]:
        """What requests add to a round's features."""
        longest, tokens_high = config.max_draft_length, config.requests.tokens_high
        # A round decides at most one draft more than it gains tokens for, and the last round may overshoot.
        most_tested = 2.0 * (tokens_high + longest)
        return (
            Feature("task_acceptance_mean", 1.0, 1.0),
            Feature("task_acceptance_std", 1.0, 0.5),
            Feature("request_tested", tokens_high, most_tested),
            Feature("request_accepted", tokens_high, most_tested),
            Feature("last_draft_length", longest, longest),
            Feature("last_accepted", longest, longest),
        )

    @property
    @abstractmethod
    def acceptance_rate(self) -> FloatArray:
        """The running request's true acceptance, now, (num_envs, num_users).

        Where it varies along the text it is the one rate that says how drafts fare in the positions ahead.
        """

    @abstractmethod
    def reset(self, streams: Streams) -> None:
        """Draws tasks and prompts and begins every user's first request."""

    @abstractmethod
    def verify(self, draft_length: IntArray) -> IntArray:
        """Verifies the drafts and moves the requests on.

        Args:
            draft_length: Drafted tokens, (num_envs, num_users).

        Returns:
            Tokens gained, (num_envs, num_users): the accepted prefix and one token of the server's own.
        """

    def _begin_record(self, shape: tuple[int, ...]) -> None:
        """Nothing was drafted yet."""
        self.request_tested = np.zeros(shape, dtype=np.int64)
        self.request_accepted = np.zeros(shape, dtype=np.int64)
        self.last_draft_length = np.zeros(shape, dtype=np.int64)
        self.last_accepted = np.zeros(shape, dtype=np.int64)

    def _record(self, draft_length: IntArray, accepted: IntArray, ended: IntArray) -> IntArray:
        """Records what a round told of the requests.

        Args:
            draft_length: Drafted tokens, (num_envs, num_users).
            accepted: How many of them were accepted, (num_envs, num_users).
            ended: Flat indices of the users whose requests ended and give way to new ones.

        Returns:
            Tokens gained, (num_envs, num_users).
        """
        tokens = accepted + _ONE
        # Verification decides the accepted drafts and the first rejected one, and says nothing about those behind it.
        self.request_tested = self.request_tested + np.minimum(tokens, draft_length)
        self.request_accepted = self.request_accepted + accepted
        for count in (self.request_tested, self.request_accepted):
            count.put(ended, 0)
        self.last_draft_length = draft_length.copy()  # the caller may write to its own
        self.last_accepted = accepted
        return tokens


def draw_tasks(config: RequestConfig, streams: Streams, num_users: int) -> IntArray:
    """The number of every user's task in ``config.tasks``, uniform, (num_envs, num_users)."""
    return (streams.uniform("requests.task", num_users) * len(config.tasks)).astype(np.int64)
