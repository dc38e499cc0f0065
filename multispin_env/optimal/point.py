"""Draft lengths together with what follows from them once the band is equalised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import Allocation, FloatArray, IntArray, expected_tokens, goodput
from multispin_env.optimal.bandwidth import band_shares, equalize
from multispin_env.optimal.problem import RoundProblem, Solution
from multispin_env.optimal.rows import Rows, users_first, users_last


class Point(NamedTuple):
    """One choice of lengths per problem.

    Attributes:
        length: Draft lengths, real or integer, shape ``(users, ..., rows)``.
        latency_s: Equalised latency phi, shape ``(..., rows)``.
        upload_s: Each user's time to upload, ``phi - L_k T_k``, shape ``(users, ..., rows)``.
        goodput: Expected sum goodput in tokens per second, shape ``(..., rows)``.
    """

    length: FloatArray
    latency_s: FloatArray
    upload_s: FloatArray
    goodput: FloatArray

    @classmethod
    def at(cls, rows: Rows, length: FloatArray) -> Point:
        """Equalises the band for the lengths and evaluates them."""
        latency_s, upload_s = equalize(rows.upload_s * length, rows.drafting_s * length)
        return cls(length, latency_s, upload_s, rows.tokens(length).sum(axis=0) / (latency_s + rows.verification_s))

    @classmethod
    def joined(cls, points: Sequence[Point]) -> Point:
        """The choices for several blocks of rows as one."""
        return cls(*(np.concatenate(fields, axis=-1) for fields in zip(*points, strict=True)))

    def update(self, columns: IntArray, other: Point) -> None:
        """Overwrites the choices for the problems that ``columns`` selects, where that raises the goodput."""
        better = np.flatnonzero(other.goodput > self.goodput[columns])
        for ours, theirs in zip(self, other, strict=True):
            ours[..., columns[better]] = theirs[..., better]

    def take(self, columns: Any) -> Point:
        """The choices for the problems that ``columns`` selects."""
        return Point(*(field[..., columns] for field in self))

    def replaced(self, where: NDArray[np.bool_], other: Point) -> Point:
        """This point, with the other's choice for the problems where the mask is set."""
        return Point(*(np.where(where, theirs, ours) for ours, theirs in zip(self, other, strict=True)))

    def best(self) -> Point:
        """For every problem the choice of highest goodput among those on the axis before the last."""
        winner = self.goodput.argmax(axis=-2)
        row = np.arange(winner.size)
        return Point(*(field[..., winner, row] for field in self))


def solution(problem: RoundProblem, point: Point, upper_bound: FloatArray) -> Solution:
    """The solution that consists of integer lengths, one choice per row, in the problem's own shape."""
    shape = problem.acceptance_rate.shape
    length = users_last(point.length, shape).astype(np.int64)
    share = band_shares(users_first(problem.full_band_upload_s) * point.length, point.upload_s)
    achieved = goodput(
        expected_tokens(problem.acceptance_rate, length),
        point.latency_s.reshape(shape[:-1]),
        problem.verification_latency_s,
    )
    return Solution(Allocation(length, users_last(share, shape)), achieved, upper_bound.reshape(shape[:-1]))
