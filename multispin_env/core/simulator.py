"""Reset and step of all lanes: composes channel, devices, requests and the equations of a round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multispin_env.config import RequestConfig, SystemConfig
from multispin_env.core.channel import Channel
from multispin_env.core.devices import Devices
from multispin_env.core.draws import RoundDraws
from multispin_env.core.requests import Passage, Requests, UserRequests
from multispin_env.core.round import Allocation, FloatArray, IntArray, goodput, upload_latency_s
from multispin_env.core.traces import TracedRequests
from multispin_env.core.view import RoundView, TrueView
from multispin_env.profiles import load_traces


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """What one round brought.

    Attributes:
        allocation: The decision that was played.
        tokens: Tokens gained, (lanes, users).
        drafting_s: Drafting time of each user, (lanes, users) (eq. 2).
        upload_s: Upload time of each user, (lanes, users) (eq. 9).
        multi_access_s: Time until the slowest draft arrived, (lanes,).
        verification_s: Time of the batched verification (eq. 7).
        latency_s: The round's duration, (lanes,).
        goodput: Realised tokens of all users per second, (lanes,) (eq. 13).
        passages: Each lane's users' texts as the round left them; None where no text is written.
    """

    allocation: Allocation
    tokens: IntArray
    drafting_s: FloatArray
    upload_s: FloatArray
    multi_access_s: FloatArray
    verification_s: float
    latency_s: FloatArray
    goodput: FloatArray
    passages: tuple[tuple[Passage, ...], ...] | None


class Simulator:
    """Many independent Multi-SPIN systems, the lanes, in lockstep.

    Args:
        config: The system, the same in every lane.
        num_lanes: Number of lanes.
    """

    def __init__(self, config: SystemConfig, num_lanes: int) -> None:
        self.config = config
        self.num_lanes = num_lanes
        self._channel = Channel(config.channel, config.num_users)
        self._devices = Devices(config)
        self._requests = _user_requests(config.requests, config.num_users)
        self._draws = RoundDraws(num_lanes, config.num_users, *self.draws_per_round, config.episode_rounds)

    @property
    def draws_per_round(self) -> tuple[int, int]:
        """Standard normal and exponential variates that a round needs for each user."""
        return (
            self._channel.num_normals + self._requests.num_normals,
            self._channel.num_exponentials + self._requests.num_exponentials,
        )

    def reset(self, generators: Sequence[np.random.Generator]) -> None:
        """Starts an episode in every lane.

        Args:
            generators: One a lane; all of a lane's randomness comes from its generator.
        """
        self._channel.reset(generators)
        self._devices.reset(generators)
        self._requests.reset(generators)
        self._draws.reset(generators)
        self._begin_round()

    def view(self) -> RoundView:
        """What the protocol reveals at the start of this round."""
        return RoundView(**self._revealed())

    def true_view(self) -> TrueView:
        """The same with the hidden truth, for clairvoyant controllers."""
        drafting_latency_s = self._devices.drafting_latency_s
        return TrueView(
            **self._revealed(),
            acceptance_rate=self._requests.acceptance_rate,
            used_spectral_efficiency=lambda draft_length: self._channel.used_spectral_efficiency(
                draft_length * drafting_latency_s
            ),
        )

    def step(self, allocation: Allocation) -> RoundOutcome:
        """Plays one round in every lane.

        Args:
            allocation: Lengths in 1..max_draft_length and shares that are positive and sum to 1, (lanes, users). Not
            checked
                here: the environments check what comes from outside.
        """
        config, draft_length = self.config, allocation.draft_length
        drafting_s = draft_length * self._devices.drafting_latency_s
        efficiency = self._channel.upload(drafting_s)
        bandwidth_hz = config.bandwidth_hz * allocation.bandwidth_share
        upload_s = upload_latency_s(draft_length, config.payload_bits, bandwidth_hz, efficiency)
        multi_access_s = np.max(drafting_s + upload_s, axis=-1)
        verification_s = config.verification_latency_s
        latency_s = multi_access_s + verification_s

        tokens = self._requests.verify(draft_length, self._outcome, self._drift)
        self._channel.end_round(drafting_s, latency_s)
        self._devices.end_round(drafting_s, latency_s)
        self._begin_round()
        return RoundOutcome(
            allocation=allocation,
            tokens=tokens,
            drafting_s=drafting_s,
            upload_s=upload_s,
            multi_access_s=multi_access_s,
            verification_s=verification_s,
            latency_s=latency_s,
            goodput=goodput(tokens, multi_access_s, verification_s),
            passages=self._requests.passages,
        )

    def _begin_round(self) -> None:
        normals, exponentials = self._draws.draw()
        self._observed = self._channel.begin_round(normals[: self._channel.num_normals], exponentials)
        self._long_term = self._channel.long_term_spectral_efficiency()
        self._outcome = exponentials[-1]
        self._drift = normals[-1] if self._requests.num_normals else None

    def _revealed(self) -> dict[str, Any]:
        requests = self._requests
        return {
            "config": self.config,
            "drafting_latency_s": self._devices.drafting_latency_s,
            "observed_spectral_efficiency": self._observed,
            "long_term_spectral_efficiency": self._long_term,
            "task_acceptance_mean": requests.task_acceptance_mean,
            "task_acceptance_std": requests.task_acceptance_std,
            "request_tested": requests.request_tested,
            "request_accepted": requests.request_accepted,
            "last_draft_length": requests.last_draft_length,
            "last_accepted": requests.last_accepted,
        }


def _user_requests(config: RequestConfig, num_users: int) -> UserRequests:
    """The requests of the kind that the configuration asks for."""
    if config.trace is not None:
        return TracedRequests(config, load_traces(config.trace), num_users)
    if config.live is not None:
        from multispin_env.speculative.live import LiveRequests  # here, as it stands above the core

        return LiveRequests(config, config.live, num_users)
    return Requests(config, num_users)
