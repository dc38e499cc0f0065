"""What the scalar and the vector environment share: a batch of systems, seen through actions and observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.equations import FloatArray
from multispin_env.core.simulator import RoundOutcome, Simulator
from multispin_env.core.view import RoundView, TrueView
from multispin_env.envs.codec import ActionCodec, ObservationCodec, check_choice
from multispin_env.optimal import average_round
from multispin_env.scenarios import make_config

REWARDS = ("goodput",)


def reference_goodput(config: SystemConfig) -> float:
    """The constant that rewards are divided by, in tokens per second.

    It is the homogeneous optimum (Theorem 1) of the average system: :func:`multispin_env.optimal.average_round`.
    """
    return average_round(config).goodput


def round_info(outcome: RoundOutcome) -> dict[str, NDArray[Any]]:
    """The entries of ``info``: per user (lanes, users), of the round (lanes,); ``text`` has a tuple a lane."""
    info: dict[str, NDArray[Any]] = {
        "draft_length": outcome.allocation.draft_length,
        "bandwidth_share": outcome.allocation.bandwidth_share,
        "tokens": outcome.tokens,
        "drafting_s": outcome.drafting_s,
        "upload_s": outcome.upload_s,
        "multi_access_s": outcome.multi_access_s,
        "verification_s": outcome.verification_s,
        "latency_s": outcome.latency_s,
        "goodput": outcome.goodput,
    }
    if outcome.generation_states is not None:
        texts = (tuple(state.text for state in lane) for lane in outcome.generation_states)
        info["text"] = np.fromiter(texts, dtype=object, count=len(outcome.generation_states))
    return info


class Lanes:
    """A batch of systems in lockstep, with the environments' actions, observations, rewards and episodes."""

    def __init__(
        self,
        num_lanes: int,
        *,
        draft_lengths: str,
        scenario: str,
        model_pair: str,
        bandwidth: str,
        reward: str,
        config: Mapping[str, Any] | None,
        unknown: Mapping[str, Any],
    ) -> None:
        if unknown:
            raise TypeError(
                f"unknown argument {', '.join(map(repr, unknown))}; allowed are scenario, model_pair, bandwidth, "
                "reward, config (a dict of SystemConfig's fields) and render_mode, and autoreset_mode for vector "
                "environments"
            )
        check_choice("reward", reward, REWARDS)
        self.config = make_config(scenario, model_pair, config)
        self.actions = ActionCodec(self.config, draft_lengths, bandwidth)
        self.observations = ObservationCodec(self.config)
        self.simulator = Simulator(self.config, num_lanes)
        self._reward_per_goodput = 1.0 / reference_goodput(self.config)
        self._rounds_left: int | None = None
        self.last_outcome: RoundOutcome | None = None

    @property
    def started(self) -> bool:
        """Whether there was a reset."""
        return self._rounds_left is not None

    @property
    def ended(self) -> bool:
        """Whether the episode has ended and a reset is due."""
        return self._rounds_left == 0

    def reset(self, generators: Sequence[np.random.Generator]) -> NDArray[np.float32]:
        """Starts an episode in every lane and returns the observations, (lanes, numbers)."""
        self.simulator.reset(generators)
        self._rounds_left = self.config.episode_rounds
        self.last_outcome = None
        return self.observations.encode(self.simulator.view())

    def step(self, actions: ArrayLike) -> tuple[NDArray[np.float32], FloatArray, RoundOutcome]:
        """Plays a round and returns observations, rewards and what happened.

        Raises:
            ResetNeeded: There was no reset, or the episode has ended.
            ValueError: The action has the wrong shape, NaN, or lies outside [-1, 1].
        """
        if self._rounds_left is None:
            raise ResetNeeded("step was called before the first reset; call reset first")
        if self._rounds_left == 0:
            raise ResetNeeded(f"the episode ended after {self.config.episode_rounds} rounds; call reset first")
        outcome = self.simulator.step(self.actions.decode(actions, self.simulator.view()))
        self._rounds_left -= 1
        self.last_outcome = outcome
        return self.observations.encode(self.simulator.view()), outcome.goodput * self._reward_per_goodput, outcome


class Views:
    """What controllers read of an environment that has lanes."""

    _lanes: Lanes

    def round_view(self) -> RoundView:
        """What the protocol reveals now, arrays (lanes, users): what the observations are made of."""
        return self._lanes.simulator.view()

    def true_round_view(self) -> TrueView:
        """The same with the hidden truth, valid until the next step; for clairvoyant controllers only."""
        return self._lanes.simulator.true_view()
