"""A draft length for every user: the relaxed optimum as certificate, rounded and improved by exact local search."""

from __future__ import annotations

import numpy as np

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.homogeneous import common_length
from multispin_env.optimal.point import Point, solution
from multispin_env.optimal.problem import RoundProblem, Solution
from multispin_env.optimal.relaxation import relax
from multispin_env.optimal.rounding import round_lengths
from multispin_env.optimal.rows import Rows

# Batches are solved in blocks of about this many users in all, which bounds the memory.
_BLOCK_USERS = 1 << 15


def solve_heterogeneous(problem: RoundProblem) -> Solution:
    """The best draft length of each user, with the bandwidth of Lemma 3.

    The paper searches a grid (Algorithm 1, ``solve_algorithm1``). Here the problem with real-valued lengths, which has
    one maximum, is solved to about 1e-10, and that bounds what any lengths can reach. Its solution is rounded at
    several scales, more of them where the bound leaves room, and improved by moves of single tokens, evaluated exactly;
    with up to eight users from every scale. The cost is linear in the number of users. The answer to a problem does not
    depend on what else is in the batch.

    Args:
        problem: The round or rounds, per-user fields of shape ``(..., users)``.

    Returns:
        The allocation with its exact goodput, never below that of ``solve_homogeneous``. ``upper_bound`` is never below
        the optimum, so that ``1 - goodput / upper_bound`` bounds what the allocation may miss.
    """
    rows = Rows.of(problem)
    num_users, num_rows = rows.drafting_s.shape
    block = max(1, _BLOCK_USERS // num_users)
    blocks = [_solve(rows.take(slice(start, start + block))) for start in range(0, num_rows, block)]
    points, bounds = zip(*blocks, strict=True)
    return solution(problem, Point.joined(points), np.concatenate(bounds))


def _solve(rows: Rows) -> tuple[Point, FloatArray]:
    common = common_length(rows)
    start = np.repeat(common.real_length[None], rows.drafting_s.shape[0], axis=0)
    relaxed = relax(rows, start, common.per_token_s)
    return round_lengths(rows, relaxed, common.length), relaxed.upper_bound
