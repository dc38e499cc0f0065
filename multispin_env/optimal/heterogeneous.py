"""A draft length for every user: relaxed optimum, search over integer lengths and, where asked for, certificate."""

from __future__ import annotations

import numpy as np

from multispin_env.core.round import FloatArray
from multispin_env.optimal.batch import ProblemBatch
from multispin_env.optimal.candidate import Candidate, solution
from multispin_env.optimal.homogeneous import common_length
from multispin_env.optimal.problem import RoundProblem, Solution
from multispin_env.optimal.relaxation import relax
from multispin_env.optimal.search import round_lengths

# Batches are solved in blocks of about this many users in all, which bounds the memory.
_BLOCK_USERS = 1 << 15


def solve_heterogeneous(problem: RoundProblem) -> Solution:
    batch = ProblemBatch.of(problem)
    num_users, num_rows = batch.drafting_s.shape
    block = max(1, _BLOCK_USERS // num_users)
    blocks = [_solve(batch.take(slice(start, start + block))) for start in range(0, num_rows, block)]
    candidates, bounds = zip(*blocks, strict=True)
    return solution(problem, Candidate.joined(candidates), np.concatenate(bounds))


def _solve(batch: ProblemBatch) -> tuple[Candidate, FloatArray]:
    common, _ = common_length(batch)
    relaxed = relax(batch, np.repeat(common[None], batch.drafting_s.shape[0], axis=0))
    return round_lengths(batch, relaxed, common), relaxed.upper_bound
