"""Luck along texts: whether a draft at a position would be accepted, whatever was drafted where."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.streams import UIntArray, splitmix64, uniform

# Positions whose outcomes a window holds, a bit each, and users whose windows are opened together, for the cache.
WINDOW = 32
_ROWS_TOGETHER = 512
# Luck is one of 2^31 equally likely integers, two of them from a number of the generator.
_LUCK_BITS = 31
# A run that no text is long enough for.
_LONGEST_RUN = 2.0**40


class Outcomes(ABC):
    """Outcomes of drafts at the positions of texts, one text a row.

    They belong to the text, its luck and the position. A round asks from where the text stands, which is behind the
    first rejection or behind all that was asked for and the server's own token.
    """

    @abstractmethod
    def begin(self, rows: IntArray, luck: UIntArray) -> None:
        """Begins other texts in these rows.

        Args:
            rows: The rows, (texts,).
            luck: Seeds of :func:`splitmix64`, (texts,).
        """

    @abstractmethod
    def runs(self, position: IntArray, length: IntArray) -> IntArray:
        """How many drafts in a row would be accepted, or at least ``length`` where it is more; all (rows,)."""


class ConstantOutcomes(Outcomes):
    """Outcomes that are equally likely along the text: runs are geometric, and luck decides one after the other."""

    def __init__(self, num_rows: int) -> None:
        self._luck = np.zeros(num_rows, dtype=np.uint64)
        self._number = np.zeros(num_rows, dtype=np.uint64)
        self._mean_run = np.zeros(num_rows)
        self._rejection = np.zeros(num_rows, dtype=np.int64)

    def set_rates(self, rows: IntArray, rate: FloatArray) -> None:
        """Sets the probability that a draft is accepted in the texts that begin next in these rows."""
        with np.errstate(divide="ignore"):
            self._mean_run[rows] = 1.0 / np.abs(np.log(rate))

    def begin(self, rows: IntArray, luck: UIntArray) -> None:
        """See :class:`Outcomes`."""
        self._luck[rows] = luck
        self._number[rows] = 0
        self._rejection[rows] = -1

    def runs(self, position: IntArray, length: IntArray) -> IntArray:
        """See :class:`Outcomes`; a round passes one rejection at the most."""
        passed = self._rejection < position
        run = np.log(uniform(splitmix64(self._luck, self._number)))
        run *= -self._mean_run
        run = np.minimum(run, _LONGEST_RUN).astype(np.int64)
        run += 1
        run *= passed
        self._number += passed
        self._rejection += run
        return self._rejection - position


class WindowedOutcomes(Outcomes):
    """Outcomes whose probability varies along the text, decided a window of positions at a time.

    Args:
        num_rows: Texts.
        limits: Maps rows and numbers of windows, both (texts,), to the :func:`luck_limit` of the acceptance at the
            windows' positions, (texts, WINDOW).
    """

    def __init__(self, num_rows: int, limits: Callable[[IntArray, IntArray], NDArray[np.uint32]]) -> None:
        self._limits = limits
        self._luck = np.zeros(num_rows, dtype=np.uint64)
        # Where the window begins, in windows, and the positions in it at which a draft is rejected, a bit each.
        self._number = np.zeros(num_rows, dtype=np.int64)
        self._rejected = np.zeros(num_rows, dtype=np.uint32)

    def begin(self, rows: IntArray, luck: UIntArray) -> None:
        """See :class:`Outcomes`."""
        self._luck[rows] = luck
        self._open(rows, np.zeros(len(rows), dtype=np.int64))

    def runs(self, position: IntArray, length: IntArray) -> IntArray:
        """See :class:`Outcomes`."""
        run, known = self._known_runs(position, self._number, self._rejected)
        rows = np.flatnonzero(~known & (run < length))
        while rows.size:
            number = np.maximum(self._number[rows] + 1, position[rows] // WINDOW)
            self._open(rows, number)
            run[rows], known = self._known_runs(position[rows], number, self._rejected[rows])
            rows = rows[~known & (run[rows] < length[rows])]
        return run

    @staticmethod
    def _known_runs(
        position: IntArray, number: IntArray, rejected: NDArray[np.uint32]
    ) -> tuple[IntArray, NDArray[np.bool_]]:
        """Positions from here to the window's first rejection, or to its end where it has none or lies behind."""
        offset = position - WINDOW * number
        ahead = rejected >> np.maximum(offset, 0).astype(np.uint32)
        known = ahead > 0
        # Zeros behind the lowest bit that is set.
        zeros = np.bitwise_count(~ahead & (ahead - np.uint32(1))).astype(np.int64)
        return np.where(known, zeros - np.minimum(offset, 0), WINDOW - offset), known

    def _open(self, rows: IntArray, number: IntArray) -> None:
        self._number[rows] = number
        for first in range(0, len(rows), _ROWS_TOGETHER):
            some = slice(first, first + _ROWS_TOGETHER)
            pairs = (WINDOW // 2) * number[some, np.newaxis] + np.arange(WINDOW // 2)
            luck = splitmix64(self._luck[rows[some], np.newaxis], pairs.view(np.uint64)).view(np.uint32)
            luck >>= np.uint32(32 - _LUCK_BITS)
            rejected = luck >= self._limits(rows[some], number[some])
            self._rejected[rows[some]] = np.packbits(rejected, axis=1, bitorder="little").view("<u4")[:, 0]


def luck_limit(probability: FloatArray) -> NDArray[np.uint32]:
    """The integer that luck is below with this probability."""
    return np.rint(np.ldexp(probability, _LUCK_BITS)).astype(np.uint32)
