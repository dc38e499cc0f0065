"""Actions that correct what the closed form is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multispin_env.core.equations import Allocation, FloatArray, expected_tokens
from multispin_env.core.view import EXACT, RoundView
from multispin_env.envs.actions.base import ActionCodec
from multispin_env.optimal import (
    RoundProblem,
    equalize_bandwidth,
    forecast,
    solve_heterogeneous,
    solve_homogeneous,
)

# Half and twice the rate that is counted on lie well within reach; between a task's mean acceptance and that of one
# request lies e^4 in odds. A clipped standard Gaussian uses the whole reach in a third of its numbers.
RATE_REACH = 1.0
ACCEPTANCE_REACH = 3.0

# For the inverse. Where rates are outdated, the latency that the closed form is to expect, over the longest drafting:
# one of the many that explain a decision. Ours: of 1.1 to 3 the smaller ones keep most of a teacher's goodput, and
# their tilts stay within reach.
_LATENCY_OVER_DRAFTING = 1.15
_BISECTIONS = 60
_ACCEPTANCES = np.concatenate([[1e-6], np.linspace(0.01, 0.98, 98), 1.0 - np.geomspace(0.015, 1e-5, 20)])
_COMMON_TILTS = np.linspace(-1.0, 1.0, 65)


class ResidualAction(ActionCodec):
    """The optimum of the round, told other rates and acceptances than it would take for true.

    First a tilt of each user's rate, on a logarithmic scale, then of its acceptance, on that of log-odds. Zeros are the
    closed form told what can be counted on, :func:`~multispin_env.optimal.forecast`. Where nothing is outdated or
    spread that is what is observed, and zeros are the paper's controller, to the last bit.

    ``encode`` returns tilts under which the closed form comes to nearly this allocation. The closed form equalises the
    users' latency, and a token's worth is its price in latency. For a given latency the first condition tells the rates
    that explain the shares, the second (its stationarity condition, between whose integers the rounding decides) the
    acceptances that explain the lengths, up to one factor a round, which follows from the goodput. Where the rates are
    exact the latency is the one that they give. With one length for all, the acceptances have one tilt in common.
    """

    def numbers(self) -> int:
        """Two tilts for every user."""
        return 2 * self.config.num_users

    def _allocation(self, numbers: FloatArray, view: RoundView) -> Allocation:
        users = self.config.num_users
        problem = self._tilted(numbers[:, :users], numbers[:, users:], view)
        solve = solve_homogeneous if self.homogeneous else solve_heterogeneous
        return solve(problem).allocation

    def _tilted(self, rate: FloatArray, acceptance: FloatArray, view: RoundView) -> RoundProblem:
        # With zeros the factor is 1 and the denominator rounds to 1, so that the problem is the same to the last bit.
        expected = forecast(view)
        mean = expected.acceptance_rate
        return replace(
            expected,
            spectral_efficiency=expected.spectral_efficiency * np.exp(RATE_REACH * rate),
            acceptance_rate=mean / (mean + (1.0 - mean) * np.exp(-ACCEPTANCE_REACH * acceptance)),
        )

    def _numbers(self, allocation: Allocation, view: RoundView) -> FloatArray:
        config = self.config
        length = allocation.draft_length.astype(np.float64)
        drafting_s = length * view.drafting_latency_s
        expected = forecast(view)
        if view.csi == EXACT:
            latency_s = equalize_bandwidth(expected, allocation.draft_length)[0][:, np.newaxis]
        else:
            latency_s = _LATENCY_OVER_DRAFTING * np.max(drafting_s, axis=1, keepdims=True)
        upload_s = latency_s - drafting_s
        load_s = allocation.bandwidth_share * upload_s
        rate = config.payload_bits * length / (config.bandwidth_hz * load_s)
        rate_tilt = np.log(rate / expected.spectral_efficiency) / RATE_REACH
        if self.homogeneous:
            return np.concatenate([rate_tilt, self._common_tilt(rate_tilt, allocation, view)], axis=1)
        cost = load_s / length / np.square(upload_s)
        acceptance = _acceptance(
            allocation, cost, np.asarray(expected.weight), latency_s[:, 0], expected.verification_s(length)
        )
        mean = expected.acceptance_rate
        odds_tilt = np.log(acceptance / (1.0 - acceptance) * (1.0 - mean) / mean) / ACCEPTANCE_REACH
        return np.concatenate([rate_tilt, odds_tilt], axis=1)

    def _common_tilt(self, rate_tilt: FloatArray, allocation: Allocation, view: RoundView) -> FloatArray:
        """The tilt of all acceptances whose best common length is nearest to the allocation's, (num_envs, users)."""
        tilts = np.broadcast_to(_COMMON_TILTS[:, np.newaxis, np.newaxis], (len(_COMMON_TILTS), *rate_tilt.shape))
        problem = self._tilted(np.clip(rate_tilt, -1.0, 1.0), tilts, view)
        found = solve_homogeneous(problem).allocation.draft_length
        best = np.argmin(np.abs(found - allocation.draft_length)[..., 0], axis=0)
        return np.repeat(_COMMON_TILTS[best][:, np.newaxis], rate_tilt.shape[1], axis=1)


def _acceptance(
    allocation: Allocation, cost: FloatArray, weight: FloatArray, latency_s: FloatArray, verification_s: FloatArray
) -> FloatArray:
    """Acceptances whose next token is worth its cost times a factor that the goodput fixes, (num_envs, users)."""
    lengths = np.arange(1, allocation.draft_length.max() + 1)
    grid = _ACCEPTANCES[:, np.newaxis]
    worth = -(grid ** (lengths + 1.0)) * np.log(grid) / (1.0 - grid)
    total_cost = np.sum(cost * allocation.draft_length, axis=1)
    low, high = np.full(len(cost), 1e-6), np.full(len(cost), 1e6)
    acceptance = np.empty_like(cost)
    for _ in range(_BISECTIONS):
        factor = np.sqrt(low * high)
        price = cost / weight * factor[:, np.newaxis]
        for length in np.unique(allocation.draft_length):
            users = allocation.draft_length == length
            acceptance[users] = np.interp(price[users], worth[:, length - 1], _ACCEPTANCES)
        tokens = np.sum(weight * expected_tokens(acceptance, allocation.draft_length), axis=1)
        wanted = tokens / (latency_s + verification_s) * latency_s / total_cost
        low, high = np.where(factor > wanted, low, factor), np.where(factor > wanted, factor, high)
    return acceptance
