"""Algorithms: hyperparameters from YAML, training environments, and agents of stable-baselines3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib import resources
from typing import Any, Self

import gymnasium as gym
import yaml
from stable_baselines3 import PPO

from agents import AGENTS, NETWORKS
from agents.layers import LAYERS, VectorResidualAction
from agents.networks import AllocationPolicy, Shape
from agents.rewards import LongRunReward
from multispin_env import SystemConfig
from multispin_env.envs.codec import check_choice
from multispin_env.sb3 import SB3VecEnv


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What ``hyperparameters/ppo.yaml`` sets; its comments explain the values.

    Attributes:
        frames: Rounds to train on, over all lanes.
        lanes: Environments side by side.
        rounds: Rounds of every lane in an update.
        updates_per_chunk: Updates between two evaluations.
        batch_size: Rounds in a gradient step.
        epochs: Passes over an update's rounds.
        learning_rate: Adam's, at the start.
        discount: Discount factor.
        gae_lambda: Lambda of generalised advantage estimation.
        clip_range: PPO's clipping.
        entropy_weight: Weight of the entropy bonus.
        value_weight: Weight of the value loss.
        max_grad_norm: Longest gradient.
        initial_std: Standard deviation of the first actions, of a range from -1 to 1.
        width: Units in a hidden layer.
        lessons: Rounds of its teacher that an agent with one learns from first.
        lesson_epochs: Passes over these.
        taught_std: ``initial_std`` of an agent with a teacher.
        taught_learning_rate: Its ``learning_rate``.
    """

    frames: int
    lanes: int
    rounds: int
    updates_per_chunk: int
    batch_size: int
    epochs: int
    learning_rate: float
    discount: float
    gae_lambda: float
    clip_range: float
    entropy_weight: float
    value_weight: float
    max_grad_norm: float
    initial_std: float
    width: int
    lessons: int
    lesson_epochs: int
    taught_std: float
    taught_learning_rate: float

    @classmethod
    def load(cls, agent: str, scenario: str, changes: Mapping[str, Any]) -> Self:
        """An agent's hyperparameters for a scenario.

        Args:
            agent: The algorithm.
            scenario: The scenario.
            changes: Values to use in place of the file's.

        Raises:
            ValueError: There is no such agent or hyperparameter.
        """
        check_choice("agent", agent, AGENTS)
        text = resources.files(__package__).joinpath("hyperparameters", f"{agent}.yaml").read_text(encoding="utf-8")
        sections = yaml.safe_load(text)
        known = [item.name for item in fields(cls)]
        for name in changes:
            if name not in known:
                raise ValueError(f"{agent} has no hyperparameter {name!r}; it has {', '.join(known)}")
        return cls(**{**sections["default"], **sections.get(scenario, {}), **changes})

    @property
    def chunk_frames(self) -> int:
        """Rounds between two evaluations."""
        return self.lanes * self.rounds * self.updates_per_chunk

    @property
    def chunks(self) -> int:
        """Number of chunks that ``frames`` make, at least one."""
        return max(1, round(self.frames / self.chunk_frames))


def make_training_env(config: SystemConfig, layer: str, lanes: int) -> tuple[SB3VecEnv, LongRunReward]:
    """Lanes of a system under an action layer and the reward of the long run, for stable-baselines3.

    Returns:
        The environment, and its reward wrapper, whose running rate is part of the training's state.

    Raises:
        ValueError: There is no such layer.
    """
    check_choice("action", layer, tuple(LAYERS))
    env: Any = gym.make_vec(
        "multispin_env/Heterogeneous-v0", num_envs=lanes, autoreset_mode="SameStep", config=config.to_dict()
    )
    if layer == "residual":
        env = VectorResidualAction(env)
    reward = LongRunReward(env)
    return SB3VecEnv(reward), reward


def make_agent(env: SB3VecEnv, config: SystemConfig, network: str, values: Hyperparameters, seed: int) -> PPO:
    """A new agent, on the CPU.

    Args:
        env: Where it trains.
        config: The system there.
        network: ``equivariant`` or ``mlp``.
        values: The hyperparameters.
        seed: Decides the initial weights.

    Raises:
        ValueError: There is no such network.
    """
    check_choice("network", network, NETWORKS)
    return PPO(
        AllocationPolicy,
        env,
        n_steps=values.rounds,
        batch_size=values.batch_size,
        n_epochs=values.epochs,
        learning_rate=values.learning_rate,
        gamma=values.discount,
        gae_lambda=values.gae_lambda,
        clip_range=values.clip_range,
        ent_coef=values.entropy_weight,
        vf_coef=values.value_weight,
        max_grad_norm=values.max_grad_norm,
        policy_kwargs={
            "shape": asdict(Shape.of(network, values.width, config)),
            "initial_std": values.initial_std,
        },
        seed=seed,
        device="cpu",
    )
