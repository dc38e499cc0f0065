"""What the scalar and the vector environment share: a batch of systems, seen through actions and observations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.equations import Allocation, FloatArray
from multispin_env.core.simulator import RoundOutcome, Simulator
from multispin_env.core.view import RoundView, TrueView
from multispin_env.envs.actions import check_allocation, make_action_codec
from multispin_env.envs.observations import ObservationCodec
from multispin_env.envs.rewards import make_reward
from multispin_env.scenarios import make_config

# Observations (num_envs, numbers), rewards (num_envs,) and the info of a round.
Step: TypeAlias = tuple[NDArray[np.float32], FloatArray, dict[str, NDArray[Any]]]


class BatchedSystem:
    """A batch of systems in lockstep, with the environments' actions, observations, rewards and episodes.

    Args:
        num_envs: Number of systems.
        single: Whether it is the batch of one behind the scalar environment, whose actions have no axis for a batch.
        max_episode_steps: Ends episodes that are longer, or None.
        unknown: Arguments that no environment has.
    """

    def __init__(
        self,
        num_envs: int,
        *,
        single: bool,
        draft_lengths: str,
        scenario: str,
        model_pair: str,
        action: str,
        reward: str,
        config: Mapping[str, Any] | SystemConfig | None,
        max_episode_steps: int | None,
        unknown: Mapping[str, Any],
    ) -> None:
        if unknown:
            # In Python's words: some libraries try an argument and look for them in the error.
            raise TypeError(
                f"got an unexpected keyword argument {', '.join(map(repr, unknown))}; allowed are scenario, "
                "model_pair, action, reward, config (a SystemConfig or a dict of its fields) and render_mode, and "
                "for vector environments num_envs, autoreset_mode and max_episode_steps"
            )
        self.num_envs = num_envs
        self.config = make_config(scenario, model_pair, config)
        self.actions = make_action_codec(action, self.config, draft_lengths)
        self.observations = ObservationCodec(self.config)
        self._single = single
        self._simulator = Simulator(self.config, num_envs)
        self._reward = make_reward(reward, self.config)
        rounds = self.config.episode_rounds
        self._episode_rounds = rounds if max_episode_steps is None else min(rounds, max_episode_steps)
        self._rounds_left: int | None = None
        self._episode_tokens, self._episode_seconds = np.zeros(num_envs, dtype=np.int64), np.zeros(num_envs)
        self.last_outcome: RoundOutcome | None = None

    @property
    def ended(self) -> bool:
        """Whether the episode has ended and a reset is due."""
        return self._rounds_left == 0

    def reset(self, generators: Sequence[np.random.Generator]) -> tuple[NDArray[np.float32], dict[str, NDArray[Any]]]:
        """Starts an episode in every environment; returns observations, (num_envs, numbers), and the info."""
        self._simulator.reset(generators)
        self._rounds_left = self._episode_rounds
        self._episode_tokens, self._episode_seconds = np.zeros_like(self._episode_tokens), np.zeros(self.num_envs)
        self.last_outcome = None
        return self.observations.encode(self._simulator.view()), self._blank_info()

    def step(self, actions: ArrayLike) -> Step:
        """Plays a round by actions.

        Raises:
            ResetNeeded: There was no reset, or the episode has ended.
            TypeError: The action is no array of real numbers.
            ValueError: The action has the wrong shape, NaN, or lies outside [-1, 1].
        """
        self._need_round("step")
        return self._play(self.decode(actions))

    def step_allocation(self, allocation: Allocation) -> Step:
        """Plays a round by an allocation.

        Raises:
            ResetNeeded: There was no reset, or the episode has ended.
            TypeError: It is no pair of arrays of real numbers.
            ValueError: The allocation is impossible in this environment.
        """
        self._need_round("step_allocation")
        return self._play(self._checked(allocation))

    def decode(self, actions: ArrayLike) -> Allocation:
        """The allocations, arrays (num_envs, users), that actions play now.

        Raises:
            ResetNeeded: There was no reset.
            TypeError: The action is no array of real numbers.
            ValueError: The action has the wrong shape, NaN, or lies outside [-1, 1].
        """
        return self.actions.decode(actions, self.view("decode_action"), single=self._single)

    def encode(self, allocation: Allocation) -> NDArray[np.float32]:
        """The nearest actions to an allocation of this batch, now, (num_envs, numbers).

        Raises:
            ResetNeeded: There was no reset.
            TypeError: It is no pair of arrays of real numbers.
            ValueError: The allocation is impossible in this environment.
        """
        view = self.view("encode_action")
        return self.actions.encode(self._checked(allocation), view)

    def view(self, caller: str) -> RoundView:
        """What the protocol reveals now; ``caller`` is named where there was no reset."""
        self._need_reset(caller)
        return self._simulator.view()

    def true_view(self, caller: str) -> TrueView:
        """The same with the hidden truth."""
        self._need_reset(caller)
        return self._simulator.true_view()

    def _play(self, allocation: Allocation) -> Step:
        outcome = self.last_outcome = self._simulator.step(allocation)
        assert self._rounds_left is not None
        self._rounds_left -= 1
        self._episode_tokens = self._episode_tokens + outcome.tokens.sum(axis=1)
        self._episode_seconds = self._episode_seconds + outcome.latency_s
        info = _round_info(outcome) | self._episode_info(self._episode_tokens / self._episode_seconds)
        return self.observations.encode(self._simulator.view()), self._reward(outcome), info

    def _checked(self, allocation: object) -> Allocation:
        return check_allocation(allocation, self.config, self.num_envs, homogeneous=self.actions.homogeneous)

    def _need_round(self, caller: str) -> None:
        if self._need_reset(caller) == 0:
            raise ResetNeeded(f"the episode ended after {self._episode_rounds} rounds; call reset first")

    def _need_reset(self, caller: str) -> int:
        """The rounds left, of which there are none to speak before the first reset."""
        if self._rounds_left is None:
            raise ResetNeeded(f"{caller} was called before the first reset; call reset first")
        return self._rounds_left

    def _blank_info(self) -> dict[str, NDArray[Any]]:
        """The entries of :func:`_round_info` before a round is played: zeros, and empty texts."""
        users = self.config.num_users
        info: dict[str, NDArray[Any]] = {
            name: np.zeros((self.num_envs, users), dtype=dtype) for name, dtype in _USER_ENTRIES.items()
        }
        info |= {name: np.zeros(self.num_envs) for name in _ROUND_ENTRIES}
        if self.config.requests.live is not None:
            info["text"] = _texts([("",) * users] * self.num_envs)
        return info | self._episode_info(np.zeros(self.num_envs))

    def _episode_info(self, goodput: FloatArray) -> dict[str, NDArray[Any]]:
        """The episode's figures so far."""
        return {
            "episode_tokens": self._episode_tokens.copy(),
            "episode_seconds": self._episode_seconds.copy(),
            "episode_goodput": goodput,
        }


class RoundViewMixin:
    """What controllers read of an environment."""

    _system: BatchedSystem

    def round_view(self) -> RoundView:
        """What the protocol reveals now, arrays (num_envs, users): what the observations are made of.

        Raises:
            ResetNeeded: There was no reset.
        """
        return self._system.view("round_view")

    def true_round_view(self) -> TrueView:
        """The same with the hidden truth, valid until the next step; for clairvoyant controllers only.

        Raises:
            ResetNeeded: There was no reset.
        """
        return self._system.true_view("true_round_view")


# What info holds of every user, and of the round.
_USER_ENTRIES = {
    "draft_length": np.int64,
    "bandwidth_share": np.float64,
    "tokens": np.int64,
    "drafting_s": np.float64,
    "upload_s": np.float64,
}
_ROUND_ENTRIES = ("multi_access_s", "verification_s", "latency_s", "goodput")
_ENTRIES = (*_USER_ENTRIES, *_ROUND_ENTRIES)
_ENTRIES_OF = attrgetter(*(f"allocation.{name}" if name in Allocation._fields else name for name in _ENTRIES))


def _round_info(outcome: RoundOutcome) -> dict[str, NDArray[Any]]:
    """The entries of ``info``: per user (num_envs, users), of the round (num_envs,); ``text`` has tuples."""
    info: dict[str, NDArray[Any]] = dict(zip(_ENTRIES, _ENTRIES_OF(outcome), strict=True))
    if outcome.generation_states is not None:
        info["text"] = _texts([tuple(state.text for state in own) for own in outcome.generation_states])
    return info


def _texts(texts: Sequence[tuple[str, ...]]) -> NDArray[Any]:
    return np.fromiter(texts, dtype=object, count=len(texts))
