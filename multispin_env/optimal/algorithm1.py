"""The paper's Algorithm 1: heterogeneous lengths by a grid over the latency and the band's multiplier."""

from __future__ import annotations

import numpy as np
from scipy.special import wrightomega

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.point import Point, solution
from multispin_env.optimal.problem import RoundProblem, Solution, positive_integer
from multispin_env.optimal.rows import Rows

# The paper prints neither the grids' spacing nor its epsilon. The multiplier falls like alpha^L, hence a wide range.
_LEAST_MULTIPLIER = 1e-6
# Eq. 37 divides by the drafting latency; below this fraction of phi the length no longer depends on it.
_LEAST_DRAFTING = 1e-9
_BLOCK_LENGTHS = 1 << 17
_TINY = 1e-300


def solve_algorithm1(problem: RoundProblem, num_latencies: int = 100, num_multipliers: int = 100) -> Solution:
    """Algorithm 1 as printed: the best rounded solution of eq. 37 over a grid of phi and lambda.

    Both grids are geometric, which the paper leaves open: phi over the range that it gives, and lambda from 1e-6 (its
    epsilon) times its largest value for that phi. Eq. 37 gives real lengths, which are rounded to the nearest integer
    and clipped to 1..L_max; each candidate is evaluated with bandwidth by Lemma 3. Time grows with the product of the
    grids and the users. This is the baseline; ``solve_heterogeneous`` is
    tens of times as fast, and certified.

    Args:
        problem: The round or rounds, per-user fields of shape ``(..., users)``.
        num_latencies: Grid points in phi, at least 1.
        num_multipliers: Grid points in lambda for each phi, at least 1.

    Returns:
        The best allocation on the grid. ``upper_bound`` is NaN: a grid certifies nothing.

    Raises:
        TypeError: A number of grid points is not an integer.
        ValueError: It is below 1.
    """
    num_latencies = positive_integer("num_latencies", num_latencies)
    num_multipliers = positive_integer("num_multipliers", num_multipliers)
    rows = Rows.of(problem)
    num_users, num_rows = rows.drafting_s.shape
    block = max(1, _BLOCK_LENGTHS // (num_users * num_multipliers))
    points = [
        _search(rows.take(slice(start, start + block)), num_latencies, num_multipliers)
        for start in range(0, num_rows, block)
    ]
    return solution(problem, Point.joined(points), np.full(num_rows, np.nan))


def _search(rows: Rows, num_latencies: int, num_multipliers: int) -> Point:
    num_users = rows.drafting_s.shape[0]
    shortest_s = (rows.drafting_s + rows.upload_s).max(axis=0)
    longest_s = rows.max_length * (rows.drafting_s + num_users * rows.upload_s).max(axis=0)
    best = Point.at(rows, np.ones_like(rows.drafting_s))
    for latency_s in np.geomspace(shortest_s, longest_s, num_latencies):
        found = Point.at(rows.take(None), _grid_lengths(rows, latency_s, num_multipliers)).best()
        best = best.replaced(found.goodput > best.goodput, found)
    return best


def _grid_lengths(rows: Rows, latency_s: FloatArray, num_multipliers: int) -> FloatArray:
    """Rounded eq. 37 at one phi per problem for all multipliers, shape ``(users, multipliers, rows)``.

    W_0(exp(z)) is evaluated as Wright's omega function of z, as exp(z) overflows where a round holds many drafts.
    Multipliers are per whole band instead of per hertz.
    """
    marginal = (latency_s - rows.drafting_s) ** 2 / (rows.upload_s * latency_s)
    highest = (marginal * rows.first_slope * np.exp(rows.log_acceptance)).max(axis=0)
    multiplier = np.geomspace(_LEAST_MULTIPLIER, 1.0, num_multipliers)[:, None] * np.maximum(highest, _TINY)
    drafting_s = np.maximum(rows.drafting_s, _LEAST_DRAFTING * latency_s)
    decay = -rows.log_acceptance
    # (1 - alpha) |ln alpha| / alpha of eq. 37 is |ln alpha|^2 / C with the slope C at length 0.
    exponent = (
        0.5 * decay * latency_s / drafting_s
        + np.log(decay / (2.0 * drafting_s))
        + 0.5 * np.log(rows.upload_s * latency_s / rows.first_slope)
    )
    omega: FloatArray = wrightomega(exponent[:, None] + 0.5 * np.log(multiplier))
    length: FloatArray = (latency_s / drafting_s)[:, None] - (2.0 / decay)[:, None] * omega
    return np.rint(length).clip(1.0, rows.max_length)
