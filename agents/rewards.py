"""The reward that agents learn from: what a round adds to total tokens over total seconds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from baselines.stochastic import expected_round_s
from multispin_env import Allocation
from multispin_env.envs import MultiSpinVectorEnv

# Rounds of all lanes over which the running rate forgets.
_MEMORY_ROUNDS = 20_000.0
# Instants at which the end of a round in aged fading is weighed. The last cuts it off: it has no finite mean.
INSTANTS_S = np.geomspace(0.05, 20.0, 40)


class RunningRate(NamedTuple):
    """Tokens and seconds of an average recent round."""

    tokens: float
    seconds: float


class LongRunReward(
    VectorWrapper[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[Any]]
):
    """Rewards ``(tokens - rho seconds) / mean tokens`` in place of the round's goodput.

    The figure of merit is total tokens over total seconds. A policy that maximises the mean of ``tokens - rho
    seconds``, with rho its own ratio of the two, maximises that ratio (Dinkelbach), while the mean of the rounds' own
    ratios hardly feels a long round. rho and the mean tokens are running estimates.

    Where the fading ages, a round's seconds are its expected ones, given what was known at its start and what was
    decided: agents need not average over fades whose distribution is known. (That is for training alone.)

    Args:
        env: The vector environment, in any autoreset mode.
    """

    def __init__(self, env: VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]) -> None:
        super().__init__(env)
        system = env.unwrapped
        assert isinstance(system, MultiSpinVectorEnv)
        self._system = system
        self._ages = system.config.channel.fading_correlation_time_s > 0.0
        self.rate: RunningRate | None = None

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Plays one round in every lane."""
        view = self._system.round_view()
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        # All lanes end together; with same-step resets the round's own info is then the final one.
        played = infos.get("final_info", infos)
        if "latency_s" in played:  # the step that only resets plays no round
            decided = Allocation(played["draft_length"], played["bandwidth_share"])
            seconds = expected_round_s(view, decided, INSTANTS_S) if self._ages else played["latency_s"]
            rewards = self._rewards(np.sum(played["tokens"], axis=1, dtype=np.float64), seconds)
        return observations, rewards, terminated, truncated, infos

    def _rewards(self, tokens: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        now = RunningRate(float(tokens.mean()), float(seconds.mean()))
        old = self.rate or now
        new = min(1.0, len(tokens) / _MEMORY_ROUNDS)
        self.rate = RunningRate(*(past + new * (recent - past) for past, recent in zip(old, now, strict=True)))
        rho = self.rate.tokens / self.rate.seconds
        return (tokens - rho * seconds) / self.rate.tokens
