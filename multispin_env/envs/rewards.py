"""Rewards of a round.

A new one is a subclass of :class:`Reward` and an entry in ``REWARDS``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

import numpy as np

from multispin_env.config import SystemConfig
from multispin_env.core.equations import FloatArray
from multispin_env.core.simulator import RoundOutcome, Simulator
from multispin_env.envs.actions import make_action_codec
from multispin_env.envs.checks import check_choice
from multispin_env.optimal import average_round

# Worlds, and rounds in each, from which the price is measured. Many rounds, as hard requests take more of them than
# easy ones: the first rounds after a reset are better than those later on (in `requests` 189 against 155 tok/s).
_PRICE_ENVS, _PRICE_ROUNDS = 10, 100


class Reward(ABC):
    """The reward of a round.

    Args:
        config: The system, which fixes the reward's constants.
    """

    @abstractmethod
    def __init__(self, config: SystemConfig) -> None: ...

    @abstractmethod
    def __call__(self, outcome: RoundOutcome) -> FloatArray:
        """Rewards of a batch of rounds, (num_envs,)."""


class GoodputReward(Reward):
    """The round's realised goodput, over the best of the average round, so that it is about 1."""

    def __init__(self, config: SystemConfig) -> None:
        self._per_goodput = 1.0 / reference_goodput(config)

    def __call__(self, outcome: RoundOutcome) -> FloatArray:
        """See :class:`Reward`."""
        return outcome.goodput * self._per_goodput


class TimePricedReward(Reward):
    """The round's tokens less a price times its seconds, over the tokens of the average round.

    A policy's mean is its seconds a round times (its goodput less the price). So a policy above the price is rewarded
    and one below it punished, whatever its rounds' length, and the policy of the highest goodput is the one that
    maximises the mean at this goodput as the price (Dinkelbach). At a price that is far too high, short rounds of a
    poor goodput would be better than long ones of a good one: the price is what the closed form earns in the system
    itself, see :func:`time_price`.
    """

    def __init__(self, config: SystemConfig) -> None:
        average = average_round(config)
        self._price = time_price(config)
        self._per_token = 1.0 / (average.goodput * average.latency_s)

    def __call__(self, outcome: RoundOutcome) -> FloatArray:
        """See :class:`Reward`."""
        return (outcome.tokens.sum(axis=1) - self._price * outcome.latency_s) * self._per_token


# What the environments' argument ``reward`` may name.
REWARDS: dict[str, type[Reward]] = {"goodput": GoodputReward, "time-priced": TimePricedReward}


def make_reward(reward: str, config: SystemConfig) -> Reward:
    """The reward of a name.

    Raises:
        ValueError: There is no such reward.
    """
    return REWARDS[check_choice("reward", reward, tuple(REWARDS))](config)


def reference_goodput(config: SystemConfig) -> float:
    """The constant that goodput is divided by, in tokens per second.

    It is the homogeneous optimum (Theorem 1) of the average system: :func:`multispin_env.optimal.average_round`.
    """
    return average_round(config).goodput


@lru_cache
def time_price(config: SystemConfig) -> float:
    """What a second costs in ``time-priced``, in tokens: the goodput of the closed form at the predicted rates.

    Measured once for a system, in a few rounds of worlds of its own (where models write, with requests in their place
    that have the tasks' acceptance).
    """
    if config.requests.live is not None:
        config = config.updated({"requests": {"live": None}})
    closed_form = make_action_codec("residual", config)
    simulator = Simulator(config, _PRICE_ENVS)
    simulator.reset([np.random.default_rng(seed) for seed in range(_PRICE_ENVS)])
    zeros = np.zeros((_PRICE_ENVS, *closed_form.space.shape))
    tokens = seconds = 0.0
    for _ in range(min(_PRICE_ROUNDS, config.episode_rounds)):
        outcome = simulator.step(closed_form.decode(zeros, simulator.view()))
        tokens += float(np.sum(outcome.tokens))
        seconds += float(np.sum(outcome.latency_s))
    return tokens / seconds
