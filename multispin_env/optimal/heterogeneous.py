"""A draft length for every user: relaxed optimum, search over integer lengths, certificate."""

from __future__ import annotations

import numpy as np

from multispin_env.core.equations import FloatArray
from multispin_env.optimal.batch import ProblemBatch
from multispin_env.optimal.candidate import Candidate, solution
from multispin_env.optimal.certificate import prove
from multispin_env.optimal.homogeneous import common_length
from multispin_env.optimal.problem import RoundProblem, Solution
from multispin_env.optimal.relaxation import relax
from multispin_env.optimal.search import climb, round_lengths

# Batches are solved in blocks of about this many users in all, which bounds the memory.
_BLOCK_USERS = 1 << 15
# With few users a token matters more, and the proof costs less than a search would.
_FEW_USERS = 8
# A search near the relaxed optimum is trusted where that is closer than the first to what was found, or closer than the
# second where some upload takes less time than a token's drafting: there the latency is a ridge of whole tokens.
_TRUSTED_GAP = 0.005
_TRUSTED_GAP_ON_RIDGE = 0.001


def solve_heterogeneous(problem: RoundProblem, *, certify: bool = False) -> Solution:
    """The best draft length of each user, with the bandwidth of Lemma 3.

    The paper searches a grid (Algorithm 1, ``solve_algorithm1``). Here the problem with real-valued lengths, which has
    one maximum, is solved first; that bounds what any lengths can reach. Its solution is rounded at several scales and
    improved by moves of single tokens, evaluated exactly. With up to eight users, and wherever the bound leaves more
    than 0.5 %, branch and bound over the latency then finds the integer optimum and proves it; with ``certify`` it does
    so everywhere. The cost is linear in the number of users. The answer to a problem does not depend on what else is in
    the batch.

    Args:
        problem: The round or rounds.
        certify: Whether to prove every answer, which takes some twenty times as long where it is not done anyway.

    Returns:
        The allocation, never below that of ``solve_homogeneous``. ``upper_bound`` is never below the optimum; where
        the optimum is proved, it equals ``objective``. The proof gives up where too many lengths are as good, to some
        1e-5, and then ``upper_bound`` says how much may be missed.

    Raises:
        TypeError: The problem is not a ``RoundProblem``.
    """
    batch = ProblemBatch.of(problem)
    num_users, num_rows = batch.drafting_s.shape
    block = max(1, _BLOCK_USERS // num_users)
    blocks = [_solve(batch.take(slice(start, start + block)), certify) for start in range(0, num_rows, block)]
    candidates, bounds = zip(*blocks, strict=True)
    return solution(problem, Candidate.joined(candidates), np.concatenate(bounds))


def _solve(batch: ProblemBatch, certify: bool) -> tuple[Candidate, FloatArray]:
    num_users = batch.drafting_s.shape[0]
    common, per_token_s = common_length(batch)
    relaxed = relax(batch, np.repeat(common[None], num_users, axis=0), per_token_s)
    found = round_lengths(batch, relaxed.length, common)
    if num_users > _FEW_USERS:
        found = climb(batch, found)
    bound = np.maximum(relaxed.upper_bound, found.objective)
    on_ridge = np.any(found.upload_s < batch.drafting_s, axis=0)
    trusted_gap = np.where(on_ridge, _TRUSTED_GAP_ON_RIDGE, _TRUSTED_GAP) * np.abs(found.objective)
    rows = np.flatnonzero((bound - found.objective > trusted_gap) | (certify or num_users <= _FEW_USERS))
    if rows.size:
        proved, proved_bound = prove(batch.take(rows), relaxed.take(rows), found.take(rows))
        found.update(rows, proved)
        bound[rows] = np.maximum(np.minimum(bound[rows], proved_bound), proved.objective)
    return found, bound
