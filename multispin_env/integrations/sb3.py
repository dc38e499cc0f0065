"""stable-baselines3's ``VecEnv`` over our vector environment. Importing this module imports stable-baselines3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn


class SB3VecEnv(VecEnv):
    """A Gymnasium vector environment, stepped as one batch, as stable-baselines3 wants it.

    Equal to a ``DummyVecEnv`` of scalar environments seeded one apart, many times faster. Infos are built for
    environments whose episode has ended: their last info, what wrappers such as ``RecordEpisodeStatistics`` add to it,
    ``terminal_observation`` and ``TimeLimit.truncated``; those of the others are empty.

    Attributes and methods are looked up as Gymnasium does for scalar environments: in the outermost wrapper that has
    them.

    Args:
        env: A vector environment, wrapped or not, that resets in the same step, as ``make_sb3_vec_env`` makes.

    Raises:
        ValueError: The environment resets in another way.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.SAME_STEP:
            raise ValueError(f'env must be made with autoreset_mode="SameStep", got {mode}')
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> NDArray[np.float32]:
        """Starts an episode in every environment, with the seeds and options that were announced."""
        options = self._options[0]
        if any(other != options for other in self._options):
            raise ValueError(f"options must be the same for all {self.num_envs} environments, got {self._options}")
        observations: NDArray[np.float32]
        observations, infos = self.env.reset(seed=list(self._seeds), options=options or None)  # type: ignore[arg-type]
        self.reset_infos = [_info_of(infos, index) for index in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Keeps the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Plays one round in every environment."""
        observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        dones = terminated | truncated
        last_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(dones).tolist():
            # The top level has the next episode's first info, and what wrappers add about the one that has ended.
            info = _info_of(infos, index)
            terminal_observation, last = info.pop("final_obs"), info.pop("final_info")
            self.reset_infos[index] = {name: value for name, value in info.items() if name in last}
            last_infos[index] = {
                **info,
                **last,
                "terminal_observation": terminal_observation,
                "TimeLimit.truncated": bool(truncated[index] and not terminated[index]),
            }
        return observations, rewards.astype(np.float32), dones, last_infos

    def close(self) -> None:
        """Closes the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The batch's attribute, once for each environment.

        Raises:
            AttributeError: Neither the vector environment nor a wrapper around it has it.
        """
        value = getattr(self._owner(attr_name), attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute where ``get_attr`` finds it; one that nobody has, in the outermost wrapper.

        Raises:
            ValueError: Not all environments are meant; they cannot differ.
        """
        self._need_all("set_attr", indices)
        for layer in self._layers():
            if hasattr(layer, attr_name):
                # Some attributes of wrappers only pass on those within and cannot be set.
                with contextlib.suppress(AttributeError):
                    setattr(layer, attr_name, value)
                    return
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the batch, once, and returns its result for every environment.

        Raises:
            AttributeError: Neither the vector environment nor a wrapper around it has it.
            ValueError: Not all environments are meant; they act as one.
        """
        self._need_all("env_method", indices)
        result = getattr(self._owner(method_name), method_name)(*method_args, **method_kwargs)
        return [result for _ in range(self.num_envs)]

    def env_is_wrapped(self, wrapper_class: type[Any], indices: VecEnvIndices = None) -> list[bool]:
        """Whether the batch has such a wrapper, once for each environment; none has a wrapper of its own."""
        wrapped = any(isinstance(layer, wrapper_class) for layer in self._layers())
        return [wrapped for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Every environment's picture, if the environment was made with ``render_mode="rgb_array"``."""
        return self.env.render() or [None] * self.num_envs  # type: ignore[return-value]

    def _layers(self) -> Iterator[VectorEnv[Any, Any, Any]]:
        """The wrappers from the outside in, then the environment."""
        layer = self.env
        while isinstance(layer, VectorWrapper):
            yield layer
            layer = layer.env
        yield layer

    def _owner(self, name: str) -> VectorEnv[Any, Any, Any]:
        for layer in self._layers():
            if hasattr(layer, name):
                return layer
        raise AttributeError(f"no layer of {self.env} has the attribute {name!r}")

    def _need_all(self, method: str, indices: VecEnvIndices) -> None:
        chosen = list(self._get_indices(indices))
        if len(chosen) != self.num_envs:
            raise ValueError(f"{method} works on all {self.num_envs} environments at once, got indices {chosen}")


def _info_of(infos: Mapping[str, Any], index: int) -> dict[str, Any]:
    """One environment's entries of a batch's infos, numbers as Python's own."""
    info: dict[str, Any] = {}
    for name, values in infos.items():
        mask = infos.get(f"_{name}")
        if name.startswith("_") or (mask is not None and not mask[index]):
            continue
        value = _info_of(values, index) if isinstance(values, Mapping) else values[index]
        info[name] = value.item() if isinstance(value, np.generic) else value
    return info


def make_sb3_vec_env(env_id: str, num_envs: int, **kwargs: Any) -> SB3VecEnv:
    """A batch of environments for stable-baselines3.

    Args:
        env_id: ``multispin_env/Heterogeneous-v0`` or ``multispin_env/Homogeneous-v0``.
        num_envs: Number of environments.
        **kwargs: The environment's arguments, such as ``scenario``.
    """
    return SB3VecEnv(gym.make_vec(env_id, num_envs=num_envs, autoreset_mode="SameStep", **kwargs))
