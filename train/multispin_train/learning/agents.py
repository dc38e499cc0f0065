"""The agents whose learning is shown, as a user would write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from multispin_agents.sb3_policies import AllocationPolicy
from stable_baselines3 import PPO


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An agent and where it learns.

    Attributes:
        policy: What PPO takes as its policy.
        action: The environment's kind of action.
        num_envs: Environments side by side.
        total_timesteps: Steps to learn for, over all of them.
        hyperparameters: PPO's, where they are not stable-baselines3's own.
    """

    policy: Any
    action: str
    num_envs: int
    total_timesteps: int
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    def make(self, env: Any, seed: int) -> PPO:
        """A new agent."""
        return PPO(self.policy, env, seed=seed, device="cpu", **self.hyperparameters)

    def facts(self) -> dict[str, Any]:
        """All that decides the agent, JSON-able."""
        shown = {name: repr(value) if callable(value) else value for name, value in self.hyperparameters.items()}
        policy = self.policy if isinstance(self.policy, str) else self.policy.__name__
        return {**vars(self), "policy": policy, "hyperparameters": shown}


@dataclass(frozen=True)
class Falling:
    """A learning rate that falls linearly to a tenth."""

    start: float

    def __call__(self, left: float) -> float:
        """The rate when this part of the training is left."""
        return self.start * max(left, 0.1)


# Rewards are those of single rounds: what a decision does to later ones is little, and a sum over them mostly noise.
_EQUIVARIANT: dict[str, Any] = {"n_steps": 16, "batch_size": 512, "n_epochs": 4, "gamma": 0.0}
_RATE: Callable[[float], float] = Falling(4e-3)

RECIPES = {
    "mlp": Recipe(
        policy="MlpPolicy",
        action="direct",
        num_envs=32,
        total_timesteps=1_500_000,
        hyperparameters={"gamma": 0.0, "batch_size": 512, "policy_kwargs": {"log_std_init": -1.2}},
    ),
    "equivariant": Recipe(
        policy=AllocationPolicy,
        action="direct",
        num_envs=128,
        total_timesteps=300_000,
        hyperparameters={**_EQUIVARIANT, "learning_rate": _RATE},
    ),
    "residual": Recipe(
        policy=AllocationPolicy,
        action="residual",
        num_envs=128,
        total_timesteps=300_000,
        hyperparameters={**_EQUIVARIANT, "learning_rate": _RATE},
    ),
}
