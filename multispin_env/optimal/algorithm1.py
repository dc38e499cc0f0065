"""The paper's Algorithm 1: heterogeneous lengths by a grid over the latency and the band's multiplier."""

from __future__ import annotations

import numpy as np
from scipy.special import wrightomega

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.batch import ProblemBatch
from multispin_env.optimal.candidate import Candidate, solution
from multispin_env.optimal.checks import integer
from multispin_env.optimal.problem import PAPER_VALUES, RoundProblem, Solution

# The paper prints neither the grids' spacing nor its epsilon. The multiplier falls like alpha^L, hence a wide range.
_LEAST_MULTIPLIER = 1e-6
# Eq. 37 divides by the drafting latency; below this fraction of phi the length no longer depends on it.
_LEAST_DRAFTING = 1e-9
_MOST_GRID_POINTS = 100_000
_BLOCK_LENGTHS = 1 << 17
_TINY = 1e-300


def solve_algorithm1(problem: RoundProblem, num_latencies: int = 100, num_multipliers: int = 100) -> Solution:
    """Algorithm 1 as printed: the best rounded solution of eq. 37 over a grid of phi and lambda.

    Both grids are geometric, which the paper leaves open: phi over the range that it gives, and lambda from 1e-6 (its
    epsilon) times its largest value for that phi. Eq. 37 gives real lengths, which are rounded to the nearest integer
    and clipped to 1..L_max; each candidate is evaluated with bandwidth by Lemma 3. Time grows with the product of the
    grids and the users. This is the baseline; ``solve_heterogeneous`` is tens of times as fast, and certified.

    Args:
        problem: The round or rounds, per-user fields of shape ``(..., users)``.
        num_latencies: Grid points in phi, 1 to 100 000.
        num_multipliers: Grid points in lambda for each phi, 1 to 100 000.

    Returns:
        The best allocation on the grid. ``upper_bound`` is NaN: a grid certifies nothing.

    Raises:
        TypeError: A number of grid points is not an integer, or the problem is not a ``RoundProblem``.
        ValueError: It is out of range, or the problem has weights, prices, a shortest draft other than 1 or
            verification time per token, for which eq. 37 does not hold.
    """
    num_latencies = integer("num_latencies", num_latencies, low=1, high=_MOST_GRID_POINTS)
    num_multipliers = integer("num_multipliers", num_multipliers, low=1, high=_MOST_GRID_POINTS)
    batch = ProblemBatch.of(problem)
    for name in problem.beyond_paper():
        raise ValueError(f"Algorithm 1 needs {name}={PAPER_VALUES[name]}, as eq. 37 does; use solve_heterogeneous")
    num_users, num_rows = batch.drafting_s.shape
    block = max(1, _BLOCK_LENGTHS // (num_users * num_multipliers))
    candidates = [
        _search(batch.take(slice(start, start + block)), num_latencies, num_multipliers)
        for start in range(0, num_rows, block)
    ]
    return solution(problem, Candidate.joined(candidates), np.full(num_rows, np.nan))


def _search(batch: ProblemBatch, num_latencies: int, num_multipliers: int) -> Candidate:
    num_users = batch.drafting_s.shape[0]
    shortest_s = (batch.drafting_s + batch.upload_s).max(axis=0)
    longest_s = batch.max_length * (batch.drafting_s + num_users * batch.upload_s).max(axis=0)
    best = Candidate.at(batch, np.ones_like(batch.drafting_s))
    every = np.arange(shortest_s.size)
    for latency_s in np.geomspace(shortest_s, longest_s, num_latencies):
        found = Candidate.at(batch.spread(), _grid_lengths(batch, latency_s, num_multipliers)).best()
        best.update(every, found)
    return best


def _grid_lengths(batch: ProblemBatch, latency_s: FloatArray, num_multipliers: int) -> FloatArray:
    """Rounded eq. 37 at one phi per problem for all multipliers, shape ``(users, multipliers, rows)``.

    W_0(exp(z)) is evaluated as Wright's omega function of z, as exp(z) overflows where a round holds many drafts.
    Multipliers are per whole band instead of per hertz.
    """
    marginal = (latency_s - batch.drafting_s) ** 2 / (batch.upload_s * latency_s)
    highest = (marginal * batch.first_slope * np.exp(batch.log_acceptance)).max(axis=0)
    multiplier = np.geomspace(_LEAST_MULTIPLIER, 1.0, num_multipliers)[:, None] * np.maximum(highest, _TINY)
    drafting_s = np.maximum(batch.drafting_s, _LEAST_DRAFTING * latency_s)
    decay = -batch.log_acceptance
    # (1 - alpha) |ln alpha| / alpha of eq. 37 is |ln alpha|^2 / C with the slope C at length 0.
    exponent = (
        0.5 * decay * latency_s / drafting_s
        + np.log(decay / (2.0 * drafting_s))
        + 0.5 * np.log(batch.upload_s * latency_s / batch.first_slope)
    )
    omega: FloatArray = wrightomega(exponent[:, None] + 0.5 * np.log(multiplier))
    length: FloatArray = (latency_s / drafting_s)[:, None] - (2.0 / decay)[:, None] * omega
    return np.rint(length).clip(1.0, batch.max_length)
