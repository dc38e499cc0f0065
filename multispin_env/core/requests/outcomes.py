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
_1, _WINDOW, _PAIRS_IN_WINDOW = (np.array(number) for number in (1, WINDOW, WINDOW // 2))
_SPARE_BITS = np.array(32 - _LUCK_BITS, dtype=np.uint32)
_BEHIND = np.array(-1 << WINDOW)
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
        self._luck = np.zeros(num_rows, dtype=np.uint64)
        # Where the open window begins, and a bit for each position in it, set where a draft is rejected; so are all
        # bits behind the window.
        self._begin = np.zeros(num_rows, dtype=np.int64)
        self._rejected = np.zeros(num_rows, dtype=np.int64)

    def begin(self, rows: IntArray, luck: UIntArray) -> None:
        """See :class:`Outcomes`; as if the window before the text were open, which tells nothing of it."""
        self._luck[rows] = luck
        self._begin[rows] = -WINDOW
        self._rejected[rows] = -1

    def runs(self, position: IntArray, length: IntArray) -> IntArray:
        """See :class:`Outcomes`."""
        run, ends = _run_in_window(position - self._begin, self._rejected)
        rows = (ends & (run < length)).nonzero()[0]
        while rows.size:
            own = position[rows]
            self._open(rows, np.maximum(self._begin[rows] // _WINDOW + _1, own // _WINDOW))
            begin = self._begin[rows]
            start = np.maximum(own, begin)
            more, ends = _run_in_window(start - begin, self._rejected[rows])
            run[rows] = more + (start - own)
            rows = rows[ends & (run[rows] < length[rows])]
        return run

    def _open(self, rows: IntArray, number: IntArray) -> None:
        self._begin[rows] = number * _WINDOW
        first_pair = number * _PAIRS_IN_WINDOW
        for first in range(0, len(rows), _ROWS_TOGETHER):
            some = slice(first, first + _ROWS_TOGETHER)
            pairs = first_pair[some, np.newaxis] + _PAIRS
            luck = splitmix64(self._luck[rows[some]][:, np.newaxis], pairs.view(np.uint64)).view(np.uint32)
            luck >>= _SPARE_BITS
            rejected = luck >= self._limits(rows[some], number[some])
            bits = np.packbits(rejected, axis=1, bitorder="little").view(_WINDOW_BITS)[:, 0]
            self._rejected[rows[some]] = bits | _BEHIND


def _run_in_window(offset: IntArray, rejected: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Positions from here to the window's first rejection, or to its end, and whether it is the end."""
    ahead = rejected >> offset
    run = np.bitwise_count(~ahead & (ahead - _1)).astype(np.int64)  # zeros behind the lowest bit that is set
    return run, offset + run >= _WINDOW


def luck_limit(probability: FloatArray) -> NDArray[np.uint32]:
    """The integer that luck is below with this probability."""
    return np.rint(np.ldexp(probability, _LUCK_BITS)).astype(np.uint32)
