"""Uploads that follow their channels: the modem adapts, and an upload ends when all is sent."""

from __future__ import annotations

import numpy as np

from multispin_env.core.channel.base import LONGEST_UPLOAD_S
from multispin_env.core.channel.paths import Paths, efficiency
from multispin_env.core.equations import FloatArray
from multispin_env.core.records import Float32Array

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


def _cell_grid() -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    group = np.concatenate([np.ones(_EVEN_GROUPS), _GROWTH ** np.arange(1, _GROWING_GROUPS + 1)])
    width = np.repeat(group, _CELLS_PER_GROUP)
    edge = np.concatenate([[0.0], np.cumsum(width)])
    group_edge = edge[::_CELLS_PER_GROUP]
    return width, edge, edge[:-1] + 0.5 * width, 0.5 * (group_edge[1:] + group_edge[:-1])


# Of cells, in units of a user's first one: widths, where they begin, their middles, and those of groups.
_WIDTH, _EDGE, _MIDDLE, _GROUP_MIDDLE = _cell_grid()


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
        duration_s[users[ended]] = np.minimum(passed, LONGEST_UPLOAD_S)

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
