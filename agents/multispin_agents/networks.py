"""Networks for a set of users: what they read of an observation, actors with and without memory, critics."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from multispin_agents import NETWORKS
from multispin_env import SystemConfig
from multispin_env.config import RequestConfig
from multispin_env.config.validation import Checked, whole
from multispin_env.core import round_features
from multispin_env.core.channel.base import SPECTRAL_EFFICIENCY_UNIT
from multispin_env.core.equations import LN_2
from multispin_env.envs.actions import ActionCodec, make_action_codec
from multispin_env.envs.checks import check_choice

# What an observation must hold of a user, in order, for networks to read it.
FEATURES = (
    "drafting_latency_s",
    "observed_spectral_efficiency",
    "long_term_spectral_efficiency",
    "last_upload_spectral_efficiency",
    "doppler_hz",
    "task_acceptance_mean",
    "task_acceptance_std",
    "request_tested",
    "request_accepted",
    "last_draft_length",
    "last_accepted",
)
# Numbers of a user in what networks read of them.
NUM_INPUTS = 14

# Typical values and spreads of a user's inputs in the presets: fixed, so that there are no statistics to carry along.
_CENTRE = torch.tensor([1.0, 3.5, 4.0, -0.5, 5.0, 1.5, -0.2, 0.3, 0.8, 0.3, 1.5, 1.5, 2.0, 0.3])
_SPREAD = torch.tensor([0.1, 1.5, 1.5, 1.0, 2.5, 0.6, 0.5, 0.4, 0.1, 0.1, 1.5, 1.5, 1.5, 0.3])
_LIMIT = 5.0
_LEAST_EFFICIENCY = 1e-3
_LEAST_STD = 1e-2
# Number of users at which the input that tells it is 0.
_USUAL_USERS = 20.0


# What an actor with memory remembers: an LSTM's hidden and cell state, each (1, num_envs, memory of all users).
Memory: TypeAlias = tuple[Tensor, Tensor]


def make_network_codec(action: str, config: SystemConfig) -> ActionCodec:
    """The codec of a kind of action that networks can give, in a system whose observations they can read.

    Raises:
        ValueError: There is no such kind, it has not the same numbers for every user, or a component of the system
            shows other features of a user than ``FEATURES``.
    """
    shown = tuple(feature.name for feature in round_features(config))
    if shown != FEATURES:
        raise ValueError(f"networks read the features {', '.join(FEATURES)}; the system shows {', '.join(shown)}")
    codec = make_action_codec(action, config)
    if codec.numbers() % config.num_users:
        raise ValueError(
            f"action must be a kind with the same numbers for every user, for networks to learn, got {action!r} with "
            f"{codec.numbers()} numbers for {config.num_users} users"
        )
    return codec


@dataclass(frozen=True)
class NetworkConfig(Checked):
    """What a network has to know of the system and of itself.

    Attributes:
        network: ``equivariant``, for any number of users, or ``mlp``, for the number it was made for.
        num_users: Number of users in training.
        width: Units in a hidden layer.
        tokens_high: The observation's unit of a request's progress, ``requests.tokens_high``.
        max_draft_length: Its unit of lengths.
        memory: Units of memory, of each user or, in an MLP, of all; 0 for an actor without.
        outputs: Numbers of a user in actions.

    Raises:
        ValueError: There is no such kind, or a number is out of range.
    """

    network: str
    num_users: int = whole(1, 100_000)
    width: int = whole(1, 4096)
    tokens_high: int = whole(1, 1_000_000)
    max_draft_length: int = whole(1, 10_000)
    memory: int = whole(0, 4096, default=0)
    outputs: int = whole(1, 4096, default=2)

    def __post_init__(self) -> None:
        check_choice("network", self.network, NETWORKS)
        super().__post_init__()

    @classmethod
    def of(cls, network: str, width: int, config: SystemConfig, memory: int = 0, outputs: int = 2) -> Self:
        """The configuration of a network for a system."""
        units = config.requests.tokens_high, config.max_draft_length
        return cls(network, config.num_users, width, *units, memory, outputs)

    @classmethod
    def of_spaces(cls, size: int, numbers: int) -> Self:
        """A small equivariant network for observations and actions of so many numbers, in the units of the scenarios.

        Raises:
            ValueError: They are not those of :class:`~multispin_env.envs.MultiSpinEnv`.
        """
        num_features = len(FEATURES)
        if size < num_features or size % num_features:
            raise ValueError(f"observations must have {num_features} numbers a user, got {size} numbers")
        users = size // num_features
        if numbers < users or numbers % users:
            raise ValueError(
                f"actions must have the same numbers for every user, got {numbers} numbers for {users} users"
            )
        units: dict[str, Any] = {item.name: item.default for item in (*fields(RequestConfig), *fields(SystemConfig))}
        return cls("equivariant", users, 32, units["tokens_high"], units["max_draft_length"], outputs=numbers // users)


def user_inputs(observation: Tensor, config: NetworkConfig) -> Tensor:
    """What the observation says of each user, on scales that a network takes well, (batch, users, NUM_INPUTS).

    Per user: drafting latency; logarithms of the signal to noise ratio observed, long-term, and of their ratio;
    spectral efficiency observed, its logarithm, and that of the last upload's over it; root of the Doppler shift;
    acceptance of the task, mean and spread; log-odds of the request's
    posterior acceptance given all evidence, and given the last round's alone; logarithm of the evidence; accepted
    share of the last draft.

    Args:
        observation: The environment's, (batch, 11 users).
        config: Its units.
    """
    columns = observation.reshape(len(observation), len(FEATURES), -1).unbind(1)
    latency, observed, long_term, last_upload, doppler, mean, std, *history = columns
    tested, accepted, last_length, last_accepted = history
    observed, long_term = (
        SPECTRAL_EFFICIENCY_UNIT * efficiency.clamp_min(_LEAST_EFFICIENCY) for efficiency in (observed, long_term)
    )
    log_snr, log_mean_snr = (torch.log(torch.expm1(LN_2 * efficiency)) for efficiency in (observed, long_term))
    # Before the first upload there is no such rate: as if it had been the one observed.
    last_upload = torch.where(last_upload > 0.0, SPECTRAL_EFFICIENCY_UNIT * last_upload, observed)
    tested, accepted = config.tokens_high * tested, config.tokens_high * accepted
    last_length, last_accepted = config.max_draft_length * last_length, config.max_draft_length * last_accepted
    running = (tested > 0).to(tested.dtype)
    rejected_last = running * (last_accepted < last_length - 0.5).to(tested.dtype)
    # The task's Beta prior in drafts; what is not spread at all is as good as known.
    prior = (mean * (1.0 - mean) / std.clamp_min(_LEAST_STD) ** 2 - 1.0).clamp_min(1e-3)
    posterior = torch.log((prior * mean + accepted) / (prior * (1.0 - mean) + tested - accepted).clamp_min(1e-3))
    recent = torch.log((prior * mean + running * last_accepted) / (prior * (1.0 - mean) + rejected_last))
    inputs = torch.stack(
        [
            latency,
            log_snr,
            log_mean_snr,
            log_snr - log_mean_snr,
            observed,
            torch.log(observed),
            torch.log(last_upload / observed),
            torch.sqrt(doppler),
            mean,
            std,
            posterior,
            recent,
            torch.log1p(tested),
            last_accepted / last_length.clamp_min(1.0),
        ],
        dim=-1,
    )
    return ((inputs - _CENTRE) / _SPREAD).clamp(-_LIMIT, _LIMIT)


def _hidden(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())


class DeepSetsEncoder(nn.Module):
    """Encodes every user in the context of all of them: permuting the users permutes the output, and no more.

    Mean and maximum over the users, of which a round's tokens and duration are made, carry the context.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.encoder = _hidden(inputs, width)
        self.context = nn.Sequential(nn.Linear(2 * width + 1, width), nn.SiLU())
        self.mixer = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU())

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, users, inputs) to (batch, users, width)."""
        batch, users, _ = inputs.shape
        encoded = self.encoder(inputs)
        number = torch.full((batch, 1), users / _USUAL_USERS).log()
        context = self.context(torch.cat([encoded.mean(1), encoded.amax(1), number], dim=1))
        # The mixer's linear layer of both side by side, where the context's part is computed once for all users.
        mixer = self.mixer[0]
        assert isinstance(mixer, nn.Linear)
        width = encoded.shape[2]
        shared = functional.linear(context, mixer.weight[:, width:], mixer.bias)[:, None]
        return functional.silu(functional.linear(encoded, mixer.weight[:, :width]) + shared)


class MLPEncoder(nn.Module):
    """Takes the users' inputs as one long vector: (batch, users, inputs) to (batch, 1, width)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.layers = _hidden(inputs, width)

    def forward(self, inputs: Tensor) -> Tensor:
        """The hidden layer, as if of a single user."""
        return self.layers(inputs.flatten(1))[:, None]


class Actor(nn.Module):
    """From observations, and memory where there is one, to numbers for every user.

    Equivariant actors have the same head, and the same LSTM with a memory of its own, for every user.

    Args:
        config: Of which kind and size.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        equivariant = config.network == "equivariant"
        self.trunk = (
            DeepSetsEncoder(NUM_INPUTS, config.width)
            if equivariant
            else MLPEncoder(config.num_users * NUM_INPUTS, config.width)
        )
        self.memory = nn.LSTM(config.width, config.memory) if config.memory else None
        self.head = self.new_head()

    def new_head(self) -> nn.Linear:
        """A last layer that starts near 0: a residual agent starts at the closed form."""
        per_user = 1 if self.config.network == "equivariant" else self.config.num_users
        head = nn.Linear(self.config.width + self.config.memory, per_user * self.config.outputs)
        with torch.no_grad():
            head.weight.mul_(0.01)
            head.bias.zero_()
        return head

    def new_memory(self, num_envs: int, num_users: int) -> Memory:
        """The memory before the first round."""
        units = self.config.memory * (num_users if self.config.network == "equivariant" else 1)
        return torch.zeros(1, num_envs, units), torch.zeros(1, num_envs, units)

    def features(self, inputs: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory | None]:
        """What the head reads, (batch, users or 1, units), and the memory after it.

        Args:
            inputs: Of :func:`user_inputs`. With memory, environment after environment, each with its rounds in order.
            memory: Before the first round of each environment; none for an actor without, or as an episode starts.
        """
        features = self.trunk(inputs)
        if self.memory is None:
            return features, None
        batch, users, units = features.shape
        before = memory or self.new_memory(batch, inputs.shape[1])
        num_envs = before[0].shape[1]
        # The LSTM wants (rounds, num_envs x users, units).
        rounds = features.reshape(num_envs, -1, users * units).transpose(0, 1).reshape(-1, num_envs * users, units)
        recalled, after = self.memory(rounds, tuple(state.reshape(1, num_envs * users, -1) for state in before))
        recalled = recalled.reshape(-1, num_envs, users * self.config.memory).transpose(0, 1).reshape(batch, users, -1)
        hidden, cell = (state.reshape(1, num_envs, -1) for state in after)
        return torch.cat([features, recalled], dim=2), (hidden, cell)

    def mean_action(self, observation: Tensor, memory: Memory | None = None) -> tuple[Tensor, Memory | None]:
        """Actions within [-1, 1], (batch, outputs users), and the memory after them.

        Args:
            observation: (batch, 11 users).
            memory: As for :meth:`features`.
        """
        features, memory = self.features(user_inputs(observation, self.config), memory)
        return torch.tanh(flatten_actions(self.head, features)), memory


def flatten_actions(head: nn.Module, features: Tensor) -> Tensor:
    """A head's numbers, all users' of one kind after those of another, (batch, outputs users)."""
    return head(features).transpose(1, 2).flatten(1)


class Critic(nn.Module):
    """One number for a set of users, whatever their order (or, in an MLP, for their vector).

    Args:
        config: Of which kind and size.
        inputs: Inputs of a user.
    """

    def __init__(self, config: NetworkConfig, inputs: int = NUM_INPUTS) -> None:
        super().__init__()
        width = config.width
        self._equivariant = config.network == "equivariant"
        self.encoder = _hidden(inputs if self._equivariant else inputs * config.num_users, width)
        self.head = nn.Sequential(
            nn.Linear(2 * width if self._equivariant else width, width), nn.SiLU(), nn.Linear(width, 1)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, users, inputs) to (batch, 1)."""
        if not self._equivariant:
            return self.head(self.encoder(inputs.flatten(1)))
        encoded = self.encoder(inputs)
        return self.head(torch.cat([encoded.mean(1), encoded.amax(1)], dim=1))


class ActorCritic(nn.Module):
    """An actor, and a critic of the state beside it, without memory.

    Args:
        config: Of which kind and size.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.actor = Actor(config)
        self.critic = Critic(config)

    def forward(self, observation: Tensor, memory: Memory | None = None) -> tuple[Tensor, Tensor, Memory | None]:
        """Mean actions, (batch, outputs users), values, (batch, 1), and the memory after them."""
        inputs = user_inputs(observation, self.actor.config)
        features, memory = self.actor.features(inputs, memory)
        return torch.tanh(flatten_actions(self.actor.head, features)), self.critic(inputs), memory

    def mean_action(self, observation: Tensor) -> Tensor:
        """The actions alone, of rounds that begin an episode."""
        return self.actor.mean_action(observation)[0]

    def value(self, observation: Tensor) -> Tensor:
        """The values alone."""
        return self.critic(user_inputs(observation, self.actor.config))
