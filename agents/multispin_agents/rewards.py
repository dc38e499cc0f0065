"""The reward that agents learn from: what a decision adds to total tokens over total seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from multispin_baselines.stochastic import long_run_worth
from numpy.typing import NDArray

from multispin_env import Allocation
from multispin_env.core import TrueView
from multispin_env.core.equations import FloatArray, expected_tokens
from multispin_env.envs import MultiSpinVectorEnv
from multispin_env.envs.rewards import time_price
from multispin_env.optimal import average_round


def long_run_reward(view: TrueView, allocation: Allocation, latency_s: FloatArray) -> FloatArray:
    """What a decision is worth in the long run, over the tokens of an average round, (num_envs,).

    It is the environment's reward ``time-priced``, but for two things. Of the tokens it has the expectation given the
    request's true acceptance, which takes luck out of the reward: an agent that does not see it learns to maximise the
    expectation. (That is for training alone.) And where acceptance lasts for a request, tokens have the utility of
    :class:`~multispin_baselines.stochastic.LongRun`: hard requests take most of the rounds.

    Args:
        view: The round, with the truth.
        allocation: The decision.
        latency_s: How long the round took, (num_envs,).
    """
    tokens = expected_tokens(view.acceptance_rate, allocation.draft_length)
    average = average_round(view.config)
    worth = np.sum(long_run_worth(view, tokens), axis=-1)
    return (worth - time_price(view.config) * latency_s) / (average.goodput * average.latency_s)


class LongRunReward(VectorWrapper):  # without type parameters, which it has from Gymnasium 1.4 on only
    """Rewards :func:`long_run_reward` in place of the round's goodput.

    The figure of merit is total tokens over total seconds. The mean of the rounds' own ratios hardly feels a long
    round, and counts the tokens of easy and of hard requests alike.

    Args:
        env: The vector environment, in any autoreset mode.
    """

    def __init__(self, env: VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]) -> None:
        super().__init__(env)
        system = env.unwrapped
        assert isinstance(system, MultiSpinVectorEnv)
        self._system = system

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Plays one round in every environment."""
        view = self._system.true_round_view()
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        # All environments end together; with same-step resets the round's own info is then the final one.
        played = infos.get("final_info", infos)
        if np.all(played["draft_length"]):  # the step that only resets plays no round, and says so by zeros
            decided = Allocation(played["draft_length"], played["bandwidth_share"])
            rewards = long_run_reward(view, decided, played["latency_s"])
        return observations, rewards, terminated, truncated, infos
