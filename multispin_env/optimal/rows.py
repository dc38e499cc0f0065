"""The solvers' working form of a batch of problems: users first, one column per problem.

With the users on the first axis, sums over users add whole contiguous rows and per-problem numbers broadcast without
an inserted axis, which is several times faster than reducing a short last axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.problem import RoundProblem

# Acceptance rates are moved this far into (0, 1). Every expression below then has its limit at 0 and at 1 without a
# special case, and no value changes by more than rounding.
SMALLEST_ACCEPTANCE = 1e-30
LARGEST_ACCEPTANCE = 1.0 - 2.0**-53


def users_first(array: NDArray[Any]) -> NDArray[Any]:
    """Reshapes ``(..., users)`` to contiguous ``(users, rows)``."""
    return np.ascontiguousarray(array.reshape(-1, array.shape[-1]).T)


def users_last(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Reshapes ``(users, rows)`` back to ``shape``, contiguous."""
    return np.ascontiguousarray(array.T).reshape(shape)


@dataclass(frozen=True)
class Rows:
    """A flattened batch of problems; arrays of shape ``(users, rows)``.

    Attributes:
        drafting_s: Drafting latency per token, T_k.
        upload_s: Upload latency per token over the whole band, q_k.
        log_acceptance: ``ln alpha_k``, finite and below 0.
        negated_rejection: ``alpha_k - 1``, below 0.
        first_slope: ``C_k = alpha_k |ln alpha_k| / (1 - alpha_k)``, the slope of E[N_k | L_k] at L_k = 0.
        verification_s: Verification latency, T_ver.
        max_length: Longest draft, L_max.
    """

    drafting_s: FloatArray
    upload_s: FloatArray
    log_acceptance: FloatArray
    negated_rejection: FloatArray
    first_slope: FloatArray
    verification_s: float
    max_length: int

    @classmethod
    def of(cls, problem: RoundProblem) -> Rows:
        """Flattens a problem of any leading shape."""
        acceptance = users_first(problem.acceptance_rate).clip(SMALLEST_ACCEPTANCE, LARGEST_ACCEPTANCE)
        log_acceptance = np.log(acceptance)
        negated_rejection = acceptance - 1.0
        return cls(
            drafting_s=users_first(problem.drafting_latency_s),
            upload_s=users_first(problem.full_band_upload_s),
            log_acceptance=log_acceptance,
            negated_rejection=negated_rejection,
            first_slope=acceptance * log_acceptance / negated_rejection,
            verification_s=problem.verification_latency_s,
            max_length=problem.max_draft_length,
        )

    def take(self, columns: Any) -> Rows:
        """The problems that ``columns`` selects: indices or a slice. None inserts an axis before the rows."""
        index = (slice(None), *columns) if isinstance(columns, tuple) else (slice(None), columns)
        return Rows(
            drafting_s=self.drafting_s[index],
            upload_s=self.upload_s[index],
            log_acceptance=self.log_acceptance[index],
            negated_rejection=self.negated_rejection[index],
            first_slope=self.first_slope[index],
            verification_s=self.verification_s,
            max_length=self.max_length,
        )

    def tokens(self, length: FloatArray) -> FloatArray:
        """Expected tokens E[N_k | L_k] (eq. 12) per user, from the stored logarithm."""
        return np.expm1((length + 1.0) * self.log_acceptance) / self.negated_rejection

    def token_slope(self, length: FloatArray) -> FloatArray:
        """Derivative of ``tokens`` in the length, ``C_k alpha_k^L_k`` per user."""
        return self.first_slope * np.exp(length * self.log_acceptance)
