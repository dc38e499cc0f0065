"""Uploads that follow their channels: the modem adapts, and an upload ends when all is sent."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from multispin_env.core.channel.base import LONGEST_UPLOAD_S
from multispin_env.core.channel.paths import STEPS_PER_CELL, Paths, Walk
from multispin_env.core.equations import LN_2, FloatArray
from multispin_env.core.records import Float32Array, PlaceArray

# Constants that meet arrays are arrays: a Python number takes NumPy as long as the operation on a few users.
_NATS_PER_BIT = np.array(LN_2)
_LONGEST_S = np.array(LONGEST_UPLOAD_S)

# The midpoint rule of an upload. A cell is a fifth longer than the upload would take at the rate seen before. But with
# T what it would take then or at the long-term rate, whichever is less, T has so many times the root of x cells at
# least where it lasts x Doppler periods; and of the time in which shadowing decorrelates a cell is this part at most.
# (Measured in `mobile`, llama2, 64 environments, rounds of zero and of random actions, against steps of .5 ms, at 0,
# .01, .1, 1.4 and 10 m/s: total goodput 0, .2, .03, .02 and .2 % off, single uploads 0, .5, .6, 1.6 and 4.3 % in the
# mean square. At 10 m/s an upload of a minute or two, of a user who starves, is up to 7 % off.)
_FIRST_CELL = np.array(1.2)
_CELLS_PER_ROOT_OF_PERIODS = 6.0
_CELLS_OF_SHADOWING = 64.0
# Shadowing is looked up once in a group of cells.
_CELLS_PER_GROUP = 4
# Behind the 48th, cells grow with the time that has passed, by a twelfth a group: an upload of any length takes few.
_EVEN_GROUPS, _GROWING_GROUPS = 12, 288
_GROWTH = 13.0 / 12.0

# Many users do their first cell and then a group at a time, a part of them together, in the processor's cache; few
# users do more cells at once, for fewer calls of NumPy.
_USERS_TOGETHER = 8192
_CELLS_TOGETHER = 8192
_MOST_CELLS_AT_ONCE = 32
_MOST_TO_SEND = np.array(1e30)


class CellLimits(NamedTuple):
    """What bounds the cells of users' uploads, arrays (users,).

    Attributes:
        by_fading_s: The square of a cell over what the upload would take is not longer.
        by_shadowing_s: A cell is not longer.
    """

    by_fading_s: FloatArray
    by_shadowing_s: FloatArray

    @classmethod
    def of(cls, doppler_hz: FloatArray, decorrelation_hz: FloatArray) -> Self:
        """The limits of users with these Doppler shifts and inverse times in which shadowing decorrelates."""
        with np.errstate(divide="ignore"):
            return cls(
                np.minimum(1.0 / (_CELLS_PER_ROOT_OF_PERIODS**2 * doppler_hz), LONGEST_UPLOAD_S),
                np.minimum(1.0 / (_CELLS_OF_SHADOWING * decorrelation_hz), LONGEST_UPLOAD_S),
            )


def live_upload_s(
    paths: Paths,
    limits: CellLimits,
    start_s: FloatArray,
    bits_per_hz: FloatArray,
    seen_s: FloatArray,
    long_term_s: FloatArray,
) -> FloatArray:
    """Duration of uploads that follow their channels: each ends when the integral of its rate is what it has to send.

    Args:
        paths: The users' channels.
        limits: What bounds their cells.
        start_s: When each upload begins, (users,).
        bits_per_hz: What it has to send, over the width of its band, (users,).
        seen_s: What it would take at a rate seen shortly before, (users,).
        long_term_s: What it would take at the long-term rate, (users,).
    """
    nominal_s = np.minimum(seen_s, long_term_s)
    cell_s = np.sqrt(nominal_s * limits.by_fading_s)
    np.minimum(cell_s, limits.by_shadowing_s, out=cell_s)
    np.minimum(cell_s, _FIRST_CELL * seen_s, out=cell_s)
    to_send = np.minimum(_NATS_PER_BIT * bits_per_hz / cell_s, _MOST_TO_SEND).astype(np.float32)
    duration_s = _cells_taken(paths.walk(start_s, cell_s), to_send)
    duration_s *= cell_s
    return np.minimum(duration_s, _LONGEST_S, out=duration_s)


def _cells_taken(walk: Walk, to_send: Float32Array) -> FloatArray:
    """Cells that uploads take, (users,).

    Args:
        walk: The users' channels from cell to cell.
        to_send: What each upload has to send, in nat/s/Hz over the length of a cell, (users,).
    """
    taken = np.empty(len(to_send))
    users = np.arange(len(to_send))
    sent = np.zeros(len(to_send), dtype=np.float32)
    first = 0
    while True:
        last = _last_cell(first, len(users))
        sends = _sent_in_cells(walk, first, last)
        total = _running_sum(sent, sends)
        unfinished = total < to_send
        goes_on = unfinished[-1]
        if last == len(_WIDTH):
            goes_on[:] = False  # in ``unfinished`` as well: all end in the last cell
        ended = (~goes_on).nonzero()[0]
        cell = np.add.reduce(unfinished, axis=0, dtype=np.int64)[ended]
        flat = cell * len(users) + ended
        too_much = (total.take(flat) - to_send[ended]) / sends.take(flat)
        taken[users[ended]] = _END[first:][cell] - _WIDTH[first:][cell] * too_much
        if len(ended) == len(users):
            return taken
        left = goes_on.nonzero()[0]
        users, walk, to_send, sent = users[left], walk.take(left), to_send[left], total[-1, left]
        first = last


def _last_cell(first: int, num_users: int) -> int:
    """Where the cells end that so many users do next."""
    rest_of_group = _CELLS_PER_GROUP - first % _CELLS_PER_GROUP
    groups = min(_CELLS_TOGETHER // num_users, _MOST_CELLS_AT_ONCE) // _CELLS_PER_GROUP
    if rest_of_group < _CELLS_PER_GROUP or (groups < 2 and first):
        return first + rest_of_group
    return min(first + _CELLS_PER_GROUP * groups, len(_WIDTH)) if groups > 1 else 1


def _sent_in_cells(walk: Walk, first: int, last: int) -> Float32Array:
    """What each of some cells sends, in the unit of :func:`_cells_taken`, (cells, users)."""
    groups = slice(first // _CELLS_PER_GROUP, -(-last // _CELLS_PER_GROUP))
    sends = np.empty((last - first, len(walk.snr)), dtype=np.float32)
    for begin in range(0, len(walk.snr), _USERS_TOGETHER):
        end = begin + _USERS_TOGETHER
        some = walk.between(begin, end) if len(walk.snr) > _USERS_TOGETHER else walk
        snr = some.snr_at(_MIDDLE[first:last], _GROUP_MIDDLE[groups])
        np.log1p(snr, out=sends[:, begin:end])
    if last > _CELLS_PER_GROUP * _EVEN_GROUPS:
        sends *= _WIDTH[first:last, np.newaxis].astype(np.float32)
    return sends


def _running_sum(start: Float32Array, terms: Float32Array) -> Float32Array:
    """Sums of the terms so far, (cells, users), beginning with ``start``, (users,), and added in this order."""
    total = terms.copy()
    total[0] += start
    if total.shape[1] < 64:  # from one column to the next NumPy's is slow
        return np.add.accumulate(total, axis=0, out=total)
    for row in range(1, len(total)):
        total[row] += total[row - 1]
    return total


def _cell_grid() -> tuple[FloatArray, FloatArray, PlaceArray, PlaceArray]:
    width = np.concatenate([np.ones(_EVEN_GROUPS), _GROWTH ** np.arange(1, _GROWING_GROUPS + 1)])
    width = np.repeat(width, _CELLS_PER_GROUP)
    edge = np.concatenate([[0.0], np.cumsum(width)])
    group_edge = edge[::_CELLS_PER_GROUP]
    middle, group_middle = edge[:-1] + 0.5 * width, 0.5 * (group_edge[1:] + group_edge[:-1])
    return width, edge[1:], _steps(middle), _steps(group_middle)


def _steps(cells: FloatArray) -> PlaceArray:
    return np.rint(STEPS_PER_CELL * cells).astype(np.int64).astype(np.uint32)[:, np.newaxis]


# Of cells, in units of the first one: widths, and where they end; and in steps their middles, and those of groups.
_WIDTH, _END, _MIDDLE, _GROUP_MIDDLE = _cell_grid()
