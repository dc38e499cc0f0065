"""The vectorised Gymnasium environment: many systems in one batch of NumPy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from multispin_env.core.equations import Allocation, FloatArray
from multispin_env.envs.codec import check_choice
from multispin_env.envs.lanes import Lanes, Views, round_info
from multispin_env.rendering import RENDER_MODES, render_round

AUTORESET_MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)


class MultiSpinVectorEnv(Views, VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """Many lanes of :class:`~multispin_env.envs.MultiSpinEnv`, which documents spaces, rewards and arguments.

    Lane i of this environment, reset with seed s, is the scalar environment reset with seed s + i, exactly. All lanes
    have episodes of the same length, so they end and restart together.

    Args:
        num_envs: Number of lanes.
        autoreset_mode: ``"NextStep"`` (Gymnasium's default: the step after the end resets and ignores its action) or
            ``"SameStep"`` (the last step of an episode returns the next one's first observation, and the last
            observation and info as ``final_obs`` and ``final_info``).
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
        config: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        autoreset_mode: str | AutoresetMode = "NextStep",
        **unknown: Any,
    ) -> None:
        if isinstance(num_envs, bool) or not isinstance(num_envs, int | np.integer) or num_envs < 1:
            raise ValueError(f"num_envs must be an integer of at least 1, got {num_envs!r}")
        if render_mode is not None:
            check_choice("render_mode", render_mode, RENDER_MODES)
        mode = autoreset_mode.value if isinstance(autoreset_mode, AutoresetMode) else autoreset_mode
        check_choice("autoreset_mode", mode, tuple(allowed.value for allowed in AUTORESET_MODES))
        self.num_envs = int(num_envs)
        self.render_mode = render_mode
        self._autoreset_mode = AutoresetMode(mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self._autoreset_mode}
        self._lanes = Lanes(
            self.num_envs,
            draft_lengths=draft_lengths,
            scenario=scenario,
            model_pair=model_pair,
            bandwidth=bandwidth,
            reward=reward,
            config=config,
            unknown=unknown,
        )
        self.config = self._lanes.config
        self.single_action_space = self._lanes.actions.space
        self.single_observation_space = self._lanes.observations.space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._generators: list[np.random.Generator | None] = [None] * self.num_envs
        self._seeds: list[int] = [-1] * self.num_envs

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """The lanes' generators."""
        return tuple(self._seeded([None] * self.num_envs))

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The seeds that the lanes' generators started from."""
        self._seeded([None] * self.num_envs)
        return tuple(self._seeds)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Starts an episode in every lane.

        Args:
            seed: An integer s seeds lane i with s + i; a sequence has one seed a lane; None lets the generators go on.
            options: Not used.

        Raises:
            ValueError: The sequence does not have one seed a lane.
        """
        if seed is None:
            seeds: list[int | None] = [None] * self.num_envs
        elif isinstance(seed, int | np.integer):
            seeds = [int(seed) + lane for lane in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed must be an integer or have {self.num_envs} entries, got {len(seeds)} entries")
        return self._lanes.reset(self._seeded(seeds)), {}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], FloatArray, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Plays one round in every lane.

        Raises:
            ResetNeeded: Called before the first reset.
            ValueError: The actions have the wrong shape, NaN, or lie outside [-1, 1].
        """
        everywhere, nowhere = np.ones(self.num_envs, dtype=np.bool_), np.zeros(self.num_envs, dtype=np.bool_)
        if self._lanes.ended:
            observations, _ = self.reset()
            return observations, np.zeros(self.num_envs), nowhere, nowhere.copy(), {}
        observations, rewards, outcome = self._lanes.step(actions)
        infos = _masked(round_info(outcome), everywhere)
        if not self._lanes.ended:
            return observations, rewards, nowhere, nowhere.copy(), infos
        if self._autoreset_mode is AutoresetMode.SAME_STEP:
            final = np.empty(self.num_envs, dtype=object)
            final[:] = list(observations)
            infos = _masked({"final_obs": final, "final_info": infos}, everywhere)
            observations, _ = self.reset()
        return observations, rewards, nowhere, everywhere, infos

    def encode_action(self, allocation: Allocation) -> NDArray[np.float32]:
        """The actions that play an allocation, whose arrays are (lanes, users).

        Raises:
            ValueError: The allocation is impossible in this environment.
        """
        return self._lanes.actions.encode(allocation)

    def decode_action(self, actions: NDArray[np.float32]) -> Allocation:
        """The allocation, arrays (lanes, users), that the actions play now.

        Raises:
            ValueError: The actions have the wrong shape, NaN, or lie outside [-1, 1].
        """
        return self._lanes.actions.decode(actions, self.round_view())

    def render(self) -> tuple[Any, ...] | None:
        """Every lane's last round, as the scalar environment renders it."""
        if self.render_mode is None:
            return None
        return tuple(render_round(self.render_mode, self._lanes, lane) for lane in range(self.num_envs))

    def _seeded(self, seeds: Sequence[int | None]) -> list[np.random.Generator]:
        """The generators, where a seed is given started anew, and started at random where there was none."""
        generators = []
        for lane, seed in enumerate(seeds):
            generator = self._generators[lane]
            if generator is None or seed is not None:
                generator, self._seeds[lane] = seeding.np_random(seed)
                self._generators[lane] = generator
            generators.append(generator)
        return generators


def _masked(entries: Mapping[str, Any], everywhere: NDArray[np.bool_]) -> dict[str, Any]:
    """Gymnasium's convention for vector infos: an entry's mask, under its name with an underscore, tells its lanes."""
    return {**entries, **{f"_{name}": everywhere.copy() for name in entries}}
