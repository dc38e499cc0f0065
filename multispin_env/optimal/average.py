"""The average round of a system: what constants of scale and long-run prices are taken from."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from multispin_env.config import SystemConfig
from multispin_env.optimal.homogeneous import solve_homogeneous
from multispin_env.optimal.problem import RoundProblem


class AverageRound(NamedTuple):
    """The homogeneous optimum (Theorem 1) of the average system.

    Attributes:
        draft_length: The common draft length.
        multi_access_s: Time until the drafts have arrived.
        verification_s: Time to verify them.
        goodput: Expected tokens per second.
    """

    draft_length: int
    multi_access_s: float
    verification_s: float
    goodput: float

    @property
    def latency_s(self) -> float:
        """The round's duration."""
        return self.multi_access_s + self.verification_s


@lru_cache  # asked for in every round that is played
def average_round(config: SystemConfig) -> AverageRound:
    """The best round of a system of average users.

    Each has the mean drafting latency, the channel's average spectral efficiency, and the tasks' mean acceptance.
    """
    acceptance = float(np.mean([task.acceptance_mean for task in config.requests.tasks]))
    problem = RoundProblem(
        drafting_latency_s=np.full((1, config.num_users), config.drafting_latency_s),
        spectral_efficiency=np.full((1, 1), config.channel.average_spectral_efficiency),
        acceptance_rate=np.full((1, config.num_users), acceptance),
        payload_bits=config.payload_bits,
        bandwidth_hz=config.bandwidth_hz,
        verification_latency_s=config.verification_latency_s,
        verification_per_token_s=config.verification_per_token_s,
        verification_free_tokens=config.verification_free_tokens,
        max_draft_length=config.max_draft_length,
    )
    solution = solve_homogeneous(problem)
    length = int(solution.allocation.draft_length[0, 0])
    goodput = float(solution.goodput[0])
    # All users are alike, so that each needs its share of the band all the time: K uploads one after the other.
    per_token_s = config.drafting_latency_s + config.num_users * float(problem.full_band_upload_s[0, 0])
    return AverageRound(length, length * per_token_s, float(problem.verification_s(length)[0]), goodput)
