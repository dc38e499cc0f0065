"""The reward that agents learn from where a request keeps its acceptance: progress along the texts, less time."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from multispin_baselines.planner import own_course
from numpy.typing import NDArray

from multispin_env import SystemConfig
from multispin_env.core import TrueView
from multispin_env.core.equations import FloatArray, IntArray, expected_tokens
from multispin_env.envs import MultiSpinVectorEnv
from multispin_env.optimal import relative_rounds


def keeps_acceptance(config: SystemConfig) -> bool:
    """Whether each request keeps an acceptance of its own from its first token to its last."""
    return config.requests.drift_share == 0.0 and config.requests.acceptance_spread > 0.0


def progress(view: TrueView, draft_length: IntArray, common_length: int) -> FloatArray:
    """How far drafts are expected to bring their texts, in tokens as hard as the average one, (num_envs, num_users).

    It is :func:`multispin_baselines.texts.expected_progress` of texts whose acceptance is known and stays, in tokens of
    a text with the task's mean acceptance.

    Args:
        view: The round, with the truth.
        draft_length: The drafts, (num_envs, num_users).
        common_length: Of the rounds that are counted.
    """
    rate = view.acceptance_rate
    return relative_rounds(view.task_acceptance_mean, rate, common_length) * expected_tokens(rate, draft_length)


class ProgressReward(VectorWrapper):  # without type parameters, which it has from Gymnasium 1.4 on only
    """Rewards the progress of a round less the price of its seconds, over the progress of a round of typical drafts.

    This is what :class:`~multispin_baselines.planner.LongRun` maximises, but for the tasks' scales. Over many rounds it
    orders policies much as ``time-priced`` does, but it tells of each round what it does to those ahead, where a hard
    request saves more of them. It uses the true acceptance, which no agent sees, and so has no luck in it; that is for
    training alone.

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
