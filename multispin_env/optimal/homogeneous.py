"""One draft length for all users: Lemma 1 for the bandwidth, Theorem 1 for the length."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.bandwidth import equalize
from multispin_env.optimal.batch import LARGEST_ACCEPTANCE, SMALLEST_ACCEPTANCE, ProblemBatch
from multispin_env.optimal.candidate import Candidate, solution
from multispin_env.optimal.checks import common_shape, real_array
from multispin_env.optimal.problem import RoundProblem, Solution

_THEOREM_NEWTON_STEPS = 4
# Below this the series for y is exact to rounding, while Newton's residual would cancel.
_SERIES_LIMIT = 1e-4


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

    The band's split does not depend on the length, and the objective is unimodal in it: concave value over, or less,
    convex time. So bisection over the integers finds the optimum, also where Theorem 1 has no closed form: for users of
    several acceptance rates, weights and prices.

    Args:
        problem: The round or rounds.

    Returns:
        The exact optimum over common integer lengths; ``upper_bound`` equals ``objective``.

    Raises:
        TypeError: The problem is not a ``RoundProblem``.
    """
    batch = ProblemBatch.of(problem)
    length, _ = common_length(batch)
    best = Candidate.at(batch, np.broadcast_to(length, batch.drafting_s.shape))
    return solution(problem, best, best.objective)


def common_length(batch: ProblemBatch) -> tuple[FloatArray, FloatArray]:
    """The best common integer length and the latency per token theta of Lemma 1, both of shape ``(rows,)``."""
    theta_s, _ = equalize(batch.upload_s, batch.drafting_s)
    num_users = batch.drafting_s.shape[0]
    value_batch = batch.spread()

    def objective(length: FloatArray) -> FloatArray:
        duration_s = length * theta_s + batch.verification_s
        if batch.per_token_s is not None and batch.free_drafted is not None:
            duration_s = duration_s + batch.per_token_s * np.maximum(num_users * length - batch.free_drafted, 0.0)
        return batch.objective(value_batch.value(length).sum(axis=0), duration_s)

    if batch.token_price is not None and batch.time_price is None:
        # A negative ratio improves with time, so that ratios of both signs have several maxima.
        lengths = np.arange(batch.min_length, batch.max_length + 1.0)
        objectives = [objective(np.full((1, theta_s.size), length))[0] for length in lengths]
        return lengths[np.argmax(objectives, axis=0)], theta_s
    low = np.full(theta_s.shape, float(batch.min_length))
    high = np.full(theta_s.shape, float(batch.max_length))
    for _ in range((batch.max_length - batch.min_length).bit_length()):
        middle = np.floor(0.5 * (low + high))
        here, longer = objective(np.stack([middle, np.minimum(middle + 1.0, high)]))
        rising = longer > here
        low = np.where(rising, np.minimum(middle + 1.0, high), low)
        high = np.where(rising, high, middle)
    return low, theta_s


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
