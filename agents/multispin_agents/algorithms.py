"""Algorithms: hyperparameters from YAML, training environments, and agents of stable-baselines3 and sb3-contrib."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import gymnasium as gym
import yaml
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.base_class import BaseAlgorithm

from multispin_agents import AGENTS
from multispin_agents.networks import NetworkConfig, make_network_codec
from multispin_agents.rewards import ProgressReward, keeps_acceptance
from multispin_agents.sb3_policies import AllocationPolicy, RecurrentAllocationPolicy, SquashedAllocationPolicy
from multispin_env import SCENARIOS, ConfigError, SystemConfig
from multispin_env.config.validation import Checked, check_fields, check_number, real, shown, whole
from multispin_env.envs.actions import ACTIONS
from multispin_env.envs.checks import check_choice
from multispin_env.files import read_text
from multispin_env.integrations.sb3 import SB3VecEnv

# Sections and their values; whatever stands for a value is refused later, by its name.
_DEEPEST = 4
_FILES = Path(__file__).parent / "hyperparameters"


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(Checked, ABC):
    """What every algorithm's YAML file in ``hyperparameters`` sets; the comments there explain the values.

    Attributes:
        total_timesteps: Rounds to train on, over all environments.
        num_envs: Environments side by side.
        n_steps: Rounds of every environment in an update.
        updates_per_chunk: Updates between two evaluations.
        batch_size: Rounds in a gradient step.
        learning_rate: Adam's, at the start.
        gamma: Discount factor.
        initial_std: Standard deviation of the first actions, of a range from -1 to 1.
        width: Units in a hidden layer.

    Raises:
        ValueError: A value is not a number or out of range.
    """

    total_timesteps: int = whole(1, 10**12)
    num_envs: int = whole(1, 65_536)
    n_steps: int = whole(1, 65_536)
    updates_per_chunk: int = whole(1, 10**9)
    batch_size: int = whole(2, 10**7)  # of a single round there is no spread to normalise advantages by
    learning_rate: float = real(1e-9, 1.0)
    gamma: float = real(0.0, 1.0)
    initial_std: float = real(1e-6, 10.0)
    width: int = whole(1, 4096)

    @property
    def chunk_timesteps(self) -> int:
        """Rounds between two evaluations."""
        return self.num_envs * self.n_steps * self.updates_per_chunk

    @property
    def chunks(self) -> int:
        """Number of chunks that ``total_timesteps`` make, at least one."""
        return max(1, round(self.total_timesteps / self.chunk_timesteps))

    @property
    def log_interval(self) -> int:
        """What stable-baselines3 is to call one, so that it writes one line of its log at a time."""
        return 1

    @abstractmethod
    def make_agent(self, env: SB3VecEnv, network: NetworkConfig, seed: int) -> BaseAlgorithm:
        """A new agent, as :func:`make_agent` asks for one."""


@dataclass(frozen=True, kw_only=True)
class OnPolicyHyperparameters(Hyperparameters):
    """What PPO with and without memory have in common.

    Attributes:
        n_epochs: Passes over an update's rounds.
        gae_lambda: Lambda of generalised advantage estimation.
        clip_range: PPO's clipping.
        ent_coef: Weight of the entropy bonus.
        vf_coef: Weight of the value loss.
        max_grad_norm: Longest gradient.
        target_kl: Divergence from the policy that collected an update's rounds; half more ends the update.
    """

    n_epochs: int = whole(1, 10_000)
    gae_lambda: float = real(0.0, 1.0)
    clip_range: float = real(1e-6, 10.0)
    ent_coef: float = real(0.0, 1e3)
    vf_coef: float = real(0.0, 1e3)
    max_grad_norm: float = real(1e-6, 1e6)
    target_kl: float = real(1e-6, 1e6)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_envs * self.n_steps < 2:
            raise ConfigError(
                f"num_envs * n_steps, an update's rounds, must be at least 2, "
                f"got num_envs={self.num_envs}, n_steps={self.n_steps}"
            )

    def _arguments(self, network: NetworkConfig, seed: int) -> dict[str, Any]:
        return {
            "n_steps": self.n_steps,
            "batch_size": self.batch_size,
            "n_epochs": self.n_epochs,
            "learning_rate": self.learning_rate,
            "gamma": self.gamma,
            "gae_lambda": self.gae_lambda,
            "clip_range": self.clip_range,
            "ent_coef": self.ent_coef,
            "vf_coef": self.vf_coef,
            "max_grad_norm": self.max_grad_norm,
            "target_kl": self.target_kl,
            "policy_kwargs": {"network_config": asdict(network), "initial_std": self.initial_std},
            "seed": seed,
            "device": "cpu",
        }


@dataclass(frozen=True, kw_only=True)
class PPOHyperparameters(OnPolicyHyperparameters):
    """PPO's.

    Attributes:
        lesson_rounds: Rounds of the lessons of an agent with a teacher.
    """

    lesson_rounds: int = whole(1, 10**12)

    def make_agent(self, env: SB3VecEnv, network: NetworkConfig, seed: int) -> BaseAlgorithm:
        """PPO."""
        return PPO(AllocationPolicy, env, **self._arguments(network, seed))


@dataclass(frozen=True, kw_only=True)
class RecurrentPPOHyperparameters(OnPolicyHyperparameters):
    """RecurrentPPO's: PPO's, with memory.

    Attributes:
        memory: Units of a user's memory, or of all users' in an MLP.
    """

    memory: int = whole(1, 4096)

    def make_agent(self, env: SB3VecEnv, network: NetworkConfig, seed: int) -> BaseAlgorithm:
        """RecurrentPPO."""
        return RecurrentPPO(RecurrentAllocationPolicy, env, **self._arguments(network, seed))


@dataclass(frozen=True, kw_only=True)
class SACHyperparameters(Hyperparameters):
    """SAC's.

    Attributes:
        gradient_steps: Gradient steps in an update.
        buffer_size: Rounds that the replay buffer holds, over all environments.
        tau: Share by which the target critics follow at each step.
        target_std: Standard deviation of the actions to which the entropy's weight is steered.
        initial_ent_coef: That weight at the start; rewards are about 1.
    """

    gradient_steps: int = whole(1, 10_000)
    buffer_size: int = whole(1, 10**9)
    tau: float = real(1e-9, 1.0)
    target_std: float = real(1e-6, 10.0)
    initial_ent_coef: float = real(1e-9, 1e3)

    @property
    def log_interval(self) -> int:
        """All environments' episodes, which end together."""
        return self.num_envs

    def make_agent(self, env: SB3VecEnv, network: NetworkConfig, seed: int) -> BaseAlgorithm:
        """SAC."""
        num_actions = int(env.action_space.shape[0])  # type: ignore[index]
        return SAC(
            SquashedAllocationPolicy,
            env,
            learning_rate=self.learning_rate,
            buffer_size=self.buffer_size,
            learning_starts=0,
            batch_size=self.batch_size,
            tau=self.tau,
            gamma=self.gamma,
            train_freq=self.n_steps,
            gradient_steps=self.gradient_steps,
            ent_coef=f"auto_{self.initial_ent_coef}",
            # The entropy of independent Gaussians.
            target_entropy=num_actions * (math.log(self.target_std) + 0.5 * math.log(2.0 * math.pi * math.e)),
            policy_kwargs={"network_config": asdict(network), "initial_std": self.initial_std},
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
        ValueError: There is no such agent or hyperparameter, a value is out of range, or the file is wrong.
    """
    check_choice("agent", agent, AGENTS)
    kind = _KINDS[agent]
    held = read_sections(_FILES / f"{agent}.yaml", kind)
    check_fields(agent, changes, [item.name for item in fields(kind)], [])
    values = dict(held["default"])
    for section in sections:
        values |= held.get(section, {})
    return kind(**values | dict(changes))


def read_sections(path: Path, kind: type[Hyperparameters]) -> dict[str, dict[str, Any]]:
    """The sections of a YAML file of hyperparameters, each checked: ``default``, which is whole, and what replaces it.

    Args:
        path: The file.
        kind: Whose hyperparameters they are.

    Raises:
        ValueError: The file cannot be read, lacks ``default``, or has a section or a hyperparameter that there is not,
            or a value that is out of range; the message names the file, the section and the hyperparameter.
    """
    text = read_text(path)
    try:
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            place = f"{path}, line {event.start_mark.line + 1}"
            if isinstance(event, yaml.AliasEvent):  # a few of them stand for gigabytes
                raise ConfigError(f"{place}: must have no aliases, got *{event.anchor}")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise ConfigError(f"{place}: must hold sections of values and nothing deeper")
        _refuse_repeated_keys(path, yaml.compose(text, yaml.SafeLoader))
        held = yaml.safe_load(text)
    except ConfigError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date or a number that is none
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(held, dict) or "default" not in held:
        raise ConfigError(f"{path} must hold sections of hyperparameters, one of them default, got {shown(held)}")
    rules = {item.name: item.metadata for item in fields(kind)}
    known = ("default", *ACTIONS, *SCENARIOS, "taught")
    for section, values in held.items():
        try:
            check_choice("section", section, known)
            if not isinstance(values, dict):
                raise ConfigError(f"must hold hyperparameters and their values, got {shown(values)}")
            check_fields("it", values, list(rules), list(rules) if section == "default" else [])
            for name, value in values.items():
                check_number(name, value, rules[name])
        except ValueError as error:
            raise ConfigError(f"{path}, section {shown(section)}: {error}") from error
    return held


def _refuse_repeated_keys(path: Path, node: Any) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if str(key.value) in seen:
                raise ConfigError(f"{path}, line {key.start_mark.line + 1}: {shown(key.value)} stands there twice")
            seen.add(str(key.value))
            _refuse_repeated_keys(path, value)


def make_training_env(config: SystemConfig, layer: str, num_envs: int) -> SB3VecEnv:
    """Environments of a system under an action layer, with the reward ``time-priced``, for stable-baselines3.

    Raises:
        ValueError: There is no such kind of action.
    """
    make_network_codec(layer, config)  # refuses what networks cannot learn
    env: Any = gym.make_vec(
        "multispin_env/Heterogeneous-v0",
        num_envs=num_envs,
        autoreset_mode="SameStep",
        config=config.to_dict(),
        action=layer,
        reward="time-priced",
    )
    return SB3VecEnv(ProgressReward(env) if keeps_acceptance(config) else env)


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
    outputs = spaces.flatdim(env.action_space) // config.num_users
    return values.make_agent(env, NetworkConfig.of(network, values.width, config, memory, outputs), seed)
