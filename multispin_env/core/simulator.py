"""Reset and step of all environments: composes channel, devices, requests and the equations of a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from multispin_env.config import SystemConfig, check_number, shown, whole
from multispin_env.core.channel import CHANNELS, make_channel
from multispin_env.core.devices import Devices
from multispin_env.core.equations import Allocation, FloatArray, IntArray, goodput, token_verification_s
from multispin_env.core.features import Feature
from multispin_env.core.requests import GenerationState, RequestModel, make_requests
from multispin_env.core.streams import Streams
from multispin_env.core.view import RoundView, TrueView


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """What one round brought.

    Attributes:
        allocation: The decision that was played.
        tokens: Tokens gained, (num_envs, num_users).
        drafting_s: Drafting time of each user, (num_envs, num_users) (eq. 2).
        upload_s: Upload time of each user, (num_envs, num_users); with block fading eq. 9.
        multi_access_s: Time until the slowest draft arrived, (num_envs,).
        verification_s: Time of the batched verification, (num_envs,) (eq. 7, and what tokens add).
        latency_s: The round's duration, (num_envs,).
        goodput: Realised tokens of all users per second, (num_envs,) (eq. 13).
        generation_states: Each environment's users' texts as the round left them; None where no text is written.
    """

    allocation: Allocation
    tokens: IntArray
    drafting_s: FloatArray
    upload_s: FloatArray
    multi_access_s: FloatArray
    verification_s: FloatArray
    latency_s: FloatArray
    goodput: FloatArray
    generation_states: tuple[tuple[GenerationState, ...], ...] | None


@lru_cache(maxsize=64)
def round_features(config: SystemConfig) -> tuple[Feature, ...]:
    """What a view of this system shows of each user as numbers, in the order of observations."""
    channel = CHANNELS[config.channel.kind].features(config.channel)
    return Devices.features(config) + channel + RequestModel.features(config)


class Simulator:
    """Many independent Multi-SPIN systems in lockstep.

    Args:
        config: The system, the same in every environment.
        num_envs: Number of environments.

    Raises:
        TypeError: ``config`` is no :class:`~multispin_env.config.SystemConfig`.
        ConfigError: ``num_envs`` is no integer from 1 to a million, or what the configuration replays is not there.
    """

    def __init__(self, config: SystemConfig, num_envs: int) -> None:
        if not isinstance(config, SystemConfig):
            raise TypeError(f"config must be a SystemConfig, as make_config returns, got {shown(config)}")
        self.config = config
        self.num_envs = int(check_number("num_envs", num_envs, whole(1, 1_000_000).metadata))
        self._channel = make_channel(config.channel, config.num_users, config.episode_rounds)
        self._devices = Devices(config)
        self._requests = make_requests(config)
        # As arrays: a Python number takes NumPy as long as the operation on a few users.
        self._payload_bits = np.array(config.payload_bits, dtype=np.float64)
        self._bandwidth_hz = np.array(config.bandwidth_hz, dtype=np.float64)
        self._batch_verification_s = np.full(self.num_envs, config.verification_latency_s, dtype=np.float64)
        self._rounds_left: int | None = None
        self._view: RoundView | None = None

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Starts an episode in every environment.

        Args:
            generators: One for each environment; each gives the seed of its environment's random streams.

        Raises:
            ValueError: There is not one generator an environment.
        """
        if len(generators) != self.num_envs:
            raise ValueError(f"generators must be {self.num_envs}, one an environment, got {len(generators)}")
        streams = Streams(generators)
        self._channel.reset(streams)
        self._devices.reset(streams)
        self._requests.reset(streams)
        self._time_s = np.zeros((self.num_envs, 1))
        self._last_upload = np.zeros((self.num_envs, self.config.num_users))
        self._channel.begin_round(self._time_s)
        self._rounds_left = self.config.episode_rounds
        self._view = None

    def view(self) -> RoundView:
        """What the protocol reveals at the start of this round.

        Raises:
            RuntimeError: There was no reset.
        """
        if self._view is None:
            self._view = RoundView(**self._revealed())
        return self._view

    def true_view(self) -> TrueView:
        """The same with the hidden truth, for clairvoyant controllers.

        Raises:
            RuntimeError: There was no reset.
        """
        return TrueView(
            **self._revealed(),
            acceptance_rate=self._requests.acceptance_rate,
            environments=np.arange(self.num_envs),
            channel=self._channel.spectral_efficiency_at,
        )

    def step(self, allocation: Allocation) -> RoundOutcome:
        """Plays one round in every environment.

        Args:
            allocation: Lengths in 1..max_draft_length and shares that are positive and sum to 1,
                (num_envs, num_users). The ranges are not checked here: the environments check what comes from outside.

        Raises:
            RuntimeError: There was no reset, or the episode has ended.
            TypeError: It is no :class:`Allocation`.
            ValueError: The shapes are wrong.
        """
        rounds_left = self._check_started()
        if rounds_left == 0:
            raise RuntimeError(f"the episode ended after {self.config.episode_rounds} rounds; call reset first")
        self._check_allocation(allocation)
        draft_length = allocation.draft_length
        drafting_s = draft_length * self._devices.drafting_latency_s
        bits: FloatArray = draft_length * self._payload_bits
        bandwidth_hz = self._bandwidth_hz * allocation.bandwidth_share
        upload_s = self._channel.upload_s(self._time_s + drafting_s, bits, bandwidth_hz)
        multi_access_s = (drafting_s + upload_s).max(axis=-1)
        verification_s = self._verification_s(draft_length)
        latency_s = multi_access_s + verification_s

        tokens = self._requests.verify(draft_length)
        self._devices.end_round(drafting_s, latency_s)
        self._last_upload = bits / (bandwidth_hz * upload_s)
        self._time_s = self._time_s + latency_s[:, np.newaxis]
        self._channel.begin_round(self._time_s)
        self._rounds_left = rounds_left - 1
        self._view = None
        return RoundOutcome(
            allocation=allocation,
            tokens=tokens,
            drafting_s=drafting_s,
            upload_s=upload_s,
            multi_access_s=multi_access_s,
            verification_s=verification_s,
            latency_s=latency_s,
            goodput=goodput(tokens, multi_access_s, verification_s),
            generation_states=self._requests.generation_states,
        )

    def _verification_s(self, draft_length: IntArray) -> FloatArray:
        """Time of the batched verification, (num_envs,) (eq. 7, and what tokens add)."""
        config = self.config
        if config.verification_per_token_s == 0.0:
            return self._batch_verification_s.copy()
        num_tokens = draft_length.sum(axis=-1) + config.num_users
        return self._batch_verification_s + token_verification_s(
            num_tokens, config.verification_per_token_s, config.verification_free_tokens
        )

    def _revealed(self) -> dict[str, Any]:
        self._check_started()
        requests = self._requests
        return {
            "config": self.config,
            "csi": self._channel.csi,
            "doppler_known": self._channel.doppler_known,
            "time_s": self._time_s,
            "drafting_latency_s": self._devices.drafting_latency_s,
            "observed_spectral_efficiency": self._channel.observed_spectral_efficiency,
            "long_term_spectral_efficiency": self._channel.long_term_spectral_efficiency,
            "doppler_hz": self._channel.doppler_hz,
            "last_upload_spectral_efficiency": self._last_upload,
            "task_acceptance_mean": requests.task_acceptance_mean,
            "task_acceptance_std": requests.task_acceptance_std,
            "request_tested": requests.request_tested,
            "request_accepted": requests.request_accepted,
            "last_draft_length": requests.last_draft_length,
            "last_accepted": requests.last_accepted,
        }

    def _check_started(self) -> int:
        """Rounds left in the episode."""
        if self._rounds_left is None:
            raise RuntimeError("there was no reset; call reset first")
        return self._rounds_left

    def _check_allocation(self, allocation: object) -> None:
        if not isinstance(allocation, Allocation):
            raise TypeError(f"allocation must be an Allocation, got {shown(allocation)}")
        shape = self.num_envs, self.config.num_users
        for name, values in zip(allocation._fields, allocation, strict=True):
            found = values.shape if isinstance(values, np.ndarray) else type(values).__name__
            if found != shape:
                raise ValueError(f"allocation.{name} must be an array of shape {shape}, got {found}")
