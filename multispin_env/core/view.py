"""What the protocol reveals of a round, and what only a clairvoyant knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.config import SystemConfig
from multispin_env.core.equations import FloatArray, IntArray

# What the server knows of the rates when it decides: ``exact``, those of the uploads, or ``outdated``, those of the
# round's start, while uploads take place later and their rates move on.
EXACT, OUTDATED = "exact", "outdated"


@dataclass(frozen=True, kw_only=True)
class RoundView:
    """What a controller knows at the start of a round. Arrays are (num_envs, num_users) and must not be written to.

    Attributes:
        config: The system's constants.
        csi: What the observed rates tell of those of the uploads: ``exact``, they are these rates, or ``outdated``, the
            channel moves on while devices draft and send.
        time_s: Time since the reset, (num_envs, 1).
        drafting_latency_s: Time in which each device drafts a token now, reported by the device.
        observed_spectral_efficiency: Measured at the start of the round, bit/s/Hz.
        long_term_spectral_efficiency: At the gain averaged over the fading (path gain and shadowing), bit/s/Hz.
        doppler_known: Whether the server has an estimate of each user's Doppler shift.
        doppler_hz: This estimate, of the largest shift; 0 where there is none.
        last_upload_spectral_efficiency: Mean over the last round's upload, bit/s/Hz; 0 in the first round.
        task_acceptance_mean: Mean acceptance over the prompts of the user's task.
        task_acceptance_std: Its standard deviation over prompts; 0 where every request has the mean.
        request_tested: Drafts of the running request that verification has decided: the accepted ones and every first
            rejected one. (The drafts behind a rejection tell nothing, so the number drafted would mislead.)
        request_accepted: Drafts of the running request that were accepted.
        last_draft_length: Draft length of the last round; 0 in the first round.
        last_accepted: Drafts accepted in the last round.
    """

    config: SystemConfig
    csi: str
    doppler_known: bool
    time_s: FloatArray
    drafting_latency_s: FloatArray
    observed_spectral_efficiency: FloatArray
    long_term_spectral_efficiency: FloatArray
    doppler_hz: FloatArray
    last_upload_spectral_efficiency: FloatArray
    task_acceptance_mean: FloatArray
    task_acceptance_std: FloatArray
    request_tested: IntArray
    request_accepted: IntArray
    last_draft_length: IntArray
    last_accepted: IntArray

    def environment(self, index: int) -> Self:
        """The view of one environment, as a batch of one."""
        return self.take(slice(index, index + 1))

    def take(self, environments: IntArray | slice) -> Self:
        """The view of some environments."""
        rows: dict[str, Any] = {
            item.name: value[environments]
            for item in dataclasses.fields(self)
            if isinstance(value := getattr(self, item.name), np.ndarray)
        }
        return dataclasses.replace(self, **rows)


@dataclass(frozen=True, kw_only=True)
class TrueView(RoundView):
    """A view that also holds what the protocol hides.

    Attributes:
        acceptance_rate: The running request's true acceptance: the one rate that says how drafts fare in the positions
            ahead.
        environments: Which of the system's environments the rows are, (num_envs,).
        channel: Maps times and ``environments`` to spectral efficiencies, see :meth:`spectral_efficiency_at`.
    """

    acceptance_rate: FloatArray
    environments: IntArray
    channel: Callable[[ArrayLike, IntArray], FloatArray]

    def spectral_efficiency_at(self, time_s: ArrayLike) -> FloatArray:
        """The channel at any time since the reset, past or to come, whatever is decided.

        With block fading it is this round's at any time. Valid until the next step, with other channels until the next
        reset.

        Args:
            time_s: Times that broadcast against (..., num_envs, num_users): a number, (num_envs, 1) or more.

        Returns:
            Spectral efficiencies in bit/s/Hz, (..., num_envs, num_users).
        """
        return self.channel(time_s, self.environments)

    def spectral_efficiency_at_upload(self, draft_length: IntArray) -> FloatArray:
        """The same at the moments at which uploads begin after drafts of these lengths, (num_envs, num_users)."""
        return self.spectral_efficiency_at(self.time_s + draft_length * self.drafting_latency_s)
