"""stable-baselines3's ``VecEnv`` over our vector environment. Importing this module imports stable-baselines3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn


class SB3VecEnv(VecEnv):
    """All lanes of a Gymnasium vector environment, stepped as one batch, as stable-baselines3 wants them.

    Equal to a ``DummyVecEnv`` of scalar environments seeded one apart, many times faster. Infos are built for lanes
    whose episode has ended: their last info, with ``terminal_observation`` and ``TimeLimit.truncated``; those of the
    other lanes are empty.

    Args:
        env: A vector environment that resets in the same step, as ``make_sb3_vec_env`` makes.

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
        """Starts an episode in every lane, with the seeds that ``seed`` announced."""
        observations: NDArray[np.float32]
        observations, _ = self.env.reset(seed=list(self._seeds))  # type: ignore[arg-type]
        self._reset_seeds()
        self._reset_options()
        return observations

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Keeps the actions for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Plays one round in every lane."""
        observations, rewards, terminated, truncated, infos = self.env.step(self._actions)
        dones = terminated | truncated
        lane_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for lane in np.flatnonzero(dones):
            final = infos["final_info"]
            lane_infos[lane] = {
                **{name: values[lane] for name, values in final.items() if not name.startswith("_")},
                "terminal_observation": infos["final_obs"][lane],
                "TimeLimit.truncated": bool(truncated[lane] and not terminated[lane]),
            }
        return observations, rewards.astype(np.float32), dones, lane_infos

    def close(self) -> None:
        """Closes the vector environment."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The batch's attribute, once a lane."""
        value = getattr(self.env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Sets an attribute of the batch.

        Raises:
            ValueError: Not all lanes are meant; they cannot differ.
        """
        self._all_lanes("set_attr", indices)
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the batch, once, and returns its result for every lane.

        Raises:
            ValueError: Not all lanes are meant; they act as one.
        """
        self._all_lanes("env_method", indices)
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result for _ in range(self.num_envs)]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """No lane has a wrapper of its own."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Every lane's picture, if the environment was made with ``render_mode="rgb_array"``."""
        return self.env.render() or [None] * self.num_envs  # type: ignore[return-value]

    def _all_lanes(self, method: str, indices: VecEnvIndices) -> None:
        chosen = list(self._get_indices(indices))
        if len(chosen) != self.num_envs:
            raise ValueError(f"{method} works on all {self.num_envs} lanes at once, got indices {chosen}")


def make_sb3_vec_env(env_id: str, num_envs: int, **kwargs: Any) -> SB3VecEnv:
    """A batch of environments for stable-baselines3.

    Args:
        env_id: ``multispin_env/Heterogeneous-v0`` or ``multispin_env/Homogeneous-v0``.
        num_envs: Number of lanes.
        **kwargs: The environment's arguments, such as ``scenario``.
    """
    return SB3VecEnv(gym.make_vec(env_id, num_envs=num_envs, autoreset_mode="SameStep", **kwargs))
