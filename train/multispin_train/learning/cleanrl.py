"""CleanRL's PPO as published: a script of its own, which is run as it stands.

The script is ``ppo_continuous_action.py`` of https://github.com/vwxyzjn/cleanrl (MIT licence). It is no part of this
project: whoever wants its curve gives a copy.
"""

from __future__ import annotations

import hashlib
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import NormalizeObservation
from torch.utils import tensorboard

from multispin_train.learning.evaluation import Observer
from multispin_train.learning.recipes import ENV_ID, REWARD, Recipe, World

# What the script is told to make: our environment with its arguments.
_WORLD_ID = "multispin_train/World-v0"
# Where the script cuts the observations that it has normalised.
_OBSERVATION_LIMIT = 10.0


@dataclass(frozen=True, kw_only=True)
class CleanRLRecipe(Recipe):
    """The script, with all hyperparameters its own.

    Attributes:
        script: The copy of it.
        action: The environment's kind of action.
        total_timesteps: Steps to learn for.
    """

    script: Path
    action: str = "direct"
    total_timesteps: int = 307_200

    def facts(self) -> dict[str, Any]:
        """See :class:`Recipe`."""
        digest = hashlib.sha256(self.script.read_bytes()).hexdigest()
        own = {"action": self.action, "total_timesteps": self.total_timesteps}
        return {"library": "CleanRL", "script_sha256": digest, **own}

    def learn(self, world: World, seed: int, observer: Observer) -> None:
        """See :class:`Recipe`."""
        options = {"--env-id": _WORLD_ID, "--seed": 100_000 * seed, "--total-timesteps": self.total_timesteps}
        words = [self.script.name, *(str(word) for option in options.items() for word in option), "--no-cuda"]
        spec = gym.spec(ENV_ID)
        arguments = {**spec.kwargs, "action": self.action, "reward": REWARD, **world}
        gym.register(_WORLD_ID, spec.entry_point, kwargs=arguments)
        try:
            # The script reports its progress to a SummaryWriter; ours looks at the agent then.
            with (
                mock.patch.object(sys, "argv", words),
                mock.patch.object(tensorboard, "SummaryWriter", return_value=_Writer(observer)),
            ):
                runpy.run_path(str(self.script), run_name="__main__")
        finally:
            del gym.registry[_WORLD_ID]


class _Writer:
    """In the place of the script's ``SummaryWriter``: shows the agent to an observer after each update."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def add_text(self, tag: str, text: str) -> None:
        """Nothing."""

    def add_scalar(self, tag: str, value: float, timesteps: int) -> None:
        """Shows the agent, once an update."""
        if tag == "charts/SPS":
            script: Any = sys.modules["__main__"]
            self._observer.show(timesteps, _mean_action(script.agent, script.envs.envs[0]))

    def close(self) -> None:
        """Nothing."""


def _mean_action(agent: Any, env: Any) -> Any:
    """What the agent does without noise, with observations normalised as they were in its environment so far."""
    while not isinstance(env, NormalizeObservation):
        env = env.env
    statistics, epsilon = env.obs_rms, env.epsilon

    def act(observations: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        normal = (observations - statistics.mean) / np.sqrt(statistics.var + epsilon)
        inputs = torch.from_numpy(np.clip(normal, -_OBSERVATION_LIMIT, _OBSERVATION_LIMIT)).float()
        with torch.no_grad():
            means: np.ndarray[Any, Any] = agent.actor_mean(inputs).numpy()
        return np.clip(means, -1.0, 1.0)

    return act


def make_recipe(script: Path | None) -> CleanRLRecipe:
    """The only recipe.

    Raises:
        OSError: The script cannot be read.
        ValueError: There is none.
    """
    if script is None:
        raise ValueError("cleanrl needs --cleanrl-script, a copy of CleanRL's ppo_continuous_action.py")
    recipe = CleanRLRecipe(script=script)
    recipe.facts()  # reads the script, so that a wrong path ends the command at once
    return recipe
