"""The reward that agents learn from where a request keeps its acceptance: progress along the texts, less time."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from multispin_baselines.planner import own_course
from multispin_baselines.texts import tasks_of
from numpy.typing import NDArray
from scipy import special

from multispin_env import SystemConfig
from multispin_env.core import TrueView
from multispin_env.core.equations import FloatArray, IntArray, beta_parameters, expected_tokens
from multispin_env.envs import MultiSpinVectorEnv

_QUANTILES = (np.arange(256) + 0.5) / 256


def keeps_acceptance(config: SystemConfig) -> bool:
    """Whether each request keeps an acceptance of its own from its first token to its last."""
    return config.requests.drift_share == 0.0 and config.requests.acceptance_spread > 0.0


def progress(view: TrueView, draft_length: IntArray, common_length: int) -> FloatArray:
    """How far drafts are expected to bring their texts, in tokens as hard as the average one, (num_envs, num_users).

    It is :func:`multispin_baselines.texts.expected_progress` of texts whose acceptance is known and stays: a token is
    worth the rounds of a common draft length that it takes, ``1 / E[N | alpha, L]`` (eq. 12), over their mean.

    Args:
        view: The round, with the truth.
        draft_length: The drafts, (num_envs, num_users).
        common_length: The common draft length.
    """
    tasks, task = tasks_of(view)
    mean_rounds = np.array([_rounds_per_token(mean, std, common_length) for mean, std in tasks])
    tokens, common = (expected_tokens(view.acceptance_rate, length) for length in (draft_length, common_length))
    return tokens / (common * mean_rounds[task])


@lru_cache(maxsize=64)
def _rounds_per_token(mean: float, std: float, length: int) -> float:
    """Mean over the texts of a task."""
    rates = special.betaincinv(*beta_parameters(mean, std), _QUANTILES)
    return float(np.mean(1.0 / expected_tokens(rates, length)))


class ProgressReward(VectorWrapper):  # without type parameters, which it has from Gymnasium 1.4 on only
    """Rewards the progress of a round less the price of its seconds, over the progress of a round of typical drafts.

    This is what :class:`~multispin_baselines.planner.LongRun` maximises. Over many rounds it orders policies as
    ``time-priced`` does, but it tells of each round what it does to those ahead, where a hard request saves more of
    them. It uses the true acceptance, which no agent sees, and so has no luck in it; that is for training alone.

    Args:
        env: The vector environment, in the autoreset mode ``SameStep``.
    """

    def __init__(self, env: VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]) -> None:
        super().__init__(env)
        system = env.unwrapped
        assert isinstance(system, MultiSpinVectorEnv)
        self._system = system
        self._course = own_course(system.config)

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Plays one round in every environment."""
        view = self._system.true_round_view()
        observations, _, terminated, truncated, infos = self.env.step(actions)
        # All environments end together; the round's own info is then the final one.
        played = infos.get("final_info", infos)
        typical = np.full_like(played["draft_length"], self._course.draft_length)
        made, usual = (
            np.sum(progress(view, length, self._course.draft_length), axis=-1)
            for length in (played["draft_length"], typical)
        )
        rewards = made / usual - self._course.rounds_per_s * played["latency_s"]
        return observations, rewards, terminated, truncated, infos
