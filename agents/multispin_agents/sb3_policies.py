"""The policies of stable-baselines3 and sb3-contrib that hold our networks."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.distributions import (
    DiagGaussianDistribution,
    Distribution,
    SquashedDiagGaussianDistribution,
)
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor, nn

from multispin_agents.networks import (
    NUM_INPUTS,
    Actor,
    ActorCritic,
    Critic,
    Memory,
    NetworkConfig,
    flatten_actions,
    user_inputs,
)

# Bounds of the logarithm of the standard deviations that SAC's actor gives, before the squashing.
_LOG_STD_RANGE = (-6.0, 1.0)


class AllocationPolicy(ActorCriticPolicy):
    """A Gaussian policy around an :class:`~multispin_agents.networks.ActorCritic`, for PPO.

    ``PPO(AllocationPolicy, env)`` is enough, for every kind of action, in any scenario and with any number of users.
    The standard deviation is shared by the users, one for each kind of number.

    Args:
        observation_space: As stable-baselines3 gives it.
        action_space: Likewise.
        network_config: The fields of a :class:`~multispin_agents.networks.NetworkConfig`. By default a small
            equivariant network in the units of the scenarios: give it where the configuration changes ``tokens_high``
            or ``max_draft_length``.
        initial_std: Standard deviation of the first actions.
        *arguments: As stable-baselines3 gives them.
        **options: Likewise.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        *arguments: Any,
        network_config: dict[str, Any] | None = None,
        initial_std: float = 0.3,
        **options: Any,
    ) -> None:
        self._network_config = (
            NetworkConfig.of_spaces(spaces.flatdim(observation_space), spaces.flatdim(action_space))
            if network_config is None
            else NetworkConfig(**network_config)
        )
        self._initial_std = initial_std
        # Not `super()`: sb3-contrib's recurrent policy, a base of ours with memory, would make LSTMs of its own.
        ActorCriticPolicy.__init__(self, observation_space, action_space, *arguments, **options)

    def _build(self, lr_schedule: Schedule) -> None:
        self.network = ActorCritic(self._network_config)
        self.log_std = nn.Parameter(torch.full((self._network_config.outputs,), self._initial_std).log())
        options = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **options)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "network_config": asdict(self._network_config),
            "initial_std": self._initial_std,
        }

    def share(self, other: AllocationPolicy) -> None:
        """Has another policy's weights and optimizer from now on: of a system with another number of users."""
        self.network, self.log_std, self.optimizer = other.network, other.log_std, other.optimizer

    @property
    def acting(self) -> Actor:
        """The actor without its noise."""
        return self.network.actor

    def action_std(self) -> float:
        """Mean standard deviation of the actions."""
        return float(self.log_std.detach().exp().mean())

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """The actions' distribution."""
        assert isinstance(obs, Tensor)
        return self._around(self.network.mean_action(obs))

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Values, (batch, 1)."""
        assert isinstance(obs, Tensor)
        return self.network.value(obs)

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and the actions' log-probabilities."""
        mean, values, _ = self.network(obs)
        distribution = self._around(mean)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, and the actions' log-probabilities and entropy."""
        mean, values, _ = self.network(obs)
        distribution = self._around(mean)
        return values, distribution.log_prob(actions), distribution.entropy()

    def _around(self, mean: Tensor) -> Distribution:
        log_std = self.log_std.repeat_interleave(mean.shape[1] // self._network_config.outputs)
        return DiagGaussianDistribution(mean.shape[1]).proba_distribution(mean, log_std)


class RecurrentAllocationPolicy(AllocationPolicy, RecurrentActorCriticPolicy):
    """The same with memory, for RecurrentPPO.

    The critic has none: it is a baseline, and the actor's memory takes the place of the critic's in what sb3-contrib
    hands around.
    """

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        memory, _ = self.network.actor.new_memory(1, self._network_config.num_users)
        # Read by RecurrentPPO, to know how much there is to remember of an environment.
        self.lstm_actor = SimpleNamespace(num_layers=1, hidden_size=memory.shape[2])  # type: ignore[assignment]
        self.lstm_hidden_state_shape = tuple(memory.shape)  # type: ignore[assignment]

    def get_distribution(  # type: ignore[override]
        self, obs: Tensor, lstm_states: Memory, episode_starts: Tensor
    ) -> tuple[Distribution, Memory | None]:
        """The actions' distribution, and the memory after them."""
        mean, memory = self.network.actor.mean_action(obs, _kept(lstm_states, episode_starts))
        return self._around(mean), memory

    def predict_values(  # type: ignore[override]
        self, obs: Tensor, lstm_states: Memory, episode_starts: Tensor
    ) -> Tensor:
        """Values, (batch, 1)."""
        return self.network.value(obs)

    def forward(  # type: ignore[override]
        self, obs: Tensor, lstm_states: RNNStates, episode_starts: Tensor, deterministic: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, RNNStates]:
        """Actions, values, the actions' log-probabilities, and the memory after them."""
        mean, values, memory = self.network(obs, _kept(lstm_states.pi, episode_starts))
        distribution = self._around(mean)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions), RNNStates(memory, memory)

    def evaluate_actions(  # type: ignore[override]
        self, obs: Tensor, actions: Tensor, lstm_states: RNNStates, episode_starts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, and the actions' log-probabilities and entropy, of sequences laid one after the other."""
        mean, values, _ = self.network(obs, _kept(lstm_states.pi, episode_starts))
        distribution = self._around(mean)
        # Short sequences are padded with zeros, whose log-probability counts as 0 before. So it has to be now: with
        # many users, or a small spread, the ratio would overflow, and its gradient is NaN although it is masked.
        played = torch.any(obs != 0.0, dim=1)
        return values, distribution.log_prob(actions) * played, distribution.entropy()


def _kept(memory: Any, episode_starts: Tensor) -> Memory:
    """The memory, empty where an episode starts. The buffer cuts sequences there: only their first round can be one."""
    num_envs = memory[0].shape[1]
    kept = 1.0 - episode_starts.reshape(num_envs, -1)[:, :1]
    return memory[0] * kept, memory[1] * kept


class SquashedActor(nn.Module):
    """SAC's actor: a Gaussian squashed by tanh, whose standard deviation is told from the state as its mean is.

    Args:
        config: Of which kind and size.
        initial_std: Standard deviation of the first actions.

    Attributes:
        last_log_std: Logarithms of the standard deviations of the last batch, before the squashing; at first those
            of the first actions.
    """

    optimizer: torch.optim.Optimizer
    last_log_std: Tensor

    def __init__(self, config: NetworkConfig, initial_std: float) -> None:
        super().__init__()
        self.actor = Actor(config)
        self.spread = self.actor.new_head()
        with torch.no_grad():
            self.spread.bias.fill_(initial_std).log_()
        self.last_log_std = self.spread.bias.detach().clone()

    def forward(self, observation: Tensor, deterministic: bool = False) -> Tensor:
        """Actions, (batch, outputs users)."""
        mean, log_std = self._gaussian(observation)
        return self._squashed(mean).actions_from_params(mean, log_std, deterministic)

    def action_log_prob(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Drawn actions and their log-probabilities."""
        mean, log_std = self._gaussian(observation)
        return self._squashed(mean).log_prob_from_params(mean, log_std)

    def set_training_mode(self, mode: bool) -> None:
        """As stable-baselines3 wants it."""
        self.train(mode)

    def _gaussian(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        features, _ = self.actor.features(user_inputs(observation, self.actor.config))
        mean, log_std = (
            flatten_actions(self.actor.head, features),
            flatten_actions(self.spread, features).clamp(*_LOG_STD_RANGE),
        )
        self.last_log_std = log_std.detach()
        return mean, log_std

    def _squashed(self, mean: Tensor) -> SquashedDiagGaussianDistribution:
        return SquashedDiagGaussianDistribution(mean.shape[1])


class ActionCritics(nn.Module):
    """SAC's two critics of a state and its actions.

    Args:
        config: Of which kind and size.
    """

    optimizer: torch.optim.Optimizer

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self._network_config = config
        self.critics = nn.ModuleList([Critic(config, NUM_INPUTS + config.outputs) for _ in range(2)])

    def forward(self, observation: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """Values, (batch, 1) each."""
        per_user = actions.reshape(len(actions), self._network_config.outputs, -1).transpose(1, 2)
        inputs = torch.cat([user_inputs(observation, self._network_config), per_user], dim=2)
        return tuple(critic(inputs) for critic in self.critics)

    def set_training_mode(self, mode: bool) -> None:
        """As stable-baselines3 wants it."""
        self.train(mode)


class SquashedAllocationPolicy(SACPolicy):
    """:class:`SquashedActor` and :class:`ActionCritics`, for SAC.

    Args:
        network_config: The fields of a :class:`~multispin_agents.networks.NetworkConfig`.
        initial_std: Standard deviation of the first actions.
        *arguments: As stable-baselines3 gives them.
        **options: Likewise.
    """

    actor: SquashedActor  # type: ignore[assignment]

    def __init__(self, *arguments: Any, network_config: dict[str, Any], initial_std: float, **options: Any) -> None:
        self._network_config = NetworkConfig(**network_config)
        self._initial_std = initial_std
        super().__init__(*arguments, **options)

    @property
    def acting(self) -> Actor:
        """The actor without its noise."""
        return self.actor.actor

    def action_std(self) -> float:
        """Mean standard deviation of the actions last drawn, before they are squashed."""
        return float(self.actor.last_log_std.exp().mean())

    def make_actor(self, features_extractor: Any = None) -> SquashedActor:  # type: ignore[override]
        """A new actor; features are its own."""
        return SquashedActor(self._network_config, self._initial_std)

    def make_critic(self, features_extractor: Any = None) -> ActionCritics:  # type: ignore[override]
        """New critics; features are their own."""
        return ActionCritics(self._network_config)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "network_config": asdict(self._network_config),
            "initial_std": self._initial_std,
        }
