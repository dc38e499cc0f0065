"""Algorithms: hyperparameters from YAML, training environments, and agents of stable-baselines3 and sb3-contrib."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib import resources
from typing import Any, get_type_hints

import gymnasium as gym
import yaml
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

from multispin_agents import AGENTS
from multispin_agents.networks import Shape
from multispin_agents.rewards import LongRunReward
from multispin_agents.sb3_policies import AllocationPolicy, RecurrentAllocationPolicy, SquashedAllocationPolicy
from multispin_env import SystemConfig
from multispin_env.envs.checks import check_choice
from multispin_env.integrations.sb3 import SB3VecEnv

# What may be nothing, and what is a share.
_FROM_ZERO = ("discount", "gae_lambda", "entropy_weight", "value_weight")
_AT_MOST_ONE = ("discount", "gae_lambda", "target_rate")


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(ABC):
    """What every algorithm's YAML file in ``hyperparameters`` sets; the comments there explain the values.

    Attributes:
        frames: Rounds to train on, over all lanes.
        lanes: Environments side by side.
        rounds: Rounds of every lane in an update.
        updates_per_chunk: Updates between two evaluations.
        batch_size: Rounds in a gradient step.
        learning_rate: Adam's, at the start.
        discount: Discount factor.
        initial_std: Standard deviation of the first actions, of a range from -1 to 1.
        width: Units in a hidden layer.

    Raises:
        ValueError: A value is not a number or out of range.
    """

    frames: int
    lanes: int
    rounds: int
    updates_per_chunk: int
    batch_size: int
    learning_rate: float
    discount: float
    initial_std: float
    width: int

    def __post_init__(self) -> None:
        kinds = get_type_hints(type(self))
        for name, value in asdict(self).items():
            number = isinstance(value, int if kinds[name] is int else int | float) and not isinstance(value, bool)
            if kinds[name] is int:
                fits, wanted = number and value >= 1, "an integer of at least 1"
            else:
                least, most = name in _FROM_ZERO, 1.0 if name in _AT_MOST_ONE else math.inf
                fits = number and 0.0 <= value <= most and (least or value > 0.0) and math.isfinite(value)
                wanted = f"a number {'of at least' if least else 'above'} 0" + (" and at most 1" if most == 1.0 else "")
            if not fits:
                raise ValueError(f"hyperparameter {name} must be {wanted}, got {value!r}")

    @property
    def chunk_frames(self) -> int:
        """Rounds between two evaluations."""
        return self.lanes * self.rounds * self.updates_per_chunk

    @property
    def chunks(self) -> int:
        """Number of chunks that ``frames`` make, at least one."""
        return max(1, round(self.frames / self.chunk_frames))

    @property
    def log_interval(self) -> int:
        """What stable-baselines3 is to call one, so that it writes one line of its log at a time."""
        return 1

    @abstractmethod
    def make_agent(self, env: SB3VecEnv, shape: Shape, seed: int) -> BaseAlgorithm:
        """A new agent, as :func:`make_agent` asks for one."""


@dataclass(frozen=True, kw_only=True)
class OnPolicyHyperparameters(Hyperparameters):
    """What PPO with and without memory have in common.

    Attributes:
        epochs: Passes over an update's rounds.
        gae_lambda: Lambda of generalised advantage estimation.
        clip_range: PPO's clipping.
        entropy_weight: Weight of the entropy bonus.
        value_weight: Weight of the value loss.
        max_grad_norm: Longest gradient.
    """

    epochs: int
    gae_lambda: float
    clip_range: float
    entropy_weight: float
    value_weight: float
    max_grad_norm: float

    def _arguments(self, shape: Shape, seed: int) -> dict[str, Any]:
        return {
            "n_steps": self.rounds,
            "batch_size": self.batch_size,
            "n_epochs": self.epochs,
            "learning_rate": self.learning_rate,
            "gamma": self.discount,
            "gae_lambda": self.gae_lambda,
            "clip_range": self.clip_range,
            "ent_coef": self.entropy_weight,
            "vf_coef": self.value_weight,
            "max_grad_norm": self.max_grad_norm,
            "policy_kwargs": {"shape": asdict(shape), "initial_std": self.initial_std},
            "seed": seed,
            "device": "cpu",
        }


@dataclass(frozen=True, kw_only=True)
class PPOHyperparameters(OnPolicyHyperparameters):
    """PPO's.

    Attributes:
        lessons: Rounds of its teacher that an agent with one learns from first.
        lesson_epochs: Passes over these.
    """

    lessons: int
    lesson_epochs: int

    def make_agent(self, env: SB3VecEnv, shape: Shape, seed: int) -> BaseAlgorithm:
        """PPO."""
        return PPO(AllocationPolicy, env, **self._arguments(shape, seed))


@dataclass(frozen=True, kw_only=True)
class RecurrentPPOHyperparameters(OnPolicyHyperparameters):
    """RecurrentPPO's: PPO's, with memory.

    Attributes:
        memory: Units of a user's memory, or of all users' in an MLP.
    """

    memory: int

    def make_agent(self, env: SB3VecEnv, shape: Shape, seed: int) -> BaseAlgorithm:
        """RecurrentPPO."""
        return RecurrentPPO(RecurrentAllocationPolicy, env, **self._arguments(shape, seed))


@dataclass(frozen=True, kw_only=True)
class SACHyperparameters(Hyperparameters):
    """SAC's.

    Attributes:
        gradient_steps: Gradient steps in an update.
        buffer_rounds: Rounds that the replay buffer holds, over all lanes.
        target_rate: Share by which the target critics follow at each step.
        target_std: Standard deviation of the actions to which the entropy's weight is steered.
        initial_entropy_weight: That weight at the start; rewards are about 1.
    """

    gradient_steps: int
    buffer_rounds: int
    target_rate: float
    target_std: float
    initial_entropy_weight: float

    @property
    def log_interval(self) -> int:
        """All lanes' episodes, which end together."""
        return self.lanes

    def make_agent(self, env: SB3VecEnv, shape: Shape, seed: int) -> BaseAlgorithm:
        """SAC."""
        numbers = int(env.action_space.shape[0])  # type: ignore[index]
        return SAC(
            SquashedAllocationPolicy,
            env,
            learning_rate=self.learning_rate,
            buffer_size=self.buffer_rounds,
            learning_starts=0,
            batch_size=self.batch_size,
            tau=self.target_rate,
            gamma=self.discount,
            train_freq=self.rounds,
            gradient_steps=self.gradient_steps,
            ent_coef=f"auto_{self.initial_entropy_weight}",
            # The entropy of independent Gaussians.
            target_entropy=numbers * (math.log(self.target_std) + 0.5 * math.log(2.0 * math.pi * math.e)),
            policy_kwargs={"shape": asdict(shape), "initial_std": self.initial_std},
            seed=seed,
            device="cpu",
        )


_KINDS: dict[str, type[Hyperparameters]] = {
    "ppo": PPOHyperparameters,
    "sac": SACHyperparameters,
    "recurrent-ppo": RecurrentPPOHyperparameters,
}


def load_hyperparameters(agent: str, sections: Sequence[str], changes: Mapping[str, Any]) -> Hyperparameters:
    """An agent's hyperparameters.

    Args:
        agent: The algorithm.
        sections: Sections of its file, each of which overrides ``default`` and those before it, if the file has it: the
            action layer, the scenario, and ``taught`` for agents with a teacher.
        changes: Values to use in place of the file's.

    Raises:
        ValueError: There is no such agent or hyperparameter.
    """
    check_choice("agent", agent, AGENTS)
    text = resources.files(__package__).joinpath("hyperparameters", f"{agent}.yaml").read_text(encoding="utf-8")
    held = yaml.safe_load(text)
    kind = _KINDS[agent]
    known = [item.name for item in fields(kind)]
    for name in changes:
        if name not in known:
            raise ValueError(f"{agent} has no hyperparameter {name!r}; it has {', '.join(known)}")
    values = dict(held["default"])
    for section in sections:
        values |= held.get(section, {})
    return kind(**values | dict(changes))


def make_training_env(config: SystemConfig, layer: str, lanes: int) -> SB3VecEnv:
    """Lanes of a system under an action layer and the reward of the long run, for stable-baselines3.

    Raises:
        ValueError: There is no such layer.
    """
    env: Any = gym.make_vec(
        "multispin_env/Heterogeneous-v0",
        num_envs=lanes,
        autoreset_mode="SameStep",
        config=config.to_dict(),
        action=layer,
    )
    return SB3VecEnv(LongRunReward(env))


def make_agent(env: SB3VecEnv, config: SystemConfig, network: str, values: Hyperparameters, seed: int) -> BaseAlgorithm:
    """A new agent, on the CPU.

    Args:
        env: Where it trains.
        config: The system there.
        network: ``equivariant`` or ``mlp``.
        values: The hyperparameters, of the algorithm that is to be made.
        seed: Decides the initial weights.

    Raises:
        ValueError: There is no such network.
    """
    memory = values.memory if isinstance(values, RecurrentPPOHyperparameters) else 0
    return values.make_agent(env, Shape.of(network, values.width, config, memory), seed)
