"""What the protocol reveals of a round, and what only a clairvoyant knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from multispin_env.config import SystemConfig
from multispin_env.core.equations import FloatArray, IntArray


@dataclass(frozen=True, kw_only=True)
class RoundView:
    """What a controller knows at the start of a round. Arrays are (num_envs, num_users) and must not be written to.

    Attributes:
        config: The system's constants.
        drafting_latency_s: Time in which each device drafts a token now, reported by the device.
        observed_spectral_efficiency: Measured at the start of the round, bit/s/Hz.
        long_term_spectral_efficiency: At the gain averaged over the fading (path gain and shadowing), bit/s/Hz.
        task_acceptance_mean: Mean acceptance over the prompts of the user's task.
        task_acceptance_std: Its standard deviation over prompts; 0 where every request has the mean.
        request_tested: Drafts of the running request that verification has decided: the accepted ones and every first
            rejected one. (The drafts behind a rejection tell nothing, so the number drafted would mislead.)
        request_accepted: Drafts of the running request that were accepted.
        last_draft_length: Draft length of the last round; 0 in the first round.
        last_accepted: Drafts accepted in the last round.
    """

    config: SystemConfig
    drafting_latency_s: FloatArray
    observed_spectral_efficiency: FloatArray
    long_term_spectral_efficiency: FloatArray
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
        acceptance_rate: The running request's true acceptance.
        spectral_efficiency_at_upload: Maps draft lengths (num_envs, num_users) to the spectral efficiency that uploads
            after such drafts will find, bit/s/Hz. Valid until the next step.
    """

    acceptance_rate: FloatArray
    spectral_efficiency_at_upload: Callable[[IntArray], FloatArray]

    def take(self, environments: IntArray | slice) -> Self:
        """The view of some environments."""
        shape = self.acceptance_rate.shape

        def at_upload(draft_length: IntArray) -> FloatArray:
            everywhere = np.ones(shape, dtype=np.int64)
            everywhere[environments] = draft_length
            return self.spectral_efficiency_at_upload(everywhere)[environments]

        return dataclasses.replace(super().take(environments), spectral_efficiency_at_upload=at_upload)
