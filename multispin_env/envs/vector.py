"""The vectorised Gymnasium environment: many systems in one batch of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from multispin_env.config import SystemConfig
from multispin_env.core.equations import Allocation, FloatArray
from multispin_env.envs.checks import (
    check_choice,
    check_max_episode_steps,
    check_num_envs,
    check_options,
    check_seeds,
)
from multispin_env.envs.rendering import RENDER_MODES, render_round
from multispin_env.envs.specs import PlainSpec
from multispin_env.envs.system import BatchedSystem, RoundViewMixin

AUTORESET_MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)


class MultiSpinVectorEnv(RoundViewMixin, PlainSpec, VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """A batch of :class:`~multispin_env.envs.MultiSpinEnv`, which documents spaces, rewards and arguments.

    Environment i of the batch, reset with seed s, is the scalar environment reset with seed s + i, exactly. All have
    episodes of the same length, so they end and restart together.

    Args:
        num_envs: Number of environments.
        autoreset_mode: ``"NextStep"`` (Gymnasium's default: the step after the end resets and ignores its action) or
            ``"SameStep"`` (the last step of an episode returns the next one's first observation, and the last
            observation and info as ``final_obs`` and ``final_info``).
        max_episode_steps: Truncates episodes of more steps, as the argument of ``gymnasium.make`` does; None and -1
            leave them as long as they are.
    """

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 2}  # noqa: RUF012 (Gymnasium's)

    def __init__(
        self,
        num_envs: int = 1,
        draft_lengths: str = "heterogeneous",
        scenario: str = "paper",
        model_pair: str = "llama2",
        bandwidth: str = "agent",
        reward: str = "goodput",
        config: Mapping[str, Any] | SystemConfig | None = None,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = "NextStep",
        max_episode_steps: int | None = None,
        **unknown: Any,
    ) -> None:
        if render_mode is not None:
            check_choice("render_mode", render_mode, RENDER_MODES)
        mode = autoreset_mode.value if isinstance(autoreset_mode, AutoresetMode) else autoreset_mode
        check_choice("autoreset_mode", mode, tuple(allowed.value for allowed in AUTORESET_MODES))
        self.num_envs = check_num_envs(num_envs)
        self.render_mode = render_mode
        self.autoreset_mode = AutoresetMode(mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self._system = BatchedSystem(
            self.num_envs,
            single=False,
            draft_lengths=draft_lengths,
            scenario=scenario,
            model_pair=model_pair,
            bandwidth=bandwidth,
            reward=reward,
            config=config,
            max_episode_steps=check_max_episode_steps(max_episode_steps),
            unknown=unknown,
        )
        self.config = self._system.config
        self.single_action_space = self._system.actions.space
        self.single_observation_space = self._system.observations.space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._generators: list[np.random.Generator | None] = [None] * self.num_envs
        self._seeds: list[int] = [-1] * self.num_envs

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The environments' generators."""
        return tuple(self._seeded([None] * self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds that the environments' generators started from."""
        self._seeded([None] * self.num_envs)
        return tuple(self._seeds)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode in every environment.

        Args:
            seed: An integer s seeds environment i with s + i; a sequence has one seed for each; None lets the
                generators go on.
            options: None or an empty dict: there are no options. (No ``reset_mask`` either, as the environments start
                and end together.)

        Raises:
            gymnasium.error.Error: A seed is no integer of at least 0.
            ValueError: The sequence does not have one seed for each environment, or an option is asked for.
        """
        check_options(options)
        observations, infos = self._system.reset(self._seeded(check_seeds(seed, self.num_envs)))
        return observations, self._masked(infos)

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Plays one round in every environment.

        Raises:
            ResetNeeded: Called before the first reset.
            TypeError: The actions are no array of real numbers.
            ValueError: The actions have the wrong shape, NaN, or lie outside [-1, 1].
        """
        terminated, truncated = np.zeros((2, self.num_envs), dtype=np.bool_)
        if self._system.ended:
            observations, infos = self.reset()
            return observations, np.zeros(self.num_envs), terminated, truncated.copy(), infos
        observations, rewards, entries = self._system.step(actions)
        infos = self._masked(entries)
        if self._system.ended:
            truncated = np.ones(self.num_envs, dtype=np.bool_)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                final = np.empty(self.num_envs, dtype=object)
                final[:] = list(observations)
                observations, following = self.reset()
                infos = {**self._masked({"final_obs": final, "final_info": infos}), **following}
        return observations, rewards, terminated, truncated, infos

    def encode_action(self, allocation: Allocation) -> NDArray[np.float32]:
        """The actions that play an allocation, whose arrays are (num_envs, users).

        Raises:
            TypeError: No pair of arrays of real numbers.
            ValueError: The allocation is impossible in this environment.
        """
        return self._system.encode(allocation)

    def decode_action(self, actions: NDArray[np.float32]) -> Allocation:
        """The allocation, arrays (num_envs, users), that the actions play now.

        Raises:
            ResetNeeded: There was no reset.
            TypeError: The actions are no array of real numbers.
            ValueError: The actions have the wrong shape, NaN, or lie outside [-1, 1].
        """
        return self._system.decode(actions)

    def render(self) -> tuple[Any, ...] | None:
        """Every environment's last round, as the scalar environment renders it."""
        if self.render_mode is None:
            return None
        return tuple(render_round(self.render_mode, self._system, index) for index in range(self.num_envs))

    def _seeded(self, seeds: Sequence[int | None]) -> list[np.random.Generator]:
        """The generators, where a seed is given started anew, and started at random where there was none."""
        generators = []
        for index, seed in enumerate(seeds):
            generator = self._generators[index]
            if generator is None or seed is not None:
                generator, self._seeds[index] = seeding.np_random(seed)
                self._generators[index] = generator
            generators.append(generator)
        return generators

    def _masked(self, entries: Mapping[str, Any]) -> dict[str, Any]:
        """Gymnasium's convention for vector infos: an underscored entry says which environments have the entry."""
        return {**entries, **{f"_{name}": np.ones(self.num_envs, dtype=np.bool_) for name in entries}}
