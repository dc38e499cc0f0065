"""What the optimum needs to know of one round, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.core.equations import Allocation, FloatArray, expected_tokens
from multispin_env.core.view import RoundView
from multispin_env.optimal.checks import common_shape, integer, real_array

# Least and greatest value of each field: far beyond anything physical, and such that nothing computed from them leaves
# the range of floating-point numbers.
_PER_USER = {
    "drafting_latency_s": (0.0, 1e6),
    "spectral_efficiency": (1e-40, 1e12),
    "acceptance_rate": (0.0, 1.0),
    "weight": (0.0, 1e9),
    "token_price": (0.0, 1e9),
}
_PER_ROUND = {
    "payload_bits": (1e-6, 1e15),
    "bandwidth_hz": (1e-6, 1e15),
    "verification_latency_s": (1e-12, 1e9),
    "verification_per_token_s": (0.0, 1e6),
    "verification_free_tokens": (0.0, 1e9),
    "time_price": (0.0, 1e15),
}
_LONGEST_DRAFT = 10_000
# Where these have other values a problem is more than the paper's, eq. 13 with a token at least from everybody.
PAPER_VALUES: dict[str, float | None] = {
    "weight": 1.0,
    "token_price": 0.0,
    "time_price": None,
    "verification_per_token_s": 0.0,
    "min_draft_length": 1,
}


class Solution(NamedTuple):
    """A solver's answer, batched like the problem.

    Attributes:
        allocation: Draft lengths and bandwidth shares, both of shape ``(..., users)``. A user who drafts nothing has no
            share; the others' are positive and sum to 1.
        goodput: Expected sum goodput of that allocation in tokens per second (eq. 13), shape ``(...)``. Every token
            counts alike here, whatever the weights and prices.
        upper_bound: An ``objective`` that no allocation of the solver's kind exceeds (one common length for
            ``solve_homogeneous``, any lengths for ``solve_heterogeneous``), shape ``(...)``. Equal to ``objective``
            where that is proved optimal. NaN where a solver certifies nothing.
        objective: What was maximised, shape ``(...)``: the weighted net tokens per second, or, with a time price, the
            weighted net tokens less the price of the round's duration (see ``RoundProblem``). It equals ``goodput``
            where no weight or price is given.
    """

    allocation: Allocation
    goodput: FloatArray
    upper_bound: FloatArray
    objective: FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundProblem:
    """One round's allocation problem, or a batch of them: choose lengths and bandwidths for the best objective.

    With ``T_ma`` as in eq. 13 and ``T_ver(L) = verification_latency_s + verification_per_token_s *
    max(0, sum_k (L_k + 1) - verification_free_tokens)`` the objective is

        ``sum_k (w_k E[N_k | L_k] - c_k L_k) / (T_ma + T_ver(L))``,

    or, with a time price, the numerator less ``time_price`` times the denominator. Without weights, prices and time per
    verified token it is the goodput of eq. 13.

    Per-user fields are broadcast to a common shape ``(..., users)``, per-round fields to its leading part ``(...)``: a
    number holds for all, and an array of 5 bandwidths with 20 users' latencies of shape ``(20,)`` makes 5 problems of
    20 users. All are float64 arrays of these shapes afterwards.

    Attributes:
        drafting_latency_s: Per user: time to draft one token, T_k^S, 0 to 1e6.
        spectral_efficiency: Per user: uplink rate per hertz, r_k in bit/s/Hz, 1e-40 to 1e12.
        acceptance_rate: Per user: probability that a drafted token is accepted, alpha_k, 0 to 1.
        payload_bits: Per round: upload per drafted token, Q_tok, 1e-6 to 1e15.
        bandwidth_hz: Per round: band that the users share, B, 1e-6 to 1e15.
        verification_latency_s: Per round: time of the batched verification, T_ver, 1e-12 to 1e9.
        max_draft_length: Longest draft, L_max, the same for all, an integer from 1 to 10 000.
        min_draft_length: Shortest draft, an integer from 0 to ``max_draft_length``. With 0 a user can sit out: it
            uploads nothing and still gains the server's own token.
        weight: Per user: what a token gained is worth, w_k, 0 to 1e9.
        token_price: Per user: what drafting and sending a token costs, c_k, 0 to 1e9, in the unit of ``weight``.
        verification_per_token_s: Per round: time for each verified token beyond the free ones, 0 to 1e6.
        verification_free_tokens: Per round: tokens of the batch, the server's own included, whose verification takes no
            time of its own, 0 to 1e9.
        time_price: Per round: what a second costs, 0 to 1e15; None to maximise the ratio.

    Raises:
        TypeError: A field is not of real numbers, or a draft length is not an integer.
        ValueError: A value is out of its range, infinite or NaN, there is no user, the shapes do not broadcast, or the
            ratio is negative for all lengths, so that a longer round would always be better.
    """

    drafting_latency_s: FloatArray
    spectral_efficiency: FloatArray
    acceptance_rate: FloatArray
    payload_bits: FloatArray | float
    bandwidth_hz: FloatArray | float
    verification_latency_s: FloatArray | float
    max_draft_length: int
    min_draft_length: int = 1
    weight: FloatArray | float = 1.0
    token_price: FloatArray | float = 0.0
    verification_per_token_s: FloatArray | float = 0.0
    verification_free_tokens: FloatArray | float = 0.0
    time_price: FloatArray | float | None = None

    def __post_init__(self) -> None:
        per_user = {name: self._field(name, limits) for name, limits in _PER_USER.items()}
        names = (name for name in _PER_ROUND if getattr(self, name) is not None)
        per_round = {name: self._field(name, _PER_ROUND[name]) for name in names}
        users_shape = common_shape(per_user)
        if not users_shape or users_shape[-1] == 0:
            raise ValueError(
                f"the last axis of the per-user fields must hold at least one user, but their common shape is "
                f"{users_shape}"
            )
        leading = common_shape(
            {"the per-user fields without their last axis": np.broadcast_to(0.0, users_shape[:-1]), **per_round},
            meaning="the leading shape (...)",
        )
        for shape, fields in (((*leading, users_shape[-1]), per_user), (leading, per_round)):
            for name, values in fields.items():
                object.__setattr__(self, name, values if values.shape == shape else np.broadcast_to(values, shape))
        longest = integer("max_draft_length", self.max_draft_length, low=1, high=_LONGEST_DRAFT)
        object.__setattr__(self, "max_draft_length", longest)
        shortest = integer("min_draft_length", self.min_draft_length, low=0, high=longest)
        object.__setattr__(self, "min_draft_length", shortest)
        self._refuse_negative_ratio()

    def _field(self, name: str, limits: tuple[float, float]) -> FloatArray:
        return real_array(name, getattr(self, name), low=limits[0], high=limits[1])

    def _refuse_negative_ratio(self) -> None:
        if self.time_price is not None or self.min_draft_length == 0 or not np.any(self.token_price):
            return
        # The net value of a user's draft is concave in its length: it rises up to the last token worth its price.
        with np.errstate(divide="ignore", invalid="ignore"):
            last = np.floor(np.log(np.divide(self.token_price, self.weight)) / np.log(self.acceptance_rate))
        last = np.where(self.acceptance_rate == 1.0, np.where(self.weight > self.token_price, np.inf, 0.0), last)
        length = np.nan_to_num(last).clip(self.min_draft_length, self.max_draft_length)
        most = np.sum(self.weight * expected_tokens(self.acceptance_rate, length) - self.token_price * length, axis=-1)
        if np.any(most < 0.0):
            where = tuple(int(index[0]) for index in np.nonzero(most < 0.0))
            raise ValueError(
                f"token_price must leave some lengths a net value of at least 0 where no time_price is given: in round "
                f"{where} the most is {most[where]:g}; lower it, allow min_draft_length=0, or give a time_price"
            )

    @classmethod
    def from_view(
        cls,
        view: RoundView,
        *,
        acceptance_rate: FloatArray | None = None,
        spectral_efficiency: FloatArray | None = None,
        weight: FloatArray | float = 1.0,
    ) -> Self:
        """The problem that a view poses to a controller which takes what it sees for the truth.

        Args:
            view: The round.
            acceptance_rate: An estimate to use in place of the task's mean, (num_envs, users).
            spectral_efficiency: An estimate to use in place of what was observed, (num_envs, users) in bit/s/Hz.
            weight: What a token gained is worth, (num_envs, users) or one for all.
        """
        if spectral_efficiency is None:
            spectral_efficiency = view.observed_spectral_efficiency
        config = view.config
        return cls(
            drafting_latency_s=view.drafting_latency_s,
            spectral_efficiency=spectral_efficiency,
            acceptance_rate=view.task_acceptance_mean if acceptance_rate is None else acceptance_rate,
            payload_bits=config.payload_bits,
            bandwidth_hz=config.bandwidth_hz,
            verification_latency_s=config.verification_latency_s,
            verification_per_token_s=config.verification_per_token_s,
            verification_free_tokens=config.verification_free_tokens,
            max_draft_length=config.max_draft_length,
            weight=weight,
        )

    def beyond_paper(self) -> list[str]:
        """Names of the fields of ``PAPER_VALUES`` that have other values here, for solvers that do not cover them."""
        held = {name: (getattr(self, name), usual) for name, usual in PAPER_VALUES.items()}
        return [
            name
            for name, (value, usual) in held.items()
            if (value is not None if usual is None else np.any(np.not_equal(value, usual)))
        ]

    @property
    def full_band_upload_s(self) -> FloatArray:
        """Time to upload one token over the whole band, ``q_k = Q_tok / (B r_k)``, shape ``(..., users)``."""
        per_hertz_s = np.asarray(self.payload_bits / self.bandwidth_hz)
        return per_hertz_s[..., np.newaxis] / self.spectral_efficiency

    def verification_s(self, draft_length: ArrayLike) -> FloatArray:
        """``T_ver(L)`` in seconds for lengths that broadcast against ``(..., users)``."""
        tokens = np.sum(np.broadcast_arrays(draft_length, self.acceptance_rate)[0] + 1.0, axis=-1)
        beyond = np.maximum(tokens - self.verification_free_tokens, 0.0)
        return self.verification_latency_s + self.verification_per_token_s * beyond


def expected_goodput(problem: RoundProblem, allocation: Allocation) -> FloatArray:
    """Expected sum goodput of an allocation (eq. 13), whether or not its shares are the best ones, ``(...)``, tok/s."""
    per_token_s = problem.drafting_latency_s + problem.full_band_upload_s / allocation.bandwidth_share
    latency_s = np.max(allocation.draft_length * per_token_s, axis=-1)
    latency_s += problem.verification_s(allocation.draft_length)
    return np.sum(expected_tokens(problem.acceptance_rate, allocation.draft_length), axis=-1) / latency_s
