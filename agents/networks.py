"""Networks for a set of users, and the stable-baselines3 policy that holds one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import Tensor, nn

from agents import NETWORKS
from agents.layers import NUMBERS_PER_USER
from multispin_env import SystemConfig
from multispin_env.core.round import LN_2
from multispin_env.envs.codec import SPECTRAL_EFFICIENCY_SCALE, ObservationCodec

NUM_INPUTS = 12

# Typical values and spreads of a user's inputs in the presets: fixed, so that there are no statistics to carry along.
_CENTRE = torch.tensor([1.0, 3.5, 4.0, -0.5, 5.0, 1.5, 0.8, 0.3, 1.5, 1.5, 2.0, 0.3])
_SPREAD = torch.tensor([0.1, 1.5, 1.5, 1.0, 2.5, 0.6, 0.1, 0.1, 1.5, 1.5, 1.5, 0.3])
_LIMIT = 5.0
_LEAST_EFFICIENCY = 1e-3
_LEAST_STD = 1e-2
# Number of users at which the input that tells it is 0.
_USUAL_USERS = 20.0


@dataclass(frozen=True)
class Shape:
    """What a network has to know of the system and of itself.

    Attributes:
        network: ``equivariant``, for any number of users, or ``mlp``, for the number it was made for.
        num_users: Number of users in training.
        width: Units in a hidden layer.
        tokens_high: The observation's unit of a request's progress, ``requests.tokens_high``.
        max_draft_length: Its unit of lengths.
    """

    network: str
    num_users: int
    width: int
    tokens_high: int
    max_draft_length: int

    @classmethod
    def of(cls, network: str, width: int, config: SystemConfig) -> Self:
        """The shape of a network for a system."""
        return cls(network, config.num_users, width, config.requests.tokens_high, config.max_draft_length)

    def build(self) -> ActorCritic:
        """A new network.

        Raises:
            ValueError: There is no such kind.
        """
        if self.network not in NETWORKS:
            raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {self.network!r}")
        return ActorCritic(self)


def user_inputs(observation: Tensor, shape: Shape) -> Tensor:
    """What the observation says of each user, on scales that a network takes well, (batch, users, NUM_INPUTS).

    Per user: drafting latency; logarithms of the signal to noise ratio observed, long-term, and of their ratio;
    spectral efficiency observed, and its logarithm; acceptance of the task, mean and spread; log-odds of the request's
    posterior acceptance given all evidence, and given the last round's alone; logarithm of the evidence; accepted
    share of the last draft.

    Args:
        observation: The environment's, (batch, 9 users).
        shape: Its units.
    """
    features = observation.reshape(len(observation), ObservationCodec.num_features, -1)
    latency, observed, long_term, mean, std, tested, accepted, last_length, last_accepted = features.unbind(1)
    observed, long_term = (
        SPECTRAL_EFFICIENCY_SCALE * efficiency.clamp_min(_LEAST_EFFICIENCY) for efficiency in (observed, long_term)
    )
    log_snr, log_mean_snr = (torch.log(torch.expm1(LN_2 * efficiency)) for efficiency in (observed, long_term))
    tested, accepted = shape.tokens_high * tested, shape.tokens_high * accepted
    last_length, last_accepted = shape.max_draft_length * last_length, shape.max_draft_length * last_accepted
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


class SetTrunk(nn.Module):
    """Encodes every user in the context of all of them: permuting the users permutes the output, and no more.

    Mean and maximum over the users, of which a round's tokens and duration are made, carry the context.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(NUM_INPUTS, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.context = nn.Sequential(nn.Linear(2 * width + 1, width), nn.SiLU())
        self.mixer = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU())

    def forward(self, inputs: Tensor) -> Tensor:
        """(batch, users, NUM_INPUTS) to (batch, users, width)."""
        batch, users, _ = inputs.shape
        encoded = self.encoder(inputs)
        number = torch.full((batch, 1), users / _USUAL_USERS).log()
        context = self.context(torch.cat([encoded.mean(1), encoded.amax(1), number], dim=1))
        return self.mixer(torch.cat([encoded, context[:, None].expand(-1, users, -1)], dim=2))


class SetActor(nn.Module):
    """The same head for every user, (batch, users, NUM_INPUTS) to (batch, 2 users)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.trunk = SetTrunk(shape.width)
        self.head = _small(nn.Linear(shape.width, NUMBERS_PER_USER))

    def forward(self, inputs: Tensor) -> Tensor:
        """The mean action, first all users' numbers of one kind, then of the other."""
        return torch.tanh(self.head(self.trunk(inputs)).transpose(1, 2).flatten(1))


class SetCritic(nn.Module):
    """The value of a set of users, (batch, users, NUM_INPUTS) to (batch, 1)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.trunk = SetTrunk(shape.width)
        self.head = nn.Linear(2 * shape.width, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """The value, whatever the users' order."""
        encoded = self.trunk(inputs)
        return self.head(torch.cat([encoded.mean(1), encoded.amax(1)], dim=1))


def _mlp(shape: Shape, outputs: nn.Linear) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(shape.num_users * NUM_INPUTS, shape.width),
        nn.SiLU(),
        nn.Linear(shape.width, shape.width),
        nn.SiLU(),
        outputs,
    )


def _small(layer: nn.Linear) -> nn.Linear:
    """A layer that starts near 0: a residual agent starts at the closed form."""
    with torch.no_grad():
        layer.weight.mul_(0.01)
        layer.bias.zero_()
    return layer


class ActorCritic(nn.Module):
    """Mean actions and values from observations.

    Args:
        shape: Of which kind and size.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        if shape.network == "equivariant":
            self.actor: nn.Module = SetActor(shape)
            self.critic: nn.Module = SetCritic(shape)
        else:
            head = _small(nn.Linear(shape.width, NUMBERS_PER_USER * shape.num_users))
            self.actor = nn.Sequential(_mlp(shape, head), nn.Tanh())
            self.critic = _mlp(shape, nn.Linear(shape.width, 1))

    def mean_action(self, observation: Tensor) -> Tensor:
        """(batch, 9 users) to (batch, 2 users), within [-1, 1]."""
        return self.actor(user_inputs(observation, self.shape))

    def value(self, observation: Tensor) -> Tensor:
        """(batch, 9 users) to (batch, 1)."""
        return self.critic(user_inputs(observation, self.shape))


class AllocationPolicy(ActorCriticPolicy):
    """A Gaussian policy around an :class:`ActorCritic`, for stable-baselines3's on-policy algorithms.

    The standard deviation is shared by the users, one for each kind of number.

    Args:
        shape: The fields of a :class:`Shape`.
        initial_std: Standard deviation of the first actions.
        *arguments: As stable-baselines3 gives them.
        **options: Likewise.
    """

    def __init__(self, *arguments: Any, shape: dict[str, Any], initial_std: float, **options: Any) -> None:
        self._shape = Shape(**shape)
        self._initial_std = initial_std
        super().__init__(*arguments, **options)

    def _build(self, lr_schedule: Schedule) -> None:
        self.network = self._shape.build()
        self.log_std = nn.Parameter(torch.full((NUMBERS_PER_USER,), self._initial_std).log())
        options = {"lr": lr_schedule(1), **self.optimizer_kwargs}
        self.optimizer = self.optimizer_class(self.parameters(), **options)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "shape": asdict(self._shape),
            "initial_std": self._initial_std,
        }

    def get_distribution(self, obs: PyTorchObs) -> Distribution:
        """The actions' distribution."""
        assert isinstance(obs, Tensor)
        mean = self.network.mean_action(obs)
        log_std = self.log_std.repeat_interleave(mean.shape[1] // NUMBERS_PER_USER)
        return DiagGaussianDistribution(mean.shape[1]).proba_distribution(mean, log_std)

    def predict_values(self, obs: PyTorchObs) -> Tensor:
        """Values, (batch, 1)."""
        assert isinstance(obs, Tensor)
        return self.network.value(obs)

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and the actions' log-probabilities."""
        distribution = self.get_distribution(obs)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), distribution.log_prob(actions)

    def evaluate_actions(self, obs: PyTorchObs, actions: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Values, and the actions' log-probabilities and entropy."""
        distribution = self.get_distribution(obs)
        return self.predict_values(obs), distribution.log_prob(actions), distribution.entropy()
