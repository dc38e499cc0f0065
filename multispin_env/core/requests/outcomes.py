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
_PAIRS = np.arange(WINDOW // 2)
# A run that no text is long enough for.
_LONGEST_RUN = np.array(2.0**40)

# As arrays: a Python number takes NumPy as long as the operation on a few users.
_WINDOW, _PAIRS_IN_WINDOW, _BITS = (np.array(number) for number in (WINDOW, WINDOW // 2, 2 * WINDOW))
_LOWEST, _WINDOW_SHIFT = (np.array(number, dtype=np.uint64) for number in (1, WINDOW))
_SPARE_BITS = np.array(32 - _LUCK_BITS, dtype=np.uint32)
_WINDOW_BITS = np.dtype("<u4")


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
        # When texts need their next windows, those with at most so many known positions left get theirs along with
        # them. It saves calls, which cost few texts more than windows do; many would open windows they never reach.
        self._ahead = np.array(WINDOW if num_rows <= _ROWS_TOGETHER else 0)
        self._luck = np.zeros(num_rows, dtype=np.uint64)
        # Where the window opened last ends, and a bit for each position of the last two windows, the highest one for
        # the last position, set where a draft is rejected.
        self._end = np.zeros(num_rows, dtype=np.int64)
        self._rejected = np.zeros(num_rows, dtype=np.uint64)

    def begin(self, rows: IntArray, luck: UIntArray) -> None:
        """See :class:`Outcomes`."""
        self._luck[rows] = luck
        self._end[rows] = 0

    def runs(self, position: IntArray, length: IntArray) -> IntArray:
        """See :class:`Outcomes`."""
        known = self._end - position
        run = _known_run(self._rejected, known)
        short = (run == known) & (run < length)
        rows = short.nonzero()[0]
        opened = (short | (known <= self._ahead)).nonzero()[0] if rows.size else rows
        while rows.size:
            self._open(opened)
            own, end = position[rows], self._end[rows]
            start = np.maximum(own, end - _WINDOW)
            known = end - start
            more = _known_run(self._rejected[rows], known)
            run[rows] = more + (start - own)
            opened = rows = rows[(more == known) & (run[rows] < length[rows])]
        return run

    def _open(self, rows: IntArray) -> None:
        """Opens the next window of the texts in these rows."""
        end = self._end[rows]
        self._end[rows] = end + _WINDOW
        number = end // _WINDOW
        first_pair = number * _PAIRS_IN_WINDOW
        for first in range(0, len(rows), _ROWS_TOGETHER):
            some = slice(first, first + _ROWS_TOGETHER)
            own = rows[some]
            pairs = first_pair[some, np.newaxis] + _PAIRS
            luck = splitmix64(self._luck[own][:, np.newaxis], pairs.view(np.uint64)).view(np.uint32)
            luck >>= _SPARE_BITS
            rejected = luck >= self._limits(own, number[some])
            bits = np.packbits(rejected, axis=1, bitorder="little").view(_WINDOW_BITS)[:, 0]
            self._rejected[own] = (self._rejected[own] >> _WINDOW_SHIFT) | (bits.astype(np.uint64) << _WINDOW_SHIFT)


def _known_run(rejected: UIntArray, known: IntArray) -> IntArray:
    """Positions up to the first rejection among the last so many ones, which are known, or all of them."""
    ahead = rejected >> (_BITS - known).view(np.uint64)
    clear = np.bitwise_count(~ahead & (ahead - _LOWEST)).astype(np.int64)  # zeros behind the lowest bit that is set
    return np.minimum(clear, known, out=clear)


def luck_limit(probability: FloatArray) -> NDArray[np.uint32]:
    """The integer that luck is below with this probability."""
    return np.rint(np.ldexp(probability, _LUCK_BITS)).astype(np.uint32)
