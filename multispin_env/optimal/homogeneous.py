"""One draft length for all users: Lemma 1 for the bandwidth, Theorem 1 for the length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.bandwidth import equalize
from multispin_env.optimal.point import Point, solution
from multispin_env.optimal.problem import RoundProblem, Solution, common_shape, real_array
from multispin_env.optimal.rows import LARGEST_ACCEPTANCE, SMALLEST_ACCEPTANCE, Rows

_THEOREM_NEWTON_STEPS = 4
# Below this the series for y is exact to rounding, while Newton's residual would cancel.
_SERIES_LIMIT = 1e-4
_MAX_SEARCH_STEPS = 60
# Goodput is flat at its maximum, so this leaves an error of about its square; no integer is missed by it.
_LENGTH_TOLERANCE = 1e-6
_ROUNDING = 1e-12


def optimal_draft_length(
    acceptance_rate: ArrayLike, per_token_latency_s: ArrayLike, verification_latency_s: ArrayLike
) -> FloatArray:
    """The real draft length of at least 1 that maximises goodput when all users share one acceptance rate (Theorem 1).

    Where the paper's condition ``T_ver/theta > (1 - alpha) / (alpha |ln alpha|)`` fails, and wherever eq. 24 gives less
    than 1, goodput only falls with the length and the answer is 1. Otherwise it is eq. 24, with
    ``s = (T_ver/theta - 1) |ln alpha|`` and ``y = ln(-W_{-1}(-exp(-s - 1)))`` written as ``L + 1 = y / |ln alpha|``,
    ``exp(y) - 1 - y = s``. That neither underflows for a slow verification, as the argument of W_{-1} does, nor loses
    digits at its branch point, where alpha tends to 1 and the answer to
    ``sqrt(2 (T_ver/theta - 1) / -ln alpha) - 1``. The better of floor and ceiling, at most L_max, is the best integer.

    Args:
        acceptance_rate: alpha in [0, 1].
        per_token_latency_s: Equalised latency per drafted token, theta, above 0 (see ``equalize_bandwidth``).
        verification_latency_s: T_ver, above 0.

    Returns:
        Lengths, the broadcast shape of the arguments; infinite where every token is accepted and ``T_ver > theta``.

    Raises:
        TypeError: An argument is not of real numbers.
        ValueError: A value is out of its range, or the shapes do not broadcast.
    """
    arguments = {
        "acceptance_rate": real_array("acceptance_rate", acceptance_rate, low=0.0, high=1.0),
        "per_token_latency_s": real_array("per_token_latency_s", per_token_latency_s, above=0.0),
        "verification_latency_s": real_array("verification_latency_s", verification_latency_s, above=0.0),
    }
    common_shape(arguments)
    alpha, theta_s, verification_s = arguments.values()
    excess = verification_s / theta_s - 1.0
    length = _stationary_length(np.log(alpha.clip(SMALLEST_ACCEPTANCE, LARGEST_ACCEPTANCE)), excess)
    return np.where((alpha == 1.0) & (excess > 0.0), np.inf, np.maximum(length, 1.0))


def solve_homogeneous(problem: RoundProblem) -> Solution:
    """The best common draft length, and the bandwidth that equalises the users' latency (Lemma 1, Theorem 1).

    Goodput is a sum of concave functions of the length over an affine one, hence unimodal: the best integer is beside
    the real maximiser. Theorem 1 at the users' mean acceptance starts the search for that; it is already the answer
    where all users share one acceptance rate.

    Args:
        problem: The round or rounds, per-user fields of shape ``(..., users)``.

    Returns:
        The exact optimum over common integer lengths. ``upper_bound`` is the goodput of the best common real length.
    """
    rows = Rows.of(problem)
    common = common_length(rows)
    point = Point.at(rows, np.broadcast_to(common.length, rows.drafting_s.shape))
    relaxed = rows.tokens(common.real_length).sum(axis=0) / (
        common.real_length * common.per_token_s + rows.verification_s
    )
    return solution(problem, point, np.maximum(relaxed, point.goodput) * (1.0 + _ROUNDING))


class CommonLength(NamedTuple):
    """The optimum over common lengths, one per column of ``Rows``.

    Attributes:
        length: Best integer, shape ``(rows,)``.
        real_length: Best real number, shape ``(rows,)``.
        per_token_s: Equalised latency per token, theta, shape ``(rows,)``.
    """

    length: FloatArray
    real_length: FloatArray
    per_token_s: FloatArray


def common_length(rows: Rows) -> CommonLength:
    """Solves a batch in the solvers' form; see ``solve_homogeneous``."""
    theta_s, _ = equalize(rows.upload_s, rows.drafting_s)
    real_length = _real_common_length(rows, theta_s)
    below = np.floor(real_length)
    above = np.minimum(below + 1.0, rows.max_length)
    goodput_below = rows.tokens(below).sum(axis=0) / (below * theta_s + rows.verification_s)
    goodput_above = rows.tokens(above).sum(axis=0) / (above * theta_s + rows.verification_s)
    return CommonLength(np.where(goodput_above > goodput_below, above, below), real_length, theta_s)


def _real_common_length(rows: Rows, theta_s: FloatArray) -> FloatArray:
    """Maximises ``sum_k E_k(L) / (L theta + T_ver)`` over real L in [1, L_max], per column."""
    longest = float(rows.max_length)
    mean_acceptance = np.maximum(1.0 + rows.negated_rejection.mean(axis=0), SMALLEST_ACCEPTANCE)
    length = _stationary_length(np.log(mean_acceptance), rows.verification_s / theta_s - 1.0).clip(1.0, longest)
    # The derivative's numerator falls with L. A Newton step that leaves the bracket is replaced by its midpoint; the
    # bracket reaches past the ends so that a step may land on them.
    low = np.full_like(length, 0.5)
    high = np.full_like(length, longest + 0.5)
    for _ in range(_MAX_SEARCH_STEPS):
        duration_s = length * theta_s + rows.verification_s
        slope = rows.token_slope(length)
        rise = slope.sum(axis=0) * duration_s - theta_s * rows.tokens(length).sum(axis=0)
        slope *= rows.log_acceptance
        rising = rise > 0.0
        low = np.where(rising, length, low)
        high = np.where(rising, high, length)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            newton = (length - rise / (slope.sum(axis=0) * duration_s)).clip(1.0, longest)
        inside = (newton > low) & (newton < high)
        step = np.where(inside, newton, 0.5 * (low + high)).clip(1.0, longest) - length
        length = length + step
        if ((np.abs(step) <= _LENGTH_TOLERANCE) | (high <= 1.0) | (low >= longest)).all():
            break
    return length


def _stationary_length(log_acceptance: FloatArray, excess: FloatArray) -> FloatArray:
    """Eq. 24 for ``excess = T_ver/theta - 1``; any length below 1 where the theorem's condition fails."""
    decay = -log_acceptance
    s = np.maximum(excess, 0.0) * decay
    root = np.sqrt(2.0 * s)
    # The start is above the solution of the convex equation expm1(y) - y = s, and near it at both ends.
    y = np.log1p(s + root)
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_THEOREM_NEWTON_STEPS):
            y = y - 1.0 + (y + s) / np.expm1(y)
    series = root * (1.0 + root * (-1.0 / 6.0 + root * (1.0 / 36.0 - root / 270.0)))
    return np.where(s > _SERIES_LIMIT, y, series) / decay - 1.0
