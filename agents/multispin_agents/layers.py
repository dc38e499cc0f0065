"""Action layers: what an agent's numbers mean. As functions of a view, and as wrappers of both environments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from multispin_env import Allocation, RoundView
from multispin_env.envs import MultiSpinEnv, MultiSpinVectorEnv
from multispin_env.envs.actions import ActionCodec, check_action
from multispin_env.optimal import RoundProblem, solve_heterogeneous

# Both layers have two numbers a user: first all users' numbers of one kind, then those of the other.
ACTIONS_PER_USER = 2

# The residual layer's reach. Between the rate observed and the low quantiles of the rate at upload on which cautious
# controllers count lie factors up to about e^2; between a task's mean acceptance and that of one request, e^4 in odds.
RATE_REACH = 2.0
ACCEPTANCE_REACH = 4.0


def direct(actions: ArrayLike, view: RoundView) -> Allocation:
    """The heterogeneous environment's own action: lengths, then bandwidth logits.

    Args:
        actions: In [-1, 1], (num_envs, 2 users).
        view: The round.
    """
    return ActionCodec(view.config, "heterogeneous", "agent").decode(actions, view)


def residual(actions: ArrayLike, view: RoundView) -> Allocation:
    """The heterogeneous optimum, told other rates and acceptances than it would take for true.

    The first half of the numbers tilts the spectral efficiencies observed, on a logarithmic scale, the second half the
    tasks' mean acceptances, on that of log-odds. Zeros are the heterogeneous controller.

    Args:
        actions: In [-1, 1], (num_envs, 2 users).
        view: The round.

    Raises:
        TypeError: The actions are no array of real numbers.
        ValueError: Wrong shape, NaN, or a value outside [-1, 1].
    """
    num_envs, users = view.drafting_latency_s.shape
    tilts = check_action(actions, (num_envs, ACTIONS_PER_USER * users))
    mean = view.task_acceptance_mean
    # With zeros the factor is 1 and the denominator rounds to 1, so that the problem is the same to the last bit.
    problem = RoundProblem.from_view(
        view,
        spectral_efficiency=view.observed_spectral_efficiency * np.exp(RATE_REACH * tilts[:, :users]),
        acceptance_rate=mean / (mean + (1.0 - mean) * np.exp(-ACCEPTANCE_REACH * tilts[:, users:])),
    )
    return solve_heterogeneous(problem).allocation


Layer: TypeAlias = Callable[[ArrayLike, RoundView], Allocation]
# Actions in [-1, 1], (num_envs, 2 users), to allocations. Whatever is added here can be trained and played by its name.
LAYERS: dict[str, Layer] = {"direct": direct, "residual": residual}


def _space(num_users: int) -> spaces.Box:
    return spaces.Box(-1.0, 1.0, (ACTIONS_PER_USER * num_users,), np.float32)


class LayerAction(gym.ActionWrapper[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]):
    """The scalar environment under the actions of a layer, (2 users,).

    Args:
        env: ``multispin_env/Heterogeneous-v0`` with ``bandwidth="agent"``, wrapped or not.
        layer: The action layer.
    """

    def __init__(self, env: gym.Env[NDArray[np.float32], NDArray[np.float32]], layer: Layer) -> None:
        super().__init__(env)
        system = env.unwrapped
        _check(system, MultiSpinEnv, env.action_space)
        assert isinstance(system, MultiSpinEnv)
        self._system = system
        self._layer = layer
        self.action_space = _space(system.config.num_users)  # type: ignore[assignment]

    def action(self, action: NDArray[np.float32]) -> NDArray[np.float32]:
        """The environment's action that plays this one."""
        numbers = check_action(action, (ACTIONS_PER_USER * self._system.config.num_users,))
        return self._system.encode_action(self._layer(numbers[np.newaxis], self._system.round_view()))


class VectorLayerAction(VectorWrapper):  # without type parameters, which it has from Gymnasium 1.4 on only
    """The vector environment under the actions of a layer, (num_envs, 2 users), in any autoreset mode.

    Only actions change: observations, final ones included, pass through untouched.

    Args:
        env: ``multispin_env/Heterogeneous-v0`` with ``bandwidth="agent"``, made by ``make_vec``.
        layer: The action layer.
    """

    def __init__(self, env: VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]], layer: Layer) -> None:
        super().__init__(env)
        system = env.unwrapped
        _check(system, MultiSpinVectorEnv, env.single_action_space)
        assert isinstance(system, MultiSpinVectorEnv)
        self._system = system
        self._layer = layer
        self.single_action_space = _space(system.config.num_users)
        self.action_space = batch_space(self.single_action_space, env.num_envs)

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Plays one round in every environment; the step that resets ignores its actions, as the environment does."""
        return self.env.step(self._system.encode_action(self._layer(actions, self._system.round_view())))


def _check(system: object, kind: type, action_space: gym.Space[Any]) -> None:
    if not isinstance(system, kind):
        raise TypeError(f"env must be a {kind.__name__}, got {type(system).__name__}")
    expected = _space(system.config.num_users)  # type: ignore[attr-defined]
    if action_space != expected:
        raise ValueError(
            f'env must be heterogeneous with bandwidth="agent", whose actions are {expected}, got {action_space}'
        )
