"""Agents of stable-baselines3's PPO, with its own network and with ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import stable_baselines3
from multispin_agents.sb3_policies import AllocationPolicy
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from multispin_env.integrations.sb3 import make_sb3_vec_env
from multispin_train.learning.evaluation import Observer
from multispin_train.learning.recipes import ENV_ID, REWARD, Recipe, World


@dataclass(frozen=True, kw_only=True)
class SB3Recipe(Recipe):
    """PPO on a batch of environments.

    Attributes:
        action: The environment's kind of action.
        total_timesteps: Steps to learn for, over all environments.
        num_envs: Environments side by side.
        policy: What PPO takes as its policy.
        hyperparameters: PPO's, where they are not stable-baselines3's own.
    """

    action: str
    total_timesteps: int
    num_envs: int
    policy: Any
    hyperparameters: Mapping[str, Any]

    def facts(self) -> dict[str, Any]:
        """See :class:`Recipe`."""
        shown = {name: str(value) if callable(value) else value for name, value in self.hyperparameters.items()}
        policy = self.policy if isinstance(self.policy, str) else self.policy.__name__
        library = f"stable-baselines3 {stable_baselines3.__version__}"
        return {"library": library, **asdict(self), "policy": policy, "hyperparameters": shown}

    def learn(self, world: World, seed: int, observer: Observer) -> None:
        """See :class:`Recipe`."""
        env = make_sb3_vec_env(ENV_ID, self.num_envs, action=self.action, reward=REWARD, **world)
        # Environments take seeds from the agent's on: far enough apart for all of them.
        agent = PPO(self.policy, env, seed=100_000 * seed, device="cpu", **self.hyperparameters)
        agent.learn(self.total_timesteps, _Show(observer))
        _show(agent, observer)
        env.close()


def _show(agent: PPO, observer: Observer) -> None:
    observer.show(agent.num_timesteps, lambda observations: agent.predict(observations, deterministic=True)[0])


class _Show(BaseCallback):
    """Shows the agent to an observer before each rollout."""

    def __init__(self, observer: Observer) -> None:
        super().__init__()
        self._observer = observer

    def _on_rollout_start(self) -> None:
        assert isinstance(self.model, PPO)
        _show(self.model, self._observer)

    def _on_step(self) -> bool:
        return True


@dataclass(frozen=True)
class Falling:
    """A learning rate that falls linearly to a tenth."""

    start: float

    def __call__(self, left: float) -> float:
        """The rate when this part of the training is left."""
        return self.start * max(left, 0.1)


# Rewards are those of single rounds: what a decision does to later ones is little, and a sum over them mostly noise.
_MLP = SB3Recipe(
    action="direct",
    total_timesteps=2_000_000,
    num_envs=16,
    policy="MlpPolicy",
    hyperparameters={"gamma": 0.0, "batch_size": 512, "policy_kwargs": {"log_std_init": -1.2}},
)
_EQUIVARIANT = SB3Recipe(
    action="direct",
    total_timesteps=300_000,
    num_envs=128,
    policy=AllocationPolicy,
    hyperparameters={"gamma": 0.0, "n_steps": 16, "batch_size": 512, "n_epochs": 4, "learning_rate": Falling(4e-3)},
)
_RECIPES = {
    "mlp": _MLP,
    "equivariant": _EQUIVARIANT,
    "residual": replace(_EQUIVARIANT, action="residual"),
    "sb3": replace(_MLP, total_timesteps=500_000, hyperparameters={}),
}


def make_recipe(name: str) -> SB3Recipe:
    """The recipe of a name: ``mlp`` (README's), ``equivariant``, ``residual`` or ``sb3`` (the library's defaults)."""
    return _RECIPES[name]
