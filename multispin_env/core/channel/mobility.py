"""Users that move: Clarke fading and Gudmundson shadowing as functions of time, and uploads that follow them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from multispin_env.config import ChannelConfig
from multispin_env.core.channel.base import Channel
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.records import PLACE_BITS, Float32Array, gauss_markov, rayleigh_power
from multispin_env.core.streams import Streams, UIntArray, splitmix64

SPEED_OF_LIGHT_M_S = 299_792_458.0
_DB_TO_LOG = float(np.log(10.0)) / 10.0
_PER_LN_2 = np.float32(1.0 / np.log(2.0))

# The midpoint rule of an upload. A cell is this fraction of a Doppler period, within limits: the upload at the
# long-term rate has so many cells at least and at most. With these, total goodput is within .4 % of a fine integration
# from 0 to 10 m/s. Shadowing is looked up once in four cells: held over an upload, goodput at 10 m/s is 14 % off.
_CELLS_PER_DOPPLER_PERIOD = 6.0
_FEWEST_CELLS, _MOST_CELLS = 3.0, 32.0
_CELLS_PER_GROUP = 4
# Behind the 32nd, cells grow with the time that has passed, by an eighth a group: an upload of any length takes few.
_EVEN_GROUPS, _GROWING_GROUPS = 8, 192
_GROWTH = 1.125

# Cells that are evaluated together: few users go on with more of them at a time, for fewer calls of NumPy, and many
# users a part at a time, in the processor's cache.
_CELLS_TOGETHER = 16384
_MOST_GROUPS_TOGETHER = 8
# A longer upload, which only a share that vanishes takes, ends here; then it can be added up with others.
_LONGEST_UPLOAD_S = 1e9


def _cell_grid() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    group = np.concatenate([np.ones(_EVEN_GROUPS), _GROWTH ** np.arange(1, _GROWING_GROUPS + 1)])
    width = np.repeat(group, _CELLS_PER_GROUP)
    edge = np.concatenate([[0.0], np.cumsum(width)])
    group_edge = edge[::_CELLS_PER_GROUP]
    return width, edge, edge[:-1] + 0.5 * width, 0.5 * (group_edge[1:] + group_edge[:-1])


# Of cells, in units of a user's first one: widths, where they begin, their middles, and those of groups.
_WIDTH, _EDGE, _MIDDLE, _GROUP_MIDDLE = _cell_grid()


@dataclass(frozen=True, eq=False)
class Paths:
    """What the channels of some users are made of, arrays (users,).

    Attributes:
        snr: Signal to noise ratio of one antenna without fading and shadowing, linear.
        fading_place: Where each antenna enters the record of fading, (antennas, users).
        fading_rate: Places that fading goes on in a second.
        shadowing_place: Where the user enters the record of shadowing.
        shadowing_rate: Places that shadowing goes on in a second.
        shadowing_scale: Standard deviation of the logarithm of the shadowing.
    """

    snr: Float32Array
    fading_place: IntArray
    fading_rate: FloatArray
    shadowing_place: IntArray
    shadowing_rate: FloatArray
    shadowing_scale: np.float32

    def take(self, users: IntArray | slice) -> Self:
        """Some of the users."""
        return type(self)(
            self.snr[users],
            self.fading_place[:, users],
            self.fading_rate[users],
            self.shadowing_place[users],
            self.shadowing_rate[users],
            self.shadowing_scale,
        )

    def shadowed_snr(self, time_s: FloatArray) -> Float32Array:
        """Signal to noise ratio of one antenna without fading, at times (..., users)."""
        if self.shadowing_scale == 0.0:
            return np.broadcast_to(self.snr, time_s.shape)
        place = (time_s * self.shadowing_rate).astype(np.int64)
        place += self.shadowing_place
        snr = gauss_markov().at(place)
        snr *= self.shadowing_scale
        np.exp(snr, out=snr)
        snr *= self.snr
        return snr

    def fading_power(self, time_s: FloatArray) -> Float32Array:
        """Power of the fading, added up over the antennas (maximum-ratio combining), at times (..., users)."""
        moved = (time_s * self.fading_rate).astype(np.int64)
        record = rayleigh_power()
        power = record.at(moved + self.fading_place[0])
        for place in self.fading_place[1:]:
            power += record.at(moved + place)
        return power


def efficiency(snr: Float32Array) -> Float32Array:
    """``log2(1 + snr)`` in single precision, in place (eq. 8)."""
    np.log1p(snr, out=snr)
    snr *= _PER_LN_2
    return snr


def live_upload_s(
    paths: Paths, start_s: FloatArray, bits_per_hz: FloatArray, nominal_s: FloatArray, doppler_hz: FloatArray
) -> FloatArray:
    """Duration of uploads that follow their channels: each ends when the integral of its rate is what it has to send.

    The integral is taken by the midpoint rule, for all users together, going on with those that are not done.

    Args:
        paths: The users' channels.
        start_s: When each upload begins, (users,).
        bits_per_hz: What it has to send, over the width of its band, (users,).
        nominal_s: What it would take at the long-term rate, (users,).
        doppler_hz: Largest Doppler shift of each user, (users,).
    """
    cell_s = nominal_s / np.clip(_CELLS_PER_DOPPLER_PERIOD * doppler_hz * nominal_s, _FEWEST_CELLS, _MOST_CELLS)
    # What is sent is counted in the unit of a cell's rate.
    to_send = (bits_per_hz / cell_s).astype(np.float32)
    sent = np.zeros_like(to_send)
    duration_s = np.empty_like(start_s)
    users = np.arange(len(start_s))
    group = 0
    while users.size:
        together = np.clip(_CELLS_TOGETHER // (_CELLS_PER_GROUP * users.size), 1, _MOST_GROUPS_TOGETHER)
        last = min(group + int(together), len(_GROUP_MIDDLE))
        cells = slice(_CELLS_PER_GROUP * group, _CELLS_PER_GROUP * last)
        sends = _sent_in_cells(paths, start_s, cell_s, slice(group, last))
        total = _running_sum(sent, sends)
        unfinished = total < to_send
        done = ~unfinished[-1]
        group = last
        if group == len(_GROUP_MIDDLE):
            done[:] = True

        ended = np.flatnonzero(done)
        cell = np.minimum(np.add.reduce(unfinished[:, ended], axis=0, dtype=np.int64), len(sends) - 1)
        before = np.where(cell > 0, total[cell - 1, ended], sent[ended])
        with np.errstate(divide="ignore"):
            part = (to_send[ended] - before) / sends[cell, ended]
        cell += cells.start
        passed = (_EDGE[cell] + part * _WIDTH[cell]) * cell_s[ended]
        duration_s[users[ended]] = np.minimum(passed, _LONGEST_UPLOAD_S)

        if ended.size:
            left = np.flatnonzero(~done)
            users, paths, start_s, cell_s = users[left], paths.take(left), start_s[left], cell_s[left]
            to_send, sent = to_send[left], total[-1, left]
        else:
            sent = total[-1]
    return duration_s


def _sent_in_cells(paths: Paths, start_s: FloatArray, cell_s: FloatArray, groups: slice) -> Float32Array:
    """What each cell of some groups sends, in the unit of the user's first cell times bit/s/Hz, (cells, users)."""
    cells = slice(_CELLS_PER_GROUP * groups.start, _CELLS_PER_GROUP * groups.stop)
    middle, width = _MIDDLE[cells, np.newaxis], _WIDTH[cells, np.newaxis].astype(np.float32)
    group_middle = _GROUP_MIDDLE[groups, np.newaxis]
    sends = np.empty((len(middle), start_s.size), dtype=np.float32)
    together = _CELLS_TOGETHER // _CELLS_PER_GROUP
    for first in range(0, start_s.size, together):
        users = slice(first, first + together)
        some, start, cell = paths.take(users), start_s[users], cell_s[users]
        snr = some.fading_power(start + middle * cell)
        by_group = snr.reshape(len(group_middle), _CELLS_PER_GROUP, -1)
        by_group *= some.shadowed_snr(start + group_middle * cell)[:, np.newaxis]
        np.multiply(efficiency(snr), width, out=sends[:, users])
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
