"""Draft lengths together with what follows from them once the band is equalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from multispin_env.core.equations import Allocation, FloatArray, IntArray, expected_tokens
from multispin_env.optimal.bandwidth import band_shares, equalize
from multispin_env.optimal.batch import ProblemBatch, users_first, users_last
from multispin_env.optimal.problem import RoundProblem, Solution


class Candidate(NamedTuple):
    """One choice of lengths per problem.

    Attributes:
        length: Draft lengths, real or integer, shape ``(users, ..., rows)``.
        latency_s: Equalised latency phi, shape ``(..., rows)``.
        upload_s: Each user's time to upload, ``phi - L_k T_k``, shape ``(users, ..., rows)``.
        duration_s: The round's duration, ``phi + T_ver(L)``, shape ``(..., rows)``.
        objective: What is maximised, shape ``(..., rows)``.
    """

    length: FloatArray
    latency_s: FloatArray
    upload_s: FloatArray
    duration_s: FloatArray
    objective: FloatArray

    @classmethod
    def at(cls, batch: ProblemBatch, length: FloatArray) -> Candidate:
        """Equalises the band for the lengths and evaluates them."""
        latency_s, upload_s = equalize(batch.upload_s * length, batch.drafting_s * length)
        duration_s = batch.duration_s(latency_s, length)
        objective = batch.objective(batch.value(length).sum(axis=0), duration_s)
        return cls(length, latency_s, upload_s, duration_s, objective)

    @classmethod
    def joined(cls, candidates: Sequence[Candidate]) -> Candidate:
        """The choices for several blocks of rows as one."""
        return cls(*(np.concatenate(fields, axis=-1) for fields in zip(*candidates, strict=True)))

    def update(self, columns: IntArray, other: Candidate) -> None:
        """Overwrites the choices for the problems that ``columns`` selects, where that raises the objective."""
        better = np.flatnonzero(other.objective > self.objective[columns])
        for ours, theirs in zip(self, other, strict=True):
            ours[..., columns[better]] = theirs[..., better]

    def take(self, columns: Any) -> Candidate:
        """The choices for the problems that ``columns`` selects."""
        return Candidate(*(field[..., columns] for field in self))

    def best(self) -> Candidate:
        """For every problem the choice of highest objective among those on the axis before the last."""
        winner = self.objective.argmax(axis=-2)
        row = np.arange(winner.size)
        return Candidate(*(field[..., winner, row] for field in self))


def solution(problem: RoundProblem, candidate: Candidate, upper_bound: FloatArray) -> Solution:
    """The solution that consists of integer lengths, one choice per row, in the problem's own shape."""
    shape = problem.acceptance_rate.shape
    length = users_last(candidate.length, shape).astype(np.int64)
    share = band_shares(users_first(problem.full_band_upload_s) * candidate.length, candidate.upload_s)
    objective = candidate.objective.reshape(shape[:-1])
    goodput = objective.copy()
    if problem.time_price is not None or np.any(problem.token_price) or np.any(np.not_equal(problem.weight, 1.0)):
        tokens = expected_tokens(problem.acceptance_rate, length).sum(axis=-1)
        goodput = tokens / candidate.duration_s.reshape(shape[:-1])
    allocation = Allocation(length, users_last(share, shape))
    return Solution(allocation, goodput, upper_bound.reshape(shape[:-1]), objective)
