"""Uploads that follow their channels: the modem adapts, and an upload ends when all is sent."""

from __future__ import annotations

import numpy as np

from multispin_env.core.channel.base import LONGEST_UPLOAD_S
from multispin_env.core.channel.paths import STEPS_PER_CELL, Paths, Walk
from multispin_env.core.equations import FloatArray, IntArray
from multispin_env.core.records import Float32Array

# The midpoint rule of an upload. Its first cell is a fifth longer than the upload would take at the rate seen before, or
# at the long-term one if that is less. No cell is longer than a fifth of a Doppler period, and none shorter than this
# part of what the upload would take at the long-term rate. Then total goodput is within 1 % of a fine integration from
# 0 to 10 m/s.
_FIRST_CELL = 1.2
_CELLS_PER_DOPPLER_PERIOD = 5.0
_MOST_CELLS = 32.0
# Cells that follow the first are taken in groups, for each of which shadowing is looked up once.
_CELLS_PER_GROUP = 4
# Behind the 33rd, cells grow with the time that has passed, by an eighth a group: an upload of any length takes few.
_EVEN_GROUPS, _GROWING_GROUPS = 8, 192
_GROWTH = 9.0 / 8.0

# Cells of few users that are evaluated together, for fewer calls of NumPy, and users whose cells are, for the cache.
_CELLS_TOGETHER = 4096
_MOST_GROUPS_TOGETHER = 8
_USERS_TOGETHER = 4096
_LEAST_DOPPLER_HZ = 1e-9


def live_upload_s(
    paths: Paths,
    start_s: FloatArray,
    bits_per_hz: FloatArray,
    seen_s: FloatArray,
    long_term_s: FloatArray,
    doppler_hz: FloatArray,
) -> FloatArray:
    """Duration of uploads that follow their channels: each ends when the integral of its rate is what it has to send.

    Args:
        paths: The users' channels.
        start_s: When each upload begins, (users,).
        bits_per_hz: What it has to send, over the width of its band, (users,).
        seen_s: What it would take at a rate seen shortly before, (users,).
        long_term_s: What it would take at the long-term rate, (users,).
        doppler_hz: Largest Doppler shift of each user, (users,).
    """
    cell_s = _FIRST_CELL * np.minimum(seen_s, long_term_s)
    np.minimum(cell_s, 1.0 / np.maximum(_CELLS_PER_DOPPLER_PERIOD * doppler_hz, _LEAST_DOPPLER_HZ), out=cell_s)
    np.maximum(cell_s, long_term_s / _MOST_CELLS, out=cell_s)
    rate = paths.spectral_efficiency(start_s + 0.5 * cell_s)
    duration_s = bits_per_hz / rate
    users = np.flatnonzero(duration_s > cell_s)
    if users.size:
        cell_s = cell_s[users]
        walk = paths.take(users).walk(start_s[users], cell_s)
        to_send = (bits_per_hz[users] / cell_s).astype(np.float32)
        duration_s[users] = cell_s * _cells_taken(walk, to_send, rate[users])
    return np.minimum(duration_s, LONGEST_UPLOAD_S)


def _cells_taken(walk: Walk, to_send: Float32Array, sent: Float32Array) -> FloatArray:
    """Cells that uploads take which do not end within the first one, in units of it, (users,).

    Args:
        walk: The users' channels from cell to cell.
        to_send: What each upload has to send, in bit/s/Hz over a first cell.
        sent: What the first cell has sent.
    """
    taken = np.empty(len(to_send))
    users = np.arange(len(to_send))
    group = 0
    while users.size:
        together = np.clip(_CELLS_TOGETHER // (_CELLS_PER_GROUP * users.size), 1, _MOST_GROUPS_TOGETHER)
        last = min(group + int(together), len(_GROUP_MIDDLE))
        sends = _sent_in_cells(walk, group, last)
        total = _running_sum(sent, sends)
        unfinished = total < to_send
        done = ~unfinished[-1]
        first_cell = _CELLS_PER_GROUP * group
        group = last
        if group == len(_GROUP_MIDDLE):
            done[:] = True

        ended = np.flatnonzero(done)
        if not ended.size:
            sent = total[-1]
            continue
        cell = np.minimum(np.add.reduce(unfinished[:, ended], axis=0, dtype=np.int64), len(sends) - 1)
        before = np.where(cell > 0, total[cell - 1, ended], sent[ended])
        with np.errstate(divide="ignore"):
            part = (to_send[ended] - before) / sends[cell, ended]
        cell += first_cell
        taken[users[ended]] = _EDGE[cell] + part * _WIDTH[cell]
        left = np.flatnonzero(~done)
        users, walk, to_send, sent = users[left], walk.take(left), to_send[left], total[-1, left]
    return taken


def _sent_in_cells(walk: Walk, first_group: int, last_group: int) -> Float32Array:
    """What each cell of some groups sends, (cells, users)."""
    groups = slice(first_group, last_group)
    cells = slice(_CELLS_PER_GROUP * first_group, _CELLS_PER_GROUP * last_group)
    width = _WIDTH[cells, np.newaxis].astype(np.float32)
    sends = np.empty((len(width), len(walk.snr)), dtype=np.float32)
    for first in range(0, len(walk.snr), _USERS_TOGETHER):
        users = slice(first, first + _USERS_TOGETHER)
        rate = walk.take(users).spectral_efficiency(_MIDDLE[cells], _GROUP_MIDDLE[groups])
        np.multiply(rate, width, out=sends[:, users])
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


def _cell_grid() -> tuple[FloatArray, FloatArray, IntArray, IntArray]:
    group = np.concatenate([np.ones(_EVEN_GROUPS), _GROWTH ** np.arange(1, _GROWING_GROUPS + 1)])
    width = np.repeat(group, _CELLS_PER_GROUP)
    edge = 1.0 + np.concatenate([[0.0], np.cumsum(width)])
    group_edge = edge[::_CELLS_PER_GROUP]
    middle, group_middle = edge[:-1] + 0.5 * width, 0.5 * (group_edge[1:] + group_edge[:-1])
    return width, edge, *(np.rint(STEPS_PER_CELL * one).astype(np.int64) for one in (middle, group_middle))


# Of the cells behind the first, in units of it: widths, and where they begin; and in steps their middles, and those of
# groups.
_WIDTH, _EDGE, _MIDDLE, _GROUP_MIDDLE = _cell_grid()
