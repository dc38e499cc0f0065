"""The solvers' working form of a batch of problems: users first, one column per problem.

With the users on the first axis, sums over users add whole contiguous rows and per-problem numbers broadcast without
an inserted axis, which is several times faster than reducing a short last axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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


class ProblemBatch(NamedTuple):
    """A flattened batch of problems; per-user arrays of shape ``(users, rows)``, per-round arrays ``(rows,)``.

    Terms that no problem of the batch has are None, and cost nothing.

    Attributes:
        drafting_s: Drafting latency per token, T_k.
        upload_s: Upload latency per token over the whole band, q_k.
        log_acceptance: ``ln alpha_k``, finite and below 0.
        negated_scale: ``w_k / (alpha_k - 1)``, at most 0: what ``expm1((L_k + 1) ln alpha_k)`` is multiplied with.
        first_slope: ``w_k C_k`` with ``C_k = alpha_k |ln alpha_k| / (1 - alpha_k)``, the slope of
            ``w_k E[N_k | L_k]`` at L_k = 0; at L_k it is ``w_k C_k alpha_k^L_k``.
        token_price: What a drafted token costs, c_k.
        verification_s: Verification latency without the time per token, per round.
        per_token_s: Verification time for each token beyond the free ones, per round.
        free_drafted: Drafted tokens that are verified without time of their own, the free ones less one per user;
            below 0 where the server's own tokens alone are more than the free ones. Per round.
        time_price: What a second costs, per round; None where the ratio is maximised.
        min_length: Shortest draft.
        max_length: Longest draft, L_max.
    """

    drafting_s: FloatArray
    upload_s: FloatArray
    log_acceptance: FloatArray
    negated_scale: FloatArray
    first_slope: FloatArray
    token_price: FloatArray | None
    verification_s: FloatArray
    per_token_s: FloatArray | None
    free_drafted: FloatArray | None
    time_price: FloatArray | None
    min_length: int
    max_length: int

    @classmethod
    def of(cls, problem: RoundProblem) -> ProblemBatch:
        """Flattens a problem of any leading shape.

        Raises:
            TypeError: It is not a ``RoundProblem``.
        """
        if not isinstance(problem, RoundProblem):
            raise TypeError(f"problem must be a RoundProblem, got {type(problem).__name__}")
        acceptance = users_first(problem.acceptance_rate).clip(SMALLEST_ACCEPTANCE, LARGEST_ACCEPTANCE)
        log_acceptance = np.log(acceptance)
        negated_scale = users_first(np.asarray(problem.weight)) / (acceptance - 1.0)
        timed = np.any(problem.verification_per_token_s)
        return cls(
            drafting_s=users_first(problem.drafting_latency_s),
            upload_s=users_first(problem.full_band_upload_s),
            log_acceptance=log_acceptance,
            negated_scale=negated_scale,
            first_slope=acceptance * log_acceptance * negated_scale,
            token_price=users_first(np.asarray(problem.token_price)) if np.any(problem.token_price) else None,
            verification_s=np.ravel(problem.verification_latency_s),
            per_token_s=np.ravel(problem.verification_per_token_s) if timed else None,
            free_drafted=np.ravel(problem.verification_free_tokens) - acceptance.shape[0] if timed else None,
            time_price=None if problem.time_price is None else np.ravel(problem.time_price),
            min_length=problem.min_draft_length,
            max_length=problem.max_draft_length,
        )

    def take(self, columns: Any) -> ProblemBatch:
        """The problems that ``columns`` selects: indices, a mask or a slice."""
        return self._mapped(lambda array: array[..., columns])

    def spread(self, axes: int = 1) -> ProblemBatch:
        """The same with axes of length 1 before the rows, for several choices of lengths per problem."""
        inserted = (slice(None), *(None,) * axes)
        return self._mapped(lambda array: array[inserted] if array.ndim > 1 else array)

    def _mapped(self, change: Callable[[FloatArray], FloatArray]) -> ProblemBatch:
        fields: list[Any] = [change(field) if isinstance(field, np.ndarray) else field for field in self]
        return ProblemBatch(*fields)

    def value(self, length: FloatArray) -> FloatArray:
        """Weighted expected tokens less their price, ``w_k E[N_k | L_k] - c_k L_k`` (eq. 12) per user."""
        tokens = np.expm1((length + 1.0) * self.log_acceptance) * self.negated_scale
        return tokens if self.token_price is None else tokens - self.token_price * length

    def duration_s(self, latency_s: FloatArray, length: FloatArray) -> FloatArray:
        """The round's duration ``T_ma + T_ver(L)`` for lengths that need the latency T_ma."""
        duration_s = latency_s + self.verification_s
        if self.per_token_s is None or self.free_drafted is None:
            return duration_s
        return duration_s + self.per_token_s * np.maximum(length.sum(axis=0) - self.free_drafted, 0.0)

    def objective(self, value: FloatArray, duration_s: FloatArray) -> FloatArray:
        """What is maximised, from the sum of the users' values and the round's duration."""
        return value / duration_s if self.time_price is None else value - self.time_price * duration_s
