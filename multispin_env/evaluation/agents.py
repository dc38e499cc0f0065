"""Whoever can be evaluated, as one kind: controllers, anything with stable-baselines3's ``predict``, and functions."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium as gym
import numpy as np
from numpy.typing import ArrayLike, NDArray

from multispin_env import SystemConfig
from multispin_env.envs import MultiSpinVectorEnv
from multispin_env.evaluation.controller import Controller, SupportsAct, as_controller

ENV_ID = "multispin_env/Heterogeneous-v0"
# Arguments of the environment that the evaluation decides.
_DECIDED = ("scenario", "model_pair", "config", "num_envs", "autoreset_mode", "render_mode")


@runtime_checkable
class SupportsPredict(Protocol):
    """What every algorithm and policy of stable-baselines3 and sb3-contrib has, recurrent ones included."""

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """The actions for a batch of observations, (num_envs, n), and the new state."""
        ...


Agent: TypeAlias = SupportsAct | SupportsPredict | Callable[[NDArray[np.float32]], ArrayLike]


def agent_name(agent: object) -> str:
    """What an agent is called: its ``name`` if it has one, a function's name, or its class's."""
    for name in (getattr(agent, "name", None), getattr(agent, "__name__", None)):
        if isinstance(name, str) and name:
            return name
    return type(agent).__name__


class Player(ABC):
    """An agent in its environment. One at a time: ``start`` with a new environment, then ``play_round`` to the end.

    Attributes:
        name: What the agent is called.
    """

    name: str

    def transform_config(self, config: SystemConfig) -> SystemConfig:
        """The system that the agent runs on: the one given, unless its scheme changes who does what."""
        return config

    @abstractmethod
    def make_env(self, config: SystemConfig, num_envs: int) -> MultiSpinVectorEnv:
        """The environment that the agent acts in, before its reset.

        Raises:
            ValueError: The agent cannot act in it.
        """

    @abstractmethod
    def start(self, env: MultiSpinVectorEnv, observations: NDArray[np.float32]) -> None:
        """Episodes have begun in the environment, which showed these observations, (num_envs, n)."""

    @abstractmethod
    def play_round(self) -> Mapping[str, Any]:
        """Decides and plays a round everywhere; returns its ``info``."""

    @abstractmethod
    def single_decision(self, index: int) -> Callable[[], object]:
        """A call that takes one environment's coming decision alone, to be timed, and leaves no trace in the agent."""


def as_player(
    agent: Agent | Player,
    *,
    name: str | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    normalize: Callable[[Any], Any] | None = None,
    deterministic: bool = True,
) -> Player:
    """The agent as a player. What has ``act`` is a controller, what has ``predict`` is asked so, the rest is called.

    Args:
        agent: Who decides.
        name: What it is called, if not by :func:`agent_name`.
        env_kwargs: As :func:`~multispin_env.evaluation.evaluate` takes them; no business of a controller.
        normalize: Likewise.
        deterministic: Likewise.

    Raises:
        TypeError: It can do none of the three, or is a class where an instance is needed.
        ValueError: ``env_kwargs`` names what the evaluation decides.
    """
    if isinstance(agent, Player):
        return agent
    if isinstance(agent, type):
        raise TypeError(f"agent must be an instance, got the class {agent.__name__}; call it first")
    name = name or agent_name(agent)
    if isinstance(agent, SupportsAct):
        return _ControllerPlayer(name, agent)
    if isinstance(agent, SupportsPredict):
        return _ObservationPlayer(name, agent, env_kwargs or {}, normalize, deterministic)
    if callable(agent):
        return _ObservationPlayer(name, _Called(agent), env_kwargs or {}, normalize, deterministic)
    raise TypeError(
        "agent must have act(view) or predict(observation, state, episode_start, deterministic), or be a callable "
        f"observation -> action, got {agent!r}"
    )


def _make_env(config: SystemConfig, num_envs: int, **env_kwargs: Any) -> MultiSpinVectorEnv:
    env = gym.make_vec(ENV_ID, num_envs=num_envs, config=config.to_dict(), **env_kwargs).unwrapped
    assert isinstance(env, MultiSpinVectorEnv)
    return env


class _ControllerPlayer(Player):
    """Controllers see the round's view and decide an allocation."""

    def __init__(self, name: str, agent: SupportsAct) -> None:
        self.name = name
        self._controller = as_controller(agent)

    def transform_config(self, config: SystemConfig) -> SystemConfig:
        return self._controller.transform_config(config)

    def make_env(self, config: SystemConfig, num_envs: int) -> MultiSpinVectorEnv:
        return _make_env(config, num_envs)

    def start(self, env: MultiSpinVectorEnv, observations: NDArray[np.float32]) -> None:
        self._env = env
        self._controller.reset(env.num_envs)
        self._alone: Controller | None = None

    def play_round(self) -> Mapping[str, Any]:
        # The one place where an allocation meets the environment.
        _, _, _, _, info = self._env.step_allocation(self._controller.act(self._view()))
        return info

    def single_decision(self, index: int) -> Callable[[], object]:
        if self._alone is None:
            # A copy decides, as the controller may remember: it must see its own rounds only.
            self._alone = copy.deepcopy(self._controller)
            self._alone.reset(1)
        alone, view = self._alone, self._view().environment(index)
        return lambda: alone.act(view)

    def _view(self) -> Any:
        return self._env.true_round_view() if self._controller.privileged else self._env.round_view()


class _Called:
    """A function, asked as a policy without memory is."""

    def __init__(self, function: Callable[[NDArray[np.float32]], ArrayLike]) -> None:
        self._function = function

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        return self._function(observation), None


class _ObservationPlayer(Player):
    """Agents that see observations and act in the environment's own actions."""

    def __init__(
        self,
        name: str,
        agent: SupportsPredict,
        env_kwargs: Mapping[str, Any],
        normalize: Callable[[Any], Any] | None,
        deterministic: bool,
    ) -> None:
        decided = [key for key in env_kwargs if key in _DECIDED]
        if decided:
            raise ValueError(
                f"env_kwargs must not have {', '.join(decided)}, which the evaluation decides; scenario, model_pair "
                "and config are arguments of their own"
            )
        self.name = name
        self._agent = agent
        self._env_kwargs = dict(env_kwargs)
        self._normalize = normalize if normalize is not None else lambda observations: observations
        self._deterministic = deterministic

    def make_env(self, config: SystemConfig, num_envs: int) -> MultiSpinVectorEnv:
        env = _make_env(config, num_envs, **self._env_kwargs)
        for kind, here in (("observation", env.single_observation_space), ("action", env.single_action_space)):
            trained = getattr(self._agent, f"{kind}_space", None)
            if trained is not None and trained.shape != here.shape:
                raise ValueError(
                    f"{self.name} was trained on {kind}s of shape {trained.shape}, here they are {here.shape}; give "
                    "the scenario, config and env_kwargs that it was trained with (wrappers are not applied)"
                )
        return env

    def start(self, env: MultiSpinVectorEnv, observations: NDArray[np.float32]) -> None:
        self._env = env
        self._observations = observations
        self._state: Any = None
        self._episode_start = np.ones(env.num_envs, dtype=np.bool_)

    def play_round(self) -> Mapping[str, Any]:
        actions, self._state = self._predict(self._observations, self._state, self._episode_start)
        actions = np.asarray(actions, dtype=np.float32)
        expected = self._env.action_space.shape
        if actions.shape != expected:
            raise ValueError(
                f"{self.name} must return actions of shape {expected} for observations of shape "
                f"{self._observations.shape}, a row an environment, got {actions.shape}"
            )
        self._observations, _, _, _, info = self._env.step(actions)
        self._episode_start = np.zeros_like(self._episode_start)
        return info

    def single_decision(self, index: int) -> Callable[[], object]:
        alone = self._observations[index : index + 1].copy()
        # A recurrent agent's time does not depend on what it remembers.
        return lambda: self._predict(alone, None, np.ones(1, dtype=np.bool_))

    def _predict(
        self, observations: NDArray[np.float32], state: Any, episode_start: NDArray[np.bool_]
    ) -> tuple[Any, Any]:
        return self._agent.predict(
            self._normalize(observations), state=state, episode_start=episode_start, deterministic=self._deterministic
        )
